//! What is done after a commit. A job is a row that commits with the work that wants it; a worker leases it, renews the lease from a thread
//! of its own, and records the outcome under the lease's epoch, so that a worker that lost its lease can change nothing any more.

mod model;
mod queries;
mod runner;
mod sweep;

pub use model::{Depth, FENCED, Fenced, Job, Lane, Limits, OnExists, PROBLEMS, Push, QUEUE_FULL};
pub use runner::{JobContext, Runner, Stop, Worker};
pub(in crate::kernel) use sweep::sweep;

use chrono::{DateTime, Utc};
use diesel::result::DatabaseErrorKind;
use uuid::Uuid;

use crate::kernel::{
    db::{Kernel, Tenant},
    error::{Error, Result},
    id::WorkspaceId,
    metrics,
};

/// Makes sure that the job is done after this transaction. Comes last in it: the workspace's row of the lane stays locked until the commit.
///
/// # Errors
/// 429 `queue-full`.
pub fn push(tx: &mut Tenant<'_>, push: Push) -> Result<()> {
    tx.wake(push.lane.signal());
    queries::push(tx.conn(), &push).map_err(queue_full)
}

/// The same from a transaction outside of any workspace. What happens before a workspace is known belongs to `platform`.
///
/// # Errors
/// 429 `queue-full`.
pub(in crate::kernel) fn push_for(tx: &mut Kernel<'_>, workspace: WorkspaceId, push: Push) -> Result<()> {
    queries::enter(tx.conn(), workspace)?;
    tx.wake(push.lane.signal());
    queries::push(tx.conn(), &push).map_err(queue_full)
}

/// The job is done. One that was pushed meanwhile is queued again. Comes last in the transaction that records the result.
///
/// # Errors
/// [`Fenced`] when the lease was lost: the transaction must roll back.
pub fn finish(tx: &mut Tenant<'_>, job: &Job) -> Result<()> {
    tx.wake(job.lane.signal());
    held(job, queries::finish(tx.conn(), job)?)
}

/// The job is to be done again at `due` (`None`: at once). Lost leases are no longer counted against it. Comes last in the transaction.
///
/// # Errors
/// [`Fenced`] when the lease was lost: the transaction must roll back.
pub fn retry(tx: &mut Tenant<'_>, job: &Job, due: Option<DateTime<Utc>>) -> Result<()> {
    retry_in(tx, job, due, job.lane)
}

/// The same in another lane.
///
/// # Errors
/// As [`retry`].
pub fn retry_in(tx: &mut Tenant<'_>, job: &Job, due: Option<DateTime<Utc>>, lane: Lane) -> Result<()> {
    tx.wake(job.lane.signal());
    tx.wake(lane.signal());
    held(job, queries::retry(tx.conn(), job, due, lane)?)
}

/// [`retry`] for a subject whose rows do not tell whether it was done before: a lease that is gone was given up by this job itself, if it has
/// tried to and did not hear of the commit.
///
/// # Errors
/// As [`retry`].
pub fn retry_unless_done(tx: &mut Tenant<'_>, job: &Job, due: Option<DateTime<Utc>>) -> Result<()> {
    tx.wake(job.lane.signal());
    let done = queries::retry(tx.conn(), job, due, job.lane)?;
    held(job, done || job.may_have_ended())
}

/// Drops what waits of a group and asks the workers to stop what they have of it. Answers how many were dropped and asked.
///
/// # Errors
/// The database's.
pub fn cancel(tx: &mut Tenant<'_>, group_id: Uuid) -> Result<(i32, i32)> {
    Ok(queries::cancel(tx.conn(), group_id)?)
}

/// How much of the workspace waits and runs in a lane, and how much may. A lane that was never used has nothing.
///
/// # Errors
/// The database's.
pub fn depth(tx: &mut Tenant<'_>, lane: Lane) -> Result<Depth> {
    Ok(queries::depth(tx.conn(), lane)?)
}

/// Sets how much of a workspace may run and wait in a lane: when it is made, and when a plan change is applied.
///
/// # Errors
/// The database's.
pub(in crate::kernel) fn limit(tx: &mut Kernel<'_>, workspace: WorkspaceId, lane: Lane, limits: Limits) -> Result<()> {
    tx.wake(lane.signal());
    Ok(queries::limit(tx.conn(), workspace, lane, limits)?)
}

/// The job was ended by a transaction of which nobody heard: its subject says so.
pub fn ended_unheard(job: &Job) {
    job.settle();
}

/// Takes the subject's own lost lease for what it is.
fn held(job: &Job, held: bool) -> Result<()> {
    if held {
        job.settle();
        Ok(())
    } else {
        metrics::STEP_FENCED.inc();
        Err(Error::Broken(Fenced.into()))
    }
}

/// diesel shows no SQLSTATE, so the function says it in the message too.
fn queue_full(error: diesel::result::Error) -> Error {
    let numbers = match &error {
        diesel::result::Error::DatabaseError(DatabaseErrorKind::Unknown, about) => about
            .message()
            .strip_prefix("GH001: the queue is full: ")
            .and_then(|numbers| numbers.split_once(" of "))
            .and_then(|(queued, limit)| Some((queued.parse::<i64>().ok()?, limit.parse::<i64>().ok()?))),
        _ => None,
    };
    match numbers {
        Some((queued, limit)) => QUEUE_FULL
            .because(format!("{queued} of {limit} are waiting already."))
            .with("queued", queued)
            .with("limit", limit)
            .retry_after(std::time::Duration::from_secs(5))
            .into(),
        None => error.into(),
    }
}
