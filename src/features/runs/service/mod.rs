//! The rules of runs.

pub(super) mod accept;
pub(super) mod attempt;
mod call;
pub(super) mod cancel;
pub(super) mod clock;
pub(super) mod ledger;
pub(super) mod purge;
pub(super) mod record;
mod state;
mod tick;
mod turn;

pub(super) use turn::{CLOCK, PURGE, STEP};

use chrono::{DateTime, Utc};

use super::{
    model::{
        AgentExecutionFilters, Message, MessageFilters, RUN_NOT_FINISHED, Run, RunFilters, RunId, RunKind, RunResult,
        RunStatus, RunSummary, RunUsage, Step, StepFilters, StepSummary,
    },
    queries,
};
use crate::{
    features::{agents::AgentId, usage},
    kernel::{
        access,
        db::Tenant,
        error::{GONE, NOT_FOUND, Result},
        page::{Page, PageQuery},
    },
};

/// One run.
///
/// # Errors
/// 404.
pub(super) fn get(tx: &mut Tenant<'_>, id: RunId) -> Result<Run> {
    let row = queries::find(tx.conn(), id)?;
    turn::shown(tx, row)
}

/// One run, if it is an execution.
///
/// # Errors
/// 404.
pub(super) fn execution(tx: &mut Tenant<'_>, id: RunId) -> Result<Run> {
    get(tx, id).and_then(|run| {
        if run.kind == RunKind::Execution {
            Ok(run)
        } else {
            Err(NOT_FOUND.into())
        }
    })
}

/// A page of runs.
///
/// # Errors
/// 503 if the database fails.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<RunFilters>) -> Result<Page<RunSummary>> {
    let rows = queries::list(tx.conn(), query)?;
    let page = query.page_of_changing(rows, |row| (row.created_at, row.updated_at, row.id.uuid()));
    let authors = access::labels(
        tx,
        page.data
            .iter()
            .map(|row| (row.created_by_type.as_str(), row.created_by_id)),
    )?;
    Ok(page.map(|row| row.shown(&authors)))
}

/// A page of an agent's executions.
///
/// # Errors
/// 404.
pub(super) fn of_agent(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    query: PageQuery<AgentExecutionFilters>,
) -> Result<Page<RunSummary>> {
    crate::features::agents::known(tx, agent)?;
    let mut query = query.widened(|own| own.0);
    query.filters.agents = vec![agent];
    query.filters.kinds = vec![RunKind::Execution];
    list(tx, &query)
}

/// How far a run is.
///
/// # Errors
/// 404.
pub(super) fn status(tx: &mut Tenant<'_>, id: RunId) -> Result<RunStatus> {
    let row = queries::summary(tx.conn(), id)?;
    Ok(RunStatus {
        status: row.status,
        wait_reason: row.wait_reason,
        progress: row.progress,
        event_seq: row.event_seq,
        version: row.version,
    })
}

/// What came out of a run.
///
/// # Errors
/// 404, 409 `run-not-finished`, 410 once it was removed.
pub(super) fn result(tx: &mut Tenant<'_>, id: RunId) -> Result<RunResult> {
    let row = queries::find(tx.conn(), id)?;
    kept(row.purged_at)?;
    if !row.status.is_final() {
        return Err(RUN_NOT_FINISHED.with("state", row.status).into());
    }
    Ok(RunResult {
        status: row.status,
        output: row.output,
        error: row.error,
    })
}

/// Refuses what shows contents of a run once they were removed.
fn kept(purged_at: Option<DateTime<Utc>>) -> Result<()> {
    match purged_at {
        None => Ok(()),
        Some(_) => Err(GONE.because("The contents of the run were removed.").into()),
    }
}

/// A page of the steps of a run.
///
/// # Errors
/// 404.
pub(super) fn steps(tx: &mut Tenant<'_>, id: RunId, query: &PageQuery<StepFilters>) -> Result<Page<StepSummary>> {
    queries::summary(tx.conn(), id)?;
    let rows = queries::steps::list(tx.conn(), id, query)?;
    Ok(query.numbered(rows, |step| i64::from(step.number)))
}

/// One step of a run, by its number.
///
/// # Errors
/// 404.
pub(super) fn step(tx: &mut Tenant<'_>, id: RunId, number: i32) -> Result<Step> {
    Ok(queries::steps::one(tx.conn(), id, number)?)
}

/// A page of what was said in a run.
///
/// # Errors
/// 404, 410 once it was removed.
pub(super) fn messages(tx: &mut Tenant<'_>, id: RunId, query: &PageQuery<MessageFilters>) -> Result<Page<Message>> {
    kept(queries::summary(tx.conn(), id)?.purged_at)?;
    let rows = queries::trail::messages(tx.conn(), id, query)?;
    Ok(query.numbered(rows, |message| i64::from(message.seq)))
}

/// What a run cost.
///
/// # Errors
/// 404.
pub(super) fn money(tx: &mut Tenant<'_>, id: RunId) -> Result<RunUsage> {
    let row = queries::find(tx.conn(), id)?;
    Ok(RunUsage {
        usage: serde_json::from_value(row.usage).unwrap_or_default(),
        cost_micros: row.cost_micros,
        data: usage::of_run(tx, id.uuid())?,
    })
}
