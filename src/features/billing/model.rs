//! How a workspace's bill stands.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    features::store::{DunningCase, NextInvoice, Subscription},
    kernel::{
        id::CustomerId,
        plans::{PlanView, PublishedPlan},
    },
};

/// How a workspace's bill stands.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"plan": {"plan": "free", "rank": 0, "access": "full", "entitlements": {"agents": 5}, "seats": 3, "sources": [],
                                   "valid_until": null},
                          "customer_id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz", "stripe_customer": null, "subscription": null, "dunning": null,
                          "next_invoice": null}))]
pub struct Bill {
    /// What the workspace may do, and what it has that from.
    pub plan: PlanView,
    /// Whom the operator knows the workspace as; null for a moment after it was made.
    pub customer_id: Option<CustomerId>,
    /// The workspace's account at Stripe, once it has one.
    pub stripe_customer: Option<String>,
    /// The subscription that pays for it, as Stripe has it.
    pub subscription: Option<Subscription>,
    /// Money that is missing.
    pub dunning: Option<DunningCase>,
    /// What will be billed next, and when.
    pub next_invoice: Option<NextInvoice>,
}

/// The plans that can be had.
#[derive(Clone, Serialize, ToSchema)]
pub struct PlanList {
    /// The smallest first.
    pub data: Vec<PublishedPlan>,
}
