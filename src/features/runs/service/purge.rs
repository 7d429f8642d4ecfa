//! What runs hold is kept for as long as the workspace's plan said when they ended. Then it is removed; the run's own row and the ledger stay.

use serde_json::{Value, json};

use super::super::queries::purge;
use crate::{
    features::agents::plans,
    kernel::{
        db::Tenant,
        error::Result,
        jobs::{self, Job},
    },
};

/// So many runs in one transaction.
const BATCH: i64 = 200;

/// Removes what is due in the workspace, a batch at a time, and comes back when more will be.
///
/// # Errors
/// 503; a lost lease.
pub(in crate::features::runs) fn purge(tx: &mut Tenant<'_>, job: &Job) -> Result<()> {
    let now = tx.now()?;
    let due = purge::due(tx.conn(), now, BATCH)?;
    let ids: Vec<_> = due.iter().map(|(run, ..)| *run).collect();
    purge::contents(tx.conn(), &ids)?;
    let mut drafts = Vec::new();
    for (run, error, draft) in due {
        purge::done(tx.conn(), run, error.map(code_of), now)?;
        drafts.extend(draft);
    }
    plans::forget(tx, &drafts)?;
    match purge::next(tx.conn())? {
        Some(next) => jobs::retry(tx, job, Some(next.max(now))),
        None => jobs::finish(tx, job),
    }
}

/// An error without what it says about the contents.
fn code_of(error: Value) -> Value {
    json!({ "code": error["code"], "retryable": error["retryable"] })
}
