//! The rules of the seller: what is mirrored, what it means, and what follows.

mod access;
mod decide;
mod fulfil;
mod mirror;
mod plans;
mod seed;
mod standing;

use std::collections::BTreeMap;

pub(super) use decide::{OWED, owed};
pub(super) use plans::*;
pub(super) use seed::seed;
pub use standing::{NextInvoice, Standing, standing};

use super::jobs::{Picture, Verdict, outcome};
use crate::kernel::{
    config::KeyMode,
    db::Tenant,
    error::Result,
    id::{CustomerId, WorkspaceId},
    inbox::{self, ConnectionId, Lane, Settled, Waiting},
    jobs,
    peppers::Pepper,
    stripe::StripeError,
};

/// What is sold to whom, and where licences come from.
struct Goods<'a> {
    connection: ConnectionId,
    customer: CustomerId,
    means: &'a Means<'a>,
}

/// What it takes to make licences.
pub(super) struct Means<'a> {
    /// Makes the fingerprints of machines, in `platform`: there a workspace is one.
    pub(super) pepper: Option<&'a Pepper>,
    /// What the keys of licences begin with.
    pub(super) key_mode: KeyMode,
}

/// Something that is understood and cannot be mapped yet: what it waits for, as the inbox names it.
type Parked = String;

/// Writes the mirror, decides, delivers, and settles the lane's events, all in the caller's transaction. Answers what is wrong with the
/// connection, if anything is.
pub(super) fn apply(tx: &mut Tenant<'_>, lane: &Lane, seen: &Picture, means: &Means<'_>) -> Result<Option<String>> {
    let mut waits: Vec<Parked> = Vec::new();
    let mut catalog_changed = false;
    for price in seen.prices.values() {
        catalog_changed |= mirror::price(tx, lane.connection, price)?;
    }
    for price in &seen.gone_prices {
        mirror::price_is_gone(tx, lane.connection, price)?;
    }
    match mirror::customer(tx, lane, seen)? {
        None if seen.needs_customer() => waits.push(format!("customer:{}", lane.name)),
        None => {}
        Some(customer) => {
            let subscriptions = mirror::subscriptions(tx, lane.connection, customer, seen)?;
            let invoices = mirror::invoices(tx, lane.connection, customer, seen, &subscriptions)?;
            mirror::payments(tx, lane.connection, customer, seen)?;
            let goods = Goods {
                connection: lane.connection,
                customer,
                means,
            };
            waits.extend(fulfil::paid_invoices(tx, &goods, seen, &subscriptions, &invoices)?);
            for subscription in subscriptions.values() {
                decide::subscription(tx, &goods, subscription)?;
            }
        }
    }
    let trouble = settle(tx, lane, seen, waits.first())?;
    if catalog_changed && tx.workspace() == WorkspaceId::PLATFORM {
        jobs::push(tx, plans::publish_job())?;
    }
    Ok(trouble)
}

/// Records what became of each event. What was seen but waits for something is parked on it.
fn settle(tx: &mut Tenant<'_>, lane: &Lane, seen: &Picture, waits: Option<&Parked>) -> Result<Option<String>> {
    let mut trouble = None;
    let mut moved: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
    for (event, verdict) in &seen.events {
        let settled = match (verdict, waits) {
            (Verdict::Belongs(owner), _) => {
                moved.entry(owner).or_default().push(event);
                continue;
            }
            (Verdict::Failed(StripeError::Missing), _) if event.kind == "invoice.deleted" => {
                mirror::draft_is_gone(tx, lane.connection, event)?;
                Settled::Done
            }
            // What cannot vanish at Stripe and is not there means a wrong key, account or mode: nobody loses access by that.
            (Verdict::Failed(StripeError::Missing), _) => {
                trouble = Some(format!(
                    "Stripe does not know {}",
                    event.object_id.as_deref().unwrap_or("an object")
                ));
                Settled::Parked("account".to_owned())
            }
            (Verdict::Failed(error), _) => {
                if let StripeError::Denied(why) = error {
                    trouble = Some(why.clone());
                }
                Settled::Failed(error.to_string())
            }
            (Verdict::Apply, Some(on)) => Settled::Parked(on.clone()),
            (verdict, _) => outcome(verdict).unwrap_or(Settled::Done),
        };
        inbox::settle(tx, [event], &settled)?;
    }
    for (owner, events) in moved {
        inbox::move_to(tx, lane, events, owner)?;
    }
    if let Some(why) = &trouble {
        tracing::error!(connection = %lane.connection, why, "a Stripe connection is in trouble; access stays as it is");
    }
    Ok(trouble)
}
