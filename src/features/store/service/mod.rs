//! The rules of the seller: what is mirrored, what it means, and what follows.

mod access;
mod decide;
mod follow;
mod fulfil;
mod mirror;
mod plans;
mod seed;
mod standing;
mod underway;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use decide::{LOOK, to_look_at};
pub(super) use follow::{
    CUSTOMER, HOLDERS, ToOpen, bind_account, customer_to_open, follow, open_accounts, plans_of_holders,
};
pub(super) use mirror::{MAPPED, held_for, unpark_mapped};
pub(super) use plans::*;
pub(super) use seed::seed;
pub use standing::{NextInvoice, Standing, standing};

use super::{
    jobs::{Picture, Verdict},
    queries,
};
use crate::kernel::{
    config::KeyMode,
    db::Tenant,
    error::Result,
    id::{CustomerId, WorkspaceId},
    inbox::{self, ACCOUNT, ConnectionId, Health, Lane, Settled, Waiting},
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

/// Writes the mirror, decides, delivers, and settles the lane's events, all in the caller's transaction. Answers what that tells of the
/// connection.
pub(super) fn apply(tx: &mut Tenant<'_>, lane: &Lane, seen: &Picture, means: &Means<'_>) -> Result<Health> {
    let mut waits: Vec<Parked> = Vec::new();
    let mut catalog_changed = false;
    for price in seen.prices.values() {
        catalog_changed |= mirror::price(tx, lane, price)?;
    }
    for price in &seen.gone_prices {
        catalog_changed |= mirror::price_is_gone(tx, lane.connection, price)?;
    }
    let owner = mirror::customer(tx, lane, seen)?;
    match owner {
        None if seen.needs_customer() => waits.push(format!("customer:{}", lane.name)),
        None => {}
        Some(mirror::Owner { customer, .. }) => {
            let subscriptions = mirror::subscriptions(tx, lane.connection, customer, seen)?;
            let invoices = mirror::invoices(tx, lane.connection, customer, seen, &subscriptions)?;
            mirror::payments(tx, lane.connection, customer, seen)?;
            let goods = Goods {
                connection: lane.connection,
                customer,
                means,
            };
            hold_policies(tx, lane.connection, seen, &subscriptions)?;
            waits.extend(fulfil::paid_invoices(tx, &goods, seen, &subscriptions, &invoices)?);
            for subscription in subscriptions.values() {
                decide::hand_over(tx, &goods, subscription)?;
                decide::subscription(tx, &goods, subscription)?;
            }
        }
    }
    let health = settle(tx, lane, seen, waits.first())?;
    if catalog_changed && tx.workspace() == WorkspaceId::PLATFORM {
        jobs::push(tx, plans::publish_job())?;
    }
    if let Some(owner) = owner.filter(|owner| owner.lost_account) {
        follow::another_account(tx, lane.connection, owner.customer)?;
    }
    Ok(health)
}

/// Holds the policies by which licences may be made here, as far as they are known now, before any licence is touched: whoever edits a policy
/// takes it first, too, and its licences then. A price that somebody maps to an offer in this moment brings its policy in later; should that
/// meet an edit, one of the two is refused, and the look is repeated ([`Settled::Busy`]). Looks share a policy: an edit waits for all of those
/// that have it, and is refused (503, to be tried again) where there is always another.
fn hold_policies(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    seen: &Picture,
    subscriptions: &mirror::Subscriptions,
) -> Result<()> {
    let lines = seen.invoices.values().flat_map(|invoice| &invoice.lines.data);
    let mut prices: BTreeSet<String> = lines.filter_map(|line| line.price()).map(str::to_owned).collect();
    for subscription in subscriptions.values() {
        let items = queries::items(tx.conn(), subscription.id)?;
        prices.extend(items.into_iter().map(|item| item.stripe_price_id));
    }
    let policies = queries::policies_of(tx.conn(), connection, &prices)?;
    policies
        .into_iter()
        .try_for_each(|policy| access::hold_policy(tx, policy))
}

/// Records what became of each event. What was seen but waits for something is parked on it: where that is more than one thing, on the first,
/// for a price that becomes known looks for what was held for it itself.
fn settle(tx: &mut Tenant<'_>, lane: &Lane, seen: &Picture, waits: Option<&Parked>) -> Result<Health> {
    let mut health = Health::Unknown;
    let mut moved: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
    for (event, verdict) in &seen.events {
        let (settled, told) = match verdict {
            Verdict::Belongs(owner) => {
                moved.entry(owner).or_default().push(event);
                health = health.and(Health::Well);
                continue;
            }
            Verdict::Apply => (
                waits.map_or(Settled::Done, |on| Settled::Parked(on.clone())),
                Health::Well,
            ),
            Verdict::Nothing => (Settled::Ignored, Health::Unknown),
            Verdict::Dangling(object) => unknown(object),
            Verdict::Failed(StripeError::Missing) if mirror::was_a_draft(tx, lane.connection, event)? => {
                (Settled::Done, Health::Well)
            }
            Verdict::Failed(StripeError::Missing) => unknown(event.object_id.as_deref().unwrap_or("an object")),
            Verdict::Failed(error) => {
                let told = match error {
                    StripeError::Denied(why) => Health::Trouble(why.clone()),
                    _ => Health::Unknown,
                };
                (Settled::Failed(error.to_string()), told)
            }
        };
        health = health.and(told);
        inbox::settle(tx, [event], &settled)?;
    }
    for (owner, events) in moved {
        inbox::move_to(tx, lane, events, owner)?;
    }
    if let Health::Trouble(why) = &health {
        tracing::error!(connection = %lane.connection, why, "a Stripe connection is in trouble; access stays as it is");
    }
    Ok(health)
}

/// What cannot vanish at Stripe and is not there means a wrong key, account or mode: nobody loses access by that.
fn unknown(object: &str) -> (Settled, Health) {
    let trouble = Health::Trouble(format!("Stripe does not know {object}"));
    (Settled::Parked(ACCOUNT.to_owned()), trouble)
}
