//! Versions and the labels that mean them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AgentId, AgentVersionId, Framework};
use crate::{
    features::schema::runs::{agent_labels, agent_versions},
    kernel::{
        access::{Author, Labels},
        http::{Reply, Versioned},
    },
};

/// A frozen agent. It never changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentVersion {
    /// Names it everywhere.
    pub id: AgentVersionId,
    /// Whose version it is.
    pub agent_id: AgentId,
    /// Names it within its agent.
    #[schema(example = 7)]
    pub number: i32,
    /// What the configuration is written for.
    pub framework: Framework,
    /// What was frozen.
    #[schema(value_type = Object)]
    pub config: Value,
    /// The name of the plan that it became: SHA-256 of its canonical text, in hexadecimal digits.
    #[schema(example = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b")]
    pub plan_sha256: String,
    /// What an input must be (JSON Schema); null: anything.
    #[schema(required, value_type = Option<Object>)]
    pub input_schema: Option<Value>,
    /// What the output will be.
    #[schema(required, value_type = Option<Object>)]
    pub output_schema: Option<Value>,
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

/// A version as the database holds it.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = agent_versions, check_for_backend(diesel::pg::Pg))]
pub(in crate::features::agents) struct VersionRow {
    pub id: AgentVersionId,
    pub agent_id: AgentId,
    pub number: i32,
    pub plan_sha256: Vec<u8>,
    pub framework: Framework,
    pub config: Value,
    pub config_sha256: Vec<u8>,
    pub input_schema: Option<Value>,
    pub output_schema: Option<Value>,
    pub note: Option<String>,
    pub retired_at: Option<DateTime<Utc>>,
    pub created_by_type: String,
    pub created_by_id: Option<Uuid>,
    pub created_at: DateTime<Utc>,
}

impl VersionRow {
    /// The version, with the labels that mean it and its author's name.
    pub fn shown(self, labels: &BTreeMap<String, i32>, authors: &Labels) -> AgentVersion {
        AgentVersion {
            created_by: authors.author(&self.created_by_type, self.created_by_id),
            labels: named(labels, self.number),
            plan_sha256: hex::encode(&self.plan_sha256),
            id: self.id,
            agent_id: self.agent_id,
            number: self.number,
            framework: self.framework,
            config: self.config,
            input_schema: self.input_schema,
            output_schema: self.output_schema,
            note: self.note,
            retired_at: self.retired_at,
            created_at: self.created_at,
        }
    }
}

/// The labels that mean a version.
pub(super) fn named(labels: &BTreeMap<String, i32>, number: i32) -> Vec<String> {
    let those = labels.iter().filter(|(_, meant)| **meant == number);
    those.map(|(label, _)| label.clone()).collect()
}

#[derive(Insertable)]
#[diesel(table_name = agent_versions)]
pub(in crate::features::agents) struct NewVersionRow<'a> {
    pub id: AgentVersionId,
    pub agent_id: AgentId,
    pub number: i32,
    pub plan_sha256: &'a [u8],
    pub framework: Framework,
    pub config: &'a Value,
    pub config_sha256: &'a [u8],
    pub input_schema: Option<&'a Value>,
    pub output_schema: Option<&'a Value>,
    pub note: Option<&'a str>,
}

/// What became of the wish to freeze a configuration.
pub enum Frozen {
    /// 201: it is a new version.
    New(AgentVersion),
    /// 200: the newest version is the same.
    Same(AgentVersion),
}

impl Frozen {
    /// The version, new or not.
    pub fn version(&self) -> &AgentVersion {
        let (Frozen::New(version) | Frozen::Same(version)) = self;
        version
    }
}

impl Reply for Frozen {
    type Body = AgentVersion;

    fn status(&self) -> u16 {
        if matches!(self, Frozen::New(_)) { 201 } else { 200 }
    }
    fn location(&self) -> Option<String> {
        let version = Frozen::version(self);
        Some(format!(
            "/api/v1/agents/{}/versions/{}",
            version.agent_id, version.number
        ))
    }
    fn body(&self) -> Option<&AgentVersion> {
        Some(Frozen::version(self))
    }
}

/// A name for a version.
#[derive(Clone, Debug, Serialize, Queryable, Selectable, ToSchema)]
#[diesel(table_name = agent_labels, check_for_backend(diesel::pg::Pg))]
pub struct Label {
    /// The name.
    #[schema(example = "production")]
    pub label: String,
    /// The version that it means.
    pub number: i32,
    /// The version that it meant before.
    #[schema(required)]
    pub previous: Option<i32>,
    /// Raised by every move. The `ETag` says when the label was made as well: one that was taken away and made anew is another one.
    pub version: i64,
    /// When it was first set.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it was last moved.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Label {
    fn version(&self) -> i64 {
        self.version
    }

    fn tag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.created_at.timestamp_micros())
    }
}

/// All labels of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelList {
    /// By name.
    pub data: Vec<Label>,
}

/// A label was set, moved or taken away.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LabelMove {
    /// Whose label it is.
    pub agent_id: AgentId,
    /// Its name.
    #[schema(example = "production")]
    pub label: String,
    /// The version that it means now; null: none any more.
    #[schema(required)]
    pub number: Option<i32>,
    /// The version that it meant before.
    #[schema(required)]
    pub previous: Option<i32>,
}
