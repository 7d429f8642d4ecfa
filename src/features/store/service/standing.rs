//! How a customer's bill stands, as the customer sees it: the database shows this transaction the customer's own rows only.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    features::store::{
        model::{DunningCase, Subscription},
        queries,
    },
    kernel::{db::Tenant, error::Result},
};

/// What will be billed next.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"at": "2026-12-20T17:30:00.000Z", "amount": 2900, "currency": "usd"}))]
pub struct NextInvoice {
    /// When the present period ends.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub at: DateTime<Utc>,
    /// Minor units, before tax, discounts and credit; null where tiers decide.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: String,
}

/// How a customer's bill stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The customer's account at Stripe.
    pub stripe_customer: Option<String>,
    /// The subscription that is alive, or the last one.
    pub subscription: Option<Subscription>,
    /// Money that is missing.
    pub dunning: Option<DunningCase>,
    /// What will be billed next.
    pub next_invoice: Option<NextInvoice>,
}

/// How the bill of the customer whose scope this is stands.
///
/// # Errors
/// The database's.
pub fn standing(tx: &mut Tenant<'_>) -> Result<Standing> {
    let stripe_customer = queries::own_account(tx.conn())?;
    let Some(subscription) = queries::own_subscription(tx.conn())? else {
        return Ok(Standing {
            stripe_customer,
            ..Standing::default()
        });
    };
    let dunning = queries::case(tx.conn(), subscription.id)?;
    let next_invoice = next_invoice(tx, &subscription)?;
    Ok(Standing {
        stripe_customer,
        subscription: Some(subscription),
        dunning,
        next_invoice,
    })
}

/// A subscription that is over, or ends with its period, is not billed again.
fn next_invoice(tx: &mut Tenant<'_>, subscription: &Subscription) -> Result<Option<NextInvoice>> {
    if subscription.ended_at.is_some() || subscription.cancel_at_period_end {
        return Ok(None);
    }
    let costs = queries::costs(tx.conn(), subscription.id)?;
    let at = costs.iter().filter_map(|cost| cost.period_end).min();
    let (Some(at), Some(currency)) = (at, subscription.currency.clone()) else {
        return Ok(None);
    };
    let amounts = costs
        .iter()
        .map(|cost| cost.unit_amount.and_then(|amount| amount.checked_mul(cost.quantity)));
    let amount = amounts.sum::<Option<i64>>();
    Ok(Some(NextInvoice { at, amount, currency }))
}
