//! Prices and products.

use serde::Deserialize;

use super::Expandable;

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
