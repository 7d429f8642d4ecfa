//! Payment becomes licence: in the transaction that writes the mirror, once for every sale.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{
    Goods, Parked, access, decide,
    mirror::{Invoices, Subscriptions},
};
use crate::{
    features::store::{
        jobs::Picture,
        model::{HeldBecause, Invoice, Mapped, ORDER_FULFILLED, ORDER_HELD, Order, OrderId, OrderState, Subscription},
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
const SLACK: Duration = Duration::days(1);

/// A line of a paid invoice that pays for a period.
struct Sale<'a> {
    connection: ConnectionId,
    customer: CustomerId,
    subscription: &'a Subscription,
    invoice: &'a Invoice,
    item: Item,
    line: &'a Line,
    price: &'a str,
}

impl Sale<'_> {
    /// What the sale is recognised by, whatever shows it: a reissued invoice for the same period pays for nothing twice.
    fn key(&self) -> String {
        format!("{}:{}", self.item.stripe_item_id, self.line.period.start.timestamp())
    }

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
        let items = queries::items(tx.conn(), subscription.id)?;
        for line in lines(invoice) {
            let item = items
                .iter()
                .find(|item| Some(item.stripe_item_id.as_str()) == line.item());
            let (Some(item), Some(price)) = (item, line.price()) else {
                continue;
            };
            // An earlier line of this very look may have made the licence.
            let item = queries::item(tx.conn(), item.id)?;
            let sale = Sale {
                connection: goods.connection,
                customer: goods.customer,
                subscription,
                invoice: row,
                item,
                line,
                price,
            };
            waits.extend(deliver(tx, goods, &sale)?);
        }
    }
    Ok(waits)
}

/// Lines that pay for a period of their own. What settles a change in the middle of one pays for none.
fn lines(invoice: &stripe::Invoice) -> impl Iterator<Item = &Line> {
    invoice
        .lines
        .data
        .iter()
        .filter(|line| !line.is_proration() && line.amount >= 0)
}

fn deliver(tx: &mut Tenant<'_>, goods: &Goods<'_>, sale: &Sale<'_>) -> Result<Option<Parked>> {
    let key = sale.key();
    let known = queries::order(tx.conn(), sale.connection, &key)?;
    let open = |order: &Order| {
        matches!(
            order.state,
            OrderState::Pending | OrderState::AwaitingPayment | OrderState::Held
        )
    };
    if known.as_ref().is_some_and(|order| !open(order)) {
        return Ok(None);
    }
    let Some(mapped) = mapped(tx, sale)? else {
        hold(tx, sale, &key, known, None, HeldBecause::UnknownPrice)?;
        tracing::error!(
            price = sale.price,
            order = key,
            "a paid price belongs to no offer: the order is held"
        );
        return Ok(Some(format!("price:{}", sale.price)));
    };
    if !decide::takes_line(tx, sale.connection, sale.subscription, &mapped.line)? {
        hold(tx, sale, &key, known, Some(&mapped), HeldBecause::Duplicate)?;
        tracing::error!(subscription = %sale.subscription.id, line = mapped.line, "a second subscription of one line was paid");
        return Ok(None);
    }
    if let Some(license) = sale.item.license_id
        && access::is_revoked(tx, license)?
    {
        hold(tx, sale, &key, known, Some(&mapped), HeldBecause::Revoked)?;
        tracing::error!(license = %license, order = key, "a revoked licence was paid for: the order is held");
        return Ok(None);
    }
    let order = match known {
        Some(order) => order,
        None => record(tx, sale, &key, Some(&mapped), None)?,
    };
    let license = license(tx, goods, sale, &mapped, &key)?;
    let now = tx.now()?;
    let order = queries::fulfil_order(tx.conn(), order.id, mapped.offer, &[license], now)?;
    outbox::emit(tx, ORDER_FULFILLED.of(order.id, &order))?;
    Ok(None)
}

/// What the sale's price sells. That it sells nothing is sure until the commit: whoever maps the price then finds the order held.
fn mapped(tx: &mut Tenant<'_>, sale: &Sale<'_>) -> Result<Option<Mapped>> {
    if let Some(mapped) = queries::mapped(tx.conn(), sale.connection, sale.price)? {
        return Ok(Some(mapped));
    }
    queries::hold_map(tx.conn(), sale.connection, sale.price)?;
    Ok(queries::mapped(tx.conn(), sale.connection, sale.price)?)
}

/// Prolongs the licence that the item pays for, or makes it.
fn license(tx: &mut Tenant<'_>, goods: &Goods<'_>, sale: &Sale<'_>, mapped: &Mapped, key: &str) -> Result<Uuid> {
    if let Some(license) = sale.item.license_id {
        access::prolong(tx, license, sale.until(), key)?;
        access::seat(tx, goods, license)?;
        return Ok(license);
    }
    let paid = access::Paid::new(tx.now()?, sale.until(), key);
    let license = access::issue(tx, goods, mapped.policy, &paid)?;
    queries::set_license(tx.conn(), sale.item.id, license)?;
    Ok(license)
}

fn hold(
    tx: &mut Tenant<'_>,
    sale: &Sale<'_>,
    key: &str,
    known: Option<Order>,
    mapped: Option<&Mapped>,
    because: HeldBecause,
) -> Result<()> {
    if known.is_some() {
        return Ok(());
    }
    let order = record(tx, sale, key, mapped, Some(because))?;
    outbox::emit(tx, ORDER_HELD.of(order.id, &order))?;
    Ok(())
}

fn record(
    tx: &mut Tenant<'_>,
    sale: &Sale<'_>,
    key: &str,
    mapped: Option<&Mapped>,
    held: Option<HeldBecause>,
) -> Result<Order> {
    let id = OrderId::new(tx.now()?);
    let new = NewOrder {
        id,
        connection_id: sale.connection,
        customer_id: sale.customer,
        source: "subscription",
        fulfilment_key: key,
        offer_id: mapped.map(|mapped| mapped.offer),
        subscription_id: Some(sale.subscription.id),
        invoice_id: Some(sale.invoice.id),
        stripe_price_id: Some(sale.price),
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
