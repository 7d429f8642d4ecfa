//! Statements about steps.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use serde_json::Value;
use uuid::Uuid;

use super::super::model::{
    RunId, Step, StepFilters, StepId, StepStatus, StepSummary,
    rows::{NewStep, StepRow},
};
use crate::{features::schema::runs::run_steps, in_number, kernel::page::PageQuery};

const OPEN: [StepStatus; 3] = [StepStatus::Pending, StepStatus::Running, StepStatus::Waiting];

pub(in crate::features::runs) fn insert(conn: &mut PgConnection, new: &[NewStep<'_>]) -> QueryResult<usize> {
    diesel::insert_into(run_steps::table).values(new).execute(conn)
}

pub(in crate::features::runs) fn find(conn: &mut PgConnection, id: StepId) -> QueryResult<Option<StepRow>> {
    run_steps::table
        .find(id.uuid())
        .select(StepRow::as_select())
        .first(conn)
        .optional()
}

pub(in crate::features::runs) fn list(
    conn: &mut PgConnection,
    run: RunId,
    query: &PageQuery<StepFilters>,
) -> QueryResult<Vec<StepSummary>> {
    let rows = run_steps::table
        .filter(run_steps::run_id.eq(run.uuid()))
        .select(StepSummary::as_select())
        .limit(query.fetch())
        .into_boxed();
    in_number!(rows, run_steps, number, query).load(conn)
}

pub(in crate::features::runs) fn one(conn: &mut PgConnection, run: RunId, number: i32) -> QueryResult<Step> {
    let those = run_steps::table.filter(run_steps::run_id.eq(run.uuid()));
    those
        .filter(run_steps::number.eq(number))
        .select(Step::as_select())
        .first(conn)
}

/// What the nodes of a tick wrote: node and output, in the order of the nodes.
pub(in crate::features::runs) fn outputs(
    conn: &mut PgConnection,
    run: RunId,
    tick: i32,
) -> QueryResult<Vec<(String, Option<Value>)>> {
    run_steps::table
        .filter(run_steps::run_id.eq(run.uuid()))
        .filter(run_steps::tick.eq(tick))
        .order(run_steps::node_id)
        .select((run_steps::node_id, run_steps::output))
        .load(conn)
}

/// What the steps at work may cost together, in micros.
pub(in crate::features::runs) fn held(conn: &mut PgConnection, run: RunId, but: StepId) -> QueryResult<i64> {
    let held: Vec<i64> = run_steps::table
        .filter(run_steps::run_id.eq(run.uuid()))
        .filter(run_steps::id.ne(but.uuid()))
        .filter(run_steps::status.eq(StepStatus::Running))
        .select(run_steps::held_micros)
        .load(conn)?;
    Ok(held.into_iter().sum())
}

/// A worker begins an attempt, unless a later lease has it. True if it may.
pub(in crate::features::runs) fn begin(
    conn: &mut PgConnection,
    step: &StepRow,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let mine = run_steps::table
        .find(step.id.uuid())
        .filter(run_steps::epoch.lt(step.epoch))
        .filter(run_steps::status.eq_any([StepStatus::Pending, StepStatus::Running]));
    let begun = diesel::update(mine)
        .set((
            run_steps::status.eq(StepStatus::Running),
            run_steps::epoch.eq(step.epoch),
            run_steps::attempt.eq(step.attempt),
            run_steps::prior_attempts.eq(&step.prior_attempts),
            run_steps::model.eq(&step.model),
            run_steps::held_micros.eq(step.held_micros),
            run_steps::held_usage.eq(&step.held_usage),
            run_steps::usage.eq(&step.usage),
            run_steps::cost_micros.eq(step.cost_micros),
            run_steps::started_at.eq(now),
        ))
        .execute(conn)?;
    Ok(begun == 1)
}

/// Holds so much for an attempt, if it is still the present one.
pub(in crate::features::runs) fn hold(
    conn: &mut PgConnection,
    id: StepId,
    epoch: i64,
    micros: i64,
    usage: &Value,
) -> QueryResult<bool> {
    let mine = run_steps::table
        .find(id.uuid())
        .filter(run_steps::epoch.eq(epoch))
        .filter(run_steps::status.eq(StepStatus::Running));
    let held = diesel::update(mine)
        .set((run_steps::held_micros.eq(micros), run_steps::held_usage.eq(usage)))
        .execute(conn)?;
    Ok(held == 1)
}

/// How an attempt ended.
pub(in crate::features::runs) struct Ending<'a> {
    pub(in crate::features::runs) status: StepStatus,
    pub(in crate::features::runs) output: Option<Value>,
    pub(in crate::features::runs) error: Option<Value>,
    pub(in crate::features::runs) prior_attempts: &'a Value,
    pub(in crate::features::runs) model: Option<&'a str>,
    pub(in crate::features::runs) usage: &'a Value,
    pub(in crate::features::runs) cost_micros: i64,
    pub(in crate::features::runs) token: Uuid,
    pub(in crate::features::runs) finished_at: Option<DateTime<Utc>>,
}

/// Records the end of an attempt, if it is still the present one. False: the lease was lost meanwhile.
pub(in crate::features::runs) fn end(
    conn: &mut PgConnection,
    id: StepId,
    epoch: i64,
    ending: Ending<'_>,
) -> QueryResult<bool> {
    let mine = run_steps::table
        .find(id.uuid())
        .filter(run_steps::epoch.eq(epoch))
        .filter(run_steps::status.eq(StepStatus::Running));
    let ended = diesel::update(mine)
        .set((
            run_steps::status.eq(ending.status),
            run_steps::output.eq(ending.output),
            run_steps::error.eq(ending.error),
            run_steps::prior_attempts.eq(ending.prior_attempts),
            run_steps::model.eq(ending.model),
            run_steps::usage.eq(ending.usage),
            run_steps::cost_micros.eq(ending.cost_micros),
            run_steps::held_micros.eq(0_i64),
            run_steps::held_usage.eq(None::<Value>),
            run_steps::commit_token.eq(ending.token),
            run_steps::finished_at.eq(ending.finished_at),
        ))
        .execute(conn)?;
    Ok(ended == 1)
}

/// Ends a step that has not ended, and cannot be tried: nothing came out of it but this error, and its money is written down elsewhere.
pub(in crate::features::runs) fn fail(
    conn: &mut PgConnection,
    id: StepId,
    error: &Value,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let open = run_steps::table.find(id.uuid()).filter(run_steps::status.eq_any(OPEN));
    diesel::update(open)
        .set((
            run_steps::status.eq(StepStatus::Failed),
            run_steps::error.eq(error),
            run_steps::finished_at.eq(now),
        ))
        .execute(conn)
}

/// Stops every step of a run that has not ended, those that a worker has included: what is held for them stays held until it is known what
/// they cost. Answers which these are, with the epoch of the worker that has them, if it was not lost.
pub(in crate::features::runs) fn stop(
    conn: &mut PgConnection,
    run: RunId,
    now: DateTime<Utc>,
) -> QueryResult<Vec<(StepId, i64)>> {
    let open = run_steps::table
        .filter(run_steps::run_id.eq(run.uuid()))
        .filter(run_steps::status.eq_any(OPEN));
    let stopped: Vec<(StepId, i64, bool)> = diesel::update(open)
        .set((
            run_steps::status.eq(StepStatus::Cancelled),
            run_steps::finished_at.eq(now),
        ))
        .returning((run_steps::id, run_steps::epoch, run_steps::held_usage.is_not_null()))
        .get_results(conn)?;
    let held = stopped.into_iter().filter(|(_, _, is_held)| *is_held);
    Ok(held.map(|(step, epoch, _)| (step, epoch)).collect())
}

/// The steps of a run for which something is held, with the epoch of the worker that has them, if it was not lost.
pub(in crate::features::runs) fn at_work(conn: &mut PgConnection, run: RunId) -> QueryResult<Vec<(StepId, i64)>> {
    run_steps::table
        .filter(run_steps::run_id.eq(run.uuid()))
        .filter(run_steps::status.eq(StepStatus::Running))
        .filter(run_steps::held_usage.is_not_null())
        .order(run_steps::number)
        .select((run_steps::id, run_steps::epoch))
        .load(conn)
}

/// Writes what is learnt of the cost of a step beside its course. Its state stays.
pub(in crate::features::runs) fn save_money(conn: &mut PgConnection, step: &StepRow) -> QueryResult<usize> {
    diesel::update(run_steps::table.find(step.id.uuid()))
        .set((
            run_steps::prior_attempts.eq(&step.prior_attempts),
            run_steps::usage.eq(&step.usage),
            run_steps::cost_micros.eq(step.cost_micros),
            run_steps::held_micros.eq(step.held_micros),
            run_steps::held_usage.eq(&step.held_usage),
        ))
        .execute(conn)
}
