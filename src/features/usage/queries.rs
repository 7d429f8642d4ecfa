//! Statements about the ledger.

use diesel::{
    ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use uuid::Uuid;

use super::model::{EntryKind, NewRow, UsageEvent};
use crate::{
    features::{providers::TokenUsage, schema::runs::usage_events},
    kernel::jsonb::Jsonb,
};

/// True if it was not there yet.
pub(super) fn insert(conn: &mut PgConnection, row: &NewRow<'_>) -> QueryResult<bool> {
    Ok(diesel::insert_into(usage_events::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)?
        == 1)
}

/// What was charged for an attempt that was lost: tokens, and micros.
pub(super) fn estimate(
    conn: &mut PgConnection,
    step: Uuid,
    epoch: i64,
) -> QueryResult<Option<(Jsonb<TokenUsage>, i64)>> {
    usage_events::table
        .filter(usage_events::step_id.eq(step))
        .filter(usage_events::epoch.eq(epoch))
        .filter(usage_events::kind.eq(EntryKind::Estimate))
        .select((usage_events::usage_details, usage_events::cost_micros))
        .first(conn)
        .optional()
}

pub(super) fn of_run(conn: &mut PgConnection, run: Uuid) -> QueryResult<Vec<UsageEvent>> {
    usage_events::table
        .filter(usage_events::run_id.eq(run))
        .order((usage_events::created_at.asc(), usage_events::id.asc()))
        .limit(10_000)
        .select(UsageEvent::as_select())
        .load(conn)
}
