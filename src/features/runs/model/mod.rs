//! Runs as callers see them.

mod filters;
pub(super) mod input;
pub(super) mod rows;
mod step;
mod summary;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub use filters::{AgentExecutionFilters, ExecutionFilters, RunFilters};
pub use step::{
    Message, MessageFilters, MessagePage, RunUsage, Step, StepFilters, StepId, StepPage, StepStatus, StepSummary,
};
pub(in crate::features::runs) use summary::SummaryRow;
pub use summary::{RunStatus, RunSummary};

use self::rows::Row;
use crate::{
    features::{
        agents::{AgentId, Framework},
        providers::TokenUsage,
    },
    kernel::{
        access::{Author, Labels},
        check::Metadata,
        http::{Located, Versioned},
        id::{Id, Resource},
    },
};

crate::problems! {
    /// The run has ended; nothing about it changes any more.
    /// Cause: it ended between the look and the request.
    /// Fix: start another one.
    pub RUN_FINISHED = 409, "run-finished", "The run has ended";
    /// The run has no result yet; `state` says how far it is.
    /// Cause: the result is asked for too early.
    /// Fix: ask again later, or wait for its event.
    pub RUN_NOT_FINISHED = 409, "run-not-finished", "The run has not ended yet";
    /// The input is not what the agent takes; `errors` says what is wrong.
    /// Cause: a value that the agent needs is missing, or of another type.
    /// Fix: look at the version's `input_schema`.
    pub INPUT_INVALID = 422, "input-invalid", "The input is not acceptable";
    /// A template of the agent cannot be rendered with this input.
    /// Cause: a template reads a value that this input does not have.
    /// Fix: send the value that `detail` names, with the line that reads it, or change the template.
    pub TEMPLATE_FAILED = 422, "template-failed", "A template cannot be rendered";
}

crate::events! {
    /// A run was accepted.
    pub RUN_CREATED: Run = "run.created", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [audit, webhook, live],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz"};
    /// A run was asked to stop.
    pub RUN_CANCEL_REQUESTED: Run = "run.cancel_requested", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [audit],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "running", "cancel_requested_at": "2026-11-20T17:30:02.345Z",
                 "started_at": "2026-11-20T17:30:00.234Z", "queue_ms": 111};
    /// A run ended well; its output is there.
    pub RUN_COMPLETED: Run = "run.completed", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [webhook, live, mail],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "completed", "progress": 100, "output": "Bees live in hives.",
                 "started_at": "2026-11-20T17:30:00.234Z", "queue_ms": 111,
                 "finished_at": "2026-11-20T17:30:02.456Z", "duration_ms": 2222};
    /// A run ended badly; its error says why.
    pub RUN_FAILED: Run = "run.failed", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [webhook, live, mail],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "failed",
                 "error": {"code": "timeout", "message": "The model did not answer in time.", "retryable": true, "node_id": "llm",
                           "step_id": "stp_01jd8qv4x2fkr9s3m5n7p0t1wz", "attempt": 3, "cause": null},
                 "started_at": "2026-11-20T17:30:00.234Z", "queue_ms": 111,
                 "finished_at": "2026-11-20T17:30:02.456Z", "duration_ms": 2222};
    /// A run was stopped.
    pub RUN_CANCELLED: Run = "run.cancelled", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [webhook, live, mail],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "cancelled", "cancel_requested_at": "2026-11-20T17:30:02.345Z",
                 "finished_at": "2026-11-20T17:30:02.456Z"};
    /// A run waits for something.
    pub RUN_WAITING: Run = "run.waiting", group "runs", at "/runs/{id}", filterable ["agent_id"], audience [webhook, live, mail],
        example {"agent_id": "agt_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "waiting", "wait_reason": "upgrade", "started_at": "2026-11-20T17:30:00.234Z", "queue_ms": 111};
}

crate::words! {
    /// How far a run is.
    #[schema(as = RunState)]
    pub enum Status {
        /// It waits in the queue.
        Pending "pending",
        /// A step of it is at work, or will be tried again.
        Running "running",
        /// It waits for something outside; `wait_reason` says for what.
        Waiting "waiting",
        /// It ended well.
        Completed "completed",
        /// It ended badly.
        Failed "failed",
        /// It was stopped.
        Cancelled "cancelled",
    }
}

impl Status {
    /// Nothing changes any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled)
    }

    /// Whether a run can go from here to there.
    pub const fn leads_to(self, next: Status) -> bool {
        use Status::{Cancelled, Completed, Failed, Pending, Running, Waiting};
        matches!(
            (self, next),
            (Pending | Waiting, Running)
                | (Running, Waiting | Completed)
                | (Pending | Running | Waiting, Failed | Cancelled)
        )
    }
}

crate::words! {
    /// What kind of work a run is.
    pub enum RunKind {
        /// An agent was executed.
        Execution "execution",
        /// An arm of an experiment.
        Trial "trial",
        /// A project was generated.
        Generation "generation",
        /// A document was taken in.
        Ingestion "ingestion",
        /// A question was answered out of knowledge.
        Answer "answer",
        /// Code was analysed.
        CodeAnalysis "code_analysis",
        /// A site was mirrored.
        AssetSync "asset_sync",
        /// A recording was imported.
        CaptureImport "capture_import",
    }
}

impl Resource for Run {
    const PREFIX: &'static str = "run";
}
/// `run_…`
pub type RunId = Id<Run>;

/// A run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Run {
    /// Names it.
    pub id: RunId,
    /// What kind of work it is.
    pub kind: RunKind,
    /// How far it is.
    pub status: Status,
    /// What it waits for, while it waits: `approval`, `input`, `timer`, `event`, `child`, `budget`, `recovery`, `upgrade`, `paused`.
    #[schema(required)]
    pub wait_reason: Option<String>,
    /// In percent, as far as that can be told.
    #[schema(minimum = 0, maximum = 100)]
    pub progress: i32,
    /// The agent that is executed.
    #[schema(required)]
    pub agent_id: Option<AgentId>,
    /// Its version; null: its draft.
    #[schema(required, example = 7)]
    pub agent_version: Option<i32>,
    /// The label by which the version was chosen.
    #[schema(required, example = "production")]
    pub label: Option<String>,
    /// What the agent's configuration is written for.
    #[schema(required)]
    pub framework: Option<Framework>,
    /// Why it exists: `api`, `ui`, `schedule`, `webhook`, `mcp`, `openai`, `experiment`, `subrun`, `system`.
    #[schema(example = "api")]
    pub trigger: String,
    /// Whom it is about, in the caller's words.
    #[schema(required)]
    pub subject: Option<String>,
    /// 1 to 10: orders the runs of the workspace.
    pub priority: i32,
    /// What it was given; null once that was removed.
    #[schema(required, value_type = Option<Object>)]
    pub input: Value,
    /// What came out.
    #[schema(required, value_type = Value)]
    pub output: Option<Value>,
    /// Why it failed: `{code, message, retryable, node_id, step_id, attempt, cause}`.
    #[schema(required, value_type = Option<Object>)]
    pub error: Option<Value>,
    /// The tokens of all its calls.
    pub usage: TokenUsage,
    /// What it cost, in micros of a US dollar.
    pub cost_micros: i64,
    /// What it may cost.
    #[schema(required)]
    pub max_cost_micros: Option<i64>,
    /// What was saved by using results again.
    pub saved_cost_micros: i64,
    /// Its steps so far.
    pub step_count: i32,
    /// The number of its last event.
    pub event_seq: i32,
    /// How often a worker was lost over it.
    pub recoveries: i32,
    /// The run that started it.
    #[schema(required)]
    pub parent_run_id: Option<RunId>,
    /// The first run of its family: itself, if it has no parent.
    pub root_run_id: RunId,
    /// Words to find it by.
    #[schema(example = json!(["nightly"]))]
    pub tags: Vec<String>,
    /// The workspace's own tags.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// The request that started it.
    #[schema(required)]
    pub request_id: Option<String>,
    /// Raised by every change; the `ETag`.
    pub version: i64,
    /// Who started it.
    pub created_by: Author,
    /// When it was accepted.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
    /// When its first step began.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is given up, however it stands.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: DateTime<Utc>,
    /// When somebody asked it to stop.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// How long it waited in the queue, in milliseconds.
    #[schema(required)]
    pub queue_ms: Option<i64>,
    /// How long it took from its first step to its end, in milliseconds.
    #[schema(required)]
    pub duration_ms: Option<i64>,
    /// When its contents were removed.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub purged_at: Option<DateTime<Utc>>,
}

impl Run {
    /// The run of a row, with its author's name.
    pub(super) fn shown(row: Row, authors: &Labels) -> Run {
        Run {
            created_by: authors.author(&row.created_by_type, row.created_by_id),
            framework: row.framework.as_deref().and_then(Framework::named),
            usage: serde_json::from_value(row.usage).unwrap_or_default(),
            metadata: serde_json::from_value(row.metadata).unwrap_or_default(),
            queue_ms: row
                .started_at
                .map(|started| (started - row.created_at).num_milliseconds()),
            duration_ms: row
                .started_at
                .zip(row.finished_at)
                .map(|(from, to)| (to - from).num_milliseconds()),
            id: row.id,
            kind: row.kind,
            status: row.status,
            wait_reason: row.wait_reason,
            progress: row.progress,
            agent_id: row.agent_id,
            agent_version: row.agent_version,
            label: row.label,
            trigger: row.trigger,
            subject: row.subject,
            priority: row.priority,
            input: row.input,
            output: row.output,
            error: row.error,
            cost_micros: row.cost_micros,
            max_cost_micros: row.max_cost_micros,
            saved_cost_micros: row.saved_cost_micros,
            step_count: row.step_seq,
            event_seq: row.event_seq,
            recoveries: row.recoveries,
            parent_run_id: row.parent_run_id,
            root_run_id: row.root_run_id,
            tags: row.tags,
            request_id: row.request_id,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            expires_at: row.expires_at,
            cancel_requested_at: row.cancel_requested_at,
            purged_at: row.purged_at,
        }
    }
}

impl Located for Run {
    fn path(&self) -> String {
        format!("/api/v1/runs/{}", self.id)
    }
}

impl Versioned for Run {
    fn version(&self) -> i64 {
        self.version
    }
}

/// What came out of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunResult {
    /// How it ended.
    pub status: Status,
    /// What came out.
    #[schema(required, value_type = Value)]
    pub output: Option<Value>,
    /// Why it failed.
    #[schema(required, value_type = Option<Object>)]
    pub error: Option<Value>,
}

crate::pages! {
    /// A page of runs.
    pub RunPage of RunSummary;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_moves_only_along_its_table() {
        let moves: Vec<String> = Status::ALL
            .iter()
            .flat_map(|from| Status::ALL.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.leads_to(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            moves.join(" "),
            "pending>running pending>failed pending>cancelled running>waiting running>completed running>failed \
             running>cancelled waiting>running waiting>failed waiting>cancelled"
        );
        for end in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert!(end.is_final() && Status::ALL.iter().all(|next| !end.leads_to(*next)));
        }
    }
}
