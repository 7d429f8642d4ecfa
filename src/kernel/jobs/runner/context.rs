//! What a handler gets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    db::Db,
    entitlements::Plan,
    error::{Error, Result},
    id::RequestId,
    jobs::Job,
    trace::Trace,
};

/// For so long what came of a job is tried to be written down.
const INSISTENCE: Duration = Duration::from_secs(60);

/// What a handler is asked to do, short of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing: go on.
    No,
    /// The process ends soon: come to a good place to stop.
    Draining,
    /// Somebody cancelled the job's group: stop, and record that.
    Cancelled,
    /// The lease is gone: whatever is recorded from here on rolls back. The handler is dropped.
    Lost,
}

/// A leased job, and what it takes to do it.
#[derive(Clone)]
pub struct JobContext {
    /// The database.
    pub db: Db,
    /// The job. [`jobs::finish`](super::super::finish) or [`jobs::retry`](super::super::retry) ends it.
    pub job: Job,
    pub(super) plan: Arc<Plan>,
    pub(super) request_id: Arc<str>,
    pub(super) stop: watch::Receiver<Stop>,
}

impl JobContext {
    /// A fresh scope in the job's workspace, good for one transaction. Actor: the job.
    pub fn scope(&self) -> Scope {
        self.grant(Call::internal(self.job.kind, self.request_id.clone()))
    }

    /// The same as part of the request that caused the job, as its subject's row remembers it.
    pub fn scope_within(&self, request_id: Option<&str>, trace: Option<&str>) -> Scope {
        let request_id = request_id.map_or_else(|| self.request_id.clone(), Arc::from);
        let mut call = Call::internal(self.job.kind, request_id);
        call.trace = trace.and_then(Trace::continued).unwrap_or_default();
        self.grant(call)
    }

    fn grant(&self, call: Call) -> Scope {
        let actor = Actor::Job(self.job.id);
        Scope::grant(
            self.job.workspace,
            actor,
            Reach::default(),
            self.plan.clone(),
            Arc::new(call),
        )
    }

    /// What the handler is asked at this moment.
    pub fn stop(&self) -> Stop {
        *self.stop.borrow()
    }

    /// Does it again for as long as the database is away or has no time for it, a minute at most: what came from elsewhere must not be asked or
    /// sent for once more because of that. Without its lease the handler is dropped meanwhile.
    ///
    /// # Errors
    /// As `work`.
    pub async fn insist<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begun = Instant::now();
        for tries in 1.. {
            match work().await {
                Err(Error::Refused(problem)) if problem.kind().status == 503 && begun.elapsed() < INSISTENCE => {
                    if tries == 5 {
                        tracing::warn!(kind = self.job.kind, job = ?self.job.id, code = problem.kind().code,
                            "what came of a job cannot be written down yet; it is tried again");
                    }
                    tokio::time::sleep(Duration::from_millis(100 << tries.min(4))).await;
                }
                known => return known,
            }
        }
        unreachable!("it is tried until there is an answer")
    }

    /// Waits until the job is cancelled. Never ends while it is not.
    pub async fn cancelled(&self) {
        self.told(|stop| matches!(stop, Stop::Cancelled | Stop::Lost)).await;
    }

    /// Waits until the process is about to end.
    pub async fn draining(&self) {
        self.told(|stop| stop != Stop::No).await;
    }

    pub(super) async fn lost(&self) {
        self.told(|stop| stop == Stop::Lost).await;
    }

    async fn told(&self, what: impl Fn(Stop) -> bool) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| what(*stop)).await.is_err() {
            // Nobody is left who could tell.
            std::future::pending().await
        }
    }
}

/// What a job's log lines and provider calls are found by.
pub(super) fn request_id(db: &Db) -> Arc<str> {
    RequestId::new(db.clock().now()).to_string().into()
}
