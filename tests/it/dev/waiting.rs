//! A stack whose database lets nobody in, or answers nobody.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use guildhall::kernel::{
    config::KeyMode,
    secret::{Token, TokenKind},
};
use serde_json::{Value, json};

use super::{Stack, asked};
use crate::{
    database::{connect, text},
    world::{
        patience::found,
        process::{self, Process, send},
    },
};

/// What exit codes say.
const TOO_LONG: Option<i32> = Some(124);
const INTERRUPTED: Option<i32> = Some(130);

#[test]
fn nobody_has_to_wait_with_a_stack_for_its_database() {
    let mut stack = Stack::new("waits");
    stack.start();
    assert!(stack.end("TERM").success());
    let rules = stack.folder.join("data/postgres/cluster/pg_hba.conf");
    let before = fs::read_to_string(&rules).expect("who may come in");
    fs::write(&rules, format!("host guildhall app_tenant all reject\n{before}")).expect("written");
    for signal in ["INT", "TERM"] {
        stack.begin(&[]);
        let waits = || stack.said().contains("waiting for it").then_some(());
        found(Duration::from_secs(60), || stack.said(), waits);
        assert!(stack.end(signal).success());
        assert!(stack.processes().is_empty(), "it waits for what it started");
    }
}

/// The processes of a PostgreSQL that hangs, until this is dropped.
struct Hung(Vec<String>);

impl Hung {
    fn database_of(running: &Value) -> Hung {
        let mut conn = connect(running["database"].as_str().expect("a URL"));
        let mut ask = |expression: &str| text(&mut conn, expression).expect("an answer");
        let mut hung = Hung(Vec::new());
        hung.stop(&ask("split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"));
        // From now on nobody joins them.
        hung.stop(&ask("SELECT string_agg(pid::text, ' ') FROM pg_stat_activity"));
        hung
    }

    fn stop(&mut self, processes: &str) {
        let these: Vec<String> = processes.split(' ').map(str::to_owned).collect();
        send("STOP", &these);
        self.0.extend(these);
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Some may be gone.
        let line = format!("kill -s CONT {} 2>/dev/null", self.0.join(" "));
        let _ = Command::new("/bin/sh").args(["-c", &line]).status();
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.expect("a port").port()
}

/// How [`asked`] finds who listens there.
fn at(port: u16) -> Value {
    json!({ "url": format!("http://127.0.0.1:{port}") })
}

impl Stack {
    fn signal(&self, signal: &str) {
        send(signal, &[self.process.as_ref().expect("started").id().to_string()]);
    }

    /// Its exit code, which it must have within that time.
    fn code(&mut self, longest: Duration) -> Option<i32> {
        let code = process::code(self.process.as_mut().expect("started"), longest);
        self.process = None;
        code
    }

    /// Another process of the deployment that the stack is, as soon as it is ready. Its API, if it has one, is at this port.
    fn beside(&self, command: &str, running: &Value, port: u16) -> Process {
        let admin = free_port();
        let url = |role: &str| {
            let mut url: url::Url = running["database"]
                .as_str()
                .and_then(|url| url.parse().ok())
                .expect("a URL");
            url.set_username(role).expect("a role");
            url.set_password(Some(&self.secret("database"))).expect("a password");
            url.set_path("guildhall");
            url.to_string()
        };
        let mut other = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        other
            .args(["--env", "development", command])
            .env_clear()
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .envs([("REDIS_URL", "off"), ("GUILDHALL__SERVER__DRAIN_SECONDS", "0")])
            .env("DATABASE_TENANT_URL", url("app_tenant"))
            .env("DATABASE_KERNEL_URL", url("app_kernel"))
            .env("GUILDHALL__SECRETS__KEKS", self.secret("keks"))
            .env("GUILDHALL__SECRETS__SIGNING", self.secret("signing"))
            .env("GUILDHALL__SERVER__PORT", port.to_string())
            .env("GUILDHALL__SERVER__ADMIN_PORT", admin.to_string())
            .env("GUILDHALL__WORKER__ADMIN_PORT", admin.to_string());
        let other = Process::of(other);
        let ready = || asked(&at(admin), "GET", "/readyz", &[], None);
        found(Duration::from_secs(60), || format!("{command} is ready"), ready);
        other
    }
}

/// The statuses of what somebody is answered whose key nobody has seen yet, and of somebody who signs in. `None`: nothing in eight seconds.
fn looked_up(port: u16) -> [Option<u16>; 2] {
    let key = Token::mint(TokenKind::PersonalKey, KeyMode::Test);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    let body = json!({ "identifier": "nobody@example.com", "password": "nobody's password" });
    let asking = async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(8));
        let client = client.build().expect("a client");
        let by_key = client.get(format!("{api}/agents")).bearer_auth(key.expose());
        let signing_in = client.post(format!("{api}/auth/login")).json(&body);
        let (by_key, signing_in) = futures_util::join!(by_key.send(), signing_in.send());
        [by_key, signing_in].map(|answer| answer.ok().map(|answer| answer.status().as_u16()))
    };
    actix_web::rt::System::new().block_on(asking)
}

#[test]
fn nobody_has_to_wait_for_a_database_that_hangs() {
    let mut stack = Stack::new("hangs");
    let running = stack.start();
    let [port, busy] = [(); 2].map(|()| free_port());
    let others = [("serve", port), ("worker", 0), ("serve", busy)];
    let others = others.map(|(command, port)| stack.beside(command, &running, port));
    // What was not allowed is still to be written into the audit log when the server ends.
    let key = running["demonstration"]["api_key"].as_str().expect("a key");
    let bearer = format!("Bearer {key}");
    let refused = asked(
        &at(port),
        "PATCH",
        "/api/v1/me",
        &[("authorization", &bearer)],
        Some(json!({})),
    );
    assert_eq!(refused, None, "no key is a person");

    assert_eq!(looked_up(busy), [Some(401); 2]);
    let hung = Hung::database_of(&running);
    // This one ends while the database has still to answer what it was asked.
    assert_eq!(looked_up(busy), [Some(503); 2]);
    stack.signal("INT");
    others.iter().for_each(Process::terminate);
    assert_eq!(stack.code(Duration::from_secs(40)), TOO_LONG);
    assert!(stack.said().contains("not_waited_for"), "{}", stack.said());
    for mut other in others {
        let code = other.code(Duration::from_secs(40));
        let (said, _) = other.said();
        assert_eq!(code, TOO_LONG, "{said}");
        assert!(said.contains("not_waited_for"), "{said}");
    }
    drop(hung);
    stack.nothing_is_left();

    let hung = Hung::database_of(&stack.start());
    stack.signal("INT");
    let stops = || stack.said().contains("stopping").then_some(());
    found(Duration::from_secs(20), || stack.said(), stops);
    // Two that come together are one.
    found(
        Duration::from_secs(5),
        || stack.said(),
        || {
            stack.signal("TERM");
            stack.said().contains("a further signal").then_some(())
        },
    );
    assert_eq!(stack.code(Duration::from_secs(5)), INTERRUPTED);
    drop(hung);
    stack.nothing_is_left();
}
