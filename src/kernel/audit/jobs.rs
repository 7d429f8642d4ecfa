//! Sealing after the fact: chaining in the writers' own transactions would make them wait for each other.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    queries,
    service::{self, Rest},
};
use crate::kernel::{
    access::Call,
    db::{Db, Kernel, Tenant},
    error::Result,
    id::{JobId, RequestId, WorkspaceId},
    identity::{Keys, Use},
    jobs::{self, JobContext, Lane, OnExists, Push, Runner, finish, push_for, retry},
};

/// What the job is called that seals.
const KIND: &str = "audit.seal";
/// What the job is called that removes what is older than the plan keeps.
const PRUNE: &str = "audit.prune";
/// Entries that one transaction removes, about.
const BATCH: i32 = 1_000;

/// Workspaces that one transaction sees to.
const MOST: usize = 200;

/// Seals in this process.
pub fn register(runner: &mut Runner, db: &Db, keys: &Keys) {
    let (sweeps_of, prunes_of, keys) = (db.clone(), db.clone(), keys.clone());
    runner.on(KIND, Lane::System, move |job| seal(job, keys.clone()));
    runner.every(Duration::from_secs(2), "audit.sweep", move || sweep(sweeps_of.clone()));
    runner.on(PRUNE, Lane::Slow, prune);
    runner.every(Duration::from_secs(3_600), "audit.retention", move || {
        retention(prunes_of.clone())
    });
}

/// Finds the workspaces whose entries wait for their seal, and has each one's job done. Pushed by the writers themselves, the job would
/// hold a row that all of a workspace's writers lock.
///
/// # Errors
/// The database's.
pub async fn sweep(db: Db) -> Result<()> {
    jobs::sweep(&db, "audit.sweep", push).await
}

/// Pushes the jobs of the next workspaces.
fn push(tx: &mut Kernel<'_>, after: WorkspaceId) -> Result<Vec<WorkspaceId>> {
    let found = queries::waiting(tx.conn(), after, MOST as i64)?;
    for workspace in &found {
        let job = Push {
            // It may wait for the hour at which it signs.
            on_exists: OnExists::Sooner,
            ..Push::now(Lane::System, KIND, JobId::of(workspace.uuid(), "seal"))
        };
        push_for(tx, *workspace, job)?;
    }
    Ok(found)
}

/// Has the logs pruned once a day: a job that waits for its day goes on waiting.
///
/// # Errors
/// The database's.
pub async fn retention(db: Db) -> Result<()> {
    let request = RequestId::new(db.clock().now()).to_string();
    let call = Call::internal("audit.retention", request.into());
    db.unscoped(&call, |tx| {
        let job = JobId::of(WorkspaceId::PLATFORM.uuid(), PRUNE);
        push_for(tx, WorkspaceId::PLATFORM, Push::now(Lane::Slow, PRUNE, job))
    })
    .await
}

/// Removes of every workspace's log what is older than its plan keeps.
async fn prune(context: JobContext) -> Result<()> {
    let mut last = WorkspaceId::nil();
    loop {
        // A scope has a deadline: one for each page.
        let found = context
            .db
            .unscoped(context.scope().call(), move |tx| kept(tx, last))
            .await?;
        for (workspace, before) in &found {
            if let Some(before) = before {
                prune_one(&context, *workspace, *before).await;
            }
        }
        match found.last() {
            Some((next, _)) if found.len() == MOST => last = *next,
            _ => break,
        }
    }
    let job = context.job.clone();
    let rest = move |tx: &mut Tenant<'_>| {
        let due = tx.now()? + chrono::Duration::days(1);
        retry(tx, &job, Some(due))
    };
    context.db.tenant(context.scope(), rest).await
}

/// The next workspaces, and from when on each one's log is kept; `None`: from its beginning. What follows from their plans is noted. While
/// payment is due nothing that is a workspace's own is taken away, and nothing begins anew.
fn kept(tx: &mut Kernel<'_>, after: WorkspaceId) -> Result<Vec<(WorkspaceId, Option<DateTime<Utc>>)>> {
    let now = tx.now()?;
    let found = queries::kept(tx.conn(), after, MOST as i64)?;
    let mut since = Vec::with_capacity(found.len());
    for (workspace, plan, before) in found {
        let Some(plan) = plan else {
            since.push((workspace, None));
            continue;
        };
        let kept = before.by(plan, now);
        if kept != before {
            queries::keep(tx.conn(), workspace, &kept)?;
        }
        since.push((workspace, kept.since(now)));
    }
    Ok(since)
}

/// What goes wrong with one workspace's log keeps nobody else's from being pruned.
async fn prune_one(context: &JobContext, workspace: WorkspaceId, before: DateTime<Utc>) {
    loop {
        let pruned = context
            .db
            .unscoped(context.scope().call(), move |tx| {
                Ok(queries::prune(tx.conn(), workspace, before, BATCH)?)
            })
            .await;
        match pruned {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%workspace, %error, "an audit log could not be pruned");
                return;
            }
        }
    }
}

async fn seal(context: JobContext, keys: Keys) -> Result<()> {
    let signer = keys.active(Use::Audit).await?;
    let job = context.job.clone();
    context
        .db
        .tenant(context.scope(), move |tx| match service::seal(tx, &signer)? {
            Rest::No => retry(tx, &job, None),
            Rest::Until(due) => retry(tx, &job, Some(due)),
            Rest::Idle => finish(tx, &job),
        })
        .await
}
