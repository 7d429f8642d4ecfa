//! Agents and versions as lists show them: without their configurations, which may be large.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AgentId, AgentVersionId, Framework, State};
use crate::{
    features::schema::runs::{agent_versions, agents},
    kernel::{
        access::{Author, Labels},
        check::Metadata,
    },
};

/// An agent in a list. Its configuration is shown by `GET /agents/{id}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentSummary {
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
    /// How the draft stands.
    pub draft: DraftSummary,
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

/// How a draft stands, in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DraftSummary {
    /// The newest version, if the draft differs from it.
    #[schema(required)]
    pub differs_from: Option<i32>,
    /// Whether it can be published, as of its last change.
    pub publishable: bool,
}

/// What the database holds of it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = agents, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::agents) struct SummaryRow {
    pub id: AgentId,
    pub name: String,
    pub slug: String,
    pub description: Option<String>,
    pub framework: Framework,
    pub draft_sha256: Vec<u8>,
    pub draft_problems: Value,
    pub latest: Option<i32>,
    pub latest_sha256: Option<Vec<u8>>,
    pub state: State,
    pub metadata: Value,
    pub version: i64,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl SummaryRow {
    /// The agent, with its labels and its author's name.
    pub fn shown(self, labels: BTreeMap<String, i32>, authors: &Labels) -> AgentSummary {
        let same = self.latest_sha256.as_ref() == Some(&self.draft_sha256);
        AgentSummary {
            created_by: authors.author(&self.created_by_type, self.created_by_id),
            draft: DraftSummary {
                differs_from: self.latest.filter(|_| !same),
                publishable: self.draft_problems.as_array().is_none_or(Vec::is_empty),
            },
            metadata: serde_json::from_value(self.metadata).unwrap_or_default(),
            id: self.id,
            name: self.name,
            slug: self.slug,
            description: self.description,
            framework: self.framework,
            latest: self.latest,
            labels,
            state: self.state,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// A version in a list. What was frozen is shown by `GET /agents/{id}/versions/{number}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentVersionSummary {
    /// Names it everywhere.
    pub id: AgentVersionId,
    /// Whose version it is.
    pub agent_id: AgentId,
    /// Names it within its agent.
    #[schema(example = 7)]
    pub number: i32,
    /// What the configuration is written for.
    pub framework: Framework,
    /// The name of the plan that it became: SHA-256 of its canonical text, in hexadecimal digits.
    #[schema(example = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b")]
    pub plan_sha256: String,
    /// What its author says about it.
    #[schema(required)]
    pub note: Option<String>,
    /// The labels that mean it.
    #[schema(example = json!(["production"]))]
    pub labels: Vec<String>,
    /// When it was retired.
    #[schema(required)]
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub retired_at: Option<DateTime<Utc>>,
    /// Who froze it.
    pub created_by: Author,
    /// When.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

/// What the database holds of it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = agent_versions, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::agents) struct VersionSummaryRow {
    pub id: AgentVersionId,
    pub agent_id: AgentId,
    pub number: i32,
    pub plan_sha256: Vec<u8>,
    pub framework: Framework,
    pub note: Option<String>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub retired_at: Option<DateTime<Utc>>,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

impl VersionSummaryRow {
    /// The version, with the labels that mean it and its author's name.
    pub fn shown(self, labels: &BTreeMap<String, i32>, authors: &Labels) -> AgentVersionSummary {
        AgentVersionSummary {
            created_by: authors.author(&self.created_by_type, self.created_by_id),
            labels: super::version::named(labels, self.number),
            plan_sha256: hex::encode(&self.plan_sha256),
            id: self.id,
            agent_id: self.agent_id,
            number: self.number,
            framework: self.framework,
            note: self.note,
            retired_at: self.retired_at,
            created_at: self.created_at,
        }
    }
}
