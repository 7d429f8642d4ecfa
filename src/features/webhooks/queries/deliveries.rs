//! Rows of deliveries and attempts.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, NullableExpressionMethods, PgConnection, QueryDsl,
    QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    dsl::{count_star, min},
};
use uuid::Uuid;

use crate::{
    features::{
        schema::webhooks::{webhook_attempts as a, webhook_deliveries as d},
        webhooks::model::{Attempt, Delivery, DeliveryFilters, DeliveryId, DeliveryState, EndpointId},
    },
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

/// Takes the next deliveries that are due, and those that an older lease left under way; the attempt is counted before it is made.
pub(in crate::features::webhooks) fn take(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    epoch: i64,
    now: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<Taken>> {
    let due = d::state
        .eq(DeliveryState::Pending)
        .and(d::next_attempt_at.le(now).assume_not_null());
    let left = d::state.eq(DeliveryState::InFlight).and(d::epoch.lt(epoch));
    let ids: Vec<DeliveryId> = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(due.or(left))
        .order((d::priority.desc(), d::id))
        .limit(most)
        .select(d::id)
        .load(conn)?;
    set_in_flight(conn, &ids, epoch, now)
}

/// A delivery, when it is due, and when it was first tried.
type Due = (DeliveryId, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Takes the oldest open delivery if it is due: one at a time, in order.
pub(in crate::features::webhooks) fn oldest(conn: &mut PgConnection, endpoint: EndpointId) -> QueryResult<Option<Due>> {
    use diesel::OptionalExtension;
    d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::state.eq_any([DeliveryState::Pending.word(), DeliveryState::InFlight.word()]))
        .order(d::id)
        .select((d::id, d::next_attempt_at, d::first_attempt_at))
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

/// How many are open, and when the next of them is due.
pub(in crate::features::webhooks) fn open(
    conn: &mut PgConnection,
    endpoint: EndpointId,
) -> QueryResult<(i64, Option<DateTime<Utc>>)> {
    d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::state.eq_any([DeliveryState::Pending.word(), DeliveryState::InFlight.word()]))
        .select((count_star(), min(d::next_attempt_at)))
        .first(conn)
}

/// What became of one attempt.
pub(in crate::features::webhooks) struct Outcome {
    pub state: DeliveryState,
    pub next: Option<DateTime<Utc>>,
    pub status: Option<i32>,
    pub error: Option<String>,
    pub finished: Option<DateTime<Utc>>,
}

/// Records an outcome under the lease that made the attempt. `None`: the delivery is no longer this lease's.
pub(in crate::features::webhooks) fn record(
    conn: &mut PgConnection,
    id: DeliveryId,
    epoch: i64,
    outcome: &Outcome,
) -> QueryResult<Option<Delivery>> {
    use diesel::OptionalExtension;
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
            d::priority.eq(5),
        ))
        .returning(Delivery::as_returning())
        .get_result(conn)
        .optional()
}

pub(in crate::features::webhooks) fn insert_attempts(
    conn: &mut PgConnection,
    attempts: &[Attempt],
) -> QueryResult<usize> {
    diesel::insert_into(a::table).values(attempts).execute(conn)
}

/// Ends everything that is open.
pub(in crate::features::webhooks) fn close_all(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    state: DeliveryState,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let open = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::state.eq_any([DeliveryState::Pending.word(), DeliveryState::InFlight.word()]));
    diesel::update(open)
        .set((
            d::state.eq(state),
            d::finished_at.eq(now),
            d::next_attempt_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
}

/// Opens again what was skipped or given up since then.
pub(in crate::features::webhooks) fn reopen_since(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let missed = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::created_at.ge(since))
        .filter(d::test.eq(false))
        .filter(d::state.eq_any([DeliveryState::Skipped.word(), DeliveryState::Exhausted.word()]));
    diesel::update(missed)
        .set((
            d::state.eq(DeliveryState::Pending),
            d::attempts.eq(0),
            d::next_attempt_at.eq(now),
            d::finished_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
}

/// Sends one again, before everything else.
pub(in crate::features::webhooks) fn reopen(
    conn: &mut PgConnection,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<Delivery> {
    diesel::update(d::table.find(id))
        .set((
            d::state.eq(DeliveryState::Pending),
            d::attempts.eq(0),
            d::priority.eq(9),
            d::next_attempt_at.eq(now),
            d::finished_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Delivery::as_returning())
        .get_result(conn)
}

/// A test: its delivery is inserted when it is over.
pub(in crate::features::webhooks) fn insert_test(
    conn: &mut PgConnection,
    id: DeliveryId,
    endpoint: EndpointId,
    reseller: Option<Uuid>,
    event: EventId,
    kind: &str,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> QueryResult<Delivery> {
    diesel::insert_into(d::table)
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
        .returning(Delivery::as_returning())
        .get_result(conn)
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
    let mut rows = d::table.select(Delivery::as_select()).limit(query.fetch()).into_boxed();
    if !filters.endpoints.is_empty() {
        rows = rows.filter(d::endpoint_id.eq_any(&filters.endpoints));
    }
    if !filters.types.is_empty() {
        rows = rows.filter(d::event_type.eq_any(&filters.types));
    }
    if !filters.events.is_empty() {
        rows = rows.filter(d::event_id.eq_any(&filters.events));
    }
    if !filters.states.is_empty() {
        rows = rows.filter(d::state.eq_any(filters.states.iter().map(|state| state.word())));
    }
    if !filters.statuses.is_empty() {
        rows = rows.filter(d::last_status.eq_any(&filters.statuses));
    }
    if let Some(after) = filters.after {
        rows = rows.filter(d::created_at.gt(after));
    }
    if let Some(before) = filters.before {
        rows = rows.filter(d::created_at.lt(before));
    }
    match (query.is_descending(), query.after()) {
        (true, None) => rows.order((d::created_at.desc(), d::id.desc())),
        (true, Some((at, id))) => rows
            .filter(d::created_at.lt(at).or(d::created_at.eq(at).and(d::id.lt(id))))
            .order((d::created_at.desc(), d::id.desc())),
        (false, None) => rows.order((d::created_at.asc(), d::id.asc())),
        (false, Some((at, id))) => rows
            .filter(d::created_at.gt(at).or(d::created_at.eq(at).and(d::id.gt(id))))
            .order((d::created_at.asc(), d::id.asc())),
    }
    .load(conn)
}
