//! Payments.

use chrono::{DateTime, Utc, serde::ts_seconds};
use serde::Deserialize;

use super::{Expandable, Reference};

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
