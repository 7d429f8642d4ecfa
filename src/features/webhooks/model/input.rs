//! What callers send about endpoints.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Ordering, Payload};
use crate::kernel::{
    check::{Check, Validate, given, patched, trimmed},
    error::FieldCode,
};

/// What a new endpoint needs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWebhookEndpoint, example = json!({"url": "https://hooks.example.com/guildhall", "events": ["run.*"], "description": "CRM"}))]
pub struct NewEndpoint {
    /// Where events are sent: https, a public address.
    #[schema(max_length = 2048)]
    pub url: String,
    /// Which events. One that is named twice counts once.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub events: Vec<String>,
    /// What people call it.
    #[serde(default, deserialize_with = "trimmed")]
    #[schema(max_length = 500)]
    pub description: String,
    /// The caller's own key.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
    /// Only events whose fields have one of these values. What cannot be filtered by a field (`GET /event-types` says by which) is not.
    #[serde(default)]
    pub filter: BTreeMap<String, Vec<String>>,
    /// How much of the resource an event carries.
    #[serde(default = "full")]
    pub payload: Payload,
    /// In which order.
    #[serde(default = "unordered")]
    pub ordering: Ordering,
    /// How long one that is retried holds up the others.
    #[serde(default = "minute")]
    #[schema(minimum = 0, maximum = 86400)]
    pub max_hold_seconds: i32,
    /// At most so many attempts a second.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 10)]
    pub rate_per_s: i32,
    /// At most so many attempts at once.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 50)]
    pub max_in_flight: i32,
    /// Headers to send beside ours.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Ends with its first delivery.
    #[serde(default)]
    pub once: bool,
    /// Ends then.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

fn full() -> Payload {
    Payload::Full
}
fn unordered() -> Ordering {
    Ordering::None
}
fn minute() -> i32 {
    60
}
fn ten() -> i32 {
    10
}

impl Validate for NewEndpoint {
    fn validate(&self, check: &mut Check) {
        check.line("/url", &self.url, 1..=2_048);
        check.text("/description", &self.description, 0..=500);
        check.external_id(self.external_id.as_ref());
        judge_events(check, &self.events);
        judge_filter(check, &self.filter);
        judge_headers(check, &self.headers);
        check.number("/max_hold_seconds", self.max_hold_seconds.into(), 0..=86_400);
        check.number("/rate_per_s", self.rate_per_s.into(), 1..=10);
        check.number("/max_in_flight", self.max_in_flight.into(), 1..=50);
        check.time("/expires_at", self.expires_at);
    }
}

/// What may change of an endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookEndpointPatch, example = json!({"events": ["run.completed", "run.failed"]}))]
pub struct EndpointPatch {
    /// Where events are sent.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_length = 2048)]
    pub url: Option<String>,
    /// Which events. One that is named twice counts once.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_items = 100)]
    pub events: Option<Vec<String>>,
    /// What people call it.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_length = 500)]
    pub description: Option<String>,
    /// Only events whose fields have one of these values: the whole of it, a field that it does not name filters no more. What cannot be filtered
    /// by a field (`GET /event-types` says by which) is not.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub filter: Option<BTreeMap<String, Vec<String>>>,
    /// How much of the resource an event carries.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub payload: Option<Payload>,
    /// In which order.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub ordering: Option<Ordering>,
    /// How long one that is retried holds up the others.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0, maximum = 86400)]
    pub max_hold_seconds: Option<i32>,
    /// At most so many attempts a second.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 1, maximum = 10)]
    pub rate_per_s: Option<i32>,
    /// At most so many attempts at once.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 1, maximum = 50)]
    pub max_in_flight: Option<i32>,
    /// Headers to send beside ours: all of them.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub headers: Option<BTreeMap<String, String>>,
    /// Ends then; null: never.
    #[serde(default, deserialize_with = "patched")]
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

impl Validate for EndpointPatch {
    fn validate(&self, check: &mut Check) {
        if let Some(url) = &self.url {
            check.line("/url", url, 1..=2_048);
        }
        if let Some(description) = &self.description {
            check.text("/description", description, 0..=500);
        }
        judge_events(check, self.events.as_deref().unwrap_or_default());
        if let Some(filter) = &self.filter {
            judge_filter(check, filter);
        }
        if let Some(headers) = &self.headers {
            judge_headers(check, headers);
        }
        for (pointer, number, most) in [
            ("/max_hold_seconds", self.max_hold_seconds, 86_400),
            ("/rate_per_s", self.rate_per_s, 10),
            ("/max_in_flight", self.max_in_flight, 50),
        ] {
            let least = i64::from(pointer != "/max_hold_seconds");
            check.number(pointer, number.map_or(least, i64::from), least..=most);
        }
        check.time("/expires_at", self.expires_at.flatten());
    }
}

fn judge_events(check: &mut Check, events: &[String]) {
    check.count("/events", events.len(), 100);
    for (place, event) in events.iter().enumerate() {
        check.line(&format!("/events/{place}"), event, 1..=100);
    }
}

fn judge_filter(check: &mut Check, filter: &BTreeMap<String, Vec<String>>) {
    check.count("/filter", filter.len(), 5);
    for (field, values) in filter {
        let pointer = format!("/filter/{}", crate::kernel::check::escape(field));
        check.count(&pointer, values.len(), 50);
        if values.is_empty() {
            check.refuse(&pointer, FieldCode::Required, "At least one value.");
        }
    }
}

/// Headers that are ours, or that belong to the connection.
const RESERVED: [&str; 10] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

fn judge_headers(check: &mut Check, headers: &BTreeMap<String, String>) {
    check.count("/headers", headers.len(), 20);
    for (name, value) in headers {
        let pointer = format!("/headers/{}", crate::kernel::check::escape(name));
        let lower = name.to_ascii_lowercase();
        let token = !name.is_empty()
            && name.len() <= 100
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let ours = RESERVED.contains(&lower.as_str())
            || ["content-", "webhook-", "guildhall-"]
                .iter()
                .any(|start| lower.starts_with(start));
        if !token {
            check.refuse(&pointer, FieldCode::InvalidFormat, "Not the name of a header.");
        } else if ours {
            check.refuse(&pointer, FieldCode::InvalidChoice, "That header is set by us.");
        }
        if value.len() > 1_024 || !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
            check.refuse(
                &pointer,
                FieldCode::InvalidCharacters,
                "At most 1,024 printable ASCII characters.",
            );
        }
    }
}

/// How long the old secret goes on signing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookSecretRotation, example = json!({"grace_seconds": 86400}))]
pub struct Rotation {
    /// In seconds; 0: it stops at once.
    #[serde(default = "day")]
    #[schema(minimum = 0, maximum = 604800)]
    pub grace_seconds: i64,
}

fn day() -> i64 {
    86_400
}

impl Validate for Rotation {
    fn validate(&self, check: &mut Check) {
        check.number("/grace_seconds", self.grace_seconds, 0..=604_800);
    }
}

/// Which event to try.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookTest, example = json!({"event_type": "member.joined"}))]
pub struct Test {
    /// A name of the catalogue.
    pub event_type: String,
}

impl Validate for Test {
    fn validate(&self, check: &mut Check) {
        check.line("/event_type", &self.event_type, 1..=100);
    }
}
