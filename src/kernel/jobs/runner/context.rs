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

/// For so long what came of a job is tried to be written down, with pauses that begin at a fifth of a second and grow to eight times that.
const INSISTENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

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
    /// sent for once more because of that. Without its lease the handler is dropped meanwhile, unless it may have given that up itself.
    ///
    /// # Errors
    /// As `work`.
    pub async fn insist<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        insist(&self.job, (INSISTENCE, PAUSE), work).await
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

async fn insist<T, F>(job: &Job, (whole, pause): (Duration, Duration), work: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let mut tries = 0_u32;
    loop {
        let problem = match work().await {
            Err(Error::Refused(problem)) if problem.kind().status == 503 && begun.elapsed() < whole => problem,
            known => return known,
        };
        // A transaction that ended the job and came to nothing has not ended it.
        job.unsettle();
        tries += 1;
        if tries == 5 {
            tracing::warn!(kind = job.kind, job = ?job.id, code = problem.kind().code,
                "the database has no time for a job that cannot wait; it is tried again");
        }
        tokio::time::sleep(pause * (1 << (tries - 1).min(3))).await;
    }
}

/// What a job's log lines and provider calls are found by.
pub(super) fn request_id(db: &Db) -> Arc<str> {
    RequestId::new(db.clock().now()).to_string().into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::kernel::{
        error::{DATABASE_UNAVAILABLE, NOT_FOUND},
        id::{JobId, WorkspaceId},
        jobs::Lane,
    };

    #[tokio::test]
    async fn what_came_of_a_job_is_tried_to_be_written_down_until_its_time_is_over() {
        let id = JobId(uuid::Uuid::from_u128(1));
        let job = Job::new(id, "test", Lane::System, WorkspaceId::PLATFORM, id.0, 7, 0);
        let tries = Cell::new(0);
        // As by a transaction that ends the job, and fails when it commits.
        let fails = async |times: u32| {
            assert!(!job.is_settled(), "an end that came to nothing is none");
            job.settle();
            tries.set(tries.get() + 1);
            match tries.get() <= times {
                true => Err(DATABASE_UNAVAILABLE.into()),
                false => Ok(()),
            }
        };
        let long = (INSISTENCE, Duration::ZERO);
        insist(&job, long, || fails(30)).await.expect("in the end");
        assert!(job.is_settled() && job.may_have_ended());
        assert_eq!(tries.get(), 31);

        job.unsettle();
        let short = (Duration::from_millis(50), Duration::from_millis(1));
        insist(&job, short, || fails(u32::MAX))
            .await
            .expect_err("away for longer");

        tries.set(0);
        let refused = insist(&job, long, || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(NOT_FOUND.into())
        });
        assert!(refused.await.is_err_and(|error| error.is(NOT_FOUND)));
        assert_eq!(tries.get(), 1, "a refusal is an answer");
    }
}
