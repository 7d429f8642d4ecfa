//! Subscriptions, invoices, orders: rows, and what is told of them.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::OfferId;
use crate::{
    features::schema::billing::{dunning_cases, invoices, orders, subscriptions},
    kernel::id::{CustomerId, Id, Resource},
    words,
};

/// `sbs_…`
pub type SubscriptionId = Id<Subscription>;
/// `ivc_…`
pub type InvoiceId = Id<Invoice>;
/// `ord_…`
pub type OrderId = Id<Order>;
/// `dun_…`
pub type DunningCaseId = Id<DunningCase>;

impl Resource for Subscription {
    const PREFIX: &'static str = "sbs";
}
impl Resource for Invoice {
    const PREFIX: &'static str = "ivc";
}
impl Resource for Order {
    const PREFIX: &'static str = "ord";
}
impl Resource for DunningCase {
    const PREFIX: &'static str = "dun";
}

crate::events! {
    /// A customer took a subscription.
    pub SUBSCRIPTION_CREATED: Subscription = "subscription.created", group "billing", filterable ["customer_id", "status"], audience [audit, webhook, live];
    /// A subscription changed.
    pub SUBSCRIPTION_CHANGED: Subscription = "subscription.changed", group "billing", filterable ["customer_id", "status"], audience [audit, webhook, live];
    /// A subscription ended: cancelled, or never paid.
    pub SUBSCRIPTION_ENDED: Subscription = "subscription.ended", group "billing", filterable ["customer_id", "status"], audience [audit, webhook, live],
        example {"status": "canceled", "canceled_at": "2026-11-20T17:30:00.000Z", "ended_at": "2026-11-20T17:30:00.000Z"};
    /// An invoice was paid.
    pub INVOICE_PAID: Invoice = "invoice.paid", group "billing", filterable ["customer_id"], audience [audit, webhook, live];
    /// What was paid is delivered.
    pub ORDER_FULFILLED: Order = "order.fulfilled", group "billing", filterable ["customer_id", "offer_id"], audience [audit, webhook, live];
    /// What was paid cannot be delivered yet.
    pub ORDER_HELD: Order = "order.held", group "billing", filterable ["customer_id"], audience [audit, webhook],
        example {"state": "held", "held_because": "no_seat", "fulfilled_at": null};
    /// Money is missing for a subscription.
    pub DUNNING_STARTED: DunningCase = "dunning.started", group "billing", filterable ["customer_id"], audience [audit, webhook];
    /// Access is limited until the money is there.
    pub DUNNING_RESTRICTED: DunningCase = "dunning.restricted", group "billing", filterable ["customer_id"], audience [audit, webhook],
        example {"state": "restricted"};
    /// The money that was missing is there.
    pub DUNNING_RECOVERED: DunningCase = "dunning.recovered", group "billing", filterable ["customer_id"], audience [audit, webhook],
        example {"state": "recovered", "closed_at": "2026-11-25T09:00:00.000Z"};
    /// The money never came.
    pub DUNNING_LAPSED: DunningCase = "dunning.lapsed", group "billing", filterable ["customer_id"], audience [audit, webhook],
        example {"state": "lapsed", "closed_at": "2026-12-18T17:30:00.123Z"};
}

/// A subscription, as Stripe has it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = subscriptions)]
#[schema(example = json!({"id": "sbs_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer_id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "stripe_subscription": "sub_1", "status": "active", "currency": "usd", "cancel_at_period_end": false,
                          "cancel_at": null, "canceled_at": null, "ended_at": null, "trial_end": null, "started_at": "2026-11-20T17:30:00.000Z",
                          "version": 1, "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Subscription {
    /// Names the subscription.
    pub id: SubscriptionId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// Stripe's name of it.
    #[serde(rename = "stripe_subscription")]
    pub stripe_subscription_id: String,
    /// Stripe's own word: `trialing`, `active`, `past_due`, `unpaid`, `paused`, `incomplete`, `incomplete_expired`, `canceled`. New
    /// values may come.
    pub status: String,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// When it is going to end.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub cancel_at: Option<DateTime<Utc>>,
    /// When its end was asked for.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub canceled_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub ended_at: Option<DateTime<Utc>>,
    /// When its trial ends, or ended.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub trial_end: Option<DateTime<Utc>>,
    /// When it began.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: DateTime<Utc>,
    /// The version.
    pub version: i64,
    /// When it was first seen.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

/// An invoice, as Stripe has it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = invoices)]
#[schema(example = json!({"id": "ivc_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer_id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "subscription_id": "sbs_01jd8qv4x2fkr9s3m5n7p0t1wz", "number": "GH-0001", "status": "paid", "currency": "usd",
                          "amount_due": 2900, "amount_paid": 2900, "total": 2900, "tax": 0, "due_at": null, "paid_at": "2026-11-20T17:30:00.000Z",
                          "issued_at": "2026-11-20T17:30:00.000Z", "version": 1}))]
pub struct Invoice {
    /// Names the invoice.
    pub id: InvoiceId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// The subscription that it bills.
    pub subscription_id: Option<SubscriptionId>,
    /// The number that is printed on it.
    pub number: Option<String>,
    /// Stripe's own word: `draft`, `open`, `paid`, `void`, `uncollectible`. New values may come.
    pub status: Option<String>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units.
    pub amount_due: i64,
    /// Minor units.
    pub amount_paid: i64,
    /// Minor units, tax included.
    pub total: i64,
    /// Minor units.
    pub tax: i64,
    /// When it must be paid.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub due_at: Option<DateTime<Utc>>,
    /// When it was paid.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub paid_at: Option<DateTime<Utc>>,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub issued_at: DateTime<Utc>,
    /// The version.
    pub version: i64,
}

words! {
    /// How far a sale is. New values may come.
    pub enum OrderState {
        /// Begun.
        Pending "pending",
        /// The money is on its way.
        AwaitingPayment "awaiting_payment",
        /// Delivered.
        Fulfilled "fulfilled",
        /// Delivered, and part of the money was given back.
        PartiallyReversed "partially_reversed",
        /// The money was given back.
        Reversed "reversed",
        /// Paid, and waiting for the seller.
        Held "held",
        /// Given back instead of delivered.
        Refunded "refunded",
        /// Never paid.
        Failed "failed",
    }
}

words! {
    /// Why a sale waits for the seller. New values may come.
    pub enum HeldBecause {
        /// The price belongs to no offer.
        UnknownPrice "unknown_price",
        /// The customer has a subscription of this line already.
        Duplicate "duplicate",
        /// The licence that it would prolong was revoked: a payment does not undo that.
        Revoked "revoked",
        /// It was billed with a subscription and is for nothing that the subscription buys.
        NoItem "no_item",
        /// The buyer's workspace cannot be made a machine of the licence: the policy is against it.
        NoSeat "no_seat",
        /// The payment may be stolen.
        Fraud "fraud",
    }
}

/// A sale.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = orders)]
#[schema(example = json!({"id": "ord_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer_id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz", "source": "subscription",
                          "offer_id": "ofr_01jd8qv4x2fkr9s3m5n7p0t1wz", "subscription_id": "sbs_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "quantity": 1, "amount": 2900, "currency": "usd", "state": "fulfilled", "held_because": null,
                          "paid_until": "2026-12-20T17:30:00.000Z", "fulfilled_at": "2026-11-20T17:30:00.123Z", "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Order {
    /// Names the order.
    pub id: OrderId,
    /// Who paid.
    pub customer_id: CustomerId,
    /// What showed it: `subscription`, `checkout`, `invoice`, or `manual`.
    pub source: String,
    /// What the sale is recognised by.
    #[serde(skip)]
    pub fulfilment_key: String,
    /// What was bought; null while the price belongs to no offer.
    pub offer_id: Option<OfferId>,
    /// The subscription that it belongs to.
    pub subscription_id: Option<SubscriptionId>,
    /// How many.
    pub quantity: i64,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// How far it is.
    pub state: OrderState,
    /// Why it waits for the seller.
    pub held_because: Option<HeldBecause>,
    /// The licences that were made or prolonged.
    #[serde(skip)]
    pub licenses: Vec<Uuid>,
    /// The end of the period that was paid.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub paid_until: Option<DateTime<Utc>>,
    /// When it was delivered.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub fulfilled_at: Option<DateTime<Utc>>,
    /// The version.
    pub version: i64,
    /// When it was first seen.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

words! {
    /// How far a case of missing money is. New values may come.
    pub enum DunningState {
        /// The payment is tried again; access stays.
        Retrying "retrying",
        /// The holder of the card has to confirm.
        ActionRequired "action_required",
        /// Access is limited.
        Restricted "restricted",
        /// The money came.
        Recovered "recovered",
        /// The money never came.
        Lapsed "lapsed",
    }
}

/// Money that is missing for a subscription.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = dunning_cases)]
#[schema(example = json!({"id": "dun_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer_id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "subscription_id": "sbs_01jd8qv4x2fkr9s3m5n7p0t1wz", "state": "retrying", "opened_at": "2026-11-20T17:30:00.123Z",
                          "restrict_at": "2026-12-04T17:30:00.123Z", "lapse_at": "2026-12-18T17:30:00.123Z", "closed_at": null, "version": 1}))]
pub struct DunningCase {
    /// Names the case.
    pub id: DunningCaseId,
    /// Who owes.
    pub customer_id: CustomerId,
    /// For what.
    pub subscription_id: SubscriptionId,
    /// How far it is.
    pub state: DunningState,
    /// Since when money is missing.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub opened_at: DateTime<Utc>,
    /// When access will be limited.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub restrict_at: DateTime<Utc>,
    /// Until then what was paid is prolonged: access ends then, or with what was paid if that is later.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub lapse_at: DateTime<Utc>,
    /// When it ended.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub closed_at: Option<DateTime<Utc>>,
    /// The version.
    pub version: i64,
}
