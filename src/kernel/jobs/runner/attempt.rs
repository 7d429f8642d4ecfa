//! One call of a handler, and how it ended.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{JobContext, Work};
use crate::kernel::{error::Error, jobs::Fenced, metrics, telemetry};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The handler ended the job.
    Done,
    /// The lease went to somebody else.
    Lost,
    /// The database is busy or away: nothing that the job did.
    Busy,
    /// The handler failed or panicked, or forgot to end the job.
    Broken,
    /// There is no handler.
    Unknown,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Lost => "lost",
            Outcome::Busy => "busy",
            Outcome::Broken => "broken",
            Outcome::Unknown => "unknown",
        }
    }
}

/// Has a handler do its job. A panic is an outcome like another.
pub(super) async fn attempt(work: &Work, context: JobContext) -> Outcome {
    let (job, request_id) = (context.job.clone(), context.request_id.clone());
    let lost = context.clone();
    let result = tokio::select! {
        result = AssertUnwindSafe(work(context)).catch_unwind() => result,
        () = lost.lost() => return Outcome::Lost,
    };
    match result {
        Ok(Ok(())) if job.is_settled() => Outcome::Done,
        Ok(Ok(())) => {
            tracing::error!(kind = job.kind, job = ?job.id, %request_id, "the handler returned and left its job open");
            Outcome::Broken
        }
        Ok(Err(Error::Broken(error))) if error.is::<Fenced>() => {
            tracing::info!(kind = job.kind, job = ?job.id, %request_id, "{error}");
            Outcome::Lost
        }
        Ok(Err(Error::Refused(problem))) if problem.kind().status == 503 => Outcome::Busy,
        Ok(Err(error)) => {
            tracing::error!(kind = job.kind, job = ?job.id, %request_id, recoveries = job.recoveries, %error, "a job broke");
            if let Error::Broken(error) = &error {
                sentry::capture_event(telemetry::event_of(error));
            }
            Outcome::Broken
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            metrics::PANICS.with_label_values(&["job"]).inc();
            tracing::error!(kind = job.kind, job = ?job.id, %request_id, panic = text.unwrap_or("?"), "a job panicked");
            Outcome::Broken
        }
    }
}
