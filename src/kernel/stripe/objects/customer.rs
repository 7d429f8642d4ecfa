//! Customers.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Expandable, List, PaymentMethod};

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
