//! Counts the machines of a workspace, for its plan: each activation by itself would make all of them wait for one row. And ends those that
//! give no sign of life any more, though nobody wants their place.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use uuid::Uuid;

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
        jobs::{Job, JobContext, Lane, OnExists, Push, Runner, Stop, finish, push, retry},
        outbox::{Event, Relay},
    },
};

/// What the job is called.
const KIND: &str = "machines.count";
/// The job that ends those of a policy's licences that died while they kept their places, one a policy.
const REAP: &str = "machines.reap";
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
    runner.on(REAP, Lane::Slow, reap);
    runner.when_given_up(REAP, rest);
}

/// Has the workspace counted soon if any of its machines came or went, swept later if any came that is to give signs of life, and reaped at
/// once if a policy keeps the dead no longer, or if one died that is not kept. The operator's own has no limits. Whoever wants both lanes takes
/// them in this order.
fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    let counts = |event: &Event| {
        let kind = event.kind.as_str();
        matches!(kind, "machine.activated" | "machine.deactivated" | "license.revoked")
    };
    if tx.workspace() != WorkspaceId::PLATFORM && events.iter().any(counts) {
        let due = tx.now()? + AFTER;
        let job = JobId::of(tx.workspace().uuid(), KIND);
        let soon = Push {
            due: Some(due),
            ..Push::now(Lane::System, KIND, job)
        };
        push(tx, soon)?;
    }
    let comes = |event: &&Event| matches!(event.kind.as_str(), "machine.activated" | "machine.resurrected");
    let watched = |event: &Event| !event.data["heartbeat_due_at"].is_null();
    if events.iter().filter(comes).any(watched) {
        service::sweep_soon(tx)?;
    }
    let lets_go = |event: &Event| event.kind == "policy.updated" && event.data["heartbeat_cull"] == "deactivate_dead";
    let mut policies: BTreeSet<_> = subjects(events, lets_go).collect();
    // Whoever declared them dead may have read the rules before they were changed.
    let dead: Vec<_> = subjects(events, |event| event.kind == "machine.dead").collect();
    if !dead.is_empty() {
        policies.extend(queries::policies_of_dead(tx.conn(), &dead)?);
    }
    policies.into_iter().try_for_each(|policy| push(tx, reap_job(policy)))
}

/// What these of the events are about.
fn subjects(events: &[Event], those: impl Fn(&Event) -> bool) -> impl Iterator<Item = Uuid> {
    events
        .iter()
        .filter(move |event| those(event))
        .filter_map(|event| event.subject_id)
}

fn reap_job(policy: Uuid) -> Push {
    Push {
        group_id: policy,
        on_exists: OnExists::Sooner,
        ..Push::now(Lane::Slow, REAP, JobId::of(policy, REAP))
    }
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
    let find = |tx: &mut Tenant<'_>, last, before| queries::licenses_with_overdue(tx.conn(), last, before, AT_ONCE);
    let all = end_overdue(&context, find).await?;
    let job = context.job.clone();
    let goes_on = context.db.tenant(context.scope(), move |tx| {
        let is_left = queries::are_watched(tx.conn())?;
        come_back(tx, &job, is_left, all)
    });
    goes_on.await
}

/// Ends those of a policy's licences that died while they kept their places, and comes back while any is left: the vendor may be barred.
async fn reap(context: JobContext) -> Result<()> {
    let policy = context.job.group_id;
    let find = move |tx: &mut Tenant<'_>, last, before, most| {
        queries::licenses_with_dead(tx.conn(), policy, last, before, most)
    };
    let all = end_overdue(&context, move |tx, last, before| find(tx, last, before, AT_ONCE)).await?;
    let job = context.job.clone();
    let goes_on = context.db.tenant(context.scope(), move |tx| {
        let before = tx.now()? - DRIFT;
        let is_left = !find(tx, LicenseId::nil(), before, 1)?.is_empty();
        come_back(tx, &job, is_left, all)
    });
    goes_on.await
}

/// At once if it was stopped before the end.
fn come_back(tx: &mut Tenant<'_>, job: &Job, is_left: bool, all: bool) -> Result<()> {
    let due = tx.now()? + OFTEN;
    match is_left {
        true => retry(tx, job, all.then_some(due)),
        false => finish(tx, job),
    }
}

/// Ends what is overdue, licence by licence. One whose machines cannot be ended keeps nobody else's. False if the process ends before all
/// are.
async fn end_overdue(
    context: &JobContext,
    find: impl Fn(&mut Tenant<'_>, LicenseId, DateTime<Utc>) -> QueryResult<Vec<LicenseId>> + Copy + Send + 'static,
) -> Result<bool> {
    let mut last = LicenseId::nil();
    loop {
        let found = context.db.tenant(context.scope(), move |tx| {
            let before = tx.now()? - DRIFT;
            Ok(find(tx, last, before)?)
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
