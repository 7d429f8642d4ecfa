//! A private PostgreSQL: one cluster that this process starts and that ends with it.

mod binaries;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::{
    home::{Home, temporary_folder},
    leash::{Folder, Leash, Owner, Stop, free_port},
};
use crate::kernel::secret::Secret;

pub use binaries::Binaries;

/// The administrator of every cluster made here.
const ADMINISTRATOR: &str = "postgres";

/// A running cluster. Dropping it stops the server; a throwaway one leaves no file behind, not even when this process is killed.
pub struct Postgres {
    binaries: Binaries,
    port: u16,
    password: Secret<String>,
    /// The folder of its socket, where it has one.
    socket: Option<PathBuf>,
    folder: PathBuf,
    _leash: Leash,
}

impl Postgres {
    /// The cluster of a development stack. It is made on the first start, and its data stay. Reachable over 127.0.0.1 with a password
    /// that is made with it.
    ///
    /// # Errors
    /// No PostgreSQL is installed, the data are of another major version, or the server does not start: the message says what to do.
    pub fn kept(home: &Home) -> Result<Postgres> {
        let owner = Owner::find()?;
        let folder = home.data(owner)?;
        owner.folder(&folder)?;
        let folder = folder.join("postgres");
        owner.folder(&folder)?;

        let binaries = match fs::read_to_string(folder.join("cluster/PG_VERSION")) {
            Ok(major) => Binaries::of_major(home, major.trim()).with_context(|| {
                format!(
                    "the data in {} need it; `guildhall dev --reset` starts over without them",
                    folder.display()
                )
            })?,
            Err(_) => Binaries::find(home)?,
        };
        if !folder.join("cluster/PG_VERSION").exists() {
            make(&binaries, owner, &folder, Durability::Kept)?;
        }
        again(|| start(&binaries, owner, &folder, Durability::Kept))
    }

    /// A cluster for tests and benchmarks: quick rather than durable, and gone when it is dropped. Its socket lies in a folder that
    /// only this account may enter, and asks for no password.
    ///
    /// # Errors
    /// No PostgreSQL is installed, or the server does not start.
    pub fn throwaway() -> Result<Postgres> {
        let owner = Owner::find()?;
        let binaries = Binaries::find(&Home::find()?)?;
        again(|| {
            let folder = temporary_folder(owner)?;
            make(&binaries, owner, &folder, Durability::Throwaway)
                .and_then(|()| start(&binaries, owner, &folder, Durability::Throwaway))
                .inspect_err(|_| {
                    // The error that is on its way tells more than this one could.
                    let _ = fs::remove_dir_all(&folder);
                })
        })
    }

    /// How its administrator reaches it: by its socket where it has one.
    pub fn admin_url(&self) -> Secret<String> {
        match &self.socket {
            Some(folder) => {
                let query: String = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("host", &folder.to_string_lossy())
                    .append_pair("port", &self.port.to_string())
                    .append_pair("user", ADMINISTRATOR)
                    .finish();
                Secret::new(format!("postgres:///postgres?{query}"))
            }
            None => self.tcp_url(),
        }
    }

    /// How its administrator reaches it over 127.0.0.1, with the password.
    pub fn tcp_url(&self) -> Secret<String> {
        let (password, port) = (self.password.expose(), self.port);
        Secret::new(format!(
            "postgres://{ADMINISTRATOR}:{password}@127.0.0.1:{port}/postgres"
        ))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its version, as in "15.18".
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The folder of its programs: `pgbench` and `psql` may be there.
    pub fn programs(&self) -> &Path {
        &self.binaries.folder
    }

    /// The process id of its postmaster, `None` once it has stopped.
    pub fn process(&self) -> Option<u32> {
        Postmaster::read(&self.folder).map(|postmaster| postmaster.process)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Kept,
    Throwaway,
}

/// How the folder of a cluster that is being made begins.
const UNFINISHED: &str = "cluster.new";

/// Makes a cluster in `folder`. It is there completely or not at all.
fn make(binaries: &Binaries, owner: Owner, folder: &Path, durability: Durability) -> Result<()> {
    let password = folder.join("password");
    owner.write(&password, &Uuid::new_v4().simple().to_string())?;
    // What a killed start left may still be written to: it is cleared away if it can be, and else by the next start.
    for left in fs::read_dir(folder)?.flatten() {
        if left.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(left.path());
        }
    }
    let unfinished = folder.join(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
    // The first locale that this machine knows. Without C.UTF-8, lower() knows ASCII only.
    let mut refusal = String::new();
    for locale in ["C.UTF-8", "C"] {
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).with_context(|| format!("{} cannot be removed", unfinished.display()))?;
        }
        let mut command = owner.command(binaries.program("initdb"));
        command.arg("--pgdata").arg(&unfinished).arg("--pwfile").arg(&password);
        command.args(["--username", ADMINISTRATOR, "--encoding", "UTF8", "--locale", locale]);
        command.args(["--auth-local", "trust", "--auth-host", "scram-sha-256"]);
        if durability == Durability::Throwaway {
            command.arg("--no-sync");
        }
        let output = command
            .output()
            .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
        if output.status.success() {
            return fs::rename(&unfinished, folder.join("cluster"))
                .context("the new cluster cannot be moved to its place");
        }
        refusal = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    }
    bail!(
        "PostgreSQL could not make a cluster in {}:\n{refusal}",
        folder.display()
    )
}

/// Tries for as long as the refusal may be gone the next time: another process took the port, or the server of a process that was just
/// killed is still on its way out, or a process of that server.
fn again(attempt: impl Fn() -> Result<Postgres>) -> Result<Postgres> {
    for _ in 0..5 {
        match attempt() {
            Err(refusal) if may_pass(&refusal.to_string()) => thread::sleep(Duration::from_millis(700)),
            outcome => return outcome,
        }
    }
    attempt()
}

fn may_pass(refusal: &str) -> bool {
    [
        "could not create any TCP/IP sockets",
        "postmaster.pid\" already exists",
        "pre-existing shared memory block",
    ]
    .iter()
    .any(|passing| refusal.contains(passing))
}

/// Starts the server on a cluster.
fn start(binaries: &Binaries, owner: Owner, folder: &Path, durability: Durability) -> Result<Postgres> {
    let password = Secret::new(fs::read_to_string(folder.join("password")).context("the cluster's password is gone")?);
    let (stop, fate) = match durability {
        Durability::Kept => (Stop::Tidily, Folder::Stays),
        Durability::Throwaway => (Stop::AtOnce, Folder::Goes),
    };
    // A socket without a password is safe only in a folder that nobody else may enter, and must have a short path: only a throwaway
    // cluster is sure to have that.
    let socket = (durability == Durability::Throwaway).then(|| folder.to_owned());
    let port = free_port()?;
    let arguments = settings(binaries, folder, port, socket.as_deref(), durability);
    let mut leash = Leash::start(owner, folder, fate, stop, &binaries.program("postgres"), arguments)?;
    leash.wait_until("PostgreSQL", || {
        Postmaster::read(folder).filter(|found| found.is_ready(port))
    })?;
    Ok(Postgres {
        binaries: binaries.clone(),
        port,
        password,
        socket,
        folder: folder.to_owned(),
        _leash: leash,
    })
}

/// The server's command line. The cluster's own file is left alone, so a newer binary brings its settings to an older cluster.
fn settings(
    binaries: &Binaries,
    folder: &Path,
    port: u16,
    socket: Option<&Path>,
    durability: Durability,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-D".into(), folder.join("cluster").into()];
    let mut set = |name: &str, value: &str| arguments.extend(["-c".into(), format!("{name}={value}").into()]);
    set("listen_addresses", "127.0.0.1");
    set("port", &port.to_string());
    set(
        "unix_socket_directories",
        &socket.map(|folder| folder.to_string_lossy()).unwrap_or_default(),
    );
    set("max_connections", "200");
    set("shared_buffers", "128MB");
    set("password_encryption", "scram-sha-256");
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    set("lc_messages", "C");
    set("logging_collector", "off");
    set("log_destination", "stderr");
    set("jit", "off");
    set("wal_level", "minimal");
    set("max_wal_senders", "0");
    // Statements may hold what a log must not.
    set("log_min_error_statement", "panic");
    if durability == Durability::Throwaway {
        set("fsync", "off");
        set("synchronous_commit", "off");
        set("full_page_writes", "off");
        set("max_wal_size", "4GB");
    }
    if binaries.has_library("pg_stat_statements") {
        set("shared_preload_libraries", "pg_stat_statements");
    }
    arguments
}

/// What the server says about itself in `postmaster.pid`.
struct Postmaster {
    process: u32,
    port: u16,
    state: String,
}

impl Postmaster {
    fn read(folder: &Path) -> Option<Postmaster> {
        let text = fs::read_to_string(folder.join("cluster/postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        Some(Postmaster {
            process: lines.first()?.trim().parse().ok()?,
            port: lines.get(3)?.trim().parse().ok()?,
            state: lines.get(7)?.trim().to_owned(),
        })
    }

    fn is_ready(&self, port: u16) -> bool {
        self.port == port && self.state == "ready"
    }
}

#[cfg(test)]
mod tests {
    use diesel::{Connection, ConnectionResult, PgConnection, QueryDsl, RunQueryDsl, connection::SimpleConnection};

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "the cluster is asked, not the product's database"
    )]
    fn connect(url: &Secret<String>) -> ConnectionResult<PgConnection> {
        PgConnection::establish(url.expose())
    }

    #[test]
    fn a_throwaway_cluster_is_private_and_leaves_nothing_behind() {
        let postgres = Postgres::throwaway().expect("started");
        let folder = postgres.folder.clone();
        connect(&postgres.admin_url()).expect("by its socket");
        connect(&postgres.tcp_url()).expect("with its password");
        let guessed = postgres
            .tcp_url()
            .expose()
            .replace(postgres.password.expose(), "guessed");
        connect(&Secret::new(guessed)).err().expect("a password is asked for");
        assert!(postgres.process().is_some());

        drop(postgres);

        assert!(!folder.exists());
    }

    #[test]
    fn two_throwaway_clusters_do_not_meet() {
        let (one, other) = (
            Postgres::throwaway().expect("started"),
            Postgres::throwaway().expect("started"),
        );
        assert_ne!(one.port(), other.port());
        connect(&one.admin_url())
            .expect("one")
            .batch_execute("CREATE TABLE mine ()")
            .expect("made");
        connect(&other.admin_url())
            .expect("other")
            .batch_execute("TABLE mine")
            .expect_err("not there");
    }

    #[test]
    fn a_kept_cluster_keeps_its_data() {
        diesel::table! { notes (body) { body -> Text, } }
        let folder = temporary_folder(Owner::Same).expect("a folder");
        let home = Home::at(&folder).expect("a home");
        let first = Postgres::kept(&home).expect("made");
        let make = "CREATE TABLE notes (body text PRIMARY KEY); INSERT INTO notes VALUES ('still here')";
        connect(&first.admin_url())
            .expect("reached")
            .batch_execute(make)
            .expect("made");
        let stopped = first.folder.clone();
        drop(first);
        assert!(Postmaster::read(&stopped).is_none(), "it has stopped");

        let second = Postgres::kept(&home).expect("started again");
        let bodies: Vec<String> = notes::table
            .select(notes::body)
            .load(&mut connect(&second.admin_url()).expect("reached"))
            .expect("read");

        assert_eq!(bodies, ["still here"]);
        drop(second);
        home.remove().expect("removed");
        assert!(!folder.exists() && !stopped.exists());
    }
}
