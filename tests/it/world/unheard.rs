//! A commit that was made, and of which nobody heard.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use guildhall::{
    app::boot::Deployment,
    kernel::config::{Config, Environment},
};
use url::Url;

use super::World;

/// Stands between a process and its database, and keeps what is answered to one commit for itself.
#[derive(Clone)]
pub struct Between {
    port: u16,
    /// What is said in the transaction whose commit nobody hears of.
    says: &'static str,
    keeps_one: Arc<AtomicBool>,
}

impl World {
    /// Another process of this world that does not hear of one commit: of the first transaction in which this is said.
    pub fn half_deaf(&self, says: &'static str) -> (Between, Arc<Deployment>) {
        let mut variables = self.variables().clone();
        let (between, url) = Between::before(&variables["DATABASE_TENANT_URL"], says);
        variables.insert("DATABASE_TENANT_URL".into(), url);
        let config = Config::from_variables(Environment::Development, variables).expect("a sound configuration");
        let deployment = Deployment::new(config, self.clock.clone()).expect("a sound configuration");
        (between, Arc::new(deployment))
    }
}

impl Between {
    /// Whether it has kept an answer.
    pub fn has_kept(&self) -> bool {
        !self.keeps_one.load(SeqCst)
    }

    /// Somebody before this database, and the URL that leads to them.
    fn before(url: &str, says: &'static str) -> (Between, String) {
        let mut url = Url::parse(url).expect("a URL");
        let mut said: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let port = said.remove("port").and_then(|port| port.parse().ok()).or(url.port());
        // A server of our own is here, too, beside its socket.
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
        let between = Between::start(format!("{host}:{}", port.unwrap_or(5432)), says);
        said.insert("host".into(), "127.0.0.1".into());
        said.insert("port".into(), between.port.to_string());
        url.query_pairs_mut().clear().extend_pairs(said);
        (between, url.into())
    }

    fn start(database: String, says: &'static str) -> Between {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let between = Between {
            port: socket.local_addr().expect("bound").port(),
            says,
            keeps_one: Arc::new(AtomicBool::new(true)),
        };
        let own = between.clone();
        thread::spawn(move || {
            for client in socket.incoming().flatten() {
                let server = TcpStream::connect(&database).expect("the database");
                own.carry(client, server);
            }
        });
        between
    }

    fn carry(&self, client: TcpStream, server: TcpStream) {
        let kept = Arc::new(AtomicBool::new(false));
        let (keeps, one, awaited) = (kept.clone(), self.keeps_one.clone(), self.says.as_bytes());
        let both = || {
            (
                client.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            )
        };
        let (from, to) = both();
        let mut records = false;
        let asks = move |said: &[u8]| {
            let says = |words: &[u8]| said.windows(words.len()).any(|part| part == words);
            records = says(awaited) || records && !says(b"BEGIN");
            if records && says(b"COMMIT") && one.swap(false, SeqCst) {
                keeps.store(true, SeqCst);
            }
            true
        };
        thread::spawn(move || pass(from, to, asks));
        let (to, from) = both();
        // What the database says has been done by then.
        thread::spawn(move || pass(from, to, move |_| !kept.load(SeqCst)));
    }
}

/// Hands on what comes, as long as it may, and closes both ends.
fn pass(mut from: TcpStream, mut to: TcpStream, mut may: impl FnMut(&[u8]) -> bool) {
    let mut chunk = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if !may(&chunk[..length]) || to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
