//! Offers and prices.

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    features::schema::billing::{offers, prices},
    kernel::{
        id::{Id, PriceId, Resource},
        inbox::ConnectionId,
    },
    words,
};

/// `ofr_…`
pub type OfferId = Id<Offer>;

impl Resource for Offer {
    const PREFIX: &'static str = "ofr";
}

words! {
    /// What kind of thing an offer is. New values may come.
    pub enum OfferKind {
        /// The thing itself: a plan, an edition.
        Base "base",
        /// Something more for who has the thing.
        Addon "addon",
        /// Bought once.
        OneTime "one_time",
        /// Units to be used up.
        Credits "credits",
    }
}

words! {
    /// What a quantity stands for. New values may come.
    pub enum QuantityAs {
        /// So many licences.
        Licenses "licenses",
        /// One licence for so many machines.
        MaxMachines "max_machines",
        /// One licence for so many people.
        MaxUsers "max_users",
        /// One licence with so many floating seats.
        MaxLeases "max_leases",
        /// So many units.
        MeterUnits "meter_units",
    }
}

words! {
    /// When access ends after a cancellation. New values may come.
    pub enum OnCancel {
        /// With the period that was paid.
        PeriodEnd "period_end",
        /// At once.
        Now "now",
    }
}

/// Something that can be bought: a plan, an edition, an add-on.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = offers)]
#[schema(example = json!({"id": "ofr_01jd8qv4x2fkr9s3m5n7p0t1wz", "code": "pro", "name": "Pro", "kind": "base", "line": "plan", "rank": 10,
                          "public": true, "trial_days": 14, "seats": "included", "features": ["50,000 runs a month"],
                          "lookup_keys": ["pro_month_usd"], "archived_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Offer {
    /// Names the offer.
    pub id: OfferId,
    /// The seller's own word for it; never changes.
    pub code: String,
    /// What buyers call it.
    pub name: String,
    /// The policy that its licences are made by.
    #[serde(skip)]
    pub policy_id: Uuid,
    /// What kind of thing it is.
    pub kind: OfferKind,
    /// Of one line, a customer has one subscription.
    pub line: String,
    /// Orders the offers of a line: the higher one wins.
    pub rank: i32,
    /// Whether it stands on the price page.
    pub public: bool,
    /// Days that are free at first.
    pub trial_days: i32,
    /// Whether seats are `included`, bought `per_seat`, or no matter (`none`).
    pub seats: String,
    /// Sentences for a price page.
    #[schema(value_type = Vec<String>)]
    pub features: serde_json::Value,
    /// A price at Stripe with one of these lookup keys belongs to this offer.
    pub lookup_keys: Vec<String>,
    /// When it was withdrawn. Who has it keeps it.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub archived_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

/// An offer as it begins.
#[derive(Insertable)]
#[diesel(table_name = offers)]
pub(in crate::features::store) struct NewOffer<'a> {
    pub(in crate::features::store) id: OfferId,
    pub(in crate::features::store) code: &'a str,
    pub(in crate::features::store) name: &'a str,
    pub(in crate::features::store) policy_id: Uuid,
    pub(in crate::features::store) kind: OfferKind,
    pub(in crate::features::store) line: &'a str,
    pub(in crate::features::store) rank: i32,
    pub(in crate::features::store) public: bool,
    pub(in crate::features::store) trial_days: i32,
    pub(in crate::features::store) seats: &'a str,
    pub(in crate::features::store) features: serde_json::Value,
    pub(in crate::features::store) lookup_keys: Vec<String>,
    pub(in crate::features::store) quantity_as: QuantityAs,
    pub(in crate::features::store) on_cancel: OnCancel,
}

/// A price, as Stripe has it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = prices)]
#[schema(example = json!({"id": "pri_01jd8qv4x2fkr9s3m5n7p0t1wz", "stripe_price_id": "price_1", "lookup_key": "pro_month_usd", "active": true,
                          "currency": "usd", "unit_amount": 2900, "interval": "month", "interval_count": 1, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Price {
    /// Names the price.
    pub id: PriceId,
    /// Whose price it is.
    #[serde(skip)]
    pub connection_id: ConnectionId,
    /// Stripe's id.
    pub stripe_price_id: String,
    /// The seller's own key for it at Stripe.
    pub lookup_key: Option<String>,
    /// Whether it can be bought.
    pub active: bool,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units for one; null where tiers decide.
    pub unit_amount: Option<i64>,
    /// `day`, `week`, `month` or `year`; null: once.
    pub interval: Option<String>,
    /// How many of them.
    pub interval_count: Option<i64>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was first seen.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

/// What a price sells.
#[derive(Clone, Debug, Queryable)]
pub(in crate::features::store) struct Mapped {
    pub(in crate::features::store) offer: OfferId,
    pub(in crate::features::store) policy: Uuid,
    pub(in crate::features::store) line: String,
    pub(in crate::features::store) on_cancel: OnCancel,
}
