//! Whether this process should get traffic, and what it is doing without.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::kernel::{
    db::Db,
    readiness::Readiness,
    redis::{Redis, State},
    standing::Standing,
};

/// How long a check is believed.
const BELIEF: Duration = Duration::from_secs(2);
/// How long a check may take: less than the second that a prober waits.
const PATIENCE: Duration = Duration::from_millis(800);

/// How it stands with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HealthStatus)]
pub enum Status {
    /// Everything is there.
    Ready,
    /// It serves, but something that it uses is away.
    Degraded,
    /// It should get no traffic: it has not booted yet, or is about to end.
    Unready,
}

/// How it stands with one thing that the process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// This deployment has none.
    Off,
}

impl Dependency {
    fn of(standing: &Standing) -> Dependency {
        match standing.is_up() {
            true => Dependency::Up,
            false => Dependency::Down,
        }
    }
}

/// How it stands with everything that the process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Dependencies {
    /// Without it nearly every request is answered with 503.
    pub database: Dependency,
    /// Without it rate limits are judged by each process alone, and other processes learn of changes a second later.
    pub redis: Dependency,
    /// Without it mails wait. By the last one that this process tried to send.
    pub mail: Dependency,
    /// Without it nothing can be bought or changed, and what was paid takes effect later. By the last call that this process made.
    pub stripe: Dependency,
}

impl Dependencies {
    /// None is missing that this deployment has, but for Redis, which it should have.
    fn are_all_there(self) -> bool {
        self.database == Dependency::Up
            && self.redis == Dependency::Up
            && self.mail != Dependency::Down
            && self.stripe != Dependency::Down
    }
}

/// Looks at what the process uses: at most every two seconds, and once however many ask.
pub struct Health {
    pub(super) readiness: Arc<Readiness>,
    pub(super) db: Db,
    pub(super) redis: Redis,
    pub(super) mail: Standing,
    /// None where this deployment sells nothing.
    pub(super) stripe: Option<Standing>,
    pub(super) last: tokio::sync::Mutex<Option<(Instant, Dependencies)>>,
}

impl Health {
    /// How it stands. A lost dependency only degrades: were every process to leave the balancer at once, callers would get its page
    /// instead of our answer.
    pub async fn status(&self) -> Status {
        if !self.readiness.is_ready() {
            return Status::Unready;
        }
        match self.dependencies().await.are_all_there() {
            true => Status::Ready,
            false => Status::Degraded,
        }
    }

    /// How it stands with each thing.
    pub async fn dependencies(&self) -> Dependencies {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = *last
            && at.elapsed() < BELIEF
        {
            return found;
        }
        let (database, redis) =
            futures_util::join!(tokio::time::timeout(PATIENCE, self.db.answers()), self.redis.check());
        let found = Dependencies {
            database: match database {
                Ok(true) => Dependency::Up,
                Ok(false) | Err(_) => Dependency::Down,
            },
            redis: match redis {
                State::Up => Dependency::Up,
                State::Down => Dependency::Down,
                State::Off => Dependency::Off,
            },
            mail: Dependency::of(&self.mail),
            stripe: self.stripe.as_ref().map_or(Dependency::Off, Dependency::of),
        };
        *last = Some((Instant::now(), found));
        found
    }
}
