//! Endpoints.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    features::schema::webhooks::webhook_endpoints,
    kernel::{
        http::{Located, Versioned},
        id::{Id, ResellerId, Resource},
        page::{Filters, Unfit},
    },
};

/// `whe_…`
pub type EndpointId = Id<Endpoint>;

impl Resource for Endpoint {
    const PREFIX: &'static str = "whe";
}

crate::words! {
    /// How much of the resource an event carries.
    pub enum Payload {
        /// All of it.
        Full "full",
        /// Its id and version only.
        Thin "thin",
    }
}

crate::words! {
    /// In which order an endpoint gets its events.
    pub enum Ordering {
        /// As they come; several at a time.
        None "none",
        /// One at a time: while the first is retried, the others wait.
        HeadOfLine "head_of_line",
    }
}

crate::words! {
    /// Who made an endpoint.
    pub enum Source {
        /// A person, in an application.
        App "app",
        /// A program, through the API.
        Api "api",
        /// Zapier.
        Zapier "zapier",
        /// n8n.
        N8n "n8n",
    }
}

crate::words! {
    /// Why an endpoint is disabled.
    pub enum DisabledReason {
        /// Somebody asked for it.
        Manual "manual",
        /// The receiver answered 410.
        Gone "gone",
        /// The receiver asked for it, by a header of its answer.
        Receiver "receiver",
        /// It failed for five days, or ten events in a row were given up.
        Failing "failing",
        /// Its address may not be called.
        TargetNotAllowed "target_not_allowed",
        /// It wanted one delivery, and got it.
        Once "once",
        /// Its time was over.
        Expired "expired",
    }
}

/// An address that events are sent to.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = webhook_endpoints)]
#[schema(as = WebhookEndpoint,
         example = json!({"id": "whe_01jd8qv4x2fkr9s3m5n7p0t1wz", "external_id": null, "url": "https://hooks.example.com/guildhall",
                          "description": "CRM", "events": ["run.*"], "filter": {}, "payload": "full", "enabled": true, "disabled_reason": null,
                          "disabled_at": null, "ordering": "none", "max_hold_seconds": 60, "rate_per_s": 10, "max_in_flight": 10,
                          "header_names": [], "source": "api", "once": false, "expires_at": null, "api_version": "2026-11-01",
                          "first_failure_at": null, "last_success_at": null, "reseller_id": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Endpoint {
    /// Names the endpoint.
    pub id: EndpointId,
    /// The caller's own key.
    pub external_id: Option<String>,
    /// Where events are sent.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// Which events: names of the catalogue, `run.*`, `*`. None: a draft.
    pub events: Vec<String>,
    /// Only events whose fields have one of these values. What cannot be filtered by a field (`GET /event-types` says by which) is not.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub filter: Value,
    /// How much of the resource an event carries.
    pub payload: Payload,
    /// Whether events are sent.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<DisabledReason>,
    /// Since when not.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub disabled_at: Option<DateTime<Utc>>,
    /// In which order.
    pub ordering: Ordering,
    /// How long one that is retried holds up the others, in seconds; 0: until it is given up.
    pub max_hold_seconds: i32,
    /// At most so many attempts a second.
    pub rate_per_s: i32,
    /// At most so many attempts at once.
    pub max_in_flight: i32,
    /// The names of the headers that are sent beside ours. Their values are not shown.
    pub header_names: Vec<String>,
    /// Who made it.
    pub source: Source,
    /// Whether it ends with its first delivery.
    pub once: bool,
    /// When it ends by itself.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The API version that its events are written in.
    pub api_version: String,
    /// Since when nothing arrived.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub first_failure_at: Option<DateTime<Utc>>,
    /// When something last arrived.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_success_at: Option<DateTime<Utc>>,
    /// The reseller whose it is.
    pub reseller_id: Option<ResellerId>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Endpoint {
    fn version(&self) -> i64 {
        self.version
    }
}

/// An endpoint that was just made, or given a new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedWebhookEndpoint)]
pub struct CreatedEndpoint {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Verifies deliveries (Standard Webhooks). `POST …/secret/reveal` shows it again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    pub secret: String,
}

impl Versioned for CreatedEndpoint {
    const SECRET: bool = true;

    fn version(&self) -> i64 {
        self.endpoint.version
    }
}

impl Located for CreatedEndpoint {
    fn path(&self) -> String {
        format!("/api/v1/webhook-endpoints/{}", self.endpoint.id)
    }
}

/// The secrets of an endpoint that sign at present.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSecrets, example = json!({"secrets": [{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", "expires_at": null}]}))]
pub struct Secrets {
    /// Newest first; every one of them signs.
    pub secrets: Vec<ShownSecret>,
}

/// One secret.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSecret)]
pub struct ShownSecret {
    /// `whsec_` and base64 of 32 bytes.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    pub secret: String,
    /// When it stops signing.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A page of endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEndpointPage)]
pub struct EndpointPage {
    /// Newest first.
    pub data: Vec<Endpoint>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of endpoints.
#[derive(Default)]
pub struct EndpointFilters {
    pub urls: Vec<String>,
    pub sources: Vec<Source>,
    pub events: Vec<String>,
    pub enabled: Vec<bool>,
}

impl Filters for EndpointFilters {
    const RESOURCE: &'static str = "webhook_endpoints";
    const NAMES: &'static [&'static str] = &["url", "source", "event", "enabled"];
    const CHANGES: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            // In the spelling that is kept.
            "url" => self
                .urls
                .push(url::Url::parse(value).map_or_else(|_| value.into(), String::from)),
            "event" => self.events.push(value.into()),
            "source" => self
                .sources
                .push(Source::named(value).ok_or_else(|| Unfit::choice(Source::WORDS))?),
            _ => self
                .enabled
                .push(value.parse().map_err(|_| Unfit::choice(&["true", "false"]))?),
        }
        Ok(())
    }
}
