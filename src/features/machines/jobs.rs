//! Counts the machines of a workspace, for its plan: each activation by itself would make all of them wait for one row.

use chrono::TimeDelta;

use super::queries;
use crate::kernel::{
    db::Tenant,
    entitlements,
    error::Result,
    id::{JobId, WorkspaceId},
    jobs::{JobContext, Lane, Push, Runner, finish, push},
    outbox::{Event, Relay},
};

/// What the job is called.
const KIND: &str = "machines.count";
/// A workspace is counted so long after something changed, however much changes meanwhile.
const AFTER: TimeDelta = TimeDelta::minutes(1);

/// Counts in this process.
pub fn register(runner: &mut Runner, relay: &mut Relay) {
    relay.hand_to("machines", follow);
    runner.on(KIND, Lane::System, count);
}

/// Has the workspace counted soon if any of its machines came or went. The operator's own has no limits.
fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    let counts = |event: &Event| event.kind.starts_with("machine.") || event.kind == "license.revoked";
    if tx.workspace() == WorkspaceId::PLATFORM || !events.iter().any(counts) {
        return Ok(());
    }
    let due = tx.now()? + AFTER;
    let job = JobId::of(tx.workspace().uuid(), KIND);
    push(
        tx,
        Push {
            due: Some(due),
            ..Push::now(Lane::System, KIND, job)
        },
    )
}

async fn count(context: JobContext) -> Result<()> {
    let job = context.job.clone();
    context
        .db
        .tenant(context.scope(), move |tx| {
            let machines = queries::count(tx.conn())?;
            entitlements::recount(tx, "machines", machines)?;
            finish(tx, &job)
        })
        .await
}
