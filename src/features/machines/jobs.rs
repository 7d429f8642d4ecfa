//! Counts the machines of a workspace, for its plan: each activation by itself would make all of them wait for one row. And ends those that
//! give no sign of life any more, though nobody wants their place.

use chrono::TimeDelta;

use super::{queries, service};
use crate::{
    features::licenses::DRIFT,
    kernel::{
        db::Tenant,
        entitlements,
        error::Result,
        id::{JobId, LicenseId, WorkspaceId},
        jobs::{JobContext, Lane, Push, Runner, finish, push, retry},
        outbox::{Event, Relay},
    },
};

/// What the job is called.
const KIND: &str = "machines.count";
/// A workspace is counted so long after something changed, however much changes meanwhile.
const AFTER: TimeDelta = TimeDelta::minutes(1);

/// What the job is called that ends what is overdue.
const SWEEP: &str = "machines.sweep";
/// A workspace is swept this often while any of its machines is to give signs of life,
const OFTEN: TimeDelta = TimeDelta::minutes(15);
/// and this often while it has others: a policy may ask for them one day.
const SELDOM: TimeDelta = TimeDelta::days(1);
/// Licences that one look finds.
const AT_ONCE: i64 = 500;

/// Counts in this process.
pub fn register(runner: &mut Runner, relay: &mut Relay) {
    relay.hand_to("machines", follow);
    runner.on(KIND, Lane::System, count);
    runner.on(SWEEP, Lane::System, sweep);
}

/// Has the workspace counted soon if any of its machines came or went, and swept later if any came. The operator's own has no limits.
fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    let comes = |event: &Event| matches!(event.kind.as_str(), "machine.activated" | "machine.resurrected");
    if events.iter().any(comes) {
        let due = tx.now()? + OFTEN;
        let job = JobId::of(tx.workspace().uuid(), SWEEP);
        let sweep = Push {
            due: Some(due),
            ..Push::now(Lane::System, SWEEP, job)
        };
        push(tx, sweep)?;
    }
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

/// Ends what is overdue, a licence a transaction, and comes back while there is anything left to look after.
async fn sweep(context: JobContext) -> Result<()> {
    let mut last = LicenseId::nil();
    loop {
        let found = context.db.tenant(context.scope(), move |tx| {
            let before = tx.now()? - DRIFT;
            Ok(queries::licenses_with_overdue(tx.conn(), last, before, AT_ONCE)?)
        });
        let found = found.await?;
        let Some(next) = found.last().copied() else { break };
        last = next;
        for license in found {
            let ended = context
                .db
                .tenant(context.scope(), move |tx| service::end_overdue(tx, license));
            ended.await?;
        }
    }
    let job = context.job.clone();
    let goes_on = context.db.tenant(context.scope(), move |tx| {
        let now = tx.now()?;
        match queries::are_watched(tx.conn())? {
            Some(true) => retry(tx, &job, Some(now + OFTEN)),
            Some(false) => retry(tx, &job, Some(now + SELDOM)),
            None => finish(tx, &job),
        }
    });
    goes_on.await
}
