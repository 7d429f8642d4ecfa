//! Jobs, where they wait, and how much of them may.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::kernel::{
    id::{JobId, WorkspaceId},
    wake::Signal,
};

crate::problems! {
    /// The workspace has as much work waiting as its plan lets it.
    /// Cause: runs or jobs are started faster than the plan lets them be done.
    /// Fix: wait until some of it is done; `queued` and `limit` say how much there is.
    pub QUEUE_FULL = 429, "queue-full", "The queue is full";
}

/// Where jobs wait. Lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Steps of runs.
    Steps,
    /// Webhook endpoints with something to send.
    Deliveries,
    /// Those of them that failed twice in a row.
    DeliveriesSlow,
    /// Mails.
    Mail,
    /// The house's own chores.
    System,
    /// Those of them that wait for others, or take long.
    Slow,
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 6] = [
        Lane::Steps,
        Lane::Deliveries,
        Lane::DeliveriesSlow,
        Lane::Mail,
        Lane::System,
        Lane::Slow,
    ];

    /// As the database spells it.
    pub const fn name(self) -> &'static str {
        self.signal().name()
    }

    /// What a commit that adds to it gives.
    pub const fn signal(self) -> Signal {
        match self {
            Lane::Steps => Signal::Steps,
            Lane::Deliveries => Signal::Deliveries,
            Lane::DeliveriesSlow => Signal::DeliveriesSlow,
            Lane::Mail => Signal::Mail,
            Lane::System => Signal::System,
            Lane::Slow => Signal::Slow,
        }
    }

    /// The lane of that name.
    pub fn named(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

/// What to do about a job that waits already. One that is leased is done again in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExists {
    /// Its due time stays.
    Keep,
    /// The sooner due time holds.
    Sooner,
    /// The new due time holds.
    Replace,
}

impl OnExists {
    pub(in crate::kernel) const fn name(self) -> &'static str {
        match self {
            OnExists::Keep => "keep",
            OnExists::Sooner => "sooner",
            OnExists::Replace => "replace",
        }
    }
}

/// A job that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// Where it waits, if it is new.
    pub lane: Lane,
    /// What is to be done: `run.step`.
    pub kind: &'static str,
    /// The subject's own id, or a UUIDv5 of subject and kind.
    pub job_id: JobId,
    /// What it is cancelled with: the run, the endpoint.
    pub group_id: Uuid,
    /// 1..=10, 5 by default. Orders only inside a workspace: each step is worth 30 seconds.
    pub priority: i16,
    /// When; `None`: at once.
    pub due: Option<DateTime<Utc>>,
    /// What to do about one that waits already.
    pub on_exists: OnExists,
    /// The highest epoch that the subject has stored, so that a later life of the same id never repeats one. `None` for subjects that
    /// store none.
    pub floor_epoch: Option<i64>,
}

impl Push {
    /// A job to be done at once, alone in its group, about a subject that stores no epoch.
    pub fn now(lane: Lane, kind: &'static str, job_id: JobId) -> Push {
        Push {
            lane,
            kind,
            job_id,
            group_id: job_id.0,
            priority: 5,
            due: None,
            on_exists: OnExists::Keep,
            floor_epoch: None,
        }
    }
}

/// A leased job. Copies know together whether it was settled, or may have been.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names the subject.
    pub id: JobId,
    /// What is to be done.
    pub kind: &'static str,
    /// Where it waited.
    pub lane: Lane,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// What it is cancelled with.
    pub group_id: Uuid,
    /// The number of this lease. Every write of the holder is conditional on it.
    pub epoch: i64,
    /// How many leases in a row were lost before this one.
    pub recoveries: i32,
    settled: Arc<AtomicBool>,
    doubted: Arc<AtomicBool>,
}

impl Job {
    pub(super) fn new(
        id: JobId,
        kind: &'static str,
        lane: Lane,
        workspace: WorkspaceId,
        group_id: Uuid,
        epoch: i64,
        recoveries: i32,
    ) -> Job {
        Job {
            id,
            kind,
            lane,
            workspace,
            group_id,
            epoch,
            recoveries,
            settled: Arc::default(),
            doubted: Arc::default(),
        }
    }

    /// True once the handler has given the lease up by [`finish`](super::finish) or [`retry`](super::retry).
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    /// Not ended after all: the transaction that was to do it failed, or nobody knows.
    pub(super) fn unsettle(&self) {
        if self.settled.swap(false, Ordering::SeqCst) {
            self.doubted.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a transaction that was to end it came as far as its commit, and nobody knows if that was made.
    pub(super) fn may_have_ended(&self) -> bool {
        self.doubted.load(Ordering::SeqCst)
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }

    /// Too many leases in a row were lost: something about it kills workers.
    pub fn is_exhausted(&self) -> bool {
        self.recoveries > MOST_RECOVERIES
    }
}

/// So many leases may be lost in a row.
pub(super) const MOST_RECOVERIES: i32 = 5;

/// The lease was lost: somebody else does the job now, and this transaction must not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// What [`Fenced`] says.
pub const FENCED: &str = "the lease was lost; somebody else has the job";

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FENCED)
    }
}

impl std::error::Error for Fenced {}

/// How much of a workspace waits and runs in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready, and waiting for a worker.
    pub ready: i32,
    /// With a worker.
    pub running: i32,
    /// The most that may wait.
    pub max_ready: i32,
    /// The most that may run at once.
    pub max_running: i32,
}

/// How much of a workspace may wait and run in a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// At once; 0 stops the lane.
    pub max_running: i32,
    /// Waiting.
    pub max_ready: i32,
    /// Its share beside others: 2 gets twice of what 1 gets.
    pub weight: f32,
}
