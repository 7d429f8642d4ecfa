//! What PostgreSQL tells of every statement that the application sends: the plan by which it really ran, and how many rows that read. A wire
//! between the two hears it, for `auto_explain` tells it to the client, and the application's own driver does not listen.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use guildhall::kernel::secret::Secret;
use serde_json::Value;
use url::Url;

use crate::database::{Database, run};

/// The wire.
pub struct Wiretap(Arc<Mutex<Vec<Value>>>);

/// Settings of the roles that serve, in this database alone.
const TELL_ALL: [(&str, &str); 8] = [
    ("session_preload_libraries", "auto_explain"),
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_timing", "off"),
    ("auto_explain.log_format", "json"),
    ("auto_explain.log_level", "notice"),
    ("auto_explain.log_nested_statements", "on"),
    ("jit", "off"),
];

impl Wiretap {
    /// From now on whoever uses the database's addresses is heard.
    pub fn on(database: &mut Database) -> Wiretap {
        let mut admin = database.admin();
        run(&mut admin, "LOAD 'auto_explain'");
        for role in ["app_tenant", "app_kernel"] {
            for (name, value) in TELL_ALL {
                let set = format!(
                    "ALTER ROLE {role} IN DATABASE \"{}\" SET {name} = '{value}'",
                    database.name
                );
                run(&mut admin, &set);
            }
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let server = Server::of(database.urls.tenant.expose());
        let here = listen(server, heard.clone());
        for url in [&mut database.urls.tenant, &mut database.urls.kernel] {
            *url = Secret::new(through(url.expose(), here));
        }
        Wiretap(heard)
    }

    /// The plans since the last time: what `auto_explain` says, as JSON.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the real server listens.
#[derive(Clone)]
enum Server {
    Socket(String),
    Address(String),
}

impl Server {
    fn of(url: &str) -> Server {
        let url = Url::parse(url).expect("an address");
        let asked = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let port = asked("port").or(url.port().map(|port| port.to_string()));
        let port = port.unwrap_or_else(|| "5432".into());
        match asked("host") {
            Some(folder) if folder.starts_with('/') => Server::Socket(format!("{folder}/.s.PGSQL.{port}")),
            Some(host) => Server::Address(format!("{host}:{port}")),
            None => Server::Address(format!("{}:{port}", url.host_str().expect("a host"))),
        }
    }

    /// Its two directions.
    fn connect(&self) -> std::io::Result<(Box<dyn Read + Send>, Box<dyn Write + Send>)> {
        Ok(match self {
            Server::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                (Box::new(stream.try_clone()?), Box::new(stream))
            }
            Server::Address(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                (Box::new(stream.try_clone()?), Box::new(stream))
            }
        })
    }
}

/// The same database as the same role, by this wire and unencrypted.
fn through(url: &str, here: SocketAddr) -> String {
    let url = Url::parse(url).expect("an address");
    let asked = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let user = asked("user").unwrap_or_else(|| url.username().to_owned());
    let password = asked("password")
        .or(url.password().map(str::to_owned))
        .unwrap_or_default();
    format!(
        "postgres://{user}:{password}@{here}{}?sslmode=disable&gssencmode=disable",
        url.path()
    )
}

fn listen(server: Server, heard: Arc<Mutex<Vec<Value>>>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let here = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (server, heard) = (server.clone(), heard.clone());
            // A connection that fails is one that the application loses, and says so.
            let _ = join(client, &server, heard);
        }
    });
    here
}

fn join(client: TcpStream, server: &Server, heard: Arc<Mutex<Vec<Value>>>) -> std::io::Result<()> {
    let (mut answers, mut questions) = server.connect()?;
    client.set_nodelay(true)?;
    let mut asking = client.try_clone()?;
    thread::spawn(move || std::io::copy(&mut asking, &mut questions));
    thread::spawn(move || {
        let (mut client, mut chunk, mut rest) = (client, vec![0; 64 * 1_024], Vec::new());
        while let Ok(read @ 1..) = answers.read(&mut chunk) {
            rest.extend_from_slice(&chunk[..read]);
            // Heard before it is passed on: whoever has the answer finds the plan.
            hear(&mut rest, &heard);
            if client.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
    Ok(())
}

/// Takes whole messages off the front: a letter, a length that counts itself, and what it says.
fn hear(bytes: &mut Vec<u8>, heard: &Mutex<Vec<Value>>) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = bytes.get(at + 5..at + 1 + length) else {
            break;
        };
        if head[0] == b'N' {
            heard.lock().unwrap_or_else(PoisonError::into_inner).extend(plan(body));
        }
        at += 1 + length;
    }
    bytes.drain(..at);
}

/// The plan that a notice tells: `M` is its text, `duration: 0.1 ms  plan:` and an object.
fn plan(notice: &[u8]) -> Option<Value> {
    let text = notice
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))?;
    let text = std::str::from_utf8(text).ok()?;
    let (_, plan) = text.split_once("plan:")?;
    Some(serde_json::from_str(plan).unwrap_or_else(|error| panic!("{error}: {plan}")))
}
