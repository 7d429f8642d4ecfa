//! What waits, a batch at a time: ended, opened again, put back.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};

use super::deliveries::ASKED_FOR;
use crate::features::{
    schema::webhooks::webhook_deliveries as d,
    webhooks::model::{Delivery, DeliveryId, DeliveryState, EndpointId},
};

/// Ends at most so many of what waits, or was left under way by a lease before `epoch`, the oldest first: all of it, or what was matched by
/// then. Answers how many it were. What the lease of `epoch` has under way ends as it does.
pub(in crate::features::webhooks) fn close(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    epoch: i64,
    until: Option<DateTime<Utc>>,
    state: DeliveryState,
    now: DateTime<Utc>,
    most: i64,
) -> QueryResult<usize> {
    let mut open = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::finished_at.is_null())
        .filter(d::next_attempt_at.is_not_null().or(d::epoch.lt(epoch)))
        .order(d::id)
        .limit(most)
        .select(d::id)
        .into_boxed();
    if let Some(until) = until {
        open = open.filter(d::created_at.le(until));
    }
    let ids: Vec<DeliveryId> = open.load(conn)?;
    diesel::update(d::table.filter(d::id.eq_any(&ids)))
        .set((
            d::state.eq(state),
            d::finished_at.eq(now),
            d::next_attempt_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
}

/// Opens again at most so many of what was skipped or given up since then. Answers from where to go on, if there may be more.
pub(in crate::features::webhooks) fn reopen_since(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    most: i64,
) -> QueryResult<Option<DateTime<Utc>>> {
    let missed: Vec<(DeliveryId, DateTime<Utc>)> = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::created_at.ge(since))
        .filter(d::test.eq(false))
        .filter(d::state.eq_any([DeliveryState::Skipped.word(), DeliveryState::Exhausted.word()]))
        .order((d::created_at, d::id))
        .limit(most)
        .select((d::id, d::created_at))
        .load(conn)?;
    let ids: Vec<DeliveryId> = missed.iter().map(|(id, _)| *id).collect();
    diesel::update(d::table.filter(d::id.eq_any(&ids)))
        .set((
            d::state.eq(DeliveryState::Pending),
            d::attempts.eq(0),
            d::next_attempt_at.eq(now),
            d::finished_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)?;
    let full = missed.len() as i64 == most;
    Ok(missed.last().filter(|_| full).map(|(_, created_at)| *created_at))
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
            d::priority.eq(ASKED_FOR),
            d::next_attempt_at.eq(now),
            d::finished_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Delivery::as_returning())
        .get_result(conn)
}

/// Puts back what a lease took and did not try: it is due later, and no attempt is used.
pub(in crate::features::webhooks) fn put_back(
    conn: &mut PgConnection,
    ids: &[DeliveryId],
    epoch: i64,
    due: DateTime<Utc>,
) -> QueryResult<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mine = d::table
        .filter(d::id.eq_any(ids))
        .filter(d::epoch.eq(epoch))
        .filter(d::state.eq(DeliveryState::InFlight));
    let back: Vec<DeliveryId> = diesel::update(mine)
        .set((
            d::state.eq(DeliveryState::Pending),
            d::attempts.eq(d::attempts - 1),
            d::attempts_total.eq(d::attempts_total - 1),
            d::next_attempt_at.eq(due),
        ))
        .returning(d::id)
        .get_results(conn)?;
    let untried = d::table.filter(d::id.eq_any(&back)).filter(d::attempts_total.eq(0));
    diesel::update(untried)
        .set(d::first_attempt_at.eq(None::<DateTime<Utc>>))
        .execute(conn)?;
    Ok(back.len())
}

/// Whether anything of an endpoint is with its receiver, or was when its sender died.
pub(in crate::features::webhooks) fn is_under_way(conn: &mut PgConnection, endpoint: EndpointId) -> QueryResult<bool> {
    let under_way = d::table
        .filter(d::endpoint_id.eq(endpoint))
        .filter(d::next_attempt_at.is_null().and(d::finished_at.is_null()));
    diesel::select(diesel::dsl::exists(under_way)).get_result(conn)
}
