//! How a connection stands, as its lanes found it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{dsl::exists, prelude::*};

use crate::kernel::{
    inbox::model::ConnectionId,
    schema::{inbox_events as events, inbox_lanes as lanes, stripe_connections as connections},
};

/// Notes that something was heard from a connection, to the minute: its row is everybody's.
pub(in crate::kernel::inbox) fn heard_from(
    conn: &mut PgConnection,
    id: ConnectionId,
    at: DateTime<Utc>,
) -> QueryResult<usize> {
    let stale = connections::last_event_at
        .is_null()
        .or(connections::last_event_at.lt(at - TimeDelta::minutes(1)));
    diesel::update(connections::table)
        .filter(connections::id.eq(id))
        .filter(stale)
        .set(connections::last_event_at.eq(at))
        .execute(conn)
}

/// Notes what a lane's look found wrong with the connection.
pub(in crate::kernel::inbox) fn note(
    conn: &mut PgConnection,
    connection: ConnectionId,
    lane: &str,
    trouble: Option<&str>,
) -> QueryResult<usize> {
    diesel::update(lanes::table)
        .filter(lanes::connection_id.eq(connection))
        .filter(lanes::lane.eq(lane))
        .filter(lanes::trouble.is_distinct_from(trouble))
        .set(lanes::trouble.eq(trouble))
        .execute(conn)
}

/// Whether something of a lane is parked on this.
pub(in crate::kernel::inbox) fn is_parked(
    conn: &mut PgConnection,
    connection: ConnectionId,
    lane: &str,
    on: &str,
) -> QueryResult<bool> {
    let parked = events::table
        .filter(events::connection_id.eq(connection))
        .filter(events::state.eq("parked"))
        .filter(events::parked_on.eq(on))
        .filter(events::lane.eq(lane));
    diesel::select(exists(parked)).get_result(conn)
}

/// How a connection stands.
pub(in crate::kernel::inbox) fn state(conn: &mut PgConnection, id: ConnectionId) -> QueryResult<String> {
    connections::table
        .filter(connections::id.eq(id))
        .select(connections::state)
        .first(conn)
}

/// Lets a connection stand as its lanes say: in trouble as long as one of them is. Locks it, so that two lanes that end at once see each
/// other's findings.
pub(in crate::kernel::inbox) fn judge(conn: &mut PgConnection, id: ConnectionId) -> QueryResult<usize> {
    connections::table
        .filter(connections::id.eq(id))
        .select(connections::state)
        .for_no_key_update()
        .first::<String>(conn)?;
    let trouble: Option<Option<String>> = lanes::table
        .filter(lanes::connection_id.eq(id))
        .filter(lanes::trouble.is_not_null())
        .order(lanes::lane)
        .select(lanes::trouble)
        .first(conn)
        .optional()?;
    let trouble = trouble.flatten();
    let state = if trouble.is_some() { "degraded" } else { "active" };
    diesel::update(connections::table)
        .filter(connections::id.eq(id))
        .filter(connections::state.ne("disconnected"))
        .set((connections::state.eq(state), connections::last_error.eq(trouble)))
        .execute(conn)
}
