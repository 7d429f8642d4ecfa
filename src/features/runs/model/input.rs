//! What callers send about runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type},
};

use crate::{
    features::agents::Choice,
    kernel::{
        check::{Check, Metadata, Validate, trimmed_option},
        error::FieldCode,
    },
};

/// A run to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"input": {"topic": "bees"}, "subject": "customer-42"}))]
pub struct NewExecution {
    /// What the agent is given.
    #[schema(value_type = Object)]
    pub input: Value,
    /// By default what the label `production` means.
    #[schema(schema_with = which_version)]
    pub version: Option<WhichVersion>,
    /// A label, instead of a version.
    #[schema(nullable = false)]
    pub label: Option<String>,
    /// Whom it is about, in the caller's words; at most 255 characters.
    #[serde(deserialize_with = "trimmed_option")]
    pub subject: Option<String>,
    /// 1 to 10, 5 by default: orders the runs of the workspace.
    pub priority: i32,
    /// What it may cost, in micros of a US dollar.
    pub max_cost_micros: Option<i64>,
    /// How long it may work, in seconds; 3,600 by default.
    pub timeout_seconds: Option<i32>,
    /// The workspace's own tags.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// Words to find it by; at most 20.
    pub tags: Vec<String>,
}

impl Default for NewExecution {
    fn default() -> NewExecution {
        NewExecution {
            input: json!({}),
            version: None,
            label: None,
            subject: None,
            priority: 5,
            max_cost_micros: None,
            timeout_seconds: None,
            metadata: Metadata::new(),
            tags: Vec::new(),
        }
    }
}

/// A version as a caller may write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "Expected the number of a version, draft or latest.")]
pub enum WhichVersion {
    /// A number.
    Number(i32),
    /// `draft` or `latest`.
    Word(String),
}

/// The same, documented.
fn which_version() -> Schema {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(1));
    let word = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["draft", "latest"]));
    let what = "The number of a version, `\"latest\"`, or `\"draft\"` (needs `agents:write`). By default what the label `production` means.";
    let either = OneOfBuilder::new().item(number).item(word);
    either.description(Some(what)).into()
}

impl NewExecution {
    /// Which version is meant.
    pub fn choice(&self) -> Choice {
        match (&self.version, &self.label) {
            (Some(WhichVersion::Number(number)), _) => Choice::Number(*number),
            (Some(WhichVersion::Word(word)), _) if word == "draft" => Choice::Draft,
            (Some(WhichVersion::Word(_)), _) => Choice::Label("latest".into()),
            (None, Some(label)) => Choice::Label(label.clone()),
            (None, None) => Choice::Production,
        }
    }
}

impl Validate for NewExecution {
    fn validate(&self, check: &mut Check) {
        if let Some(WhichVersion::Word(word)) = &self.version
            && !["draft", "latest"].contains(&word.as_str())
        {
            check.refuse("/version", FieldCode::InvalidChoice, "A number, draft or latest.");
        }
        if self.version.is_some() && self.label.is_some() {
            check.refuse("/label", FieldCode::ConflictsWith, "Either a version or a label.");
        }
        if let Some(subject) = &self.subject {
            check.line("/subject", subject, 1..=255);
        }
        check.number("/priority", i64::from(self.priority), 1..=10);
        if let Some(most) = self.max_cost_micros {
            check.number("/max_cost_micros", most, 0..=(1 << 53) - 1);
        }
        if let Some(seconds) = self.timeout_seconds {
            check.number("/timeout_seconds", i64::from(seconds), 1..=86_400);
        }
        check.metadata(&self.metadata);
        check.count("/tags", self.tags.len(), 20);
        for (place, tag) in self.tags.iter().enumerate() {
            check.line(&format!("/tags/{place}"), tag, 1..=50);
        }
    }
}

crate::words! {
    /// How a run is stopped.
    pub enum CancelMode {
        /// A call that is under way may end, for at most 10 seconds.
        Graceful "graceful",
        /// At once.
        Immediate "immediate",
    }
}

/// How a run shall be stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "graceful"}))]
pub struct Cancellation {
    /// How.
    #[serde(default = "graceful")]
    pub mode: CancelMode,
}

fn graceful() -> CancelMode {
    CancelMode::Graceful
}

impl Validate for Cancellation {
    fn validate(&self, _: &mut Check) {}
}
