//! What a workspace's plan allows: the only place where a limit is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one entitlement says. In JSON: `true`, `5`, or `null` for unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Allowance {
    /// The plan has it, or has not.
    Flag(bool),
    /// At most so many.
    AtMost(i64),
    /// As many as wanted.
    Unlimited,
}

/// How much of a workspace may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Everything.
    Full,
    /// Reads, billing, exports, removal of members, deletion. Data is never hostage.
    ReadOnly,
}

/// What a workspace may do and how much: the projection of its subscriptions, redeemed keys and overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The plan's code: `free`, `pro` …
    pub code: String,
    /// Orders plans: the higher one wins.
    pub rank: i32,
    /// How much of the workspace may be used.
    pub access: AccessLevel,
    /// Limits and switches by code. One that is not listed is not included.
    pub entitlements: BTreeMap<String, Allowance>,
}

impl Plan {
    /// The operator's own workspace: no limits.
    pub fn unlimited() -> Plan {
        Plan {
            code: "platform".into(),
            rank: i32::MAX,
            access: AccessLevel::Full,
            entitlements: BTreeMap::new(),
        }
    }

    /// True for the operator's own plan.
    pub fn is_unlimited(&self) -> bool {
        self.rank == i32::MAX
    }

    /// What the plan says about it.
    pub fn allowance(&self, code: &str) -> Allowance {
        match self.entitlements.get(code) {
            _ if self.is_unlimited() => Allowance::Unlimited,
            Some(allowance) => *allowance,
            None => Allowance::Flag(false),
        }
    }

    /// The most of it, or `None` for unlimited. What is not in the plan is limited to none.
    pub fn limit(&self, code: &str) -> Option<i64> {
        match self.allowance(code) {
            Allowance::Unlimited | Allowance::Flag(true) => None,
            Allowance::AtMost(most) => Some(most),
            Allowance::Flag(false) => Some(0),
        }
    }
}
