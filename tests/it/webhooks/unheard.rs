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
    app::{api, boot::Deployment},
    kernel::config::{Config, Environment},
};
use serde_json::json;
use url::Url;

use super::{Receiver, deliveries, listens};
use crate::world::World;

/// Stands between a server and its database, and keeps what is answered to one commit for itself: the first of a delivery.
#[derive(Clone)]
struct Between {
    port: u16,
    keeps_one: Arc<AtomicBool>,
}

/// What is said in the transaction whose commit nobody hears of.
const RECORDS: &[u8] = b"INSERT INTO \"webhook_deliveries\"";

impl Between {
    /// Somebody before this database, and the URL that leads to them.
    fn before(url: &str) -> (Between, String) {
        let mut url = Url::parse(url).expect("a URL");
        let mut said: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let port = said.remove("port").and_then(|port| port.parse().ok()).or(url.port());
        // A server of our own is here, too, beside its socket.
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
        let between = Between::start(format!("{host}:{}", port.unwrap_or(5432)));
        said.insert("host".into(), "127.0.0.1".into());
        said.insert("port".into(), between.port.to_string());
        url.query_pairs_mut().clear().extend_pairs(said);
        (between, url.into())
    }

    fn start(database: String) -> Between {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let between = Between {
            port: socket.local_addr().expect("bound").port(),
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
        let (keeps, one) = (kept.clone(), self.keeps_one.clone());
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
            records = says(RECORDS) || records && !says(b"BEGIN");
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

#[actix_web::test]
async fn a_test_whose_record_nobody_heard_of_is_written_down_and_told_once() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let mut variables = world.variables().clone();
    let (between, url) = Between::before(&variables["DATABASE_TENANT_URL"]);
    variables.insert("DATABASE_TENANT_URL".into(), url);
    let config = Config::from_variables(Environment::Development, variables).expect("a sound configuration");
    let far = Arc::new(Deployment::new(config, world.clock.clone()).expect("a sound configuration"));
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("bound"));
    let server = api::serve(far.clone(), socket).expect("a server");
    let handle = server.handle();
    far.readiness.booted();
    actix_web::rt::spawn(server);

    let owner = world.owner();
    let path = listens(&owner, &receiver, &["workspace.*"]).await.path();
    let tested = owner
        .at(&base)
        .post(&format!("{path}/test"), json!({ "event_type": "workspace.updated" }));
    let answer = tested.await.ok();
    assert!(!between.keeps_one.load(SeqCst), "an answer was kept");
    assert_eq!(
        answer.body["attempts_log"].as_array().map(Vec::len),
        Some(1),
        "{}",
        answer.text
    );
    assert_eq!((deliveries(&world, "test"), receiver.got().len()), (1, 1));
    let told = world.audit();
    let told = told.iter().filter(|entry| entry.starts_with("webhook_endpoint.tested"));
    assert_eq!(told.count(), 1);
    handle.stop(false).await;
}
