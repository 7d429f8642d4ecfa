//! A Redis of one's own for a test, where the machine has the program.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A private server, ended when dropped.
pub(in crate::kernel) struct PrivateRedis {
    child: Child,
    address: SocketAddr,
}

impl PrivateRedis {
    /// Starts one. `None` where there is no `redis-server` or `valkey-server` on the path: says so on stderr.
    pub(in crate::kernel) fn start() -> Option<PrivateRedis> {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.local_addr())
            .expect("a free port");
        let started = ["redis-server", "valkey-server"]
            .iter()
            .find_map(|name| launch(name, address));
        if started.is_none() {
            eprintln!("no redis-server on the path: what needs one is not tested here");
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
        *self = launch("redis-server", self.address)
            .or_else(|| launch("valkey-server", self.address))
            .expect("it started before");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }
}

fn launch(program: &str, address: SocketAddr) -> Option<PrivateRedis> {
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
