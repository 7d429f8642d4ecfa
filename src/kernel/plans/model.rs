//! Plans as the API shows them, and as the projection holds them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::kernel::{
    entitlements::{AccessLevel, Allowance},
    id::{LicenseId, PriceId, WorkspaceId},
};

crate::events! {
    /// The workspace is on another plan, or its plan allows something else.
    pub PLAN_CHANGED: AnnouncedPlan = "plan.changed", group "billing", at "/billing", filterable ["plan"], audience [audit, webhook, live];
}

/// Something that a workspace has its plan from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"license_id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz", "via": "payment", "plan": "pro", "rank": 10,
                          "access": "full", "expires_at": "2026-12-21T17:30:00.000Z"}))]
pub struct PlanSource {
    /// The licence that the workspace is a machine of.
    pub license_id: LicenseId,
    /// How it came to be: `payment`, `redemption`, `reseller`, `manual` … New values may come.
    pub via: String,
    /// The plan that it gives.
    pub plan: String,
    /// Of several, the highest counts.
    pub rank: i32,
    /// How much of the workspace it lets be used.
    pub access: AccessLevel,
    /// When it ends, unless it is renewed; null: never.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a workspace's sources come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// The plan's code.
    pub plan: String,
    /// Orders plans.
    pub rank: i32,
    /// How much of the workspace may be used.
    pub access: AccessLevel,
    /// Limits and switches by code.
    pub entitlements: BTreeMap<String, Allowance>,
    /// Where it comes from; empty on the default plan.
    pub sources: Vec<PlanSource>,
    /// When the next source ends.
    pub valid_until: Option<DateTime<Utc>>,
}

impl Projection {
    /// Seats, unless there is no limit.
    pub fn seats(&self) -> Option<i32> {
        match self.entitlements.get("seats") {
            Some(Allowance::AtMost(seats)) => Some(i32::try_from(*seats).unwrap_or(i32::MAX)),
            Some(Allowance::Unlimited | Allowance::Flag(true)) => None,
            Some(Allowance::Flag(false)) | None => Some(0),
        }
    }
}

/// The plan of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"plan": "pro", "rank": 10, "access": "full", "entitlements": {"agents": 100, "portal_domain": false},
                          "seats": 10, "sources": [], "valid_until": null}))]
pub struct PlanView {
    /// The plan's code.
    pub plan: String,
    /// Orders plans.
    pub rank: i32,
    /// `full`, or `read_only` while a payment is due.
    pub access: AccessLevel,
    /// Limits and switches by code: a number, `null` for unlimited, `true` or `false`.
    #[schema(value_type = Object)]
    pub entitlements: BTreeMap<String, Allowance>,
    /// Seats; null: unlimited.
    pub seats: Option<i32>,
    /// What the workspace has it from; empty on the default plan.
    pub sources: Vec<PlanSource>,
    /// When the next source ends, unless it is renewed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub valid_until: Option<DateTime<Utc>>,
}

/// The plan of a workspace, as an event tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz", "plan": "pro", "rank": 10, "access": "full",
                          "entitlements": {"agents": 100, "portal_domain": false}, "seats": 10}))]
pub struct AnnouncedPlan {
    /// The workspace.
    pub id: WorkspaceId,
    /// The plan's code.
    pub plan: String,
    /// Orders plans.
    pub rank: i32,
    /// `full`, or `read_only` while a payment is due.
    pub access: AccessLevel,
    /// Limits and switches by code: a number, `null` for unlimited, `true` or `false`.
    #[schema(value_type = Object)]
    pub entitlements: BTreeMap<String, Allowance>,
    /// Seats; null: unlimited.
    pub seats: Option<i32>,
}

/// What a plan costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "pri_01jd8qv4x2fkr9s3m5n7p0t1wz", "amount": 2900, "currency": "usd", "interval": "month", "interval_count": 1}))]
pub struct PlanPrice {
    /// Names the price.
    pub id: PriceId,
    /// Minor units for one; null where tiers decide.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// `day`, `week`, `month` or `year`; null: once.
    pub interval: Option<String>,
    /// How many of them.
    pub interval_count: Option<i64>,
}

/// A plan that workspaces can have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"code": "pro", "name": "Pro", "rank": 10, "trial_days": 14, "seats": "included",
                          "features": ["50,000 runs a month"], "entitlements": {"agents": 100, "portal_domain": false},
                          "prices": [{"id": "pri_01jd8qv4x2fkr9s3m5n7p0t1wz", "amount": 2900, "currency": "usd", "interval": "month",
                                      "interval_count": 1}]}))]
pub struct PublishedPlan {
    /// The plan's own word; never changes.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Orders plans: the higher one has more.
    pub rank: i32,
    /// Whether it stands on the price page.
    #[serde(skip)]
    pub public: bool,
    /// Days that are free at first.
    pub trial_days: i32,
    /// Whether seats are `included`, bought `per_seat`, or no matter (`none`).
    pub seats: String,
    /// Sentences for a price page.
    #[schema(value_type = Vec<String>)]
    pub features: Value,
    /// Limits and switches by code: a number, `null` for unlimited, `true` or `false`.
    #[schema(value_type = Object)]
    pub entitlements: BTreeMap<String, Allowance>,
    /// What it costs, in every currency.
    pub prices: Vec<PlanPrice>,
    /// Whether it can no longer be had.
    #[serde(skip)]
    pub archived: bool,
}
