//! Accepting a run: everything that it needs, in one transaction. Once it is answered, it will be done.

use std::sync::Arc;

use chrono::Duration;

use super::{
    super::{
        model::{INPUT_INVALID, RUN_CREATED, Run, RunId, RunKind, TEMPLATE_FAILED, input::NewExecution, rows::NewRow},
        queries,
    },
    clock, tick,
    turn::{JobEnd, Turn},
};
use crate::{
    features::{
        agents::{self, AgentId, Choice, plan::Plan, schemas},
        providers::Providers,
    },
    kernel::{
        access::{Permission, PermissionSet},
        db::Tenant,
        entitlements,
        error::{FORBIDDEN, NOT_FOUND, OnConstraint, Problem, Result, contention},
        outbox,
    },
};

/// How long a run may exist, in days.
const DAYS: i64 = 30;
/// How long a run may work where nobody says otherwise, in seconds.
const SECONDS: i32 = 3_600;

/// Accepts the execution of an agent.
///
/// # Errors
/// 402 `plan-limit-reached`, 403 for a draft without `agents:write`, 404, 409 `agent-archived`, `version-retired`, `state-conflict`,
/// 422 `input-invalid`, `template-failed`, 429 `queue-full`.
pub(in crate::features::runs) fn accept(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    agent: AgentId,
    new: &NewExecution,
    granted: PermissionSet,
) -> Result<Run> {
    let choice = new.choice();
    may_choose(&choice, granted)?;
    let resolved = agents::resolve(tx, providers, agent, &choice)?;
    fits(new, &resolved.plan)?;
    let now = tx.now()?;
    let id = RunId::new(now);
    let call = tx.scope().call().clone();
    let limits = &resolved.plan.limits;
    let row = NewRow {
        id,
        kind: RunKind::Execution,
        plan_sha256: &resolved.name,
        agent_id: Some(agent),
        agent_version: resolved.number,
        framework: Some(resolved.framework.word()),
        label: resolved.label.as_deref(),
        input: &new.input,
        tags: &new.tags,
        metadata: serde_json::to_value(&new.metadata).map_err(anyhow::Error::from)?,
        trigger: "api",
        subject: new.subject.as_deref(),
        request_id: &call.request_id,
        trace_id: call.trace.id(),
        root_run_id: id,
        priority: new.priority,
        max_cost_micros: smaller(new.max_cost_micros, limits.max_cost_micros),
        timeout_seconds: seconds(tx, new.timeout_seconds, limits.timeout_seconds),
        expires_at: now + Duration::days(DAYS),
    };
    // An agent that has not run yet may be deleted meanwhile.
    let row = queries::insert(tx.conn(), &row)
        .on_foreign_key("runs_agent_id_fkey", NOT_FOUND)
        .on_foreign_key("runs_agent_version_fkey", NOT_FOUND)
        .on_foreign_key("runs_plan_sha256_fkey", contention())?;
    let mut turn = Turn::of(tx, row, Arc::clone(&resolved.plan))?;
    turn.event("run.created", None, serde_json::json!({ "trigger": "api" }));
    tick::first(&mut turn)?.map_err(|failure| TEMPLATE_FAILED.because(failure.message))?;
    turn.alarm = Some(clock::alarm(&turn.run, now));
    // The queue and the month's count lock rows that every run of the workspace wants: last.
    entitlements::take(turn.tx, "runs_per_month", 1)?;
    let run = super::turn::shown(turn.tx, turn.run.clone())?;
    outbox::emit(turn.tx, RUN_CREATED.of(id, &run))?;
    turn.close(&JobEnd::Keep)
}

/// A draft is for those who write agents.
fn may_choose(choice: &Choice, granted: PermissionSet) -> Result<()> {
    if *choice != Choice::Draft || granted.has(Permission::AgentsWrite) {
        return Ok(());
    }
    let needed = Permission::AgentsWrite.name();
    Err(FORBIDDEN
        .because(format!("A draft needs the permission {needed}."))
        .with("required_permission", needed)
        .into())
}

/// The input is what the agent's schema wants.
fn fits(new: &NewExecution, plan: &Plan) -> Result<()> {
    let schema = plan.input_schema.as_ref();
    let Some(Err(faults)) = schema.map(|schema| schemas::accepts(schema, &new.input, "/input")) else {
        return Ok(());
    };
    let problem = faults.into_iter().fold(Problem::from(INPUT_INVALID), |problem, fault| {
        problem.field(fault.pointer, fault.code, fault.detail)
    });
    Err(problem.into())
}

fn smaller(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What the caller asks for, within what the plan of the agent and that of the workspace let it.
fn seconds(tx: &Tenant<'_>, asked: Option<i32>, plan: Option<i32>) -> i32 {
    let known = tx.scope().plan().entitlements.contains_key("run_timeout_seconds");
    let workspace = known.then(|| tx.scope().plan().limit("run_timeout_seconds")).flatten();
    let most = workspace
        .and_then(|most| i32::try_from(most).ok())
        .unwrap_or(86_400)
        .min(plan.unwrap_or(86_400));
    asked.unwrap_or(SECONDS).min(most).clamp(1, 86_400)
}
