//! Subscriptions.

use chrono::{DateTime, Utc, serde::ts_seconds, serde::ts_seconds_option};
use serde::Deserialize;

use super::{Expandable, Invoice, List, PaymentMethod, Price, Reference};

/// A subscription.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    pub id: String,
    pub customer: Expandable<Reference>,
    /// Stripe's own word for its state.
    pub status: String,
    pub items: List<Item>,
    pub currency: Option<String>,
    #[serde(default)]
    pub cancel_at_period_end: bool,
    #[serde(default, with = "ts_seconds_option")]
    pub cancel_at: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    pub canceled_at: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    pub trial_start: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    pub trial_end: Option<DateTime<Utc>>,
    #[serde(with = "ts_seconds")]
    pub created: DateTime<Utc>,
    pub collection_method: Option<String>,
    pub pause_collection: Option<PauseCollection>,
    pub schedule: Option<Expandable<Reference>>,
    pub latest_invoice: Option<Expandable<Invoice>>,
    pub default_payment_method: Option<Expandable<PaymentMethod>>,
    #[serde(default)]
    pub discounts: Vec<serde_json::Value>,
    /// Where periods were before they moved to the items.
    #[serde(default, with = "ts_seconds_option")]
    current_period_start: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    current_period_end: Option<DateTime<Utc>>,
}

impl Subscription {
    /// The period of an item that is under way.
    pub fn period(&self, item: &Item) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let start = item.current_period_start.or(self.current_period_start);
        (start, item.current_period_end.or(self.current_period_end))
    }
}

/// Collection that is paused.
#[derive(Clone, Debug, Deserialize)]
pub struct PauseCollection {
    /// What becomes of invoices meanwhile.
    pub behavior: Option<String>,
    /// When it resumes by itself.
    #[serde(default, with = "ts_seconds_option")]
    pub resumes_at: Option<DateTime<Utc>>,
}

/// One thing that a subscription buys.
#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    pub id: String,
    pub price: Price,
    pub quantity: Option<i64>,
    #[serde(default, with = "ts_seconds_option")]
    current_period_start: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    current_period_end: Option<DateTime<Utc>>,
}
