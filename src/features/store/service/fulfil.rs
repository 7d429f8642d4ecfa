//! Payment becomes licence: in the transaction that writes the mirror, once for every sale.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{
    Goods, Parked,
    access::{self, Seat},
    decide,
    mirror::{Invoices, Subscriptions},
};
use crate::{
    features::store::{
        jobs::Picture,
        model::{
            HeldBecause, Invoice, ItemImage, Mapped, ORDER_FULFILLED, ORDER_HELD, Order, OrderId, OrderState,
            Subscription, SubscriptionId,
        },
        queries::{self, Item, NewOrder},
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::CustomerId,
        inbox::ConnectionId,
        outbox,
        stripe::{self, Line},
    },
};

/// A period turns about an hour before its invoice is even final: access bridges that, and the retries of a bad day.
pub(super) const SLACK: Duration = Duration::days(1);

/// A line of a paid invoice that pays for a period.
struct Sale<'a> {
    connection: ConnectionId,
    customer: CustomerId,
    subscription: &'a Subscription,
    invoice: &'a Invoice,
    line: &'a Line,
    price: Option<String>,
    /// What the sale is recognised by, whatever shows it: a reissued invoice for the same period pays for nothing twice.
    key: String,
}

impl Sale<'_> {
    fn until(&self) -> DateTime<Utc> {
        self.line.period.end + SLACK
    }
}

/// Delivers what paid invoices paid for. Answers what cannot be delivered yet.
pub(super) fn paid_invoices(
    tx: &mut Tenant<'_>,
    goods: &Goods<'_>,
    seen: &Picture,
    subscriptions: &Subscriptions,
    invoices: &Invoices,
) -> Result<Vec<Parked>> {
    let mut waits = Vec::new();
    for invoice in seen.invoices.values().filter(|invoice| invoice.is_paid()) {
        let owner = invoice.subscription().and_then(|id| subscriptions.get(id));
        let (Some(subscription), Some(row)) = (owner, invoices.get(&invoice.id)) else {
            continue;
        };
        for line in lines(invoice) {
            // An earlier line of this very look may have made the licence.
            let item = item_of(tx, goods, subscription, line)?;
            let mut sale = Sale {
                connection: goods.connection,
                customer: goods.customer,
                subscription,
                invoice: row,
                line,
                price: line.price().map(str::to_owned),
                key: format!("{}:{}", invoice.id, line.id),
            };
            match item {
                Some(item) => {
                    sale.key = format!("{}:{}", item.stripe_item_id, line.period.start.timestamp());
                    let price = sale.price.unwrap_or_else(|| item.stripe_price_id.clone());
                    sale.price = Some(price.clone());
                    waits.extend(deliver(tx, goods, &sale, &item, &price)?);
                }
                None if line.amount > 0 => keep_back(tx, &sale)?,
                None => {}
            }
        }
    }
    Ok(waits)
}

/// The item that a line pays for. One that another took the place of before anybody looked is known from its line alone.
fn item_of(tx: &mut Tenant<'_>, goods: &Goods<'_>, of: &Subscription, line: &Line) -> Result<Option<Item>> {
    let Some(named) = line.item() else { return Ok(None) };
    let known = queries::items(tx.conn(), of.id)?;
    if let Some(item) = known.into_iter().find(|item| item.stripe_item_id == named) {
        return Ok(Some(item));
    }
    let Some(price) = line.price() else { return Ok(None) };
    let now = tx.now()?;
    let image = ItemImage {
        subscription_id: of.id,
        customer_id: goods.customer,
        stripe_item_id: named.to_owned(),
        stripe_price_id: price.to_owned(),
        quantity: line.quantity.unwrap_or(1),
        current_period_start: Some(line.period.start),
        current_period_end: Some(line.period.end),
        removed_at: Some(now),
    };
    let fresh = SubscriptionId::new(now).uuid();
    Ok(Some(queries::upsert_item(tx.conn(), fresh, &image)?))
}

/// What was billed with a subscription and is for nothing that it buys is the seller's to decide about.
fn keep_back(tx: &mut Tenant<'_>, sale: &Sale<'_>) -> Result<()> {
    let known = queries::order(tx.conn(), sale.connection, &sale.key)?;
    if known.is_none() {
        hold(tx, sale, known, None, HeldBecause::NoItem)?;
        tracing::error!(
            order = sale.key,
            "what was paid is for no item of its subscription: the order is held"
        );
    }
    Ok(())
}

/// Lines that pay for a period of their own. What settles a change in the middle of one pays for none.
fn lines(invoice: &stripe::Invoice) -> impl Iterator<Item = &Line> {
    invoice
        .lines
        .data
        .iter()
        .filter(|line| !line.is_proration() && line.amount >= 0 && line.quantity != Some(0))
}

fn deliver(
    tx: &mut Tenant<'_>,
    goods: &Goods<'_>,
    sale: &Sale<'_>,
    item: &Item,
    price: &str,
) -> Result<Option<Parked>> {
    let known = queries::order(tx.conn(), sale.connection, &sale.key)?;
    let open = |order: &Order| {
        matches!(
            order.state,
            OrderState::Pending | OrderState::AwaitingPayment | OrderState::Held
        )
    };
    if known.as_ref().is_some_and(|order| !open(order)) {
        return Ok(None);
    }
    let Some(mapped) = mapped(tx, sale.connection, price)? else {
        hold(tx, sale, known, None, HeldBecause::UnknownPrice)?;
        tracing::error!(
            price,
            order = sale.key,
            "a paid price belongs to no offer: the order is held"
        );
        return Ok(Some(format!("price:{price}")));
    };
    if !decide::takes_line(tx, sale.connection, sale.subscription, &mapped.line)? {
        hold(tx, sale, known, Some(&mapped), HeldBecause::Duplicate)?;
        tracing::error!(subscription = %sale.subscription.id, line = mapped.line, "a second subscription of one line was paid");
        return Ok(None);
    }
    if let Some(license) = item.license_id
        && access::is_revoked(tx, license)?
    {
        hold(tx, sale, known, Some(&mapped), HeldBecause::Revoked)?;
        tracing::error!(license = %license, order = sale.key, "a revoked licence was paid for: the order is held");
        return Ok(None);
    }
    let (license, seat) = license(tx, goods, sale, item, &mapped)?;
    if let Seat::Refused(error) = seat {
        hold(tx, sale, known, Some(&mapped), HeldBecause::NoSeat)?;
        tracing::error!(%license, order = sale.key, %error, "a workspace cannot hold what was paid for it: the order is held");
        return Ok(None);
    }
    let order = match known {
        Some(order) => order,
        None => record(tx, sale, Some(&mapped), None)?,
    };
    let now = tx.now()?;
    let fulfilled = queries::fulfil_order(tx.conn(), order.id, mapped.offer, &[license], now)?;
    outbox::emit(tx, ORDER_FULFILLED.of(fulfilled.id, &fulfilled).after(&order))?;
    Ok(None)
}

/// What the sale's price sells. That it sells nothing is sure until the commit: whoever maps the price then finds the order held.
fn mapped(tx: &mut Tenant<'_>, connection: ConnectionId, price: &str) -> Result<Option<Mapped>> {
    if let Some(mapped) = queries::mapped(tx.conn(), connection, price)? {
        return Ok(Some(mapped));
    }
    queries::hold_map(tx.conn(), connection, price)?;
    Ok(queries::mapped(tx.conn(), connection, price)?)
}

/// Prolongs the licence that the item pays for, or that of the item in whose place it is, or makes one.
fn license(
    tx: &mut Tenant<'_>,
    goods: &Goods<'_>,
    sale: &Sale<'_>,
    item: &Item,
    mapped: &Mapped,
) -> Result<(Uuid, Seat)> {
    let known = match item.license_id {
        Some(license) => Some(license),
        None => decide::inherited(tx, goods, sale.subscription, item, &mapped.line)?,
    };
    let (license, seat) = match known {
        Some(license) => {
            access::prolong(tx, license, sale.until(), &sale.key)?;
            (license, access::seat(tx, goods, license)?)
        }
        None => {
            let paid = access::Paid::new(tx.now()?, sale.until(), &sale.key);
            access::issue(tx, goods, mapped.policy, &paid)?
        }
    };
    queries::set_license(tx.conn(), item.id, license)?;
    Ok((license, seat))
}

fn hold(
    tx: &mut Tenant<'_>,
    sale: &Sale<'_>,
    known: Option<Order>,
    mapped: Option<&Mapped>,
    because: HeldBecause,
) -> Result<()> {
    let before = known.as_ref().and_then(|order| order.held_because);
    let order = match known {
        Some(order) if order.held_because == Some(because) => return Ok(()),
        // What it waits for now decides who looks at it again.
        Some(order) => queries::hold_order(tx.conn(), order.id, mapped.map(|mapped| mapped.offer), because)?,
        None => record(tx, sale, mapped, Some(because))?,
    };
    let event = ORDER_HELD.of(order.id, &order);
    outbox::emit(tx, event.moving("held_because", before, because))?;
    Ok(())
}

fn record(tx: &mut Tenant<'_>, sale: &Sale<'_>, mapped: Option<&Mapped>, held: Option<HeldBecause>) -> Result<Order> {
    let id = OrderId::new(tx.now()?);
    let new = NewOrder {
        id,
        connection_id: sale.connection,
        customer_id: sale.customer,
        source: if held == Some(HeldBecause::NoItem) {
            "invoice"
        } else {
            "subscription"
        },
        fulfilment_key: &sale.key,
        offer_id: mapped.map(|mapped| mapped.offer),
        subscription_id: Some(sale.subscription.id),
        invoice_id: Some(sale.invoice.id),
        stripe_price_id: sale.price.as_deref(),
        quantity: sale.line.quantity.unwrap_or(1),
        amount: sale.line.amount,
        currency: &sale.line.currency,
        state: if held.is_some() {
            OrderState::Held
        } else {
            OrderState::Pending
        },
        held_because: held,
        paid_until: Some(sale.line.period.end),
    };
    Ok(queries::insert_order(tx.conn(), &new)?)
}
