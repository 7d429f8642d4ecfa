//! Stopping a run.

use serde_json::json;

use super::{
    super::{
        model::{RUN_CANCEL_REQUESTED, RUN_FINISHED, Run, RunId, Status, input::CancelMode},
        queries,
    },
    attempt, clock,
    turn::{JobEnd, Turn, shown},
};
use crate::kernel::{db::Tenant, error::Result, http::IfMatch, jobs, outbox};

/// Stops a run: at once if no call is under way, or if it shall not wait for one; else when the call has ended. Asking twice changes
/// nothing.
///
/// # Errors
/// 404, 409 `run-finished`, 412.
pub(in crate::features::runs) fn cancel(
    tx: &mut Tenant<'_>,
    id: RunId,
    seen: &IfMatch,
    mode: CancelMode,
) -> Result<Run> {
    let run = queries::lock(tx.conn(), id)?;
    match run.status {
        Status::Cancelled => return shown(tx, run),
        Status::Completed | Status::Failed => return Err(RUN_FINISHED.with("state", run.status).into()),
        Status::Pending | Status::Running | Status::Waiting => {}
    }
    let asked_before = run.cancel_requested_at.is_some();
    if asked_before && mode == CancelMode::Graceful {
        return shown(tx, run);
    }
    seen.allows(run.version)?;
    let plan = attempt::plan_of(tx, &run)?;
    let mut turn = Turn::of(tx, run, plan.unwrap_or_default())?;
    turn.run.cancel_requested_at.get_or_insert(turn.now);
    turn.run.cancel_mode = Some(mode.word().to_owned());
    turn.event("run.cancel_requested", None, json!({ "mode": mode }));
    if mode == CancelMode::Graceful {
        turn.held = queries::steps::at_work(turn.tx.conn(), id)?;
    }
    if turn.held.is_empty() {
        turn.cancel()?;
    } else {
        // Drops what waits, the clock included, which is set again for the end of the grace; the workers are told. One that was lost is not:
        // who gets its step finds out.
        jobs::cancel(turn.tx, id.uuid())?;
        turn.alarm = Some(clock::alarm(&turn.run, turn.now));
    }
    let run = shown(turn.tx, turn.run.clone())?;
    outbox::emit(turn.tx, RUN_CANCEL_REQUESTED.of(id, &run).noting("mode", Some(mode)))?;
    turn.close(&JobEnd::Keep)
}
