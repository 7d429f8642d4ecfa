//! What a status of Stripe's means for access. One table, here.

use chrono::Duration;
use uuid::Uuid;

use super::{Goods, access, underway};
use crate::{
    features::store::{
        model::{
            DUNNING_LAPSED, DUNNING_RECOVERED, DUNNING_RESTRICTED, DUNNING_STARTED, DunningCase, DunningCaseId,
            DunningState, OnCancel, Subscription, SubscriptionId,
        },
        queries::{self, Item},
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::JobId,
        inbox::{ConnectionId, Wanted},
        jobs::{self, Lane, Push},
        outbox,
    },
};

/// Days until access is limited, and until a subscription is given up, counted from when money is first missing.
const RESTRICT_AFTER: Duration = Duration::days(14);
const LAPSE_AFTER: Duration = Duration::days(28);

/// Why a licence is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// An invoice is unpaid, and Stripe has given up.
    Payment,
    /// A trial ended, and there is nothing to charge.
    PaymentMethod,
}

/// What follows from a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The money is there: whatever was held for it is lifted.
    Paid,
    /// Money is missing; access stays, and a clock runs.
    Owing,
    /// Money is missing, and nobody tries any more: limited access.
    Unpaid,
    /// A trial is over and there is nothing to charge.
    NoMethod,
    /// Never begun: nothing was delivered.
    NotYet,
    /// Over.
    Over,
    /// A word that we do not know: nobody loses access by it.
    Unknown,
}

fn meaning(status: &str) -> Meaning {
    match status {
        "trialing" | "active" => Meaning::Paid,
        "past_due" => Meaning::Owing,
        "unpaid" => Meaning::Unpaid,
        "paused" => Meaning::NoMethod,
        "incomplete" => Meaning::NotYet,
        "incomplete_expired" | "canceled" => Meaning::Over,
        _ => Meaning::Unknown,
    }
}

/// Makes access follow from a subscription's status.
pub(super) fn subscription(tx: &mut Tenant<'_>, goods: &Goods<'_>, row: &Subscription) -> Result<()> {
    let licenses = licenses(tx, row)?;
    match meaning(&row.status) {
        Meaning::Paid => {
            // First: what bridged the missing money goes with the licence if that follows another price.
            close_case(tx, row, &licenses, DunningState::Recovered)?;
            underway::bridge(tx, row, bought(&licenses))?;
            for license in &licenses {
                access::lift(tx, license.id, Hold::Payment, &row.stripe_subscription_id)?;
                access::lift(tx, license.id, Hold::PaymentMethod, &row.stripe_subscription_id)?;
                follow_price(tx, goods, license)?;
            }
        }
        Meaning::Owing => {
            let case = bridge(tx, row, &licenses)?;
            if case.restrict_at <= tx.now()? {
                restrict(tx, row, &licenses)?;
            }
        }
        Meaning::Unpaid => {
            bridge(tx, row, &licenses)?;
            restrict(tx, row, &licenses)?;
        }
        Meaning::NoMethod => {
            for license in &licenses {
                access::hold(tx, license.id, Hold::PaymentMethod, &row.stripe_subscription_id)?;
            }
        }
        Meaning::NotYet => {}
        Meaning::Over => {
            close_case(tx, row, &licenses, DunningState::Lapsed)?;
            for license in &licenses {
                underway::end(tx, license.id)?;
                end(tx, goods.connection, row, license)?;
            }
            for line in queries::free_slots(tx.conn(), row.id)? {
                hand_on(tx, row, &line)?;
            }
        }
        Meaning::Unknown => {
            tracing::error!(subscription = %row.id, status = row.status, "Stripe knows a status that we do not: access stays as it is");
        }
    }
    Ok(())
}

/// A licence, and the price that keeps it alive.
struct Kept {
    id: Uuid,
    price: String,
    /// Whether the subscription still buys it.
    bought: bool,
}

/// Those that the subscription still buys.
fn bought(licenses: &[Kept]) -> impl Iterator<Item = Uuid> {
    licenses
        .iter()
        .filter(|license| license.bought)
        .map(|license| license.id)
}

/// The licences of a subscription. Where an item took the place of another, its price counts.
fn licenses(tx: &mut Tenant<'_>, row: &Subscription) -> Result<Vec<Kept>> {
    let mut items = queries::items(tx.conn(), row.id)?;
    items.sort_by_key(|item| item.removed_at.is_some());
    let mut kept: Vec<Kept> = Vec::with_capacity(items.len());
    for item in items {
        if let Some(id) = item.license_id
            && kept.iter().all(|known| known.id != id)
        {
            kept.push(Kept {
                id,
                price: item.stripe_price_id,
                bought: item.removed_at.is_none(),
            });
        }
    }
    Ok(kept)
}

/// An item of a line that another one left goes on with the licence of that one: Stripe's own pages change a plan so.
pub(super) fn hand_over(tx: &mut Tenant<'_>, goods: &Goods<'_>, row: &Subscription) -> Result<()> {
    let items = queries::items(tx.conn(), row.id)?;
    let fresh = items
        .iter()
        .filter(|item| item.removed_at.is_none() && item.license_id.is_none());
    for item in fresh {
        if let Some(wanted) = queries::mapped(tx.conn(), goods.connection, &item.stripe_price_id)?
            && let Some(license) = inherited(tx, goods, row, item, &wanted.line)?
        {
            queries::set_license(tx.conn(), item.id, license)?;
        }
    }
    Ok(())
}

/// The licence of a line that an item without one goes on with: that of an item which left. One that left itself, and was paid for before
/// anybody knew of it, had the licence that whatever is in its place has.
pub(super) fn inherited(
    tx: &mut Tenant<'_>,
    goods: &Goods<'_>,
    row: &Subscription,
    item: &Item,
    line: &str,
) -> Result<Option<Uuid>> {
    let mut others = queries::items(tx.conn(), row.id)?;
    others.reverse();
    others.sort_by_key(|other| other.removed_at.is_some());
    let bought: Vec<Uuid> = others
        .iter()
        .filter(|other| other.removed_at.is_none())
        .filter_map(|other| other.license_id)
        .collect();
    for other in &others {
        let free = |license: &Uuid| item.removed_at.is_some() || !bought.contains(license);
        let Some(license) = other.license_id.filter(free) else {
            continue;
        };
        let had = queries::mapped(tx.conn(), goods.connection, &other.stripe_price_id)?;
        if had.is_some_and(|had| had.line == line) && !access::is_revoked(tx, license)? {
            return Ok(Some(license));
        }
    }
    Ok(None)
}

/// The licence of an item whose price was changed is transferred to what the new price sells. An unknown price changes nothing.
fn follow_price(tx: &mut Tenant<'_>, goods: &Goods<'_>, license: &Kept) -> Result<()> {
    if let Some(mapped) = queries::mapped(tx.conn(), goods.connection, &license.price)?
        && let Some(fresh) = access::transfer(tx, goods, license.id, mapped.policy)?
    {
        queries::move_license(tx.conn(), license.id, fresh)?;
    }
    Ok(())
}

/// Ends what a cancelled subscription paid for: now, or with the period that was paid.
fn end(tx: &mut Tenant<'_>, connection: ConnectionId, row: &Subscription, license: &Kept) -> Result<()> {
    let mapped = queries::mapped(tx.conn(), connection, &license.price)?;
    let now = tx.now()?;
    let over = row.ended_at.unwrap_or(now);
    let at_once = mapped.is_some_and(|mapped| mapped.on_cancel == OnCancel::Now);
    // Where the price is unknown by now, what was paid is kept.
    match queries::last_paid(tx.conn(), row.id)?.filter(|_| !at_once) {
        Some((until, sale)) => access::end(tx, license.id, until, Some(&sale)),
        None => access::end(tx, license.id, over, None),
    }
}

/// Whether a subscription drives a line: it has it, or nobody does who is still there.
pub(super) fn takes_line(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    subscription: &Subscription,
    line: &str,
) -> Result<bool> {
    let holder = queries::slot(tx.conn(), connection, subscription.customer_id, line)?;
    let free = match &holder {
        None => true,
        Some(holder) if holder.id == subscription.id => return Ok(true),
        Some(holder) => meaning(&holder.status) == Meaning::Over,
    };
    if free {
        queries::take_slot(tx.conn(), connection, subscription.customer_id, line, subscription.id)?;
    }
    Ok(free)
}

/// A line that is free again goes to the subscription that was paid for it in vain and still is: it is looked at again.
fn hand_on(tx: &mut Tenant<'_>, row: &Subscription, line: &str) -> Result<()> {
    let now = tx.now()?;
    match queries::heir(tx.conn(), row, line, now)? {
        Some(heir) => jobs::push(tx, look(heir, JobId::of(heir.uuid(), LOOK))),
        None => Ok(()),
    }
}

/// What was paid is over before anybody gives up on the money: until then licences live on, for they can still be paid.
fn bridge(tx: &mut Tenant<'_>, row: &Subscription, licenses: &[Kept]) -> Result<DunningCase> {
    let case = open_case(tx, row)?;
    for license in bought(licenses) {
        access::prolong(tx, license, case.lapse_at, &case.id.to_string())?;
    }
    Ok(case)
}

fn open_case(tx: &mut Tenant<'_>, row: &Subscription) -> Result<DunningCase> {
    if let Some(known) = queries::case(tx.conn(), row.id)? {
        return Ok(known);
    }
    let now = tx.now()?;
    let case = queries::insert_case(
        tx.conn(),
        DunningCaseId::new(now),
        row,
        (now, now + RESTRICT_AFTER, now + LAPSE_AFTER),
    )?;
    outbox::emit(tx, DUNNING_STARTED.of(case.id, &case))?;
    // Our own clock limits access: Stripe does not go on trying a card that is gone.
    jobs::push(
        tx,
        Push {
            due: Some(case.restrict_at),
            ..look(row.id, JobId::of(case.id.uuid(), LOOK))
        },
    )?;
    Ok(case)
}

/// The kind of the job that has a subscription looked at again although no event told of it.
pub(in crate::features::store) const LOOK: &str = "store.look";

fn look(subscription: SubscriptionId, job: JobId) -> Push {
    Push {
        group_id: subscription.uuid(),
        ..Push::now(Lane::System, LOOK, job)
    }
}

/// Where to look at a subscription again: at itself, and at the invoices whose sales are held because it was one too many.
pub(in crate::features::store) fn to_look_at(
    tx: &mut Tenant<'_>,
    subscription: SubscriptionId,
) -> Result<(ConnectionId, Vec<Wanted>)> {
    let (connection, object, customer) = queries::place_of(tx.conn(), subscription)?;
    let account = queries::account_of(tx.conn(), connection, customer)?;
    let lane = account
        .and_then(|(_, at_stripe)| at_stripe)
        .unwrap_or_else(|| object.clone());
    let now = tx.now()?;
    let held = queries::held_invoices(tx.conn(), subscription, now)?;
    let mut wanted = vec![Wanted {
        kind: "customer.subscription.updated",
        lane: lane.clone(),
        object,
    }];
    wanted.extend(held.into_iter().map(|object| Wanted {
        kind: "invoice.updated",
        lane: lane.clone(),
        object,
    }));
    Ok((connection, wanted))
}

fn restrict(tx: &mut Tenant<'_>, row: &Subscription, licenses: &[Kept]) -> Result<()> {
    for license in licenses {
        access::hold(tx, license.id, Hold::Payment, &row.stripe_subscription_id)?;
    }
    let Some(before) = queries::case(tx.conn(), row.id)? else {
        return Ok(());
    };
    if before.state != DunningState::Restricted {
        let case = queries::move_case(tx.conn(), before.id, DunningState::Restricted, None)?;
        outbox::emit(tx, DUNNING_RESTRICTED.of(case.id, &case).after(&before))?;
    }
    Ok(())
}

/// From now on licences live as long as what was paid, and no longer.
fn close_case(tx: &mut Tenant<'_>, row: &Subscription, licenses: &[Kept], state: DunningState) -> Result<()> {
    let Some(before) = queries::case(tx.conn(), row.id)? else {
        return Ok(());
    };
    for license in licenses {
        access::take_back(tx, license.id, &before.id.to_string())?;
    }
    let now = tx.now()?;
    let case = queries::move_case(tx.conn(), before.id, state, Some(now))?;
    let event = if state == DunningState::Recovered {
        DUNNING_RECOVERED
    } else {
        DUNNING_LAPSED
    };
    outbox::emit(tx, event.of(case.id, &case).after(&before))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning_and_an_unknown_one_harms_nobody() {
        for (status, expected) in [
            ("trialing", Meaning::Paid),
            ("active", Meaning::Paid),
            ("past_due", Meaning::Owing),
            ("unpaid", Meaning::Unpaid),
            ("paused", Meaning::NoMethod),
            ("incomplete", Meaning::NotYet),
            ("incomplete_expired", Meaning::Over),
            ("canceled", Meaning::Over),
            ("hibernating", Meaning::Unknown),
        ] {
            assert_eq!(meaning(status), expected, "{status}");
        }
    }
}
