//! The log of deliveries, and sending one again.

use crate::{
    features::webhooks::{
        model::{
            DELIVERY_IN_FLIGHT, DELIVERY_RETRIED, Delivery, DeliveryDetail, DeliveryFilters, DeliveryId, DeliveryState,
            ENDPOINT_DISABLED, ENDPOINT_TESTED, EndpointId, delivery_id,
        },
        queries::{self, Taken},
        service::record::{Sent, outcome},
    },
    kernel::{
        db::Tenant,
        error::{GONE, OrElse, Result, STATE_CONFLICT},
        id::EventId,
        outbox,
        page::{Page, PageQuery},
    },
};

/// A page of deliveries.
pub fn list(tx: &mut Tenant<'_>, query: &PageQuery<DeliveryFilters>) -> Result<Page<Delivery>> {
    let rows = queries::list_deliveries(tx.conn(), query)?;
    Ok(query.page(rows, |row| (row.created_at, row.id.uuid())))
}

/// A delivery and its attempts.
pub fn get(tx: &mut Tenant<'_>, id: DeliveryId) -> Result<DeliveryDetail> {
    let delivery = queries::delivery(tx.conn(), id)?;
    let attempts_log = queries::attempts(tx.conn(), id)?;
    Ok(DeliveryDetail { delivery, attempts_log })
}

/// Sends a delivery again, before everything else that waits for its endpoint.
pub fn retry(tx: &mut Tenant<'_>, id: DeliveryId) -> Result<Delivery> {
    let endpoint = queries::delivery(tx.conn(), id)?.endpoint_id;
    let pump = queries::lock_pump(tx.conn(), endpoint)?;
    let before = queries::lock_delivery(tx.conn(), id)?;
    let enabled = queries::endpoint_if(tx.conn(), endpoint)?.is_some_and(|endpoint| endpoint.enabled);
    let (Some(pump), true) = (pump, enabled) else {
        return Err(ENDPOINT_DISABLED.into());
    };
    if before.test {
        return Err(STATE_CONFLICT
            .because("A test is not sent again: make another one.")
            .with("state", before.state)
            .into());
    }
    if before.state == DeliveryState::InFlight {
        return Err(DELIVERY_IN_FLIGHT.into());
    }
    outbox::find(tx, before.event_id).or_refuse(GONE.because("The event is not kept any more."))?;
    let now = tx.now()?;
    let after = queries::reopen(tx.conn(), id, now)?;
    outbox::emit(tx, DELIVERY_RETRIED.of(id, &after).was(&before))?;
    super::fan_out::wake(tx, endpoint, Some(&pump))?;
    Ok(after)
}

/// The delivery of a test, which is tried once.
pub fn test(endpoint: EndpointId, event: EventId, event_type: &str) -> Taken {
    Taken {
        id: delivery_id(event, endpoint),
        event_id: event,
        event_type: event_type.to_owned(),
        attempts: i32::MAX,
        attempts_total: 1,
    }
}

/// Writes a test down, when it is over. One that is written down already stays as it is: its commit may have been heard of by nobody.
pub fn record_test(tx: &mut Tenant<'_>, endpoint: EndpointId, sent: &Sent) -> Result<DeliveryDetail> {
    let endpoint = queries::endpoint(tx.conn(), endpoint)?;
    let now = tx.now()?;
    let (id, event) = (sent.delivery.id, sent.delivery.event_id);
    let outcome = outcome(sent, now);
    let reseller = endpoint.reseller_id.map(|id| id.uuid());
    let kind = sent.delivery.event_type.clone();
    if queries::insert_test(tx.conn(), id, endpoint.id, reseller, event, &kind, &outcome, now)? {
        queries::insert_attempts(tx.conn(), &[sent.attempt()])?;
        outbox::emit(tx, ENDPOINT_TESTED.of(endpoint.id, &endpoint))?;
    }
    get(tx, id)
}
