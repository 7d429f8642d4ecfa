//! What keeps the inbox complete and small.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::kernel::{
    id::WorkspaceId,
    inbox::model::{ConnectionId, InboxEventId},
    schema::{inbox_events as events, inbox_lanes as lanes, stripe_connections as connections},
};

/// Workspaces beyond this one that have a connection.
pub(in crate::kernel::inbox) fn sellers(
    conn: &mut PgConnection,
    after: WorkspaceId,
    most: i64,
) -> QueryResult<Vec<WorkspaceId>> {
    connections::table
        .filter(connections::workspace_id.gt(after))
        .select(connections::workspace_id)
        .distinct()
        .order(connections::workspace_id)
        .limit(most)
        .load(conn)
}

/// Drops payloads that came in before an instant, at most so many. Their hashes stay.
pub(in crate::kernel::inbox) fn drop_payloads(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<usize> {
    let old: Vec<InboxEventId> = events::table
        .filter(events::payload.is_not_null())
        .filter(events::received_at.lt(before))
        .order(events::received_at)
        .limit(most)
        .select(events::id)
        .load(conn)?;
    diesel::update(events::table.filter(events::id.eq_any(old)))
        .set(events::payload.eq(None::<Vec<u8>>))
        .execute(conn)
}

/// Removes events that came in before an instant and were settled, at most so many.
pub(in crate::kernel::inbox) fn remove_settled(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<usize> {
    let old: Vec<InboxEventId> = events::table
        .filter(events::state.eq_any(["done", "ignored"]))
        .filter(events::received_at.lt(before))
        .order((events::received_at, events::id))
        .limit(most)
        .select(events::id)
        .load(conn)?;
    diesel::delete(events::table.filter(events::id.eq_any(old))).execute(conn)
}

/// Removes lanes in which nothing waits and nothing is wrong, at most so many. Whatever comes in makes its lane anew.
pub(in crate::kernel::inbox) fn remove_idle_lanes(conn: &mut PgConnection, most: i64) -> QueryResult<usize> {
    let idle: Vec<(ConnectionId, String)> = lanes::table
        .filter(lanes::available_at.is_null())
        .filter(lanes::lease_token.is_null())
        .filter(lanes::trouble.is_null())
        .limit(most)
        .select((lanes::connection_id, lanes::lane))
        .for_update()
        .skip_locked()
        .load(conn)?;
    let mut removed = 0;
    for (connection, lane) in idle {
        let one = lanes::table
            .filter(lanes::connection_id.eq(connection))
            .filter(lanes::lane.eq(lane));
        removed += diesel::delete(one).execute(conn)?;
    }
    Ok(removed)
}

pub(in crate::kernel::inbox) fn reconciled_at(
    conn: &mut PgConnection,
    id: ConnectionId,
) -> QueryResult<Option<DateTime<Utc>>> {
    connections::table
        .filter(connections::id.eq(id))
        .select(connections::last_reconciled_at)
        .first(conn)
}

pub(in crate::kernel::inbox) fn reconciled(
    conn: &mut PgConnection,
    id: ConnectionId,
    until: DateTime<Utc>,
) -> QueryResult<usize> {
    diesel::update(connections::table)
        .filter(connections::id.eq(id))
        .set(connections::last_reconciled_at.eq(until))
        .execute(conn)
}
