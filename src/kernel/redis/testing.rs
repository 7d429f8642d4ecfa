//! A Redis of one's own for a test, where the machine has the program.

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The longest that anybody waits for an answer in a test: a busy machine may need longer than a request has.
pub(in crate::kernel) const PATIENCE: Duration = Duration::from_millis(250);

/// A private server, ended when dropped.
pub(in crate::kernel) struct PrivateRedis {
    child: Child,
    address: SocketAddr,
}

impl PrivateRedis {
    /// Starts one. `None` where there is none to start, or `REDIS` is `off`: says so on stderr.
    pub(in crate::kernel) fn start() -> Option<PrivateRedis> {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.local_addr())
            .expect("a free port");
        let started = programs().iter().find_map(|program| launch(program, address));
        if started.is_none() {
            eprintln!("no redis-server here: what needs one is not tested");
        }
        started
    }

    pub(in crate::kernel) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Stops answering, but stays connected.
    pub(in crate::kernel) fn hang(&self) {
        self.signal("-STOP");
    }

    /// Answers again.
    pub(in crate::kernel) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Dies, and comes back empty on the same port.
    pub(in crate::kernel) fn restart(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
        let again = programs().iter().find_map(|program| launch(program, self.address));
        *self = again.expect("it started before");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }
}

/// Where one may be: where `GUILDHALL_REDIS_SERVER` says, on the path, in the development stack's folder.
fn programs() -> Vec<OsString> {
    if std::env::var_os("REDIS").is_some_and(|value| value == "off") {
        return Vec::new();
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/.guildhall/redis/bin/redis-server");
    let named = std::env::var_os("GUILDHALL_REDIS_SERVER");
    named
        .into_iter()
        .chain(["redis-server", "valkey-server", kept].map(OsString::from))
        .collect()
}

fn launch(program: &OsString, address: SocketAddr) -> Option<PrivateRedis> {
    let child = Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let server = PrivateRedis { child, address };
    let ready = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(address).is_ok()
    });
    ready.then_some(server)
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
