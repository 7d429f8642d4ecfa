//! Key-encryption keys: no process starts without one that is in use, and everything moves from one to the next while it is used.

mod missing;
mod moving;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::TcpListener,
    process::{Command, Output},
    sync::Arc,
};

use diesel::{Connection, ExpressionMethods, PgConnection, RunQueryDsl};
use guildhall::{
    app::{api, boot::Deployment, keks},
    kernel::{
        config::{Config, Environment},
        crypto::{Aad, Keyring},
        id::{SessionId, UserId},
        secret::Secret,
    },
};

use crate::{
    database::{Database, number, text},
    rules::{none, sources},
    world::World,
};

diesel::table! {
    guildhall.sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        not_after -> Timestamptz,
        idle_after -> Timestamptz,
        refresh_key_sealed -> Nullable<Binary>,
    }
}

/// What every world seals with.
const ONE: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const TWO: &str = "k2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";
const BOTH: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=,k2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";
const SWAPPED: &str = "k2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=,k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn ring(keks: &str) -> Keyring {
    Keyring::parse(&Secret::new(keks.to_owned())).expect("keys")
}

/// A world in a database of its own, for other worlds do not know other keys.
struct House {
    world: World,
    auditor: String,
}

/// What a command said, and whether it was content.
struct Said {
    text: String,
    well: bool,
}

impl Said {
    fn of(output: &Output) -> Said {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        Said {
            text: String::from_utf8_lossy(&text).into_owned(),
            well: output.status.success(),
        }
    }

    #[track_caller]
    fn well(self) -> String {
        assert!(self.well, "{}", self.text);
        self.text
    }

    #[track_caller]
    fn refused(self) -> String {
        assert!(!self.well, "{}", self.text);
        self.text
    }
}

impl House {
    async fn with(keks: &str) -> House {
        let database = Database::migrated();
        let auditor = database.urls.auditor.expose().clone();
        House {
            world: World::apart_with(database, &[("SECRETS__KEKS", keks)]).await,
            auditor,
        }
    }

    fn variables(&self, keks: &str) -> HashMap<String, String> {
        let mut variables = self.world.variables().clone();
        variables.insert("GUILDHALL__SECRETS__KEKS".into(), keks.into());
        for port in ["PORT", "ADMIN_PORT"] {
            variables.insert(format!("GUILDHALL__SERVER__{port}"), "0".into());
        }
        variables
    }

    /// `guildhall …` with these keys.
    fn command(&self, keks: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command
            .args(["--env", "development"])
            .args(arguments)
            .env_clear()
            .envs(self.variables(keks))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// What it says, while this process goes on.
    async fn says(&self, keks: &str, arguments: &[&str]) -> Said {
        let mut command = self.command(keks, arguments);
        let output = actix_web::rt::task::spawn_blocking(move || command.output());
        Said::of(&output.await.expect("a thread").expect("a process"))
    }

    async fn rewrap(&self, keks: &str) -> Said {
        self.says(keks, &["admin", "keks", "rewrap"]).await
    }

    fn deployment(&self, keks: &str) -> Arc<Deployment> {
        let config = Config::from_variables(Environment::Development, self.variables(keks));
        let deployment = Deployment::new(config.expect("sound"), self.world.clock.clone());
        Arc::new(deployment.expect("sound"))
    }

    /// A server with these keys alone. Answers its address.
    async fn serve(&self, keks: &str) -> (Arc<Deployment>, String) {
        let deployment = self.deployment(keks);
        deployment.prepare().await.expect("nothing is missing");
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let base = format!("http://{}", socket.local_addr().expect("an address"));
        let server = api::serve(deployment.clone(), socket).expect("a server");
        deployment.readiness.booted();
        actix_web::rt::spawn(server);
        (deployment, base)
    }

    /// How many records of each column are under a key, as the auditor reads them.
    fn under(&self, kek: &str) -> BTreeMap<String, i64> {
        #[expect(clippy::disallowed_methods, reason = "tests look behind the doors")]
        let mut auditor = PgConnection::establish(&self.auditor).expect("the auditor's door");
        let mut count = |from: String, record: &str| {
            let kek = format!("encode(substr({record}, 3, get_byte({record}, 1)), 'escape') = '{kek}'");
            number(&mut auditor, &format!("SELECT count(*) FROM {from} WHERE {kek}"))
        };
        let counted = keks::parts().into_iter().map(|part| {
            let rows = match part.column {
                "webhook_secrets_sealed" => count(
                    format!("guildhall.{}, unnest({}) AS one(sealed)", part.table, part.column),
                    "one.sealed",
                ),
                column => count(format!("guildhall.{}", part.table), column),
            };
            (part.name(), rows)
        });
        counted.filter(|(_, rows)| *rows > 0).collect()
    }

    /// The keys that are entered.
    fn entered(&self) -> String {
        let ids = "SELECT coalesce(string_agg(id, ',' ORDER BY id), '') FROM guildhall.keks";
        text(&mut self.world.superuser(), ids).expect("a text")
    }
}

/// Sessions of a person that nobody uses, under the first key.
fn many_sessions(world: &World, user: UserId, how_many: usize) {
    let ring = ring(ONE);
    let row = |_| {
        let id = SessionId::new(world.clock.now());
        let place = Aad::new(None, "sessions", "refresh_key_sealed", id.uuid());
        (
            sessions::id.eq(id.uuid()),
            sessions::user_id.eq(user.uuid()),
            sessions::not_after.eq(world.clock.now()),
            sessions::idle_after.eq(world.clock.now()),
            sessions::refresh_key_sealed.eq(ring.seal(&place, &[7; 32])),
        )
    };
    let rows: Vec<_> = (0..how_many).map(row).collect();
    diesel::insert_into(sessions::table)
        .values(rows)
        .execute(&mut world.superuser())
        .expect("sessions");
}

#[test]
fn every_column_of_sealed_records_is_rewrapped_or_not_written_yet() {
    let migrated = Database::migrated();
    let mut database = migrated.admin();
    let columns = "SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns
                   WHERE table_schema = 'guildhall' AND column_name LIKE '%\\_sealed'";
    let columns = text(&mut database, columns).expect("columns");
    let columns: BTreeSet<&str> = columns.split(' ').collect();
    let known: BTreeSet<String> = keks::parts().iter().map(|part| part.name()).collect();
    let laid_out: BTreeSet<&str> = include_str!("../registry/laid_out.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let listed: BTreeSet<&str> = known
        .iter()
        .map(String::as_str)
        .chain(laid_out.iter().copied())
        .collect();
    none(
        "sealed columns that neither rewrap nor registry/laid_out.txt knows",
        columns.difference(&listed).map(|name| (*name).to_owned()).collect(),
    );
    none(
        "columns that are listed and do not exist",
        listed.difference(&columns).map(|name| (*name).to_owned()).collect(),
    );
    let mut written = Vec::new();
    for (file, text) in sources("src") {
        for name in &laid_out {
            let (table, column) = name.split_once('.').expect("table.column");
            if known.contains(*name) || [table, column].iter().all(|word| text.contains(&format!("\"{word}\""))) {
                written.push(format!("{file}: {name}"));
            }
        }
    }
    none(
        "columns that are written, and yet listed in registry/laid_out.txt",
        written,
    );
}
