//! Sealing after the fact: chaining in the writers' own transactions would make them wait for each other.

use std::time::Duration;

use super::{
    queries,
    service::{self, Rest},
};
use crate::kernel::{
    access::Call,
    db::{Db, Kernel},
    error::Result,
    id::{JobId, RequestId, WorkspaceId},
    identity::{Keys, Use},
    jobs::{JobContext, Lane, OnExists, Push, Runner, finish, push_for, retry},
};

/// What the job is called.
const KIND: &str = "audit.seal";

/// Workspaces that one transaction sees to.
const MOST: usize = 200;

/// Seals in this process.
pub fn register(runner: &mut Runner, db: &Db, keys: &Keys) {
    let (db, keys) = (db.clone(), keys.clone());
    runner.on(KIND, Lane::System, move |job| seal(job, keys.clone()));
    runner.every(Duration::from_secs(2), "audit.sweep", move || sweep(db.clone()));
}

/// Finds the workspaces whose entries wait for their seal, and has each one's job done. Pushed by the writers themselves, the job would
/// hold a row that all of a workspace's writers lock.
///
/// # Errors
/// The database's.
pub async fn sweep(db: Db) -> Result<()> {
    let request = RequestId::new(db.clock().now()).to_string();
    let call = Call::internal("audit.sweep", request.into());
    let mut last = WorkspaceId::nil();
    loop {
        let found = db.unscoped(&call, move |tx| push(tx, last)).await?;
        match found.last() {
            Some(next) if found.len() == MOST => last = *next,
            _ => return Ok(()),
        }
    }
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
