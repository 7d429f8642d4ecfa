//! Runs as lists show them: without what they were given and what came out, which may be large.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{RunId, RunKind, Status};
use crate::{
    features::{
        agents::{AgentId, Framework},
        schema::runs::runs,
    },
    kernel::{
        access::{Author, Labels},
        check::Metadata,
        http::Versioned,
    },
};

/// A run in a list. Its input and output are shown by `GET /runs/{id}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunSummary {
    /// Names it.
    pub id: RunId,
    /// What kind of work it is.
    pub kind: RunKind,
    /// How far it is.
    pub status: Status,
    /// What it waits for, while it waits.
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
    /// Why it failed: `{code, message, retryable, node_id, step_id, attempt, cause}`.
    #[schema(required, value_type = Option<Object>)]
    pub error: Option<Value>,
    /// What it cost, in micros of a US dollar.
    pub cost_micros: i64,
    /// Its steps so far.
    pub step_count: i32,
    /// The number of its last event.
    pub event_seq: i32,
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
    /// When its contents were removed.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub purged_at: Option<DateTime<Utc>>,
}

/// What the database holds of it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = runs, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::runs) struct SummaryRow {
    pub id: RunId,
    pub kind: RunKind,
    pub status: Status,
    pub wait_reason: Option<String>,
    pub progress: i32,
    pub agent_id: Option<AgentId>,
    pub agent_version: Option<i32>,
    pub label: Option<String>,
    pub framework: Option<String>,
    pub trigger: String,
    pub subject: Option<String>,
    pub priority: i32,
    pub error: Option<Value>,
    pub cost_micros: i64,
    pub step_seq: i32,
    pub event_seq: i32,
    pub root_run_id: RunId,
    pub tags: Vec<String>,
    pub metadata: Value,
    pub request_id: Option<String>,
    pub version: i64,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub finished_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub purged_at: Option<DateTime<Utc>>,
}

impl SummaryRow {
    /// The run, with its author's name.
    pub fn shown(self, authors: &Labels) -> RunSummary {
        RunSummary {
            created_by: authors.author(&self.created_by_type, self.created_by_id),
            framework: self.framework.as_deref().and_then(Framework::named),
            metadata: serde_json::from_value(self.metadata).unwrap_or_default(),
            id: self.id,
            kind: self.kind,
            status: self.status,
            wait_reason: self.wait_reason,
            progress: self.progress,
            agent_id: self.agent_id,
            agent_version: self.agent_version,
            label: self.label,
            trigger: self.trigger,
            subject: self.subject,
            priority: self.priority,
            error: self.error,
            cost_micros: self.cost_micros,
            step_count: self.step_seq,
            event_seq: self.event_seq,
            root_run_id: self.root_run_id,
            tags: self.tags,
            request_id: self.request_id,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            expires_at: self.expires_at,
            purged_at: self.purged_at,
        }
    }
}

/// How far a run is: cheap to ask often.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunStatus {
    /// How far it is.
    pub status: Status,
    /// What it waits for.
    #[schema(required)]
    pub wait_reason: Option<String>,
    /// In percent.
    pub progress: i32,
    /// The number of its last event.
    pub event_seq: i32,
    /// The `ETag`.
    #[serde(skip)]
    pub version: i64,
}

impl Versioned for RunStatus {
    fn version(&self) -> i64 {
        self.version
    }
}
