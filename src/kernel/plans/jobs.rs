//! Catches plans that were not brought up to date when one of their sources ended: the job that does so may have been given up.

use std::time::Duration;

use chrono::TimeDelta;

use super::queries;
use crate::kernel::{
    db::{Db, Kernel},
    error::Result,
    id::{JobId, WorkspaceId},
    jobs::{self, Lane, OnExists, Push, Runner, push_for},
    metrics,
};

/// The kind of the job, of `platform`, that keeps a workspace's plan in step.
pub const PLAN: &str = "workspace.plan";
/// So long after one of its sources ended a plan may be behind.
const LATE: TimeDelta = TimeDelta::minutes(10);
/// Workspaces that one transaction sees to.
const MOST: i64 = 200;

/// The job that keeps a workspace's plan in step.
pub fn job(workspace: WorkspaceId) -> Push {
    Push {
        group_id: workspace.uuid(),
        on_exists: OnExists::Sooner,
        ..Push::now(Lane::System, PLAN, JobId::of(workspace.uuid(), PLAN))
    }
}

/// Looks in this process.
pub fn register(runner: &mut Runner, db: &Db) {
    let db = db.clone();
    runner.every(Duration::from_secs(3_600), "plans.sweep", move || sweep(db.clone()));
}

/// Has every plan brought up to date that should have been.
///
/// # Errors
/// The database's.
pub async fn sweep(db: Db) -> Result<()> {
    jobs::sweep(&db, "plans.sweep", push).await
}

fn push(tx: &mut Kernel<'_>, after: WorkspaceId) -> Result<Vec<WorkspaceId>> {
    let before = tx.now()? - LATE;
    let found = queries::overdue(tx.conn(), after, before, MOST)?;
    for workspace in &found {
        tracing::error!(%workspace, "a plan outlasted what it comes from; it is brought up to date");
        push_for(tx, WorkspaceId::PLATFORM, job(*workspace))?;
    }
    metrics::PLAN_DRIFT.inc_by(found.len() as u64);
    Ok(found)
}
