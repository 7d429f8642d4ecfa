//! Plans by their names. One never changes, so a process keeps those that it has read.

use std::sync::{Arc, LazyLock};

use moka::sync::Cache;
use serde_json::Value;

use super::{
    super::{
        model::plan::{IR, Plan},
        queries,
    },
    compile::Compiled,
};
use crate::kernel::{
    db::Tenant,
    error::{OnConstraint, Result, contention},
};

/// The name of a plan: SHA-256 of its canonical text.
pub type PlanName = [u8; 32];

/// Why a plan cannot be executed by this process: it was written for a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnderstood;

static READ: LazyLock<Cache<PlanName, Arc<Plan>>> = LazyLock::new(|| Cache::new(1_000));

/// Keeps a plan in the workspace.
///
/// # Errors
/// 503 if the database fails.
pub fn keep(tx: &mut Tenant<'_>, compiled: &Compiled) -> Result<()> {
    let size = i32::try_from(compiled.size).expect("at most a mebibyte");
    queries::keep_plan(tx.conn(), &compiled.sha256, compiled.plan.ir, &compiled.body, size)?;
    Ok(())
}

/// Removes those of these plans that nothing has need of any more.
///
/// # Errors
/// 503 if the database fails, or one is named anew at the same moment.
pub fn forget(tx: &mut Tenant<'_>, names: &[Vec<u8>]) -> Result<()> {
    queries::forget_plans(tx.conn(), names)
        .on_foreign_key("agent_versions_plan_sha256_fkey", contention())
        .on_foreign_key("runs_plan_sha256_fkey", contention())
        .map(drop)
}

/// The plan of that name, which the caller found in a row of the workspace.
///
/// # Errors
/// 404 if there is none; inside: one that a newer process must execute.
pub fn load(tx: &mut Tenant<'_>, name: &PlanName) -> Result<Result<Arc<Plan>, NotUnderstood>> {
    if let Some(plan) = READ.get(name) {
        return Ok(Ok(plan));
    }
    let body = queries::plan(tx.conn(), name)?;
    Ok(understood(body).map(|plan| {
        let plan = Arc::new(plan);
        READ.insert(*name, plan.clone());
        plan
    }))
}

/// A plan is executed only if every word of it is known.
fn understood(body: Value) -> Result<Plan, NotUnderstood> {
    let plan: Plan = serde_json::from_value(body).map_err(|_| NotUnderstood)?;
    if plan.ir == IR { Ok(plan) } else { Err(NotUnderstood) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_with_an_unknown_word_is_left_to_a_newer_process() {
        let plan = json!({"ir": 1, "entry": ["a"], "nodes": {"a": {"kind": "transform", "value": "x"}}, "edges": [], "output": "x"});
        assert!(understood(plan.clone()).is_ok());
        for (pointer, value) in [
            ("/ir", json!(2)),
            ("/nodes/a/kind", json!("wait")),
            ("/edges", json!([{"from": "a", "when": []}])),
        ] {
            let mut newer = plan.clone();
            *newer.pointer_mut(pointer).expect("is there") = value;
            assert_eq!(understood(newer), Err(NotUnderstood), "{pointer}");
        }
    }
}
