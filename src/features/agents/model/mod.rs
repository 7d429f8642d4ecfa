//! Agents, their versions and their labels.

pub(super) mod config;
mod input;
pub mod plan;
mod summary;
mod version;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

pub(in crate::features::agents) use input::judge_label;
pub use input::{AgentPatch, Draft, NewAgent, NewLabel, NewPublication, NewVersion, Source};
pub use summary::{AgentSummary, AgentVersionSummary};
pub(in crate::features::agents) use summary::{SummaryRow, VersionSummaryRow};
pub use version::{AgentVersion, Frozen, Label, LabelList, LabelMove};
pub(in crate::features::agents) use version::{NewVersionRow, VersionRow};

use crate::{
    features::schema::runs::agents,
    kernel::{
        access::{Author, Labels},
        check::Metadata,
        error::FieldError,
        http::{Located, Versioned},
        id::{Id, Resource},
        page::{Filters, Unfit},
    },
};

crate::problems! {
    /// The agent is archived: it starts no run and gets no version.
    /// Cause: a program still starts an agent that somebody put away.
    /// Fix: unarchive it first.
    pub AGENT_ARCHIVED = 409, "agent-archived", "The agent is archived";
    /// The version was retired: it starts no run.
    /// Cause: a program names a fixed version that is no longer to be used.
    /// Fix: use another version, or the label that stands for the present one.
    pub VERSION_RETIRED = 409, "version-retired", "The version is retired";
    /// A label points at the version.
    /// Cause: the version is still the one in production, or another label means it.
    /// Fix: move the labels listed in `labels` first.
    pub VERSION_IN_USE = 409, "version-in-use", "A label points at the version";
    /// The configuration cannot become a plan; `errors` lists everything that is wrong with it.
    /// Cause: a model that does not exist here, a template that names something unknown, or steps that lead nowhere.
    /// Fix: mend each field that a pointer names. `POST /api/v1/agents/validate` tells the same without writing anything.
    pub PLAN_INVALID = 422, "plan-invalid", "The configuration cannot be executed";
    /// The API knows what is asked for, and this server cannot do it.
    /// Cause: a configuration that was written for a larger server, or a later release.
    /// Fix: look at `errors` for what it can.
    pub NOT_AVAILABLE = 422, "not-available", "Not available here";
}

crate::events! {
    /// An agent was made.
    pub AGENT_CREATED: Agent = "agent.created", group "agents", at "/agents/{id}", filterable [], audience [audit, webhook, live];
    /// An agent's draft, its description or its state changed.
    pub AGENT_UPDATED: Agent = "agent.updated", group "agents", at "/agents/{id}", filterable [], audience [audit, webhook, live];
    /// An agent was archived: it starts no runs until it is unarchived.
    pub AGENT_ARCHIVED_EVENT: Agent = "agent.archived", group "agents", at "/agents/{id}", filterable [], audience [audit, webhook, live],
        example {"state": "archived"};
    /// An agent that never ran was deleted.
    pub AGENT_DELETED: Agent = "agent.deleted", group "agents", at "/agents/{id}", filterable [], audience [audit, webhook, live];
    /// A version was frozen.
    pub VERSION_PUBLISHED: AgentVersion = "agent_version.published", group "agents", at "/agents/{agent_id}/versions/{number}", filterable ["agent_id"],
        audience [audit, webhook, live];
    /// A version was retired: it starts no runs any more.
    pub VERSION_RETIRED_EVENT: AgentVersion = "agent_version.retired", group "agents", at "/agents/{agent_id}/versions/{number}", filterable ["agent_id"],
        audience [audit, webhook, live],
        example {"labels": [], "retired_at": "2026-11-20T17:30:00.123Z"};
    /// A label was set, moved or taken away.
    pub LABEL_MOVED: LabelMove = "agent_label.moved", group "agents", at "/agents/{agent_id}/labels/{label}", filterable ["agent_id", "label"], audience [audit, webhook, live],
        example {"number": 7, "previous": 6};
}

crate::words! {
    /// What a configuration is written for.
    pub enum Framework {
        /// One prompt, one model.
        Openai "openai",
        /// A model that uses tools in a loop.
        Langchain "langchain",
        /// Several agents with roles and tasks.
        Crewai "crewai",
        /// A plan as it is.
        Graph "graph",
        /// A list of stages.
        Pipeline "pipeline",
    }
}

crate::words! {
    /// Whether an agent can be used.
    #[schema(as = AgentState)]
    pub enum State {
        /// It can.
        Active "active",
        /// It starts no runs; what it did can be looked at.
        Archived "archived",
    }
}

impl Resource for Agent {
    const PREFIX: &'static str = "agt";
}
/// `agt_…`
pub type AgentId = Id<Agent>;

impl Resource for AgentVersion {
    const PREFIX: &'static str = "agv";
}
/// `agv_…`
pub type AgentVersionId = Id<AgentVersion>;

/// The number of a version, counted from 1.
pub type VersionNumber = i32;

/// The label of what is in use, and the one that is meant where nothing is said.
pub const PRODUCTION: &str = "production";

/// An agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Names it.
    pub id: AgentId,
    /// Unique in the workspace.
    #[schema(example = "Scout")]
    pub name: String,
    /// Unique in the workspace; used in references to it.
    #[schema(example = "scout")]
    pub slug: String,
    /// For people.
    #[schema(required)]
    pub description: Option<String>,
    /// What the configuration is written for.
    pub framework: Framework,
    /// The draft.
    #[schema(value_type = Object, example = json!({"model": "sandbox", "prompt": "What is {{ input.topic }}?"}))]
    pub config: Value,
    /// How the draft stands.
    pub draft: DraftState,
    /// The newest version's number.
    #[schema(required)]
    pub latest: Option<i32>,
    /// Which version each label means.
    #[schema(example = json!({"production": 1}))]
    pub labels: BTreeMap<String, i32>,
    /// Whether it can be used.
    pub state: State,
    /// The workspace's own tags.
    #[schema(value_type = Object, example = json!({"team": "research"}))]
    pub metadata: Metadata,
    /// Raised by every change; the `ETag`.
    pub version: i64,
    /// Who made it.
    pub created_by: Author,
    /// When.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

/// How a draft stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DraftState {
    /// The newest version, if the draft differs from it.
    #[schema(required)]
    pub differs_from: Option<i32>,
    /// Why it cannot be published, as of its last change. Empty: it can.
    #[schema(example = json!([{"pointer": "/config/model", "code": "required", "detail": "A model is wanted."}]))]
    pub problems: Vec<FieldError>,
}

/// An agent as the database holds it.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = agents, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::agents) struct Row {
    pub id: AgentId,
    pub name: String,
    pub slug: String,
    pub description: Option<String>,
    pub framework: Framework,
    pub config: Value,
    pub draft_sha256: Vec<u8>,
    pub draft_problems: Value,
    pub latest: Option<i32>,
    pub latest_sha256: Option<Vec<u8>>,
    pub state: State,
    pub metadata: Value,
    pub version: i64,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Row {
    /// The agent, with its labels and its author's name.
    pub fn shown(self, labels: BTreeMap<String, i32>, authors: &Labels) -> Agent {
        let same = self.latest_sha256.as_ref() == Some(&self.draft_sha256);
        Agent {
            created_by: authors.author(&self.created_by_type, self.created_by_id),
            draft: DraftState {
                differs_from: self.latest.filter(|_| !same),
                problems: serde_json::from_value(self.draft_problems).unwrap_or_default(),
            },
            metadata: serde_json::from_value(self.metadata).unwrap_or_default(),
            id: self.id,
            name: self.name,
            slug: self.slug,
            description: self.description,
            framework: self.framework,
            config: self.config,
            latest: self.latest,
            labels,
            state: self.state,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = agents)]
pub(in crate::features::agents) struct NewRow<'a> {
    pub id: AgentId,
    pub name: &'a str,
    pub slug: &'a str,
    pub description: Option<&'a str>,
    pub framework: Framework,
    pub config: &'a Value,
    pub draft_sha256: &'a [u8],
    pub draft_problems: Value,
    pub metadata: Value,
}

impl Located for Agent {
    fn path(&self) -> String {
        format!("/api/v1/agents/{}", self.id)
    }
}

impl Versioned for Agent {
    fn version(&self) -> i64 {
        self.version
    }
}

/// What an author learns before publishing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// Whether it can be published.
    pub valid: bool,
    /// Everything that is wrong with it.
    #[schema(example = json!([{"pointer": "/config/model", "code": "required", "detail": "A model is wanted."}]))]
    pub problems: Vec<FieldError>,
    /// What it would become.
    #[schema(required)]
    pub plan: Option<PlanShape>,
    /// What a run would cost.
    pub estimate: Estimate,
}

/// The shape of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanShape {
    /// The nodes, by id.
    #[schema(value_type = Object)]
    pub nodes: Value,
    /// What follows what.
    #[schema(value_type = Vec<Object>)]
    pub edges: Value,
}

/// What a run would cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Estimate {
    /// The most that one pass costs, in micros of a US dollar, the prompt taken as it stands; null where a model has no price.
    #[schema(required)]
    pub cost_micros_max: Option<i64>,
}

crate::pages! {
    /// A page of agents.
    pub AgentPage of AgentSummary;
    /// A page of versions.
    pub AgentVersionPage of AgentVersionSummary;
}

/// What the list of agents can be filtered by.
#[derive(Clone, Debug, Default)]
pub struct AgentFilters {
    pub states: Vec<State>,
    pub frameworks: Vec<Framework>,
}

impl Filters for AgentFilters {
    const RESOURCE: &'static str = "agents";
    const NAMES: &'static [&'static str] = &["state", "framework"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "state" => self
                .states
                .push(State::named(value).ok_or_else(|| Unfit::choice(State::WORDS))?),
            _ => self
                .frameworks
                .push(Framework::named(value).ok_or_else(|| Unfit::choice(Framework::WORDS))?),
        }
        Ok(())
    }
}

crate::no_filters! {
    /// The list of versions has no filters of its own.
    pub VersionFilters of "agent_versions";
}
