//! Deliveries and their attempts.

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::EndpointId;
use crate::{
    features::schema::webhooks::{webhook_attempts, webhook_deliveries},
    kernel::{
        crypto,
        error::FieldCode,
        http::Versioned,
        id::{EventId, Id, Resource, parts},
        page::{Filters, Unfit, id_filter},
    },
};

/// `dlv_…`
pub type DeliveryId = Id<Delivery>;
/// `att_…`
pub type AttemptId = Id<Attempt>;

impl Resource for Delivery {
    const PREFIX: &'static str = "dlv";
}
impl Resource for Attempt {
    const PREFIX: &'static str = "att";
}

/// The delivery of an event to an endpoint: the event's time, then a hash of both, so that the same pair has the same id.
pub fn delivery_id(event: EventId, endpoint: EndpointId) -> DeliveryId {
    let (event, endpoint) = (event.uuid(), endpoint.uuid());
    let hash = crypto::sha256(&[event.as_bytes().as_slice(), endpoint.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&event.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&hash[..10]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    Id::from_uuid(Uuid::from_bytes(bytes))
}

crate::words! {
    /// How far a delivery is.
    pub enum DeliveryState {
        /// It waits for its next attempt.
        Pending "pending",
        /// It is being sent.
        InFlight "in_flight",
        /// The receiver took it.
        Delivered "delivered",
        /// It was given up.
        Exhausted "exhausted",
        /// The endpoint was disabled before it arrived.
        Skipped "skipped",
        /// Somebody cancelled it, or the endpoint was deleted.
        Cancelled "cancelled",
    }
}

impl DeliveryState {
    /// Nothing more happens by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, DeliveryState::Pending | DeliveryState::InFlight)
    }
}

/// One event for one endpoint.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = webhook_deliveries)]
#[schema(as = WebhookDelivery,
         example = json!({"id": "dlv_01jd8qv4x2fkr9s3m5n7p0t1wz", "endpoint_id": "whe_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "event_id": "evt_01jd8qv4x2fkr9s3m5n7p0t1wz", "event_type": "member.joined", "state": "delivered", "test": false,
                          "attempts": 1, "next_attempt_at": null, "last_status": 204, "last_error": null,
                          "created_at": "2026-11-20T17:30:00.123Z", "finished_at": "2026-11-20T17:30:00.456Z"}))]
pub struct Delivery {
    /// Names the delivery.
    pub id: DeliveryId,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// Of which event: also the `webhook-id` header.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Whether it was a test.
    pub test: bool,
    /// Attempts that were made.
    #[diesel(column_name = attempts_total)]
    pub attempts: i32,
    /// When the next attempt is due.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What the receiver answered last.
    pub last_status: Option<i32>,
    /// Why there was no answer: `dns`, `connect`, `tls`, `timeout`, `http`, `body_too_large`, `target_not_allowed`.
    pub last_error: Option<String>,
    /// When the event was matched.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it ended.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// One request and what came back.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize, ToSchema)]
#[diesel(table_name = webhook_attempts)]
#[schema(as = WebhookAttempt,
         example = json!({"id": "att_01jd8qv4x2fkr9s3m5n7p0t1wz", "n": 1, "started_at": "2026-11-20T17:30:00.123Z", "duration_ms": 87,
                          "http_status": 204, "error": null, "request_headers": [["webhook-attempt", "1"]], "response_headers": [],
                          "response_body": "", "ip": "203.0.113.7"}))]
pub struct Attempt {
    /// Names the attempt.
    pub id: AttemptId,
    #[serde(skip)]
    pub delivery_id: DeliveryId,
    /// Which one it was.
    pub n: i32,
    /// When it began.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// What the receiver answered.
    pub http_status: Option<i32>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Pairs of name and value; secrets are left out.
    #[schema(value_type = Vec<Vec<String>>)]
    pub request_headers: Value,
    /// Pairs of name and value, 32 at most.
    #[schema(value_type = Vec<Vec<String>>)]
    pub response_headers: Value,
    /// The first 4 KiB of the answer.
    pub response_body: Option<String>,
    /// The address that answered.
    pub ip: Option<String>,
}

/// A delivery and its attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveryDetail)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// What was sent and what came back, oldest first.
    pub attempts_log: Vec<Attempt>,
}

impl Versioned for DeliveryDetail {
    fn version(&self) -> i64 {
        i64::from(self.delivery.attempts) * 2 + i64::from(self.delivery.state.is_final())
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveryPage)]
pub struct DeliveryPage {
    /// Newest first.
    pub data: Vec<Delivery>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of deliveries.
#[derive(Clone, Default)]
pub struct DeliveryFilters {
    pub endpoints: Vec<EndpointId>,
    pub types: Vec<String>,
    pub events: Vec<EventId>,
    pub states: Vec<DeliveryState>,
    pub statuses: Vec<i32>,
    pub subjects: Vec<Uuid>,
}

impl Filters for DeliveryFilters {
    const RESOURCE: &'static str = "webhook_deliveries";
    const NAMES: &'static [&'static str] = &[
        "endpoint_id",
        "event_type",
        "event_id",
        "subject_id",
        "state",
        "http_status",
    ];
    const EXPORTED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "endpoint_id" => self.endpoints.push(id_filter(value)),
            "event_type" => self.types.push(value.into()),
            "event_id" => self.events.push(id_filter(value)),
            "state" => {
                let state = DeliveryState::named(value).ok_or_else(|| Unfit::choice(DeliveryState::WORDS))?;
                self.states.push(state);
            }
            // An id that cannot exist matches nothing.
            "subject_id" => self.subjects.push(parts(value).map_or(Uuid::nil(), |(_, id)| id)),
            _ => {
                let status = value.parse::<i32>().ok().filter(|status| (100..=599).contains(status));
                let unfit = || Unfit(FieldCode::InvalidFormat, "An HTTP status, as 204.".into());
                self.statuses.push(status.ok_or_else(unfit)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_delivery_is_made_of_its_event_and_endpoint() {
        let event = EventId::from_uuid(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001));
        let (one, two) = (
            EndpointId::from_uuid(Uuid::from_u128(1)),
            EndpointId::from_uuid(Uuid::from_u128(2)),
        );
        assert_eq!(delivery_id(event, one), delivery_id(event, one));
        assert_ne!(delivery_id(event, one), delivery_id(event, two));
        assert_eq!(
            delivery_id(event, one).uuid().as_bytes()[..6],
            event.uuid().as_bytes()[..6]
        );
        assert_eq!(delivery_id(event, one).uuid().get_version_num(), 7);
    }
}
