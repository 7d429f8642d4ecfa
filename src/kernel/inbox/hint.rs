//! Reads of an event where to look, and nothing else.

use chrono::DateTime;
use serde_json::Value;

use super::model::{Arrival, InboxEventId};
use crate::kernel::{
    error::{INVALID_JSON, Result},
    stripe::{Event, Hint},
};

/// What events must begin with for anything here to look at their object.
const WANTED: [&str; 14] = [
    "checkout.session.",
    "customer.",
    "subscription_schedule.",
    "invoice.",
    "invoice_payment.",
    "payment_intent.",
    "charge.",
    "refund.",
    "radar.early_fraud_warning.",
    "payment_method.",
    "price.",
    "product.",
    "coupon.",
    "promotion_code.",
];

/// An invoice that does not exist yet has no id to look at.
const WITHOUT_OBJECT: &str = "invoice.upcoming";

/// Texts of ours are shorter, and Stripe's too.
const LONGEST: usize = 255;

/// Reads a proven payload.
///
/// # Errors
/// 400 `invalid-json` when it is no JSON, or has neither id nor type.
pub(super) fn read(id: InboxEventId, payload: Vec<u8>) -> Result<(Arrival, Option<bool>)> {
    let event: Event = serde_json::from_slice(&payload)
        .map_err(|_| INVALID_JSON.because("An event is a JSON object with an id and a type."))?;
    if !fit(&event.id) || !fit(&event.kind) {
        return Err(INVALID_JSON
            .because("The id or the type of the event is not acceptable.")
            .into());
    }
    let related = event.related_object.map(|object| object.id);
    let hint = event.data.map(|data| data.object);
    let object_id = hint
        .as_ref()
        .and_then(|hint| hint.id.clone())
        .or(related)
        .filter(|id| fit(id));
    let object_kind = hint
        .as_ref()
        .and_then(|hint| hint.object.clone())
        .filter(|kind| fit(kind));
    let customer = hint.as_ref().and_then(customer).filter(|id| fit(id));
    let wanted =
        object_id.is_some() && event.kind != WITHOUT_OBJECT && WANTED.iter().any(|start| event.kind.starts_with(start));
    let lane = customer
        .or_else(|| object_id.clone())
        .unwrap_or_else(|| event.id.clone());
    let arrival = Arrival {
        id,
        event_id: event.id,
        kind: event.kind,
        object_kind,
        object_id,
        lane,
        created: event.created.and_then(|second| DateTime::from_timestamp(second, 0)),
        api_version: event.api_version.filter(|version| fit(version)),
        payload,
        wanted,
    };
    Ok((arrival, event.livemode))
}

/// The customer that an object belongs to: itself, an id, or the object in its place.
fn customer(hint: &Hint) -> Option<String> {
    if hint.object.as_deref() == Some("customer") {
        return hint.id.clone();
    }
    match hint.customer.as_ref()? {
        Value::String(id) => Some(id.clone()),
        Value::Object(object) => object.get("id").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    }
}

/// PostgreSQL's text holds no U+0000, and nothing of ours is that long.
fn fit(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arrival(event: Value) -> Result<Arrival> {
        read(InboxEventId::nil(), event.to_string().into_bytes()).map(|(arrival, _)| arrival)
    }

    #[test]
    fn what_hangs_on_a_customer_lies_in_the_customers_lane() {
        for (object, lane) in [
            (json!({ "object": "customer", "id": "cus_1" }), "cus_1"),
            (
                json!({ "object": "invoice", "id": "in_1", "customer": "cus_1" }),
                "cus_1",
            ),
            (
                json!({ "object": "invoice", "id": "in_1", "customer": { "id": "cus_1" } }),
                "cus_1",
            ),
            (json!({ "object": "price", "id": "price_1" }), "price_1"),
            (json!({ "object": "charge", "id": "ch_1", "customer": null }), "ch_1"),
        ] {
            let event = json!({ "id": "evt_1", "type": "invoice.paid", "data": { "object": object } });
            assert_eq!(arrival(event).expect("an event").lane, lane);
        }
    }

    #[test]
    fn events_that_nothing_looks_at_are_kept_and_left_alone() {
        let of = |kind: &str, object: Value| {
            arrival(json!({ "id": "evt_1", "type": kind, "data": { "object": object } }))
                .expect("an event")
                .wanted
        };
        let object = json!({ "object": "invoice", "id": "in_1", "customer": "cus_1" });
        assert!(of("invoice.paid", object.clone()));
        assert!(of("customer.subscription.updated", object.clone()));
        assert!(!of("payout.paid", object.clone()));
        assert!(!of("invoice.upcoming", object));
        assert!(!of("invoice.paid", json!({ "object": "invoice" })));
    }

    #[test]
    fn a_thin_event_names_its_object() {
        let event =
            json!({ "id": "evt_1", "type": "invoice.paid", "related_object": { "id": "in_1", "type": "invoice" } });
        assert_eq!(arrival(event).expect("an event").object_id.as_deref(), Some("in_1"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bytes in [
            "",
            "[]",
            "{}",
            "null",
            "{\"id\":\"evt_1\"}",
            "{\"id\":1,\"type\":\"a\"}",
            "{\"id\":\"evt_1\",\"type\":\"\\u0000\"}",
        ] {
            assert!(
                read(InboxEventId::nil(), bytes.into())
                    .err()
                    .is_some_and(|e| e.is(INVALID_JSON)),
                "{bytes}"
            );
        }
    }
}
