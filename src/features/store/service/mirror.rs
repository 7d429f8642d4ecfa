//! The mirror: Stripe's objects as they are, never argued with.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    features::store::{
        jobs::Picture,
        model::{
            CustomerImage, INVOICE_PAID, Invoice, InvoiceId, InvoiceImage, ItemImage, LineImage, PaymentImage,
            PriceImage, SUBSCRIPTION_CHANGED, SUBSCRIPTION_CREATED, SUBSCRIPTION_ENDED, Subscription, SubscriptionId,
            SubscriptionImage,
        },
        queries,
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::{CustomerId, JobId, PriceId},
        inbox::{self, ConnectionId, Lane, Waiting, Wanted},
        jobs::{self, Push},
        outbox,
        stripe::{self, Expandable},
    },
};

/// Writes a price. One that carries an offer's lookup key belongs to that offer from now on, and what waited for it waits no longer.
/// What another's lane shows of a price may be older than what its own lane wrote: there it is written only if it is new. Answers whether
/// anything changed.
pub(super) fn price(tx: &mut Tenant<'_>, lane: &Lane, seen: &stripe::Price) -> Result<bool> {
    let connection = lane.connection;
    if seen.deleted {
        return price_is_gone(tx, connection, &seen.id);
    }
    if seen.currency.is_none() {
        return Ok(false);
    }
    let before = queries::price_version(tx.conn(), connection, &seen.id)?;
    let id = PriceId::new(tx.now()?);
    let image = PriceImage::of(connection, seen);
    let row = if lane.name == seen.id {
        queries::upsert_price(tx.conn(), id, &image)?
    } else {
        match queries::insert_price(tx.conn(), id, &image)? {
            Some(new) => new,
            None => return Ok(false),
        }
    };
    let product = seen
        .product
        .as_ref()
        .and_then(Expandable::full)
        .and_then(|product| product.name.as_ref());
    if let Some(name) = product {
        queries::name_product(tx.conn(), row.id, &name.replace('\0', "\u{fffd}"))?;
    }
    let mapped = match &row.lookup_key {
        Some(key) => queries::offer_of_lookup_key(tx.conn(), key)?,
        None => None,
    };
    let mut fresh = false;
    if let Some(offer) = mapped {
        fresh = queries::map_price(tx.conn(), row.id, offer)?;
    }
    if fresh {
        let job = Push {
            group_id: row.id.uuid(),
            ..Push::now(jobs::Lane::System, MAPPED, JobId::of(row.id.uuid(), MAPPED))
        };
        jobs::push(tx, job)?;
    }
    Ok(fresh || before != Some(row.version))
}

/// The kind of the job that lets what waited for a price be looked at again. Not done where the price is mapped: there its row is locked,
/// and whoever parks an event holds a lane and waits for that row.
pub(in crate::features::store) const MAPPED: &str = "store.mapped";

/// Lets what waited for a price be looked at again.
pub(in crate::features::store) fn unpark_mapped(tx: &mut Tenant<'_>, price: PriceId) -> Result<()> {
    if let Some((connection, stripe_id)) = queries::place_of_price(tx.conn(), price)? {
        inbox::park_no_longer(tx, connection, &format!("price:{stripe_id}"))?;
    }
    Ok(())
}

/// What was paid for a price and is held because nobody knew it: the invoices, to be looked at again. What waits for another price, too, is
/// parked on that one.
pub(in crate::features::store) fn held_for(
    tx: &mut Tenant<'_>,
    price: PriceId,
) -> Result<Option<(ConnectionId, Vec<Wanted>)>> {
    let Some((connection, stripe_id)) = queries::place_of_price(tx.conn(), price)? else {
        return Ok(None);
    };
    let mut wanted = Vec::new();
    for (customer, object) in queries::held_for_price(tx.conn(), connection, &stripe_id)? {
        if let Some((_, Some(lane))) = queries::account_of(tx.conn(), connection, customer)? {
            wanted.push(Wanted {
                kind: "invoice.updated",
                lane,
                object,
            });
        }
    }
    Ok(Some((connection, wanted)))
}

/// Notes that Stripe no longer has a price. Answers whether that is new.
pub(super) fn price_is_gone(tx: &mut Tenant<'_>, connection: ConnectionId, stripe_id: &str) -> Result<bool> {
    let now = tx.now()?;
    Ok(queries::forget_price(tx.conn(), connection, stripe_id, now)? > 0)
}

/// Whether what an event was about, and Stripe no longer knows, was the draft of an invoice, which may be deleted. It is removed.
pub(super) fn was_a_draft(tx: &mut Tenant<'_>, connection: ConnectionId, event: &Waiting) -> Result<bool> {
    let of_drafts = matches!(
        event.kind.as_str(),
        "invoice.created" | "invoice.updated" | "invoice.deleted"
    );
    let Some(id) = event.object_id.as_ref().filter(|_| of_drafts) else {
        return Ok(false);
    };
    queries::drop_draft(tx.conn(), connection, id)?;
    Ok(queries::invoice(tx.conn(), connection, id)?.is_none())
}

/// Whose lane it is.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) customer: CustomerId,
    /// Their account at Stripe was deleted since it was seen last.
    pub(super) lost_account: bool,
}

/// Whose lane it is, and what Stripe knows of them. `None`: an account that belongs to no customer of ours.
pub(super) fn customer(tx: &mut Tenant<'_>, lane: &Lane, seen: &Picture) -> Result<Option<Owner>> {
    let Some(customer) = queries::customer_of(tx.conn(), lane.connection, &lane.name)? else {
        return Ok(None);
    };
    let mut lost_account = false;
    match &seen.customer {
        None => {}
        Some(account) if account.deleted => {
            let now = tx.now()?;
            lost_account = queries::delete_customer(tx.conn(), lane.connection, &account.id, now)? > 0;
        }
        Some(account) => {
            queries::update_customer(tx.conn(), lane.connection, &account.id, &CustomerImage::of(account))?;
        }
    }
    Ok(Some(Owner { customer, lost_account }))
}

/// Rows by Stripe's id.
pub(super) type Subscriptions = BTreeMap<String, Subscription>;
/// Rows by Stripe's id.
pub(super) type Invoices = BTreeMap<String, Invoice>;

/// Writes subscriptions and what they buy.
pub(super) fn subscriptions(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    customer: CustomerId,
    seen: &Picture,
) -> Result<Subscriptions> {
    let mut rows = Subscriptions::new();
    for subscription in seen.subscriptions.values() {
        let before = queries::subscription(tx.conn(), connection, &subscription.id)?;
        let now = tx.now()?;
        let image = SubscriptionImage::of(connection, customer, subscription);
        let row = queries::upsert_subscription(tx.conn(), SubscriptionId::new(now), &image)?;
        let mut kept = Vec::new();
        for item in &subscription.items.data {
            let image = ItemImage::of(row.id, customer, subscription, item);
            let fresh: Uuid = SubscriptionId::new(now).uuid();
            kept.push(queries::upsert_item(tx.conn(), fresh, &image)?.id);
        }
        queries::remove_items(tx.conn(), row.id, &kept, now)?;
        tell(tx, before.as_ref(), &row)?;
        rows.insert(subscription.id.clone(), row);
    }
    Ok(rows)
}

/// Tells of a subscription that is new, changed or over.
fn tell(tx: &mut Tenant<'_>, before: Option<&Subscription>, row: &Subscription) -> Result<()> {
    let event = match before {
        None => SUBSCRIPTION_CREATED.of(row.id, row),
        Some(before) if before.version == row.version => return Ok(()),
        Some(before) if before.ended_at.is_none() && row.ended_at.is_some() => {
            SUBSCRIPTION_ENDED.of(row.id, row).was(before)
        }
        // What changed may be nothing that is shown: another method of payment, the next invoice.
        Some(before) => {
            let event = SUBSCRIPTION_CHANGED.of(row.id, row).was(before);
            event.moving("version", before.version, row.version)
        }
    };
    outbox::emit(tx, event)?;
    Ok(())
}

/// Writes invoices and their lines.
pub(super) fn invoices(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    customer: CustomerId,
    seen: &Picture,
    owners: &Subscriptions,
) -> Result<Invoices> {
    let mut rows = Invoices::new();
    for invoice in seen.invoices.values() {
        let owner = match invoice.subscription() {
            None => None,
            Some(id) => match owners.get(id) {
                Some(seen) => Some(seen.id),
                // It did not answer this time: whose the invoice is has not changed by that.
                None => queries::subscription(tx.conn(), connection, id)?.map(|row| row.id),
            },
        };
        let before = queries::invoice(tx.conn(), connection, &invoice.id)?;
        let id = InvoiceId::new(tx.now()?);
        let row = queries::upsert_invoice(tx.conn(), id, &InvoiceImage::of(connection, customer, owner, invoice))?;
        if before.as_ref().is_none_or(|before| before.version != row.version) {
            queries::replace_lines(tx.conn(), row.id, &LineImage::all(row.id, customer, invoice))?;
        }
        let was_paid = before.as_ref().is_some_and(|before| before.paid_at.is_some());
        if row.paid_at.is_some() && !was_paid {
            let status = before.as_ref().map(|before| &before.status);
            outbox::emit(tx, INVOICE_PAID.of(row.id, &row).moving("status", status, &row.status))?;
        }
        rows.insert(invoice.id.clone(), row);
    }
    Ok(rows)
}

/// Writes payments, and which invoice each is for.
pub(super) fn payments(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    customer: CustomerId,
    seen: &Picture,
) -> Result<()> {
    for payment in seen.payments.values() {
        let fresh = SubscriptionId::new(tx.now()?).uuid();
        queries::upsert_payment(tx.conn(), fresh, &PaymentImage::of(connection, customer, payment))?;
    }
    for invoice in seen.invoices.values() {
        let payments = invoice.payments.iter().flat_map(|list| &list.data);
        let intents = payments.filter_map(|payment| payment.payment.as_ref()?.payment_intent.as_ref());
        let intents: Vec<&str> = intents.map(Expandable::id).collect();
        if let Some(row) = queries::invoice(tx.conn(), connection, &invoice.id)? {
            queries::bind_payments(tx.conn(), connection, &intents, row.id)?;
        }
    }
    Ok(())
}
