//! Sealing after the fact: chaining in the writers' own transactions would make them wait for each other.

use std::time::Duration;

use super::{
    queries,
    service::{self, Rest},
};
use crate::kernel::{
    access::Call,
    db::Db,
    error::Result,
    id::{JobId, RequestId},
    identity::{Keys, Use},
    jobs::{JobContext, Lane, OnExists, Push, Runner, finish, push_for, retry},
};

/// What the job is called.
const KIND: &str = "audit.seal";

/// Workspaces that one look finds.
const MOST: i64 = 200;

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
    db.unscoped(&call, |tx| {
        for workspace in queries::waiting(tx.conn(), MOST)? {
            let job = Push {
                // It may wait for the hour at which it signs.
                on_exists: OnExists::Sooner,
                ..Push::now(Lane::System, KIND, JobId::of(workspace.uuid(), "seal"))
            };
            push_for(tx, workspace, job)?;
        }
        Ok(())
    })
    .await
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
