//! Slots, orders, and money that is missing.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, max},
    prelude::*,
    upsert::on_constraint,
};
use uuid::Uuid;

use crate::{
    features::{
        schema::billing::{
            dunning_cases, invoices, offers, orders, payments, subscription_items, subscription_slots, subscriptions,
        },
        store::model::{
            DunningCase, DunningCaseId, DunningState, HeldBecause, InvoiceId, OfferId, Order, OrderId, OrderState,
            Subscription, SubscriptionId,
        },
    },
    kernel::{id::CustomerId, inbox::ConnectionId},
};

/// Which subscription has a line of a customer.
pub(in crate::features::store) fn slot(
    conn: &mut PgConnection,
    connection: ConnectionId,
    customer: CustomerId,
    line: &str,
) -> QueryResult<Option<Subscription>> {
    subscription_slots::table
        .inner_join(subscriptions::table)
        .filter(subscription_slots::connection_id.eq(connection))
        .filter(subscription_slots::customer_id.eq(customer))
        .filter(subscription_slots::line.eq(line))
        .select(Subscription::as_select())
        .first(conn)
        .optional()
}

/// Gives a line of a customer to a subscription.
pub(in crate::features::store) fn take_slot(
    conn: &mut PgConnection,
    connection: ConnectionId,
    customer: CustomerId,
    line: &str,
    subscription: SubscriptionId,
) -> QueryResult<usize> {
    diesel::insert_into(subscription_slots::table)
        .values((
            subscription_slots::connection_id.eq(connection),
            subscription_slots::customer_id.eq(customer),
            subscription_slots::line.eq(line),
            subscription_slots::subscription_id.eq(subscription),
        ))
        .on_conflict(on_constraint("subscription_slots_pkey"))
        .do_update()
        .set(subscription_slots::subscription_id.eq(subscription))
        .execute(conn)
}

/// Frees every line that a subscription has, and answers which.
pub(in crate::features::store) fn free_slots(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Vec<String>> {
    diesel::delete(subscription_slots::table.filter(subscription_slots::subscription_id.eq(subscription)))
        .returning(subscription_slots::line)
        .get_results(conn)
}

/// Of the customer's other subscriptions that live, the one that was first paid for this line in vain, for a period that is not over.
pub(in crate::features::store) fn heir(
    conn: &mut PgConnection,
    of: &Subscription,
    line: &str,
    now: DateTime<Utc>,
) -> QueryResult<Option<SubscriptionId>> {
    orders::table
        .inner_join(offers::table.on(orders::offer_id.eq(offers::id.nullable())))
        .inner_join(subscriptions::table.on(orders::subscription_id.eq(subscriptions::id.nullable())))
        .filter(orders::held_because.eq(HeldBecause::Duplicate))
        .filter(orders::customer_id.eq(of.customer_id))
        .filter(orders::paid_until.gt(now))
        .filter(offers::line.eq(line))
        .filter(subscriptions::id.ne(of.id))
        .filter(subscriptions::ended_at.is_null())
        .order(orders::id)
        .select(subscriptions::id)
        .first(conn)
        .optional()
}

/// The invoices, by Stripe's ids, that paid a subscription's present period in vain: it was one too many, or its workspace could not hold it.
pub(in crate::features::store) fn held_invoices(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
    now: DateTime<Utc>,
) -> QueryResult<Vec<String>> {
    orders::table
        .inner_join(invoices::table.on(orders::invoice_id.eq(invoices::id.nullable())))
        .filter(orders::subscription_id.eq(subscription))
        .filter(orders::held_because.eq_any([HeldBecause::Duplicate, HeldBecause::NoSeat]))
        .filter(orders::paid_until.gt(now))
        .order(invoices::stripe_invoice_id)
        .select(invoices::stripe_invoice_id)
        .distinct()
        .load(conn)
}

/// Whose invoices, by Stripe's ids, were paid for a price that nobody knew.
pub(in crate::features::store) fn held_for_price(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_price_id: &str,
) -> QueryResult<Vec<(CustomerId, String)>> {
    orders::table
        .inner_join(invoices::table.on(orders::invoice_id.eq(invoices::id.nullable())))
        .filter(orders::connection_id.eq(connection))
        .filter(orders::stripe_price_id.eq(stripe_price_id))
        .filter(orders::state.eq(OrderState::Held))
        .filter(orders::held_because.eq(HeldBecause::UnknownPrice))
        .order((orders::customer_id, invoices::stripe_invoice_id))
        .select((orders::customer_id, invoices::stripe_invoice_id))
        .distinct()
        .load(conn)
}

/// A sale to be recorded.
#[derive(Insertable)]
#[diesel(table_name = orders)]
pub(in crate::features::store) struct NewOrder<'a> {
    pub(in crate::features::store) id: OrderId,
    pub(in crate::features::store) connection_id: ConnectionId,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) source: &'a str,
    pub(in crate::features::store) fulfilment_key: &'a str,
    pub(in crate::features::store) offer_id: Option<OfferId>,
    pub(in crate::features::store) subscription_id: Option<SubscriptionId>,
    pub(in crate::features::store) invoice_id: Option<InvoiceId>,
    pub(in crate::features::store) stripe_price_id: Option<&'a str>,
    pub(in crate::features::store) quantity: i64,
    pub(in crate::features::store) amount: i64,
    pub(in crate::features::store) currency: &'a str,
    pub(in crate::features::store) state: OrderState,
    pub(in crate::features::store) held_because: Option<HeldBecause>,
    pub(in crate::features::store) paid_until: Option<DateTime<Utc>>,
}

/// The order of a sale, if it was recorded.
pub(in crate::features::store) fn order(
    conn: &mut PgConnection,
    connection: ConnectionId,
    key: &str,
) -> QueryResult<Option<Order>> {
    orders::table
        .filter(orders::connection_id.eq(connection))
        .filter(orders::fulfilment_key.eq(key))
        .select(Order::as_select())
        .first(conn)
        .optional()
}

/// Records a sale.
pub(in crate::features::store) fn insert_order(conn: &mut PgConnection, new: &NewOrder<'_>) -> QueryResult<Order> {
    diesel::insert_into(orders::table)
        .values(new)
        .returning(Order::as_returning())
        .get_result(conn)
}

/// Has an order wait, for another reason than before.
pub(in crate::features::store) fn hold_order(
    conn: &mut PgConnection,
    order: OrderId,
    offer: Option<OfferId>,
    because: HeldBecause,
) -> QueryResult<Order> {
    diesel::update(orders::table.find(order))
        .set((
            orders::offer_id.eq(offer),
            orders::state.eq(OrderState::Held),
            orders::held_because.eq(because),
        ))
        .returning(Order::as_returning())
        .get_result(conn)
}

/// Delivers an order.
pub(in crate::features::store) fn fulfil_order(
    conn: &mut PgConnection,
    order: OrderId,
    offer: OfferId,
    licenses: &[Uuid],
    at: DateTime<Utc>,
) -> QueryResult<Order> {
    diesel::update(orders::table.find(order))
        .set((
            orders::offer_id.eq(offer),
            orders::state.eq(OrderState::Fulfilled),
            orders::held_because.eq(None::<HeldBecause>),
            orders::licenses.eq(licenses),
            orders::fulfilled_at.eq(at),
        ))
        .returning(Order::as_returning())
        .get_result(conn)
}

/// The last period that was paid and delivered: its end, and what the sale is recognised by.
pub(in crate::features::store) fn last_paid(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Option<(DateTime<Utc>, String)>> {
    orders::table
        .filter(orders::subscription_id.eq(subscription))
        .filter(orders::state.eq(OrderState::Fulfilled))
        .filter(orders::paid_until.is_not_null())
        .order(orders::paid_until.desc())
        .select((orders::paid_until.assume_not_null(), orders::fulfilment_key))
        .first(conn)
        .optional()
}

/// Whether anything was paid for a subscription and delivered: a trial costs nothing.
pub(in crate::features::store) fn has_paid(conn: &mut PgConnection, subscription: SubscriptionId) -> QueryResult<bool> {
    let paid = orders::table
        .filter(orders::subscription_id.eq(subscription))
        .filter(orders::state.eq(OrderState::Fulfilled))
        .filter(orders::amount.gt(0));
    diesel::select(exists(paid)).get_result(conn)
}

/// An invoice that somebody is to pay.
#[derive(Queryable)]
pub(in crate::features::store) struct OpenInvoice {
    pub(in crate::features::store) id: InvoiceId,
    pub(in crate::features::store) due_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) next_payment_attempt_at: Option<DateTime<Utc>>,
    /// Since when a debit for it is under way.
    pub(in crate::features::store) debited_at: Option<DateTime<Utc>>,
}

/// The invoices of a subscription that are open.
pub(in crate::features::store) fn open_invoices(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Vec<OpenInvoice>> {
    let debit = payments::invoice_id
        .eq(invoices::id.nullable())
        .and(payments::status.eq("processing"));
    invoices::table
        .left_join(payments::table.on(debit))
        .filter(invoices::subscription_id.eq(subscription))
        .filter(invoices::status.eq("open"))
        .order((invoices::id, payments::id))
        .select((
            invoices::id,
            invoices::due_at,
            invoices::next_payment_attempt_at,
            payments::attempted_at.nullable(),
        ))
        .load(conn)
}

/// The end of the period for which nothing is collected, while collection is paused.
pub(in crate::features::store) fn paused_until(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Option<DateTime<Utc>>> {
    subscription_items::table
        .inner_join(subscriptions::table)
        .filter(subscriptions::id.eq(subscription))
        .filter(subscriptions::pause_behavior.is_not_null())
        .filter(subscription_items::removed_at.is_null())
        .select(max(subscription_items::current_period_end))
        .first(conn)
}

/// The open case of a subscription.
pub(in crate::features::store) fn case(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<Option<DunningCase>> {
    dunning_cases::table
        .filter(dunning_cases::subscription_id.eq(subscription))
        .filter(dunning_cases::closed_at.is_null())
        .select(DunningCase::as_select())
        .first(conn)
        .optional()
}

/// Where a subscription is, and as what, and whose it is.
pub(in crate::features::store) fn place_of(
    conn: &mut PgConnection,
    subscription: SubscriptionId,
) -> QueryResult<(ConnectionId, String, CustomerId)> {
    subscriptions::table
        .filter(subscriptions::id.eq(subscription))
        .select((
            subscriptions::connection_id,
            subscriptions::stripe_subscription_id,
            subscriptions::customer_id,
        ))
        .first(conn)
}

/// Opens a case.
pub(in crate::features::store) fn insert_case(
    conn: &mut PgConnection,
    id: DunningCaseId,
    of: &Subscription,
    (opened_at, restrict_at, lapse_at): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
) -> QueryResult<DunningCase> {
    diesel::insert_into(dunning_cases::table)
        .values((
            dunning_cases::id.eq(id),
            dunning_cases::customer_id.eq(of.customer_id),
            dunning_cases::subscription_id.eq(of.id),
            dunning_cases::state.eq(DunningState::Retrying),
            dunning_cases::opened_at.eq(opened_at),
            dunning_cases::restrict_at.eq(restrict_at),
            dunning_cases::lapse_at.eq(lapse_at),
        ))
        .returning(DunningCase::as_returning())
        .get_result(conn)
}

/// Moves a case on; a final state closes it.
pub(in crate::features::store) fn move_case(
    conn: &mut PgConnection,
    id: DunningCaseId,
    state: DunningState,
    closed_at: Option<DateTime<Utc>>,
) -> QueryResult<DunningCase> {
    diesel::update(dunning_cases::table.find(id))
        .set((dunning_cases::state.eq(state), dunning_cases::closed_at.eq(closed_at)))
        .returning(DunningCase::as_returning())
        .get_result(conn)
}
