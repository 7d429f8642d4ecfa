//! The mirror: written by whoever holds the customer's lane, so a statement at a time is enough.

use chrono::{DateTime, Utc};
use diesel::{prelude::*, upsert::on_constraint};
use uuid::Uuid;

use crate::{
    features::{
        schema::billing::{
            billing_customers, invoice_lines, invoices, payments, prices, subscription_items, subscriptions,
        },
        store::model::{
            CustomerImage, Invoice, InvoiceId, InvoiceImage, ItemImage, LineImage, PaymentImage, Subscription,
            SubscriptionId, SubscriptionImage,
        },
    },
    kernel::{id::CustomerId, inbox::ConnectionId},
};

/// Whose account at Stripe this is.
pub(in crate::features::store) fn customer_of(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<Option<CustomerId>> {
    billing_customers::table
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::stripe_customer_id.eq(stripe_id))
        .select(billing_customers::customer_id)
        .first(conn)
        .optional()
}

/// Writes a customer's account as Stripe has it.
pub(in crate::features::store) fn update_customer(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
    seen: &CustomerImage,
) -> QueryResult<usize> {
    diesel::update(billing_customers::table)
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::stripe_customer_id.eq(stripe_id))
        .set(seen)
        .execute(conn)
}

/// Notes that a customer was deleted at Stripe.
pub(in crate::features::store) fn delete_customer(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
    at: DateTime<Utc>,
) -> QueryResult<usize> {
    diesel::update(billing_customers::table)
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::stripe_customer_id.eq(stripe_id))
        .filter(billing_customers::deleted_at.is_null())
        .set(billing_customers::deleted_at.eq(at))
        .execute(conn)
}

/// Notes that a customer is to have an account at Stripe. The row stays as it is where there is one that was not deleted.
pub(in crate::features::store) fn intend_customer(
    conn: &mut PgConnection,
    id: Uuid,
    connection: ConnectionId,
    customer: CustomerId,
) -> QueryResult<usize> {
    diesel::insert_into(billing_customers::table)
        .values((
            billing_customers::id.eq(id),
            billing_customers::connection_id.eq(connection),
            billing_customers::customer_id.eq(customer),
        ))
        .on_conflict((
            billing_customers::workspace_id,
            billing_customers::connection_id,
            billing_customers::customer_id,
        ))
        .filter_target(billing_customers::deleted_at.is_null())
        .do_nothing()
        .execute(conn)
}

/// The intent to have an account for a customer at Stripe, and the account, once there is one.
pub(in crate::features::store) fn account_of(
    conn: &mut PgConnection,
    connection: ConnectionId,
    customer: CustomerId,
) -> QueryResult<Option<(Uuid, Option<String>)>> {
    billing_customers::table
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::customer_id.eq(customer))
        .filter(billing_customers::deleted_at.is_null())
        .select((billing_customers::id, billing_customers::stripe_customer_id))
        .first(conn)
        .optional()
}

/// The next customers beyond this one that are to have an account and have none.
pub(in crate::features::store) fn without_account(
    conn: &mut PgConnection,
    connection: ConnectionId,
    after: Option<CustomerId>,
    most: i64,
) -> QueryResult<Vec<CustomerId>> {
    let mut rows = billing_customers::table
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::stripe_customer_id.is_null())
        .filter(billing_customers::deleted_at.is_null())
        .order(billing_customers::customer_id)
        .limit(most)
        .select(billing_customers::customer_id)
        .into_boxed();
    if let Some(after) = after {
        rows = rows.filter(billing_customers::customer_id.gt(after));
    }
    rows.load(conn)
}

/// Names a customer's account at Stripe.
pub(in crate::features::store) fn bind_customer(
    conn: &mut PgConnection,
    connection: ConnectionId,
    customer: CustomerId,
    stripe_id: &str,
) -> QueryResult<usize> {
    diesel::update(billing_customers::table)
        .filter(billing_customers::connection_id.eq(connection))
        .filter(billing_customers::customer_id.eq(customer))
        .filter(billing_customers::stripe_customer_id.is_null())
        .filter(billing_customers::deleted_at.is_null())
        .set(billing_customers::stripe_customer_id.eq(stripe_id))
        .execute(conn)
}

pub(in crate::features::store) fn subscription(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<Option<Subscription>> {
    subscriptions::table
        .filter(subscriptions::connection_id.eq(connection))
        .filter(subscriptions::stripe_subscription_id.eq(stripe_id))
        .select(Subscription::as_select())
        .first(conn)
        .optional()
}

pub(in crate::features::store) fn upsert_subscription(
    conn: &mut PgConnection,
    id: SubscriptionId,
    seen: &SubscriptionImage,
) -> QueryResult<Subscription> {
    diesel::insert_into(subscriptions::table)
        .values((subscriptions::id.eq(id), seen))
        .on_conflict(on_constraint("subscriptions_stripe_subscription_id_key"))
        .do_update()
        .set(seen)
        .returning(Subscription::as_returning())
        .get_result(conn)
}

/// A thing that a subscription buys, and the licence that it pays for.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = subscription_items)]
pub(in crate::features::store) struct Item {
    pub(in crate::features::store) id: Uuid,
    pub(in crate::features::store) stripe_item_id: String,
    pub(in crate::features::store) stripe_price_id: String,
    pub(in crate::features::store) license_id: Option<Uuid>,
    /// When the subscription stopped buying it.
    pub(in crate::features::store) removed_at: Option<DateTime<Utc>>,
}

pub(in crate::features::store) fn upsert_item(
    conn: &mut PgConnection,
    id: Uuid,
    seen: &ItemImage,
) -> QueryResult<Item> {
    diesel::insert_into(subscription_items::table)
        .values((subscription_items::id.eq(id), seen))
        .on_conflict(on_constraint("subscription_items_stripe_item_id_key"))
        .do_update()
        .set(seen)
        .returning(Item::as_returning())
        .get_result(conn)
}

/// Notes that a subscription no longer buys what is not among these.
pub(in crate::features::store) fn remove_items(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
    but: &[Uuid],
    at: DateTime<Utc>,
) -> QueryResult<usize> {
    diesel::update(subscription_items::table)
        .filter(subscription_items::subscription_id.eq(subscription))
        .filter(subscription_items::id.ne_all(but))
        .filter(subscription_items::removed_at.is_null())
        .set(subscription_items::removed_at.eq(at))
        .execute(conn)
}

/// Everything that a subscription buys or bought, oldest first.
pub(in crate::features::store) fn items(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Vec<Item>> {
    subscription_items::table
        .filter(subscription_items::subscription_id.eq(subscription))
        .order(subscription_items::id)
        .select(Item::as_select())
        .load(conn)
}

/// Everything that pays for one licence pays for another from now on.
pub(in crate::features::store) fn move_license(conn: &mut PgConnection, from: Uuid, to: Uuid) -> QueryResult<usize> {
    diesel::update(subscription_items::table.filter(subscription_items::license_id.eq(from)))
        .set(subscription_items::license_id.eq(to))
        .execute(conn)
}

/// Says which licence an item pays for.
pub(in crate::features::store) fn set_license(
    conn: &mut PgConnection,
    item: Uuid,
    license: Uuid,
) -> QueryResult<usize> {
    diesel::update(subscription_items::table.find(item))
        .set(subscription_items::license_id.eq(license))
        .execute(conn)
}

pub(in crate::features::store) fn invoice(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<Option<Invoice>> {
    invoices::table
        .filter(invoices::connection_id.eq(connection))
        .filter(invoices::stripe_invoice_id.eq(stripe_id))
        .select(Invoice::as_select())
        .first(conn)
        .optional()
}

pub(in crate::features::store) fn upsert_invoice(
    conn: &mut PgConnection,
    id: InvoiceId,
    seen: &InvoiceImage,
) -> QueryResult<Invoice> {
    diesel::insert_into(invoices::table)
        .values((invoices::id.eq(id), seen))
        .on_conflict(on_constraint("invoices_stripe_invoice_id_key"))
        .do_update()
        .set(seen)
        .returning(Invoice::as_returning())
        .get_result(conn)
}

/// Removes a draft that Stripe no longer has. What was final stays.
pub(in crate::features::store) fn drop_draft(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<usize> {
    diesel::delete(invoices::table)
        .filter(invoices::connection_id.eq(connection))
        .filter(invoices::stripe_invoice_id.eq(stripe_id))
        .filter(invoices::status.eq("draft"))
        .execute(conn)
}

/// Replaces the lines of an invoice.
pub(in crate::features::store) fn replace_lines(
    conn: &mut PgConnection,
    invoice: InvoiceId,
    lines: &[LineImage],
) -> QueryResult<usize> {
    diesel::delete(invoice_lines::table.filter(invoice_lines::invoice_id.eq(invoice))).execute(conn)?;
    diesel::insert_into(invoice_lines::table).values(lines).execute(conn)
}

pub(in crate::features::store) fn upsert_payment(
    conn: &mut PgConnection,
    id: Uuid,
    seen: &PaymentImage,
) -> QueryResult<usize> {
    diesel::insert_into(payments::table)
        .values((payments::id.eq(id), seen))
        .on_conflict(on_constraint("payments_stripe_payment_intent_id_key"))
        .do_update()
        .set(seen)
        .execute(conn)
}

/// Ties payments to the invoice that they are for.
pub(in crate::features::store) fn bind_payments(
    conn: &mut PgConnection,
    connection: ConnectionId,
    intents: &[&str],
    invoice: InvoiceId,
) -> QueryResult<usize> {
    diesel::update(payments::table)
        .filter(payments::connection_id.eq(connection))
        .filter(payments::stripe_payment_intent_id.eq_any(intents))
        .filter(payments::invoice_id.is_null())
        .set(payments::invoice_id.eq(invoice))
        .execute(conn)
}

/// The account at Stripe of the customer whose transaction this is: none that was deleted there, for nobody buys with it any more.
pub(in crate::features::store) fn own_account(conn: &mut PgConnection) -> QueryResult<Option<String>> {
    let found: Option<Option<String>> = billing_customers::table
        .filter(billing_customers::stripe_customer_id.is_not_null())
        .filter(billing_customers::deleted_at.is_null())
        .order(billing_customers::id)
        .select(billing_customers::stripe_customer_id)
        .first(conn)
        .optional()?;
    Ok(found.flatten())
}

/// The living subscription of the customer whose transaction this is, or the last one that was.
pub(in crate::features::store) fn own_subscription(conn: &mut PgConnection) -> QueryResult<Option<Subscription>> {
    subscriptions::table
        .order((
            subscriptions::ended_at.desc().nulls_first(),
            subscriptions::started_at.desc(),
        ))
        .select(Subscription::as_select())
        .first(conn)
        .optional()
}

/// What an item costs, and until when it is paid for.
#[derive(Queryable)]
pub(in crate::features::store) struct Cost {
    pub(in crate::features::store) quantity: i64,
    pub(in crate::features::store) period_end: Option<DateTime<Utc>>,
    pub(in crate::features::store) unit_amount: Option<i64>,
}

pub(in crate::features::store) fn costs(conn: &mut PgConnection, of: SubscriptionId) -> QueryResult<Vec<Cost>> {
    subscription_items::table
        .inner_join(subscriptions::table)
        .inner_join(
            prices::table.on(prices::stripe_price_id
                .eq(subscription_items::stripe_price_id)
                .and(prices::connection_id.eq(subscriptions::connection_id))),
        )
        .filter(subscription_items::subscription_id.eq(of))
        .filter(subscription_items::removed_at.is_null())
        .select((
            subscription_items::quantity,
            subscription_items::current_period_end,
            prices::unit_amount,
        ))
        .load(conn)
}
