//! Time that runs out: in the queue, at work, in all, and after somebody asked a run to stop.

use chrono::{DateTime, Duration, Utc};

use super::{
    super::{
        model::{
            Status,
            rows::{Failure, Row},
        },
        queries,
    },
    turn::{JobEnd, Turn},
};
use crate::kernel::{
    db::Tenant,
    error::{Error, NOT_FOUND, Result},
    id::Id,
    jobs::{self, Job},
};

/// How long a call that is under way may go on after its run was asked to stop.
pub(in crate::features::runs) const GRACE: Duration = Duration::seconds(10);

/// When the clock must look at a run next.
pub(super) fn alarm(run: &Row, now: DateTime<Utc>) -> DateTime<Utc> {
    let by_state = match (run.status, run.cancel_requested_at) {
        (_, Some(asked)) => Some(asked + GRACE),
        (Status::Pending, None) => Some(run.created_at + Duration::seconds(i64::from(run.queue_timeout_seconds))),
        (Status::Running, None) => {
            let left = Duration::seconds(i64::from(run.timeout_seconds)) - Duration::milliseconds(run.active_ms);
            Some(run.active_since.unwrap_or(now) + left)
        }
        _ => None,
    };
    by_state.unwrap_or(run.expires_at).min(run.expires_at)
}

/// Looks at the time: ends the run if some of it ran out, else comes back.
///
/// # Errors
/// 503; a lost lease.
pub(in crate::features::runs) fn strike(tx: &mut Tenant<'_>, job: &Job) -> Result<()> {
    let run = match queries::lock(tx.conn(), Id::from_uuid(job.group_id)).map_err(Error::from) {
        Ok(run) if !run.status.is_final() => run,
        Ok(_) => return jobs::finish(tx, job),
        Err(error) if error.is(NOT_FOUND) => return jobs::finish(tx, job),
        Err(error) => return Err(error),
    };
    let now = tx.now()?;
    let due = alarm(&run, now);
    if due > now {
        return jobs::retry(tx, job, Some(due));
    }
    let asked_to_stop = run.cancel_requested_at.is_some();
    let failure = match run.status {
        _ if run.expires_at <= now => Failure::of("timeout", "The run existed for too long."),
        Status::Pending => Failure::of(
            "queue_timeout",
            format!("It waited in the queue for {} s.", run.queue_timeout_seconds),
        ),
        _ => Failure::of("timeout", format!("It worked for {} s.", run.timeout_seconds)),
    };
    let plan = super::attempt::plan_of(tx, &run)?;
    let mut turn = Turn::of(tx, run, plan.unwrap_or_default())?;
    if asked_to_stop {
        turn.cancel()?
    } else {
        turn.fail(&failure)?
    }
    turn.close(&JobEnd::Finish(job)).map(drop)
}
