//! What we read of Stripe's objects, and nothing more. Unknown fields are ignored, unknown words are kept as text, and a missing field
//! that we need is an error that names it. Shapes of older API versions are read too, where they differ.

use std::collections::HashMap;

use chrono::{DateTime, Utc, serde::ts_seconds, serde::ts_seconds_option};
use serde::Deserialize;

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    /// The items.
    pub data: Vec<T>,
    /// True if there are more.
    #[serde(default)]
    pub has_more: bool,
}

/// An id, or the object that was asked for in its place.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expandable<T> {
    /// Only the id.
    Id(String),
    /// The object.
    Full(Box<T>),
}

impl<T> Expandable<T> {
    /// The object, if it was asked for.
    pub fn full(&self) -> Option<&T> {
        match self {
            Expandable::Full(object) => Some(object),
            Expandable::Id(_) => None,
        }
    }

    pub(super) fn full_mut(&mut self) -> Option<&mut T> {
        match self {
            Expandable::Full(object) => Some(object),
            Expandable::Id(_) => None,
        }
    }
}

impl<T: Named> Expandable<T> {
    /// The id, either way.
    pub fn id(&self) -> &str {
        match self {
            Expandable::Id(id) => id,
            Expandable::Full(object) => object.id(),
        }
    }
}

/// Something with an id.
pub trait Named {
    /// Stripe's id.
    fn id(&self) -> &str;
}

/// An object of which only the id matters.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    /// Stripe's id.
    pub id: String,
}

macro_rules! named {
    ($($kind:ty),*) => {$(impl Named for $kind { fn id(&self) -> &str { &self.id } })*};
}
named!(Reference, Product, Invoice, PaymentIntent, Charge, PaymentMethod);

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

/// A price.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    pub id: String,
    #[serde(default)]
    pub active: bool,
    #[serde(default)]
    pub deleted: bool,
    pub currency: Option<String>,
    pub unit_amount: Option<i64>,
    pub billing_scheme: Option<String>,
    pub tiers: Option<serde_json::Value>,
    pub tiers_mode: Option<String>,
    pub recurring: Option<Recurring>,
    pub product: Option<Expandable<Product>>,
    pub lookup_key: Option<String>,
    pub nickname: Option<String>,
    pub tax_behavior: Option<String>,
}

/// How often a price is due.
#[derive(Clone, Debug, Deserialize)]
pub struct Recurring {
    pub interval: String,
    pub interval_count: i64,
    pub usage_type: Option<String>,
}

/// What a price is for.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    pub id: String,
    pub name: Option<String>,
    pub active: Option<bool>,
}

/// An invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    pub id: String,
    pub customer: Option<Expandable<Reference>>,
    pub number: Option<String>,
    pub status: Option<String>,
    pub currency: String,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub amount_remaining: i64,
    pub subtotal: i64,
    pub total: i64,
    pub billing_reason: Option<String>,
    pub collection_method: Option<String>,
    #[serde(default)]
    pub attempt_count: i64,
    #[serde(default, with = "ts_seconds_option")]
    pub next_payment_attempt: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_seconds_option")]
    pub due_date: Option<DateTime<Utc>>,
    #[serde(with = "ts_seconds")]
    pub created: DateTime<Utc>,
    pub lines: List<Line>,
    pub payments: Option<List<InvoicePayment>>,
    #[serde(default)]
    pub total_taxes: Vec<Tax>,
    #[serde(default)]
    status_transitions: Transitions,
    parent: Option<InvoiceParent>,
    /// Where the subscription was before it moved under `parent`.
    subscription: Option<Expandable<Reference>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Transitions {
    #[serde(default, with = "ts_seconds_option")]
    paid_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Deserialize)]
struct InvoiceParent {
    subscription_details: Option<OfSubscription>,
}

#[derive(Clone, Debug, Deserialize)]
struct OfSubscription {
    subscription: Option<Expandable<Reference>>,
}

impl Invoice {
    /// The subscription that it bills.
    pub fn subscription(&self) -> Option<&str> {
        let modern = self
            .parent
            .as_ref()
            .and_then(|parent| parent.subscription_details.as_ref());
        let named = modern
            .and_then(|details| details.subscription.as_ref())
            .or(self.subscription.as_ref());
        named.map(Expandable::id)
    }

    /// When it was paid.
    pub fn paid_at(&self) -> Option<DateTime<Utc>> {
        self.status_transitions.paid_at
    }

    /// True once the money is there, or none was asked for.
    pub fn is_paid(&self) -> bool {
        self.status.as_deref() == Some("paid")
    }
}

/// A tax on an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Tax {
    pub amount: i64,
}

/// A line of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    pub id: String,
    pub amount: i64,
    pub currency: String,
    pub description: Option<String>,
    pub quantity: Option<i64>,
    pub period: Period,
    pricing: Option<Pricing>,
    parent: Option<LineParent>,
    /// Three fields where they were before they moved under `pricing` and `parent`.
    price: Option<Expandable<Reference>>,
    proration: Option<bool>,
    subscription_item: Option<String>,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Period {
    #[serde(with = "ts_seconds")]
    pub start: DateTime<Utc>,
    #[serde(with = "ts_seconds")]
    pub end: DateTime<Utc>,
}

#[derive(Clone, Debug, Deserialize)]
struct Pricing {
    price_details: Option<PriceDetails>,
}

#[derive(Clone, Debug, Deserialize)]
struct PriceDetails {
    price: Option<Expandable<Reference>>,
}

#[derive(Clone, Debug, Deserialize)]
struct LineParent {
    subscription_item_details: Option<OfItem>,
    invoice_item_details: Option<OfItem>,
}

#[derive(Clone, Debug, Deserialize)]
struct OfItem {
    #[serde(default)]
    proration: bool,
    subscription_item: Option<String>,
}

impl Line {
    /// The price that it charges.
    pub fn price(&self) -> Option<&str> {
        let modern = self.pricing.as_ref().and_then(|pricing| pricing.price_details.as_ref());
        modern
            .and_then(|details| details.price.as_ref())
            .or(self.price.as_ref())
            .map(Expandable::id)
    }

    fn parent(&self) -> Option<&OfItem> {
        let parent = self.parent.as_ref()?;
        parent
            .subscription_item_details
            .as_ref()
            .or(parent.invoice_item_details.as_ref())
    }

    /// True if it settles a change in the middle of a period, and pays for no period of its own.
    pub fn is_proration(&self) -> bool {
        self.parent()
            .map_or(self.proration.unwrap_or_default(), |parent| parent.proration)
    }

    /// The subscription item that it bills.
    pub fn item(&self) -> Option<&str> {
        self.parent()
            .and_then(|parent| parent.subscription_item.as_deref())
            .or(self.subscription_item.as_deref())
    }
}

/// What ties an invoice to a payment.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePayment {
    pub id: String,
    pub invoice: Option<Expandable<Reference>>,
    pub amount_paid: Option<i64>,
    pub amount_requested: Option<i64>,
    pub status: Option<String>,
    pub payment: Option<PaidWith>,
}

/// What an invoice was paid with.
#[derive(Clone, Debug, Deserialize)]
pub struct PaidWith {
    pub payment_intent: Option<Expandable<PaymentIntent>>,
    pub charge: Option<Expandable<Charge>>,
}

/// An attempt to collect.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentIntent {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_received: i64,
    pub currency: String,
    pub customer: Option<Expandable<Reference>>,
    pub status: String,
    pub latest_charge: Option<Expandable<Charge>>,
    pub last_payment_error: Option<PaymentError>,
    #[serde(with = "ts_seconds")]
    pub created: DateTime<Utc>,
}

/// Why a payment failed.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentError {
    pub code: Option<String>,
    pub decline_code: Option<String>,
    pub advice_code: Option<String>,
}

/// A charge.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_refunded: i64,
    pub currency: String,
    pub customer: Option<Expandable<Reference>>,
    pub status: String,
    pub payment_intent: Option<Expandable<Reference>>,
    pub failure_code: Option<String>,
    pub payment_method_details: Option<MethodDetails>,
    #[serde(with = "ts_seconds")]
    pub created: DateTime<Utc>,
}

/// What a charge was made to.
#[derive(Clone, Debug, Deserialize)]
pub struct MethodDetails {
    pub card: Option<Card>,
}

/// A card, as far as it may be shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Card {
    pub brand: Option<String>,
    pub last4: Option<String>,
    pub exp_month: Option<i32>,
    pub exp_year: Option<i32>,
}

/// A payment method.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentMethod {
    pub id: String,
    pub card: Option<Card>,
}

/// A customer. Of a deleted one there is the id and nothing else.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    pub id: String,
    #[serde(default)]
    pub deleted: bool,
    pub email: Option<String>,
    pub name: Option<String>,
    #[serde(default)]
    pub balance: i64,
    pub currency: Option<String>,
    pub tax_exempt: Option<String>,
    pub invoice_settings: Option<InvoiceSettings>,
    pub tax_ids: Option<List<TaxId>>,
    #[serde(default)]
    pub metadata: HashMap<String, String>,
}

/// A customer's defaults for invoices.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceSettings {
    pub default_payment_method: Option<Expandable<PaymentMethod>>,
}

/// A tax id and what the authority says of it.
#[derive(Clone, Debug, Deserialize)]
pub struct TaxId {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
    pub verification: Option<Verification>,
}

/// The state of a verification.
#[derive(Clone, Debug, Deserialize)]
pub struct Verification {
    pub status: Option<String>,
}

/// An event, as far as it says where to look.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Unix seconds. Coarse, so nothing is ordered by it.
    #[serde(default)]
    pub created: Option<i64>,
    #[serde(default)]
    pub livemode: Option<bool>,
    #[serde(default)]
    pub api_version: Option<String>,
    #[serde(default)]
    pub data: Option<EventData>,
    /// Thin events name the object instead of carrying it.
    #[serde(default)]
    pub related_object: Option<Reference>,
}

/// The object of an event.
#[derive(Clone, Debug, Deserialize)]
pub struct EventData {
    pub object: Hint,
}

/// Where to look.
#[derive(Clone, Debug, Deserialize)]
pub struct Hint {
    pub id: Option<String>,
    pub object: Option<String>,
    #[serde(default)]
    pub customer: Option<serde_json::Value>,
}
