//! Connections: how they are opened, how long one that says nothing is believed, and what happens while none can be had.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, r2d2::R2D2Connection};
use r2d2::PooledConnection;

use super::address::told;
use crate::kernel::{
    error::{DATABASE_UNAVAILABLE, Outcome, Problem},
    secret::Secret,
};

/// One door's connections. Copies share them.
#[derive(Clone)]
pub(super) struct Pool {
    connections: r2d2::Pool<Manager>,
    failed: Arc<AtomicU32>,
}

/// So many connections in a row could not be opened, and none is left: the database is down. r2d2 goes on trying, twice a second at least,
/// and meanwhile nobody waits.
const DOWN: u32 = 3;

impl Pool {
    /// Nothing is opened yet.
    pub(super) fn new(url: Secret<String>, size: usize) -> Pool {
        let failed = Arc::default();
        let manager = Manager {
            url,
            failed: Arc::clone(&failed),
        };
        let connections = r2d2::Pool::builder()
            .max_size(size as u32)
            .min_idle(Some(0))
            .connection_timeout(Duration::from_secs(1))
            .max_lifetime(Some(Duration::from_secs(30 * 60)))
            .idle_timeout(Some(Duration::from_secs(10 * 60)))
            .error_handler(Box::new(Telling(Arc::clone(&failed))))
            .build_unchecked(manager);
        Pool { connections, failed }
    }

    /// A connection, within a second; at once or not at all while the database is down. Blocks.
    ///
    /// # Errors
    /// 503 `database-unavailable`.
    pub(super) fn get(&self) -> Result<PooledConnection<Manager>, Problem> {
        let down = self.failed.load(Ordering::Relaxed) >= DOWN && self.state().connections == 0;
        let link = match down {
            true => self.connections.try_get(),
            false => self.connections.get().ok(),
        };
        link.ok_or_else(|| Problem::from(DATABASE_UNAVAILABLE).outcome(Outcome::None))
    }

    /// How many there are, and how many of them are idle.
    pub(super) fn state(&self) -> r2d2::State {
        self.connections.state()
    }
}

/// A connection and when it was last of use.
pub(super) struct Link {
    pub(super) conn: PgConnection,
    pub(super) used: Instant,
}

/// Makes connections, and pings only those that lay idle: a ping at every checkout would cost more than a query.
pub(super) struct Manager {
    url: Secret<String>,
    /// Connections that could not be opened since the last one that could.
    failed: Arc<AtomicU32>,
}

/// Longer than this, and a connection is asked whether it still lives.
const IDLE: Duration = Duration::from_secs(5);

impl r2d2::ManageConnection for Manager {
    type Connection = Link;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Link, Self::Error> {
        match open(&self.url) {
            Ok(conn) => {
                self.failed.store(0, Ordering::Relaxed);
                let used = Instant::now();
                Ok(Link { conn, used })
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(diesel::r2d2::Error::ConnectionError(error))
            }
        }
    }

    fn is_valid(&self, link: &mut Link) -> Result<(), Self::Error> {
        if link.used.elapsed() < IDLE {
            return Ok(());
        }
        link.conn.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        std::thread::panicking() || link.conn.is_broken()
    }
}

/// Says that a connection was lost, or that none could be opened. How often that fails in a row is told ever more seldom: r2d2 goes on
/// trying twice a second.
#[derive(Debug)]
struct Telling(Arc<AtomicU32>);

impl<E: Error> r2d2::HandleError<E> for Telling {
    fn handle_error(&self, error: E) {
        let error = error.to_string().replace('\n', " ");
        match self.0.load(Ordering::Relaxed) {
            0 => tracing::warn!(%error, "PostgreSQL ended a connection that lay idle"),
            in_row if in_row.is_power_of_two() => tracing::error!(%error, in_row, "PostgreSQL cannot be reached"),
            _ => {}
        }
    }
}

/// How long a silent server is believed; libpq alone would wait for the kernel's quarter of an hour. Seconds, `tcp_user_timeout` in
/// milliseconds; <https://www.postgresql.org/docs/current/libpq-connect.html>.
const PATIENCE: [(&str, &str); 5] = [
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "5000"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "3"),
    ("keepalives_count", "3"),
];
/// What a door wants besides: of several servers the one that takes writes.
const WRITES: [(&str, &str); 1] = [("target_session_attrs", "read-write")];

/// Opens a connection. Blocks.
///
/// # Errors
/// Why it could not be opened, without the address.
pub(super) fn open(address: &Secret<String>) -> diesel::ConnectionResult<PgConnection> {
    #[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
    PgConnection::establish(address.expose()).map_err(told)
}

/// Opens a connection as a door would, and closes it. Blocks.
///
/// # Errors
/// As of [`open`].
pub fn knock(address: &Secret<String>) -> diesel::ConnectionResult<()> {
    open(&of_door(address.clone())).map(drop)
}

/// The same address, with whatever it does not say itself about [`PATIENCE`].
pub fn impatient(address: Secret<String>) -> Secret<String> {
    with(&address, &PATIENCE)
}

/// The same for a door.
pub(super) fn of_door(address: Secret<String>) -> Secret<String> {
    with(&impatient(address), &WRITES)
}

fn with(address: &Secret<String>, settings: &[(&str, &str)]) -> Secret<String> {
    let mut text = address.expose().clone();
    for (name, value) in settings {
        if !text.contains(&format!("{name}=")) {
            let joint = if text.contains('?') { '&' } else { '?' };
            text += &format!("{joint}{name}={value}");
        }
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn told(address: &str) -> String {
        of_door(Secret::new(address.to_owned())).expose().clone()
    }

    #[test]
    fn an_address_says_how_long_silence_is_borne_unless_it_said_so_itself() {
        let rest = "tcp_user_timeout=5000&keepalives_idle=10&keepalives_interval=3&keepalives_count=3&target_session_attrs=read-write";
        assert_eq!(
            told("postgres://ann@db/guildhall"),
            format!("postgres://ann@db/guildhall?connect_timeout=2&{rest}")
        );
        assert_eq!(
            told("postgresql://db1:5432,db2:5433/x?connect_timeout=9"),
            format!("postgresql://db1:5432,db2:5433/x?connect_timeout=9&{rest}")
        );
    }

    #[test]
    fn nobody_waits_for_a_database_that_is_down_and_it_is_found_when_it_is_back() {
        // A port that was free a moment ago refuses; what it says later is no PostgreSQL, and so counts as down too.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let pool = Pool::new(Secret::new(format!("postgres://nobody@127.0.0.1:{port}/x")), 2);
        while pool.failed.load(Ordering::Relaxed) < DOWN {
            assert!(pool.get().is_err());
        }
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(pool.get().err().expect("down").kind().code, DATABASE_UNAVAILABLE.code);
        }
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        pool.failed.store(0, Ordering::Relaxed);
        assert!(pool.get().is_err(), "one that is believed to be up is waited for");
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}
