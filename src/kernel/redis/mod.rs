//! The one Redis client. Redis is optional: nothing that must be remembered lives there, so without it every caller has a way of its
//! own, and the worst that a dead or hanging Redis can do is to cost each caller a few milliseconds until the breaker opens.

mod hints;
#[cfg(test)]
pub(in crate::kernel) mod testing;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use deadpool_redis::{
    Connection, Manager, Pool,
    redis::{
        self, AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs,
        aio::MultiplexedConnection,
    },
};
use tokio::runtime::Handle;

use self::hints::Hints;
pub use self::hints::{Hint, Listener};
use crate::kernel::{
    breaker::{Breaker, Rules},
    metrics,
};

/// The longest that a connection may take to be made, or as long as an answer if that is longer. No call waits for it longer than for an
/// answer; it is made for whoever comes next.
const CONNECT: Duration = Duration::from_millis(100);
/// No key outlives this.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const RULES: Rules = Rules {
    failures: 3,
    within: Duration::from_secs(1),
    rest: Duration::from_secs(5),
};

/// Redis did not help: there is none, it is away, it is too slow, or it said something that makes no sense here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis is not available")
    }
}

impl std::error::Error for Unavailable {}

/// How it stands with Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This deployment has none.
    Off,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// A handle on the deployment's Redis. Clones share one connection.
#[derive(Clone)]
pub struct Redis {
    server: Option<Arc<Server>>,
    hints: Arc<Hints>,
}

struct Server {
    client: Client,
    pool: Pool,
    prefix: Box<str>,
    /// The longest that anybody waits for an answer.
    budget: Duration,
    breaker: Breaker,
    live: Mutex<Option<MultiplexedConnection>>,
    /// One connects; who comes meanwhile waits for that one.
    connecting: tokio::sync::Mutex<()>,
    /// Where connections live: the runtime of whoever opened the client, which outlasts those that merely use it.
    home: Option<Handle>,
}

/// A Lua script, sent once and named by its hash from then on.
pub struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// A script of this source.
    pub const fn new(source: &'static str) -> Script {
        Script {
            source,
            hash: OnceLock::new(),
        }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.source.as_bytes());
            hex::encode(hash)
        })
    }
}

impl Redis {
    /// A client of the Redis at `url`, or of none. Nothing is reached yet. Every key and channel begins with `prefix`, and nobody waits
    /// for an answer longer than `budget`: a quarter of a second at most, or the breaker would not see three failures in time.
    ///
    /// # Errors
    /// A URL that cannot be read.
    pub fn open(url: Option<&str>, prefix: &str, budget: Duration) -> Result<Redis> {
        let home = Handle::try_current().ok();
        let server = url.map(|url| Server::new(url, prefix, budget, home)).transpose()?;
        Ok(Redis {
            server: server.map(Arc::new),
            hints: Arc::default(),
        })
    }

    /// No Redis: every call answers [`Unavailable`], and hints stay in the process.
    pub fn off() -> Redis {
        Redis {
            server: None,
            hints: Arc::default(),
        }
    }

    /// How it stood at the last call.
    pub fn state(&self) -> State {
        match &self.server {
            None => State::Off,
            Some(server) if server.breaker.is_open() => State::Down,
            Some(_) => State::Up,
        }
    }

    /// Asks, and says how it stands.
    pub async fn check(&self) -> State {
        match self.ask::<String>("check", |_| redis::cmd("PING")).await {
            Ok(_) => State::Up,
            Err(Unavailable) if self.server.is_none() => State::Off,
            Err(Unavailable) => State::Down,
        }
    }

    /// What is stored there. What cannot be read as a `T` is a miss.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn get<T: FromRedisValue>(&self, key: &str) -> Result<Option<T>, Unavailable> {
        let value: redis::Value = self.ask("get", |prefix| command("GET", prefix, key)).await?;
        Ok(redis::from_redis_value(value).ok())
    }

    /// Stores a value for so long, a day at most.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn set(&self, key: &str, value: impl ToRedisArgs, life: Duration) -> Result<(), Unavailable> {
        let life = life.min(LONGEST_LIFE).as_millis().max(1) as u64;
        self.ask("set", |prefix| {
            let mut set = command("SET", prefix, key);
            set.arg(value).arg("PX").arg(life);
            set
        })
        .await
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.ask("delete", |prefix| command("DEL", prefix, key)).await
    }

    /// Runs a script. It must give every key that it writes a life of a day at most.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[impl ToRedisArgs],
    ) -> Result<T, Unavailable> {
        let call = |prefix: &str, verb: &str, text: &str| {
            let mut call = redis::cmd(verb);
            call.arg(text).arg(keys.len());
            keys.iter().for_each(|key| {
                call.arg(format!("{prefix}:{key}"));
            });
            arguments.iter().for_each(|argument| {
                call.arg(argument);
            });
            call
        };
        let server = self.server.as_ref().ok_or(Unavailable)?;
        let work = async {
            match server.query(call(&server.prefix, "EVALSHA", script.hash())).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    server.query(call(&server.prefix, "EVAL", script.source)).await
                }
                answered => answered,
            }
        };
        server.guarded("script", work).await
    }

    async fn ask<T: FromRedisValue>(
        &self,
        what: &'static str,
        command: impl FnOnce(&str) -> Cmd,
    ) -> Result<T, Unavailable> {
        let server = self.server.as_ref().ok_or(Unavailable)?;
        server.guarded(what, server.query(command(&server.prefix))).await
    }
}

fn command(verb: &str, prefix: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(format!("{prefix}:{key}"));
    command
}

impl Server {
    fn new(url: &str, prefix: &str, budget: Duration, home: Option<Handle>) -> Result<Server> {
        let patience = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT.max(budget)))
            .set_response_timeout(Some(budget))
            .set_pipeline_buffer_size(1_000);
        let unreadable = "redis.url (REDIS_URL) is not an address of the form redis://host:port/0";
        let manager = Manager::new_with_config(url, patience).context(unreadable)?;
        Ok(Server {
            client: Client::open(url).context(unreadable)?,
            pool: Pool::builder(manager).max_size(1).build().context(unreadable)?,
            prefix: prefix.into(),
            budget,
            breaker: Breaker::new(RULES),
            live: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            home,
        })
    }

    /// Lets the work through if the breaker does, bounds its time and counts how it went.
    async fn guarded<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Unavailable> {
        let count = |outcome| {
            metrics::DEPENDENCY_CALLS
                .with_label_values(&["redis", what, outcome])
                .inc();
        };
        let begun = Instant::now();
        let Some(pass) = self.breaker.enter(begun) else {
            count("refused");
            return Err(Unavailable);
        };
        let answer = tokio::time::timeout(self.budget, work).await;
        let took = begun.elapsed();
        metrics::DEPENDENCY_SECONDS
            .with_label_values(&["redis"])
            .observe(took.as_secs_f64());
        match answer {
            Ok(Ok(value)) => {
                pass.good();
                count("ok");
                Ok(value)
            }
            Ok(Err(error)) => {
                count("failed");
                self.failed(pass, &error.to_string());
                Err(Unavailable)
            }
            Err(_late) => {
                count("late");
                self.failed(pass, "no answer in time");
                Err(Unavailable)
            }
        }
    }

    fn failed(&self, pass: crate::kernel::breaker::Pass<'_>, why: &str) {
        tracing::debug!(why, "a call to Redis failed");
        if pass.bad(Instant::now()) {
            tracing::warn!(
                why,
                rest_seconds = RULES.rest.as_secs(),
                "Redis is left alone for a while"
            );
            // A connection through a broken network would never say so: the probe makes a new one.
            self.forget();
        }
    }

    async fn query<T: FromRedisValue>(self: &Arc<Server>, command: Cmd) -> redis::RedisResult<T> {
        let mut connection = self.connection().await?;
        match command.query_async(&mut connection).await {
            // Closed behind our back, as a restarted server does: that alone is no reason to leave it alone.
            Err(error) if error.is_unrecoverable_error() => {
                self.forget();
                command.query_async(&mut self.connection().await?).await
            }
            answered => answered,
        }
    }

    fn forget(&self) {
        *self.live.lock().expect("no panic while holding it") = None;
    }

    fn live(&self) -> Option<MultiplexedConnection> {
        self.live.lock().expect("no panic while holding it").clone()
    }

    async fn connection(self: &Arc<Server>) -> redis::RedisResult<MultiplexedConnection> {
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let failure = |what: String| redis::RedisError::from((ErrorKind::Io, "cannot connect", what));
        // Made by a task of its own, at home: whoever asked may lose patience, and may run on a runtime that ends before this one.
        let server = self.clone();
        let made = self.spawn(async move {
            let _one = server.connecting.lock().await;
            if let Some(live) = server.live() {
                return Ok(live);
            }
            let made = Connection::take(server.pool.get().await?);
            *server.live.lock().expect("no panic while holding it") = Some(made.clone());
            Ok::<_, deadpool_redis::PoolError>(made)
        });
        let made = made.ok_or_else(|| failure("there is no runtime".into()))?;
        match made.await {
            Ok(made) => made.map_err(|error| failure(error.to_string())),
            Err(ended) => Err(failure(ended.to_string())),
        }
    }

    /// Runs something in the background, at home.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<T>> {
        let home = self.home.clone().or_else(|| Handle::try_current().ok())?;
        Some(home.spawn(work))
    }
}
