//! Entries of the ledger.

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    features::{providers::TokenUsage, schema::runs::usage_events},
    kernel::id::{Id, Resource},
};

crate::words! {
    /// What an entry stands for.
    pub enum EntryKind {
        /// A call that was made.
        Call "call",
        /// A call that may have been made: the worker was lost, and its reservation is charged.
        Estimate "estimate",
        /// What an estimate was too high (or too low), once that is known.
        Correction "correction",
    }
}

impl Resource for UsageEvent {
    const PREFIX: &'static str = "usg";
}
/// `usg_…`
pub type UsageEventId = Id<UsageEvent>;

/// One entry of the ledger.
#[derive(Clone, Debug, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = usage_events, check_for_backend(diesel::pg::Pg))]
pub struct UsageEvent {
    /// Names it.
    pub id: UsageEventId,
    /// What it stands for.
    pub kind: EntryKind,
    /// Who answered.
    #[schema(example = "sandbox")]
    pub provider: String,
    /// The model, resolved.
    #[schema(example = "sandbox/echo")]
    pub model: String,
    /// Tokens that were read.
    pub input_tokens: i64,
    /// Tokens that were written.
    pub output_tokens: i64,
    /// In micros of a US dollar.
    pub cost_micros: i64,
    /// True if the model has no price: it is counted at nothing.
    pub unpriced: bool,
    /// True if the tokens were counted here, because the provider did not say.
    pub estimated: bool,
    /// When.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

/// An entry to be made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it stands for.
    pub kind: EntryKind,
    /// The run.
    pub run: Uuid,
    /// The step.
    pub step: Uuid,
    /// The lease under which it was spent.
    pub epoch: i64,
    /// The how manieth call under that lease, from 0.
    pub call: i32,
    /// Who answered.
    pub provider: String,
    /// The model, resolved.
    pub model: String,
    /// The agent, where there is one.
    pub agent: Option<(Uuid, Option<i32>)>,
    /// What its configuration is written for.
    pub framework: Option<String>,
    /// Who started the run: type and id.
    pub starter: (String, Option<Uuid>),
    /// The tokens.
    pub usage: TokenUsage,
    /// In micros of a dollar; `None`: the model has no price.
    pub cost_micros: Option<i64>,
}

/// By how much an entry changes the sums of its run and its step. A correction takes away more than it adds, as a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The tokens.
    pub usage: TokenUsage,
    /// In micros of a dollar.
    pub cost_micros: i64,
}

#[derive(Insertable)]
#[diesel(table_name = usage_events)]
pub(super) struct NewRow<'a> {
    pub(super) id: UsageEventId,
    pub(super) run_id: Uuid,
    pub(super) step_id: Uuid,
    pub(super) epoch: i64,
    pub(super) call_no: i32,
    pub(super) kind: EntryKind,
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    pub(super) agent_id: Option<Uuid>,
    pub(super) agent_version: Option<i32>,
    pub(super) framework: Option<&'a str>,
    pub(super) api_key_id: Option<Uuid>,
    pub(super) user_id: Option<Uuid>,
    pub(super) usage_details: Value,
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) cost_micros: i64,
    pub(super) unpriced: bool,
    pub(super) estimated: bool,
}
