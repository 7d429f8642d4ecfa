//! The statements of the inbox. Those of the door and of the claim run as `app_kernel`, the rest in the seller's workspace.

mod health;
mod upkeep;

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{IntervalDsl, exists, now},
    prelude::*,
    sql_types::{Nullable, Timestamptz},
};
use uuid::Uuid;

pub(super) use self::health::{heard_from, is_parked, judge, note, state};
pub(super) use self::upkeep::{drop_payloads, reconciled, reconciled_at, remove_idle_lanes, remove_settled, sellers};
use super::model::{Arrival, ConnectionId, InboxEventId, Lane, Receiver, Waiting};
use crate::kernel::{
    crypto::{Sealed, sha256},
    id::{Id, WorkspaceId},
    schema::{inbox_events as events, inbox_lanes as lanes, stripe_connections as connections},
};

diesel::define_sql_function! {
    /// The transaction's instant.
    fn app_now() -> Timestamptz;
}
diesel::define_sql_function! {
    /// The smaller of two; NULL counts as none.
    fn least(one: Nullable<Timestamptz>, other: Nullable<Timestamptz>) -> Nullable<Timestamptz>;
}

/// Seconds that a lane is leased for: three beats of its worker.
const LEASE_SECONDS: i32 = 60;
/// Events of one lane that are taken at once; more wait for the next lease.
const MOST_EVENTS: i64 = 1_000;

/// A connection that takes events.
pub(super) fn receiver(conn: &mut PgConnection, id: ConnectionId) -> QueryResult<Option<Receiver>> {
    connections::table
        .filter(connections::id.eq(id))
        .select((
            connections::workspace_id,
            connections::id,
            connections::mode,
            connections::state,
            connections::webhook_secrets_sealed,
        ))
        .first(conn)
        .optional()
}

/// The sealed key of a connection that is not disconnected.
pub(super) fn sealed_key(conn: &mut PgConnection, id: ConnectionId) -> QueryResult<Option<Sealed>> {
    let found: Option<Option<Sealed>> = connections::table
        .filter(connections::id.eq(id))
        .filter(connections::state.ne("disconnected"))
        .select(connections::key_sealed)
        .first(conn)
        .optional()?;
    Ok(found.flatten())
}

/// Makes the operator's own connection, or sets its mode.
pub(super) fn upsert_platform(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ConnectionId,
    mode: &str,
    version: &str,
) -> QueryResult<usize> {
    diesel::insert_into(connections::table)
        .values((
            connections::workspace_id.eq(workspace),
            connections::id.eq(id),
            connections::mode.eq(mode),
            connections::state.eq("active"),
            connections::api_version.eq(version),
        ))
        .on_conflict((connections::workspace_id, connections::id))
        .do_update()
        .set((connections::mode.eq(mode), connections::api_version.eq(version)))
        .execute(conn)?;
    // It is configuration: what it is at this start counts, and nobody disconnects it for good.
    let own = connections::workspace_id.eq(workspace).and(connections::id.eq(id));
    diesel::update(connections::table.filter(own))
        .filter(connections::state.eq("disconnected"))
        .set(connections::state.eq("active"))
        .execute(conn)
}

/// Stores an event. False: it is here already.
pub(super) fn store(conn: &mut PgConnection, to: &Receiver, arrival: &Arrival) -> QueryResult<bool> {
    let state = if arrival.wanted { "received" } else { "ignored" };
    let stored = diesel::insert_into(events::table)
        .values((
            events::workspace_id.eq(to.workspace),
            events::id.eq(arrival.id),
            events::connection_id.eq(to.id),
            events::event_id.eq(&arrival.event_id),
            events::kind.eq(&arrival.kind),
            events::object_kind.eq(&arrival.object_kind),
            events::object_id.eq(&arrival.object_id),
            events::lane.eq(&arrival.lane),
            events::provider_created_at.eq(arrival.created),
            events::api_version.eq(&arrival.api_version),
            events::payload.eq(&arrival.payload),
            events::payload_hash.eq(sha256(&arrival.payload).as_slice()),
            events::state.eq(state),
        ))
        .on_conflict((events::workspace_id, events::connection_id, events::event_id))
        .do_nothing()
        .execute(conn)?;
    Ok(stored > 0)
}

/// Says that an event waits in a lane from now on. After [`store`], so that a worker that frees the lane meanwhile is waited for.
pub(super) fn open_lane(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    connection: ConnectionId,
    lane: &str,
) -> QueryResult<usize> {
    diesel::insert_into(lanes::table)
        .values((
            lanes::workspace_id.eq(workspace),
            lanes::connection_id.eq(connection),
            lanes::lane.eq(lane),
            lanes::available_at.eq(app_now().nullable()),
        ))
        .on_conflict((lanes::workspace_id, lanes::connection_id, lanes::lane))
        .do_update()
        .set(lanes::available_at.eq(least(lanes::available_at, app_now().nullable())))
        .execute(conn)
}

/// A lane as the claim leaves it: workspace, connection, name, epoch.
pub(super) type Claimed = (WorkspaceId, ConnectionId, String, i64);

/// Leases the lane that has waited longest. Lanes that others hold are passed over.
pub(super) fn claim(conn: &mut PgConnection, token: Uuid) -> QueryResult<Option<Claimed>> {
    let free = lanes::lease_until
        .is_null()
        .or(lanes::lease_until.lt(now.into_sql::<Nullable<Timestamptz>>()));
    let found: Option<(WorkspaceId, ConnectionId, String)> = lanes::table
        .filter(lanes::available_at.le(app_now().nullable()))
        .filter(free)
        .order(lanes::available_at)
        .select((lanes::workspace_id, lanes::connection_id, lanes::lane))
        .for_update()
        .skip_locked()
        .first(conn)
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    diesel::update(lanes::table.find(found))
        .set((
            lanes::lease_token.eq(token),
            lanes::lease_until.eq((now.into_sql::<Timestamptz>() + LEASE_SECONDS.seconds()).nullable()),
            lanes::epoch.eq(lanes::epoch + 1),
        ))
        .returning((lanes::workspace_id, lanes::connection_id, lanes::lane, lanes::epoch))
        .get_result(conn)
        .optional()
}

/// What waits in a lane, oldest first.
pub(super) fn waiting(conn: &mut PgConnection, at: &Claimed) -> QueryResult<Vec<Waiting>> {
    events::table
        .filter(events::workspace_id.eq(at.0))
        .filter(events::connection_id.eq(at.1))
        .filter(events::lane.eq(&at.2))
        .filter(events::state.eq("received"))
        .filter(events::available_at.le(app_now()))
        .order((events::received_at, events::id))
        .limit(MOST_EVENTS)
        .select((
            events::id,
            events::kind,
            events::object_kind,
            events::object_id,
            events::attempts,
            events::put_off,
            events::looking,
        ))
        .load(conn)
}

/// Locks the lane for the rest of the transaction, if the lease is still this one.
pub(super) fn lock(conn: &mut PgConnection, connection: ConnectionId, lane: &str, token: Uuid) -> QueryResult<bool> {
    let found: Option<i64> = lanes::table
        .filter(lanes::connection_id.eq(connection))
        .filter(lanes::lane.eq(lane))
        .filter(lanes::lease_token.eq(token))
        .select(lanes::epoch)
        .for_update()
        .first(conn)
        .optional()?;
    Ok(found.is_some())
}

/// The outcome of a look, as columns.
#[derive(AsChangeset)]
#[diesel(table_name = events, treat_none_as_null = true)]
pub(super) struct Mark {
    pub(super) state: &'static str,
    pub(super) last_error: Option<String>,
    pub(super) parked_on: Option<String>,
    pub(super) done_at: Option<DateTime<Utc>>,
    pub(super) put_off: i32,
    pub(super) looking: bool,
}

pub(super) fn mark(conn: &mut PgConnection, ids: &[InboxEventId], mark: &Mark) -> QueryResult<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Id::uuid).collect();
    diesel::update(events::table.filter(events::id.eq_any(ids)))
        .set(mark)
        .execute(conn)
}

/// Counts a failed look; the event waits until then, or, without a time, for good. One that nobody looks at stays as it is.
pub(super) fn fail(
    conn: &mut PgConnection,
    id: InboxEventId,
    error: &str,
    again: Option<DateTime<Utc>>,
) -> QueryResult<usize> {
    diesel::update(events::table.find(id))
        .filter(events::looking)
        .set((
            events::attempts.eq(events::attempts + 1),
            events::last_error.eq(error),
            events::state.eq(if again.is_some() { "received" } else { "dead" }),
            events::put_off.eq(0),
            events::looking.eq(false),
            again.map(|at| events::available_at.eq(at)),
        ))
        .execute(conn)
}

/// Notes that somebody looks at events.
pub(super) fn begin(conn: &mut PgConnection, ids: &[InboxEventId]) -> QueryResult<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Id::uuid).collect();
    diesel::update(events::table.filter(events::id.eq_any(ids)))
        .set(events::looking.eq(true))
        .execute(conn)
}

/// Notes that nobody looks at the events of a lane.
pub(super) fn forget_look(conn: &mut PgConnection, connection: ConnectionId, lane: &str) -> QueryResult<usize> {
    diesel::update(events::table)
        .filter(events::connection_id.eq(connection))
        .filter(events::lane.eq(lane))
        .filter(events::state.eq("received"))
        .filter(events::looking)
        .set(events::looking.eq(false))
        .execute(conn)
}

/// Lets events wait until then, once more. Those that nobody looks at stay as they are.
pub(super) fn put_off(conn: &mut PgConnection, ids: &[InboxEventId], until: DateTime<Utc>) -> QueryResult<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Id::uuid).collect();
    diesel::update(events::table.filter(events::id.eq_any(ids)))
        .filter(events::looking)
        .set((
            events::available_at.eq(until),
            events::put_off.eq(events::put_off + 1),
            events::looking.eq(false),
        ))
        .execute(conn)
}

/// Moves events into another lane.
pub(super) fn relane(conn: &mut PgConnection, ids: &[InboxEventId], lane: &str) -> QueryResult<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Id::uuid).collect();
    diesel::update(events::table.filter(events::id.eq_any(ids)))
        .set((events::lane.eq(lane), events::looking.eq(false)))
        .execute(conn)
}

/// Lets what was parked on this, came in after `since` and could be looked at `then` wait again, and answers the lane of each.
pub(super) fn unpark(
    conn: &mut PgConnection,
    connection: ConnectionId,
    on: &str,
    since: DateTime<Utc>,
    then: DateTime<Utc>,
) -> QueryResult<Vec<String>> {
    diesel::update(events::table)
        .filter(events::connection_id.eq(connection))
        .filter(events::state.eq("parked"))
        .filter(events::parked_on.eq(on))
        .filter(events::received_at.ge(since))
        .filter(events::available_at.le(then))
        .set((
            events::state.eq("received"),
            events::parked_on.eq(None::<String>),
            events::available_at.eq(app_now()),
        ))
        .returning(events::lane)
        .get_results(conn)
}

/// Frees a lane. It is available again when its next event is.
pub(super) fn free(conn: &mut PgConnection, connection: ConnectionId, lane: &str) -> QueryResult<usize> {
    let next: Option<DateTime<Utc>> = events::table
        .filter(events::connection_id.eq(connection))
        .filter(events::lane.eq(lane))
        .filter(events::state.eq("received"))
        .select(diesel::dsl::min(events::available_at))
        .first(conn)?;
    diesel::update(lanes::table)
        .filter(lanes::connection_id.eq(connection))
        .filter(lanes::lane.eq(lane))
        .set((
            lanes::available_at.eq(next),
            lanes::lease_token.eq(None::<Uuid>),
            lanes::lease_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
}

/// Renews a lease. False: it is somebody else's, or ended.
pub(super) fn renew(conn: &mut PgConnection, lane: &Lane) -> QueryResult<bool> {
    let own = lanes::table
        .find((lane.workspace, lane.connection, &lane.name))
        .filter(lanes::lease_token.eq(lane.token));
    // Who applies what was seen holds the row until the commit, and needs no renewal.
    let free: Option<i64> = own
        .select(lanes::epoch)
        .for_update()
        .skip_locked()
        .first(conn)
        .optional()?;
    if free.is_none() {
        return diesel::select(exists(own)).get_result(conn);
    }
    diesel::update(lanes::table.find((lane.workspace, lane.connection, &lane.name)))
        .set(lanes::lease_until.eq((now.into_sql::<Timestamptz>() + LEASE_SECONDS.seconds()).nullable()))
        .execute(conn)?;
    Ok(true)
}
