//! Statements about what a run leaves behind: messages, events, checkpoints.

use diesel::{ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper, dsl::max};
use serde_json::Value;

use super::super::model::{
    Message, MessageFilters, RunId,
    rows::{Checkpoint, NewEvent, NewMessage},
};
use crate::{
    features::schema::runs::{run_checkpoints, run_events, run_messages},
    in_number,
    kernel::page::PageQuery,
};

pub(in crate::features::runs) fn add_events(conn: &mut PgConnection, events: &[NewEvent]) -> QueryResult<usize> {
    diesel::insert_into(run_events::table).values(events).execute(conn)
}

pub(in crate::features::runs) fn add_messages(
    conn: &mut PgConnection,
    messages: &[NewMessage<'_>],
) -> QueryResult<usize> {
    diesel::insert_into(run_messages::table).values(messages).execute(conn)
}

/// How long a conversation is.
pub(in crate::features::runs) fn length(conn: &mut PgConnection, run: RunId, scope: &str) -> QueryResult<i32> {
    let those = run_messages::table
        .filter(run_messages::run_id.eq(run.uuid()))
        .filter(run_messages::scope.eq(scope));
    let last: Option<i32> = those.select(max(run_messages::seq)).first(conn)?;
    Ok(last.unwrap_or(0))
}

/// A conversation up to a message: roles and contents.
pub(in crate::features::runs) fn said(
    conn: &mut PgConnection,
    run: RunId,
    scope: &str,
    upto: i32,
) -> QueryResult<Vec<(String, Value)>> {
    run_messages::table
        .filter(run_messages::run_id.eq(run.uuid()))
        .filter(run_messages::scope.eq(scope))
        .filter(run_messages::seq.le(upto))
        .order(run_messages::seq)
        .select((run_messages::role, run_messages::content))
        .load(conn)
}

pub(in crate::features::runs) fn messages(
    conn: &mut PgConnection,
    run: RunId,
    query: &PageQuery<MessageFilters>,
) -> QueryResult<Vec<Message>> {
    let rows = run_messages::table
        .filter(run_messages::run_id.eq(run.uuid()))
        .filter(run_messages::scope.eq(&query.filters.scope))
        .select(Message::as_select())
        .limit(query.fetch())
        .into_boxed();
    in_number!(rows, run_messages, seq, query).load(conn)
}

pub(in crate::features::runs) fn add_checkpoint(
    conn: &mut PgConnection,
    checkpoint: &Checkpoint,
) -> QueryResult<usize> {
    diesel::insert_into(run_checkpoints::table)
        .values(checkpoint)
        .execute(conn)
}

/// The last whole state and everything since, oldest first.
pub(in crate::features::runs) fn checkpoints(conn: &mut PgConnection, run: RunId) -> QueryResult<Vec<Checkpoint>> {
    let those = run_checkpoints::table.filter(run_checkpoints::run_id.eq(run.uuid()));
    let whole: Option<i32> = those
        .filter(run_checkpoints::kind.eq("full"))
        .select(max(run_checkpoints::seq))
        .first(conn)?;
    those
        .filter(run_checkpoints::seq.ge(whole.unwrap_or(0)))
        .order(run_checkpoints::seq)
        .select(Checkpoint::as_select())
        .load(conn)
}
