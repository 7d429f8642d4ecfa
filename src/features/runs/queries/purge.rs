//! Statements that remove what runs hold once its time is over.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl,
    dsl::{case_when, min},
};
use serde_json::{Value, json};

use super::super::model::RunId;
use crate::features::schema::runs::{run_checkpoints, run_events, run_logs, run_messages, run_steps, runs};

/// A run, its error, and the plan that is its own because it was a draft's.
pub(in crate::features::runs) type Due = (RunId, Option<Value>, Option<Vec<u8>>);

/// At most so many runs whose contents are due, locked. Those that somebody holds are left for the next time.
pub(in crate::features::runs) fn due(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> QueryResult<Vec<Due>> {
    let own = case_when(runs::agent_version.is_null(), runs::plan_sha256);
    runs::table
        .filter(runs::purged_at.is_null())
        .filter(runs::payload_until.le(now))
        .order(runs::payload_until)
        .limit(most)
        .select((runs::id, runs::error, own))
        .for_update()
        .skip_locked()
        .load(conn)
}

/// When the contents of some run are due next.
pub(in crate::features::runs) fn next(conn: &mut PgConnection) -> QueryResult<Option<DateTime<Utc>>> {
    runs::table
        .filter(runs::purged_at.is_null())
        .select(min(runs::payload_until))
        .first(conn)
}

/// Removes everything that these runs were given, said, made and noted.
pub(in crate::features::runs) fn contents(conn: &mut PgConnection, of: &[RunId]) -> QueryResult<()> {
    let of: Vec<_> = of.iter().map(|run| run.uuid()).collect();
    diesel::delete(run_messages::table.filter(run_messages::run_id.eq_any(&of))).execute(conn)?;
    diesel::delete(run_events::table.filter(run_events::run_id.eq_any(&of))).execute(conn)?;
    diesel::delete(run_checkpoints::table.filter(run_checkpoints::run_id.eq_any(&of))).execute(conn)?;
    diesel::delete(run_logs::table.filter(run_logs::run_id.eq_any(&of))).execute(conn)?;
    diesel::update(run_steps::table.filter(run_steps::run_id.eq_any(&of)))
        .set((
            run_steps::input.eq(None::<Value>),
            run_steps::output.eq(None::<Value>),
            run_steps::error.eq(None::<Value>),
            run_steps::intent.eq(None::<Value>),
            run_steps::prior_attempts.eq(json!([])),
        ))
        .execute(conn)
        .map(drop)
}

/// Notes that the contents of a run are gone; of its error only the code is left.
pub(in crate::features::runs) fn done(
    conn: &mut PgConnection,
    run: RunId,
    error: Option<Value>,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    diesel::update(runs::table.find(run.uuid()))
        .set((
            runs::input.eq(Value::Null),
            runs::output.eq(None::<Value>),
            runs::error.eq(error),
            runs::plan_sha256.eq(case_when(runs::agent_version.is_not_null(), runs::plan_sha256)),
            runs::purged_at.eq(now),
        ))
        .execute(conn)
}
