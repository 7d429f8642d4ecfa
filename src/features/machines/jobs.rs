//! Counts the machines of a workspace, for its plan: each activation by itself would make all of them wait for one row. And ends those that
//! give no sign of life any more, though nobody wants their place.

use chrono::TimeDelta;

use super::{
    queries,
    service::{self, OFTEN, SWEEP},
};
use crate::{
    features::licenses::DRIFT,
    kernel::{
        db::Tenant,
        entitlements,
        error::{Error, Result, WORKSPACE_SUSPENDED},
        id::{JobId, LicenseId, WorkspaceId},
        jobs::{JobContext, Lane, Push, Runner, Stop, finish, push, retry},
        outbox::{Event, Relay},
    },
};

/// What the job is called.
const KIND: &str = "machines.count";
/// A workspace is counted so long after something changed, however much changes meanwhile.
const AFTER: TimeDelta = TimeDelta::minutes(1);

/// A sweep that was given up is tried again after so long.
const LATER: TimeDelta = TimeDelta::days(1);
/// Licences that one look finds.
const AT_ONCE: i64 = 500;

/// Counts in this process.
pub fn register(runner: &mut Runner, relay: &mut Relay) {
    relay.hand_to("machines", follow);
    runner.on(KIND, Lane::System, count);
    runner.on(SWEEP, Lane::Slow, sweep);
    runner.when_given_up(SWEEP, rest);
}

/// Has the workspace counted soon if any of its machines came or went, and swept later if any came that is to give signs of life. The
/// operator's own has no limits.
fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    let comes = |event: &&Event| matches!(event.kind.as_str(), "machine.activated" | "machine.resurrected");
    let watched = |event: &Event| !event.data["heartbeat_due_at"].is_null();
    if events.iter().filter(comes).any(watched) {
        service::sweep_soon(tx)?;
    }
    let counts = |event: &Event| {
        let kind = event.kind.as_str();
        matches!(kind, "machine.activated" | "machine.deactivated" | "license.revoked")
    };
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

/// Ends what is overdue, and comes back while there is anything left to look after.
async fn sweep(context: JobContext) -> Result<()> {
    let all = end_overdue(&context).await?;
    let job = context.job.clone();
    let goes_on = context.db.tenant(context.scope(), move |tx| {
        let due = tx.now()? + OFTEN;
        match queries::are_watched(tx.conn())? {
            true => retry(tx, &job, all.then_some(due)),
            false => finish(tx, &job),
        }
    });
    goes_on.await
}

/// Ends what is overdue, licence by licence. One whose machines cannot be ended keeps nobody else's. False if the process ends before all
/// are.
async fn end_overdue(context: &JobContext) -> Result<bool> {
    let mut last = LicenseId::nil();
    loop {
        let found = context.db.tenant(context.scope(), move |tx| {
            let before = tx.now()? - DRIFT;
            Ok(queries::licenses_with_overdue(tx.conn(), last, before, AT_ONCE)?)
        });
        let found = found.await?;
        let Some(next) = found.last().copied() else {
            return Ok(true);
        };
        last = next;
        for license in found {
            if context.stop() != Stop::No {
                return Ok(false);
            }
            match end_all(context, license).await {
                Ok(()) => {}
                // The vendor is barred, and with it every machine that would give a sign of life.
                Err(error) if error.is(WORKSPACE_SUSPENDED) => return Ok(true),
                Err(Error::Refused(problem)) if problem.kind().status == 503 => return Err(Error::Refused(problem)),
                Err(error) => tracing::error!(%license, %error, "the overdue machines of a licence could not be ended"),
            }
        }
    }
}

async fn end_all(context: &JobContext, license: LicenseId) -> Result<()> {
    let step = || {
        let scope = context.scope();
        context.db.tenant(scope, move |tx| service::end_overdue(tx, license))
    };
    while step().await? {}
    Ok(())
}

async fn rest(context: JobContext) -> Result<()> {
    let job = context.job.clone();
    let later = context.db.tenant(context.scope(), move |tx| {
        let due = tx.now()? + LATER;
        retry(tx, &job, Some(due))
    });
    later.await
}
