//! What becomes of events whose time is over.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::queries;
use crate::kernel::{
    access::Call,
    db::{Db, Kernel, Tenant},
    error::Result,
    id::{JobId, RequestId, WorkspaceId},
    jobs::{self, JobContext, Lane, Push, Runner, finish, push_for},
};

/// What a job is called that asks the operator's Stripe for events which never came in.
pub const RECONCILE: &str = "store.reconcile";
/// What the job is called that tidies.
const KIND: &str = "inbox.tidy";
/// Days that what an event said is kept; its hash stays.
const PAYLOAD_DAYS: i64 = 30;
/// Days that it is known that an event came, once it is settled: a year, and a month to look back.
const EVENT_DAYS: i64 = 400;
/// Rows that one transaction sees to.
const BATCH: i64 = 1_000;
/// Workspaces that one transaction sees to.
const MOST: i64 = 200;

/// Keeps the inbox small, in this process.
pub fn register(runner: &mut Runner, db: &Db) {
    runner.on(KIND, Lane::System, tidy);
    let (sweeps_of, asks_of) = (db.clone(), db.clone());
    runner.every(Duration::from_secs(6 * 3_600), "inbox.sweep", move || {
        sweep(sweeps_of.clone())
    });
    runner.every(Duration::from_secs(600), "inbox.reconcile", move || {
        want_reconciliation(asks_of.clone())
    });
}

/// Has the operator's Stripe asked for what was missed.
async fn want_reconciliation(db: Db) -> Result<()> {
    let request = RequestId::new(db.clock().now()).to_string();
    let call = Call::internal("inbox.reconcile", request.into());
    db.unscoped(&call, |tx| {
        let job = JobId::of(WorkspaceId::PLATFORM.uuid(), RECONCILE);
        push_for(tx, WorkspaceId::PLATFORM, Push::now(Lane::Slow, RECONCILE, job))
    })
    .await
}

/// Has every seller's inbox tidied.
///
/// # Errors
/// The database's.
pub async fn sweep(db: Db) -> Result<()> {
    jobs::sweep(&db, "inbox.sweep", push).await
}

fn push(tx: &mut Kernel<'_>, after: WorkspaceId) -> Result<Vec<WorkspaceId>> {
    let found = queries::sellers(tx.conn(), after, MOST)?;
    for workspace in &found {
        let job = JobId::of(workspace.uuid(), KIND);
        push_for(tx, *workspace, Push::now(Lane::System, KIND, job))?;
    }
    Ok(found)
}

/// Removes a batch of what is too old at this instant, and answers how many rows that were.
type Step = fn(&mut Tenant<'_>, DateTime<Utc>) -> Result<usize>;

const STEPS: [Step; 3] = [
    |tx, now| {
        Ok(queries::drop_payloads(
            tx.conn(),
            now - TimeDelta::days(PAYLOAD_DAYS),
            BATCH,
        )?)
    },
    |tx, now| {
        Ok(queries::remove_settled(
            tx.conn(),
            now - TimeDelta::days(EVENT_DAYS),
            BATCH,
        )?)
    },
    |tx, _| Ok(queries::remove_idle_lanes(tx.conn(), BATCH)?),
];

async fn tidy(context: JobContext) -> Result<()> {
    for step in STEPS {
        loop {
            let removed = context.db.tenant(context.scope(), move |tx| {
                let now = tx.now()?;
                step(tx, now)
            });
            if removed.await? < BATCH as usize {
                break;
            }
        }
    }
    let job = context.job.clone();
    context.db.tenant(context.scope(), move |tx| finish(tx, &job)).await
}
