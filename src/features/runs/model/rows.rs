//! Runs and steps as the engine holds them.

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{RunId, RunKind, Status, StepId, StepStatus};
use crate::{
    features::{
        agents::AgentId,
        providers::TokenUsage,
        schema::runs::{run_checkpoints, run_events, run_messages, run_steps, runs},
        usage::Difference,
    },
    kernel::id::Id,
};

/// A run.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = runs, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::runs) struct Row {
    pub id: RunId,
    pub kind: RunKind,
    /// `None`: it was of a draft, and went with the contents.
    pub plan_sha256: Option<Vec<u8>>,
    pub agent_id: Option<AgentId>,
    pub agent_version: Option<i32>,
    pub framework: Option<String>,
    pub label: Option<String>,
    pub input: Value,
    pub output: Option<Value>,
    pub error: Option<Value>,
    pub tags: Vec<String>,
    pub metadata: Value,
    pub trigger: String,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    pub subject: Option<String>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub parent_run_id: Option<RunId>,
    pub root_run_id: RunId,
    pub status: Status,
    pub wait_reason: Option<String>,
    pub tick: i32,
    pub open_steps: i32,
    pub progress: i32,
    pub priority: i32,
    pub event_seq: i32,
    pub step_seq: i32,
    pub checkpoint_seq: i32,
    pub recoveries: i32,
    pub max_cost_micros: Option<i64>,
    pub cost_micros: i64,
    pub saved_cost_micros: i64,
    pub usage: Value,
    pub timeout_seconds: i32,
    pub queue_timeout_seconds: i32,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub active_ms: i64,
    pub active_since: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub cancel_mode: Option<String>,
    pub payload_until: Option<DateTime<Utc>>,
    pub purged_at: Option<DateTime<Utc>>,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Row {
    /// Adds what an entry of the ledger changes to the run's sums.
    pub fn add(&mut self, difference: &Difference) {
        add(&mut self.usage, &mut self.cost_micros, difference);
    }
}

#[derive(Insertable)]
#[diesel(table_name = runs)]
pub(in crate::features::runs) struct NewRow<'a> {
    pub id: RunId,
    pub kind: RunKind,
    pub plan_sha256: &'a [u8],
    pub agent_id: Option<AgentId>,
    pub agent_version: Option<i32>,
    pub framework: Option<&'a str>,
    pub label: Option<&'a str>,
    pub input: &'a Value,
    pub tags: &'a [String],
    pub metadata: Value,
    pub trigger: &'static str,
    pub subject: Option<&'a str>,
    pub request_id: &'a str,
    pub trace_id: String,
    pub root_run_id: RunId,
    pub priority: i32,
    pub max_cost_micros: Option<i64>,
    pub timeout_seconds: i32,
    pub expires_at: DateTime<Utc>,
}

/// A step.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = run_steps, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::runs) struct StepRow {
    pub id: StepId,
    pub run_id: RunId,
    pub number: i32,
    pub node_id: String,
    pub status: StepStatus,
    pub epoch: i64,
    pub attempt: i32,
    pub max_attempts: i32,
    pub prior_attempts: Value,
    pub commit_token: Option<Uuid>,
    pub input: Option<Value>,
    pub model: Option<String>,
    pub usage: Value,
    pub cost_micros: i64,
    pub held_micros: i64,
    pub held_usage: Option<Value>,
    pub started_at: Option<DateTime<Utc>>,
}

impl StepRow {
    /// Adds what an entry of the ledger changes to the step's sums.
    pub fn add(&mut self, difference: &Difference) {
        add(&mut self.usage, &mut self.cost_micros, difference);
    }

    /// The attempt that was lost under this epoch cost that much more than it is noted with.
    pub fn correct(&mut self, epoch: i64, cost_micros: i64) {
        let attempts = self.prior_attempts.as_array_mut().into_iter().flatten();
        for attempt in attempts.filter(|attempt| attempt["epoch"] == epoch) {
            attempt["cost_micros"] = json!(attempt["cost_micros"].as_i64().unwrap_or(0) + cost_micros);
        }
    }

    /// What was held for the attempt is charged, or will not be.
    pub fn release(&mut self) {
        self.held_micros = 0;
        self.held_usage = None;
    }
}

/// Adds to sums.
fn add(usage: &mut Value, cost_micros: &mut i64, difference: &Difference) {
    let mut sum: TokenUsage = serde_json::from_value(usage.take()).unwrap_or_default();
    sum.add(&difference.usage, 1);
    *usage = serde_json::to_value(sum).expect("plain numbers");
    *cost_micros += difference.cost_micros;
}

#[derive(Insertable)]
#[diesel(table_name = run_steps)]
pub(in crate::features::runs) struct NewStep<'a> {
    pub id: StepId,
    pub run_id: RunId,
    pub number: i32,
    pub node_id: &'a str,
    pub path: &'a str,
    pub tick: i32,
    pub kind: &'static str,
    pub effect: &'static str,
    pub status: StepStatus,
    pub attempt: i32,
    pub max_attempts: i32,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub error: Option<Value>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Insertable)]
#[diesel(table_name = run_events)]
pub(in crate::features::runs) struct NewEvent {
    pub run_id: RunId,
    pub seq: i32,
    #[diesel(column_name = kind)]
    pub kind: &'static str,
    pub step_number: Option<i32>,
    pub data: Value,
}

#[derive(Insertable)]
#[diesel(table_name = run_messages)]
pub(in crate::features::runs) struct NewMessage<'a> {
    pub run_id: RunId,
    pub scope: &'a str,
    pub seq: i32,
    pub role: &'static str,
    pub content: Value,
    pub step_id: Option<StepId>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = run_checkpoints, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::runs) struct Checkpoint {
    pub run_id: RunId,
    pub seq: i32,
    pub tick: i32,
    pub parent_seq: Option<i32>,
    pub kind: String,
    pub body: Value,
    pub next: Vec<String>,
    pub reason: String,
}

/// What went wrong, as runs and steps hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::features::runs) struct Failure {
    /// `step_failed`, `timeout`, `queue_timeout`, `budget_exceeded`, `plan_limit`, `recovery_exhausted`, `invalid_output` …
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub node_id: Option<String>,
    pub step_id: Option<Id<super::Step>>,
    pub attempt: Option<i32>,
    /// `{provider, http_status, request_id}`
    pub cause: Option<Value>,
}

impl Failure {
    /// A failure that no second try mends.
    pub fn of(code: &str, message: impl Into<String>) -> Failure {
        Failure {
            code: code.into(),
            message: message.into(),
            retryable: false,
            node_id: None,
            step_id: None,
            attempt: None,
            cause: None,
        }
    }

    /// The same as a document.
    pub fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({ "code": self.code }))
    }
}
