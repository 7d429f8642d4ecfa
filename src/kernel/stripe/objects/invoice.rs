//! Invoices.

use chrono::{DateTime, Utc, serde::ts_seconds, serde::ts_seconds_option};
use serde::Deserialize;

use super::{Charge, Expandable, List, PaymentIntent, Reference};

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
