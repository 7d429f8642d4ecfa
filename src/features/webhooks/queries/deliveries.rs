//! Rows of deliveries and attempts.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, NullableExpressionMethods, OptionalExtension, PgConnection,
    QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
};
use uuid::Uuid;

use crate::{
    any_of,
    features::{
        schema::webhooks::{webhook_attempts as a, webhook_deliveries as d},
        webhooks::model::{Attempt, Delivery, DeliveryFilters, DeliveryId, DeliveryState, EndpointId},
    },
    in_order,
    kernel::{id::EventId, page::PageQuery},
};

#[derive(Insertable)]
#[diesel(table_name = d)]
pub(in crate::features::webhooks) struct NewDelivery<'a> {
    pub id: DeliveryId,
    pub endpoint_id: EndpointId,
    pub reseller_id: Option<Uuid>,
    pub event_id: EventId,
    pub event_type: &'a str,
    pub subject_id: Option<Uuid>,
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// Inserts what is not there yet, and answers to which endpoints that was.
pub(in crate::features::webhooks) fn insert_deliveries(
    conn: &mut PgConnection,
    rows: &[NewDelivery<'_>],
) -> QueryResult<Vec<EndpointId>> {
    diesel::insert_into(d::table)
        .values(rows)
        .on_conflict_do_nothing()
        .returning(d::endpoint_id)
        .get_results(conn)
}

/// A delivery that is about to be sent.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = d)]
pub(in crate::features::webhooks) struct Taken {
    pub id: DeliveryId,
    pub event_id: EventId,
    pub event_type: String,
    pub attempts: i32,
    pub attempts_total: i32,
}

/// What an attempt that somebody asked for waits with, and every other. There are no more than these two.
pub(super) const ASKED_FOR: i16 = 9;
const ORDINARY: i16 = 5;

/// Those that an older lease left under way.
pub(in crate::features::webhooks) fn left(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    epoch: i64,
    most: i64,
) -> QueryResult<Vec<DeliveryId>> {
    d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::next_attempt_at.is_null().and(d::finished_at.is_null()))
        .filter(d::epoch.lt(epoch))
        .order(d::id)
        .limit(most)
        .select(d::id)
        .load(conn)
}

/// Those that are due: what somebody asked for first, then what has waited longest.
pub(in crate::features::webhooks) fn due(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    now: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<DeliveryId>> {
    let mut ids: Vec<DeliveryId> = Vec::new();
    // One question for each: the index answers both without looking at what is not due.
    for priority in [ASKED_FOR, ORDINARY] {
        let room = most - ids.len() as i64;
        if room > 0 {
            let more: Vec<DeliveryId> = d::table
                .filter(d::endpoint_id.eq(endpoint))
                .filter(d::priority.eq(priority))
                .filter(d::next_attempt_at.le(now))
                .order((d::next_attempt_at, d::id))
                .limit(room)
                .select(d::id)
                .load(conn)?;
            ids.extend(more);
        }
    }
    Ok(ids)
}

/// When the next of those that wait is due.
pub(in crate::features::webhooks) fn next_due(
    conn: &mut PgConnection,
    endpoint: EndpointId,
) -> QueryResult<Option<DateTime<Utc>>> {
    let mut next = None;
    for priority in [ASKED_FOR, ORDINARY] {
        let first: Option<DateTime<Utc>> = d::table
            .filter(d::endpoint_id.eq(endpoint))
            .filter(d::priority.eq(priority))
            .filter(d::next_attempt_at.is_not_null())
            .order((d::next_attempt_at, d::id))
            .select(d::next_attempt_at.assume_not_null())
            .first(conn)
            .optional()?;
        next = next.into_iter().chain(first).min();
    }
    Ok(next)
}

/// One that waits, when it is due, and when it was first tried.
pub(in crate::features::webhooks) type Waiting = (DeliveryId, DateTime<Utc>, Option<DateTime<Utc>>);

/// The head of a line: the oldest that waits, but for those first tried before `horizon`, which hold up nobody any more.
pub(in crate::features::webhooks) fn head(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    horizon: Option<DateTime<Utc>>,
) -> QueryResult<Option<Waiting>> {
    let mut line = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::finished_at.is_null().and(d::next_attempt_at.is_not_null()))
        .order(d::id)
        .select((d::id, d::next_attempt_at.assume_not_null(), d::first_attempt_at))
        .into_boxed();
    if let Some(horizon) = horizon {
        line = line.filter(d::first_attempt_at.is_null().or(d::first_attempt_at.gt(horizon)));
    }
    line.first(conn).optional()
}

/// The first to be due of those first tried before `horizon`.
pub(in crate::features::webhooks) fn overtaken(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    horizon: DateTime<Utc>,
) -> QueryResult<Option<Waiting>> {
    d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::next_attempt_at.is_not_null())
        .filter(d::first_attempt_at.le(horizon))
        .order((d::next_attempt_at, d::id))
        .select((d::id, d::next_attempt_at.assume_not_null(), d::first_attempt_at))
        .first(conn)
        .optional()
}

pub(in crate::features::webhooks) fn set_in_flight(
    conn: &mut PgConnection,
    ids: &[DeliveryId],
    epoch: i64,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Taken>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut taken: Vec<Taken> = diesel::update(d::table.filter(d::id.eq_any(ids)))
        .set((
            d::state.eq(DeliveryState::InFlight),
            d::epoch.eq(epoch),
            d::attempts.eq(d::attempts + 1),
            d::attempts_total.eq(d::attempts_total + 1),
            d::next_attempt_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Taken::as_returning())
        .get_results(conn)?;
    diesel::update(d::table.filter(d::id.eq_any(ids)).filter(d::first_attempt_at.is_null()))
        .set(d::first_attempt_at.eq(now))
        .execute(conn)?;
    taken.sort_by_key(|delivery| delivery.id);
    Ok(taken)
}

/// What became of one attempt.
pub(in crate::features::webhooks) struct Outcome {
    pub state: DeliveryState,
    pub next: Option<DateTime<Utc>>,
    pub status: Option<i32>,
    pub error: Option<String>,
    pub finished: Option<DateTime<Utc>>,
}

impl Outcome {
    /// There is no next time: what would have had one ends so.
    pub fn ends(&mut self, state: DeliveryState, now: DateTime<Utc>) {
        if !self.state.is_final() {
            (self.state, self.next, self.finished) = (state, None, Some(now));
        }
    }
}

/// Records an outcome under the lease that made the attempt. `None`: the delivery is no longer this lease's.
pub(in crate::features::webhooks) fn record(
    conn: &mut PgConnection,
    id: DeliveryId,
    epoch: i64,
    outcome: &Outcome,
) -> QueryResult<Option<Delivery>> {
    let mine = d::table
        .filter(d::id.eq(id))
        .filter(d::epoch.eq(epoch))
        .filter(d::state.eq(DeliveryState::InFlight));
    diesel::update(mine)
        .set((
            d::state.eq(outcome.state),
            d::next_attempt_at.eq(outcome.next),
            d::last_status.eq(outcome.status),
            d::last_error.eq(outcome.error.as_deref()),
            d::finished_at.eq(outcome.finished),
            d::priority.eq(ORDINARY),
        ))
        .returning(Delivery::as_returning())
        .get_result(conn)
        .optional()
}

/// Writes attempts down, but for those that are written down already. Answers how many it wrote.
pub(in crate::features::webhooks) fn insert_attempts(
    conn: &mut PgConnection,
    attempts: &[Attempt],
) -> QueryResult<usize> {
    diesel::insert_into(a::table)
        .values(attempts)
        .on_conflict_do_nothing()
        .execute(conn)
}

/// A test: its delivery is inserted when it is over. False if it was before.
pub(in crate::features::webhooks) fn insert_test(
    conn: &mut PgConnection,
    id: DeliveryId,
    endpoint: EndpointId,
    reseller: Option<Uuid>,
    event: EventId,
    kind: &str,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = diesel::insert_into(d::table)
        .values((
            d::id.eq(id),
            d::endpoint_id.eq(endpoint),
            d::reseller_id.eq(reseller),
            d::event_id.eq(event),
            d::event_type.eq(kind),
            d::state.eq(outcome.state),
            d::test.eq(true),
            d::attempts.eq(1),
            d::attempts_total.eq(1),
            d::first_attempt_at.eq(now),
            d::last_status.eq(outcome.status),
            d::last_error.eq(outcome.error.as_deref()),
            d::finished_at.eq(outcome.finished),
        ))
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(written > 0)
}

pub(in crate::features::webhooks) fn delivery(conn: &mut PgConnection, id: DeliveryId) -> QueryResult<Delivery> {
    d::table.find(id).select(Delivery::as_select()).first(conn)
}

pub(in crate::features::webhooks) fn lock_delivery(conn: &mut PgConnection, id: DeliveryId) -> QueryResult<Delivery> {
    d::table.find(id).select(Delivery::as_select()).for_update().first(conn)
}

pub(in crate::features::webhooks) fn attempts(conn: &mut PgConnection, id: DeliveryId) -> QueryResult<Vec<Attempt>> {
    a::table
        .filter(a::delivery_id.eq(id))
        .order(a::id)
        .limit(100)
        .select(Attempt::as_select())
        .load(conn)
}

pub(in crate::features::webhooks) fn list_deliveries(
    conn: &mut PgConnection,
    query: &PageQuery<DeliveryFilters>,
) -> QueryResult<Vec<Delivery>> {
    let filters = &query.filters;
    let states: Vec<&str> = filters.states.iter().map(|state| state.word()).collect();
    let mut rows = d::table
        .select(Delivery::as_select())
        .offset(query.skip())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows,
        d::endpoint_id => filters.endpoints,
        d::event_type => filters.types,
        d::event_id => filters.events,
        d::subject_id => filters.subjects,
        d::state => states,
        d::last_status => filters.statuses);
    in_order!(rows, d, query).load(conn)
}
