//! Policies as rows and on the wire.

mod input;
mod rules;
mod terms;
mod words;

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use utoipa::ToSchema;

pub use input::NewPolicy;
pub(in crate::features::policies) use input::{Apply, PolicyFilters, PolicyPatch};
pub use rules::Rules;
pub use terms::{Overrides, Terms};
pub use words::*;

use crate::{
    features::{entitlements::Values, products::ProductId, schema::licensing::policies},
    kernel::{
        check::Metadata,
        http::{Located, Versioned},
        id::{Id, Resource},
        jsonb::Jsonb,
    },
};

crate::events! {
    /// A policy was made.
    pub POLICY_CREATED: Policy = "policy.created", group "policies", at "/policies/{id}", filterable ["id", "product_id"], audience [audit, webhook];
    /// A policy was changed.
    pub POLICY_UPDATED: Policy = "policy.updated", group "policies", at "/policies/{id}", filterable ["id", "product_id"], audience [audit, webhook];
    /// A policy was archived: no licence is issued by it any more, and those that there are go on.
    pub POLICY_ARCHIVED: Policy = "policy.archived", group "policies", at "/policies/{id}", filterable ["id", "product_id"], audience [audit, webhook],
        example {"archived_at": "2026-11-20T17:30:00.123Z"};
}

crate::problems! {
    /// More licences follow the policy, or longer terms of theirs, than one transaction may change.
    /// Cause: a policy that is in use for long, changed for all its licences at once.
    /// Fix: make another policy, or change this one with `?apply=new`, for licences to come.
    pub TOO_MANY_LICENSES = 409, "too-many-licenses", "Too many licences follow this policy, or too large ones";
}

/// Names a policy.
pub type PolicyId = Id<Policy>;

impl Resource for Policy {
    const PREFIX: &'static str = "pol";
}

/// A template of licences.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Policy {
    /// Names the policy.
    pub id: PolicyId,
    /// What its licences are for.
    pub product_id: ProductId,
    /// What programs call it, unique in the product.
    #[schema(example = "pro")]
    pub code: String,
    /// What people call it.
    #[schema(example = "Pro")]
    pub name: String,
    /// Orders the product's tiers: the higher one is worth more.
    pub rank: i32,
    /// What its licences may and must.
    #[serde(flatten)]
    pub rules: Rules,
    /// What its licences entitle to, by code: `true`, a number, `null` for an unlimited number, a text.
    #[schema(value_type = Object, example = json!({"sso": true, "seats": 25}))]
    pub entitlements: Values,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// Since when it issues no more licences.
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

impl Versioned for Policy {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Located for Policy {
    fn path(&self) -> String {
        format!("/api/v1/policies/{}", self.id)
    }
}

/// A policy as the database holds it. Its entitlements are rows of their own.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = policies, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::policies) struct Row {
    pub(in crate::features::policies) id: PolicyId,
    pub(in crate::features::policies) product_id: ProductId,
    pub(in crate::features::policies) code: String,
    pub(in crate::features::policies) name: String,
    pub(in crate::features::policies) rank: i32,
    #[diesel(embed)]
    pub(in crate::features::policies) rules: Rules,
    pub(in crate::features::policies) metadata: Jsonb<Metadata>,
    pub(in crate::features::policies) archived_at: Option<DateTime<Utc>>,
    pub(in crate::features::policies) version: i64,
    pub(in crate::features::policies) created_at: DateTime<Utc>,
    pub(in crate::features::policies) updated_at: DateTime<Utc>,
}

impl Row {
    pub(in crate::features::policies) fn shown(self, entitlements: Values) -> Policy {
        Policy {
            id: self.id,
            product_id: self.product_id,
            code: self.code,
            name: self.name,
            rank: self.rank,
            rules: self.rules,
            entitlements,
            metadata: self.metadata.0,
            archived_at: self.archived_at,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// A page of policies.
#[derive(Serialize, ToSchema)]
pub struct PolicyPage {
    /// Newest first.
    pub data: Vec<Policy>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}
