//! Rows of events.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, IntoSql, NullableExpressionMethods, PgConnection, QueryDsl,
    QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    dsl::{min, now},
    sql_types::{Interval, Timestamptz},
};
use serde_json::Value;
use uuid::Uuid;

use crate::kernel::{
    id::{EventId, WorkspaceId},
    schema::{outbox, outbox_dead, outbox_queue},
};

/// An event as it was written.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = outbox)]
pub struct Event {
    /// Names it; also what receivers tell copies by.
    pub id: EventId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// `resource.happened`.
    pub kind: String,
    /// The API version that `data` was written in.
    pub api_version: String,
    /// Who did it: `user`, `api_key`, `job` …
    pub actor_type: String,
    /// Which one.
    pub actor_id: Option<Uuid>,
    /// What it is about.
    pub subject_id: Option<Uuid>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// That request's trace.
    pub traceparent: Option<String>,
    /// The subject as a `GET` showed it then.
    pub data: Value,
    /// Old values of what changed.
    pub previous: Option<Value>,
    /// True if `data` only points at the subject.
    pub thin: bool,
    /// The reseller whose row the subject is.
    pub reseller_id: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = outbox)]
pub(super) struct NewEvent<'a> {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: EventId,
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) actor_type: &'static str,
    pub(super) actor_id: Option<Uuid>,
    pub(super) subject_id: Uuid,
    pub(super) request_id: &'a str,
    pub(super) traceparent: String,
    pub(super) data: Value,
    pub(super) previous: Option<Value>,
    pub(super) thin: bool,
    pub(super) reseller_id: Option<Uuid>,
    pub(super) customer_id: Option<Uuid>,
    pub(super) created_at: DateTime<Utc>,
}

/// The event and its place in the queue.
pub(super) fn insert(conn: &mut PgConnection, event: &NewEvent<'_>) -> QueryResult<()> {
    diesel::insert_into(outbox::table).values(event).execute(conn)?;
    let place = (
        outbox_queue::workspace_id.eq(event.workspace_id),
        outbox_queue::event_id.eq(event.id),
    );
    diesel::insert_into(outbox_queue::table).values(place).execute(conn)?;
    Ok(())
}

/// An event that waits: how often it was tried, and how often the database was too busy for it.
#[derive(Clone, Copy, Debug, Queryable)]
pub(super) struct Waiting {
    pub(super) workspace: WorkspaceId,
    pub(super) event: EventId,
    pub(super) tries: i32,
    pub(super) busy: i32,
}

/// Leases the events that waited longest, in every workspace. Real time, as leases are.
pub(super) fn claim(
    conn: &mut PgConnection,
    batch: i64,
    token: Uuid,
    lease: chrono::Duration,
) -> QueryResult<Vec<Waiting>> {
    use outbox_queue::dsl as q;
    let free = q::lease_until
        .is_null()
        .or(q::lease_until.lt(now.into_sql::<Timestamptz>().nullable()));
    let waiting: Vec<(DateTime<Utc>, EventId)> = q::outbox_queue
        .filter(q::due_at.le(now))
        .filter(free)
        .order((q::due_at, q::event_id))
        .limit(batch)
        .select((q::due_at, q::event_id))
        .for_update()
        .skip_locked()
        .load(conn)?;
    let Some((last, _)) = waiting.last() else {
        return Ok(Vec::new());
    };
    // No index begins with the event: the batch is found at the beginning of the one that it was taken from.
    let last = *last;
    let waiting: Vec<EventId> = waiting.into_iter().map(|(_, event)| event).collect();
    let until = now.into_sql::<Timestamptz>() + lease.into_sql::<Interval>();
    let batch = q::outbox_queue
        .filter(q::due_at.le(last))
        .filter(q::event_id.eq_any(waiting));
    diesel::update(batch)
        .set((
            q::tries.eq(q::tries + 1),
            q::lease_token.eq(token),
            q::lease_until.eq(until.nullable()),
        ))
        .returning((q::workspace_id, q::event_id, q::tries, q::busy))
        .get_results(conn)
}

/// Takes events out of the queue that this lease still holds, and answers which those were.
pub(super) fn take_out(conn: &mut PgConnection, events: &[EventId], token: Uuid) -> QueryResult<Vec<EventId>> {
    use outbox_queue::dsl as q;
    let mine = q::outbox_queue
        .filter(q::event_id.eq_any(events))
        .filter(q::lease_token.eq(token));
    diesel::delete(mine).returning(q::event_id).get_results(conn)
}

/// Events in the order in which they were written.
pub(super) fn load(conn: &mut PgConnection, events: &[EventId]) -> QueryResult<Vec<Event>> {
    outbox::table
        .filter(outbox::id.eq_any(events))
        .order(outbox::id)
        .select(Event::as_select())
        .load(conn)
}

/// One event.
pub(super) fn find(conn: &mut PgConnection, event: EventId) -> QueryResult<Event> {
    outbox::table
        .filter(outbox::id.eq(event))
        .select(Event::as_select())
        .first(conn)
}

/// Ends the lease of events; they come again after `delay`. `busy`: the try does not count as one.
pub(super) fn put_back(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    events: &[EventId],
    token: Uuid,
    delay: Duration,
    busy: bool,
) -> QueryResult<usize> {
    use outbox_queue::dsl as q;
    let delay = chrono::Duration::from_std(delay).unwrap_or_default();
    let mine = q::outbox_queue
        .filter(q::workspace_id.eq(workspace))
        .filter(q::event_id.eq_any(events))
        .filter(q::lease_token.eq(token));
    diesel::update(mine)
        .set((
            q::tries.eq(q::tries - i32::from(busy)),
            q::busy.eq(q::busy + i32::from(busy)),
            q::due_at.eq(now.into_sql::<Timestamptz>() + delay.into_sql::<Interval>()),
            q::lease_token.eq(None::<Uuid>),
            q::lease_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
}

pub(super) fn bury(
    conn: &mut PgConnection,
    event: EventId,
    consumer: &str,
    error: &str,
    tries: i32,
) -> QueryResult<usize> {
    use outbox_dead::dsl as d;
    let row = (
        d::event_id.eq(event),
        d::consumer.eq(consumer),
        d::error.eq(error.replace('\0', "")),
        d::tries.eq(tries),
    );
    diesel::insert_into(d::outbox_dead)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
}

/// How long the oldest event has waited.
pub(super) fn oldest_seconds(conn: &mut PgConnection) -> QueryResult<i64> {
    let (oldest, present): (Option<DateTime<Utc>>, DateTime<Utc>) = outbox_queue::table
        .select((min(outbox_queue::due_at), now.into_sql::<Timestamptz>()))
        .first(conn)?;
    Ok(oldest.map_or(0, |oldest| (present - oldest).num_seconds().max(0)))
}
