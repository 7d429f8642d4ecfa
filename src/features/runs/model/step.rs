//! Steps, messages and the money of a run, as callers see them.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::RunId;
use crate::{
    features::{
        providers::TokenUsage,
        schema::runs::{run_messages, run_steps},
        usage::UsageEvent,
    },
    kernel::{
        id::{Id, Resource},
        jsonb::Jsonb,
        page::{Filters, Unfit},
    },
};

crate::words! {
    /// How far a step is.
    pub enum StepStatus {
        /// It waits in the queue, perhaps for another try.
        Pending "pending",
        /// A worker has it.
        Running "running",
        /// It waits for steps of its own.
        Waiting "waiting",
        /// It is done.
        Completed "completed",
        /// It could not be done.
        Failed "failed",
        /// It was stopped.
        Cancelled "cancelled",
        /// It was not needed.
        Skipped "skipped",
    }
}

impl Resource for Step {
    const PREFIX: &'static str = "stp";
}
/// `stp_…`
pub type StepId = Id<Step>;

/// One step of a run.
#[derive(Clone, Debug, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = run_steps, check_for_backend(diesel::pg::Pg))]
pub struct Step {
    /// Names it.
    pub id: StepId,
    /// The run.
    pub run_id: RunId,
    /// Its number in the run, from 1.
    pub number: i32,
    /// The node of the plan.
    #[serde(rename = "node")]
    #[schema(example = "llm")]
    pub node_id: String,
    /// The node's place, composites included: `research/llm.2`.
    #[schema(example = "llm")]
    pub path: String,
    /// The tick in which it ran.
    pub tick: i32,
    /// What it does: `prompt`, `llm`, `transform` …; more may come.
    #[schema(example = "llm")]
    pub kind: String,
    /// How far it is.
    pub status: StepStatus,
    /// Which try this is, from 1.
    pub attempt: i32,
    /// As many tries as there are.
    pub max_attempts: i32,
    /// What became of the tries before: at most 10.
    #[schema(value_type = Vec<Object>)]
    pub prior_attempts: Value,
    /// What it was given.
    #[schema(required, value_type = Value)]
    pub input: Option<Value>,
    /// What came out.
    #[schema(required, value_type = Value)]
    pub output: Option<Value>,
    /// Why it failed.
    #[schema(required, value_type = Option<Object>)]
    pub error: Option<Value>,
    /// The model that answered.
    #[schema(required)]
    pub model: Option<String>,
    /// The tokens of its calls.
    #[schema(value_type = TokenUsage)]
    pub usage: Jsonb<TokenUsage>,
    /// What it cost, in micros of a US dollar.
    pub cost_micros: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When the present try began.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// A step in a list. What it was given and what came out is shown by `GET /runs/{id}/steps/{number}`.
#[derive(Clone, Debug, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = run_steps, check_for_backend(diesel::pg::Pg))]
pub struct StepSummary {
    /// Names it.
    pub id: StepId,
    /// The run.
    pub run_id: RunId,
    /// Its number in the run, from 1.
    pub number: i32,
    /// The node of the plan.
    #[serde(rename = "node")]
    #[schema(example = "llm")]
    pub node_id: String,
    /// The node's place, composites included: `research/llm.2`.
    #[schema(example = "llm")]
    pub path: String,
    /// The tick in which it ran.
    pub tick: i32,
    /// What it does: `prompt`, `llm`, `transform` …; more may come.
    #[schema(example = "llm")]
    pub kind: String,
    /// How far it is.
    pub status: StepStatus,
    /// Which try this is, from 1.
    pub attempt: i32,
    /// As many tries as there are.
    pub max_attempts: i32,
    /// The model that answered.
    #[schema(required)]
    pub model: Option<String>,
    /// What it cost, in micros of a US dollar.
    pub cost_micros: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When the present try began.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub finished_at: Option<DateTime<Utc>>,
}

crate::pages! {
    /// A page of a run's steps.
    pub StepPage of StepSummary;
    /// A page of what was said in a run.
    pub MessagePage of Message;
}

crate::no_filters! {
    /// The list of steps has no filters of its own.
    pub StepFilters of "run_steps";
}

/// Which conversation of a run is listed.
#[derive(Clone, Debug)]
pub struct MessageFilters {
    pub scope: String,
}

impl Default for MessageFilters {
    fn default() -> MessageFilters {
        MessageFilters { scope: "main".into() }
    }
}

impl Filters for MessageFilters {
    const RESOURCE: &'static str = "run_messages";
    const MOST: i64 = 20;
    const NAMES: &'static [&'static str] = &["scope"];

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        value.clone_into(&mut self.scope);
        Ok(())
    }
}

/// Something that was said.
#[derive(Clone, Debug, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = run_messages, check_for_backend(diesel::pg::Pg))]
pub struct Message {
    /// The conversation.
    #[schema(example = "main")]
    pub scope: String,
    /// Its number in the conversation, from 1.
    pub seq: i32,
    /// Who said it: `system`, `user`, `assistant`, `tool`.
    #[schema(example = "user")]
    pub role: String,
    /// What was said.
    #[schema(example = "Summarise this page.", value_type = String)]
    pub content: Value,
    /// The step that said it.
    #[schema(required)]
    pub step_id: Option<StepId>,
    /// When.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

/// What a run cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunUsage {
    /// The tokens of all its calls.
    pub usage: TokenUsage,
    /// In micros of a US dollar.
    pub cost_micros: i64,
    /// The entries of the ledger; their sum is `cost_micros`.
    pub data: Vec<UsageEvent>,
}
