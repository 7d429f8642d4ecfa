//! What callers send about agents.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Framework;
use crate::kernel::{
    check::{Check, Metadata, Validate, given, patched, trimmed, trimmed_given, trimmed_option},
    error::FieldCode,
    patch::MetadataPatch,
};

/// A new agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Scout", "framework": "openai", "config": {"model": "sandbox", "prompt": "What is {{ input.topic }}?"}}))]
pub struct NewAgent {
    /// Unique in the workspace; 1 to 100 characters.
    #[serde(deserialize_with = "trimmed")]
    pub name: String,
    /// Unique in the workspace: lower-case letters, digits and hyphens. Made from the name if absent.
    #[serde(default)]
    pub slug: Option<String>,
    /// For people; at most 2,000 characters.
    #[serde(default, deserialize_with = "trimmed_option")]
    pub description: Option<String>,
    /// What the configuration is written for.
    pub framework: Framework,
    /// The draft.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Whether it becomes version 1 at once, with label `production`. A configuration that cannot be executed is then refused.
    #[serde(default = "yes")]
    pub publish: bool,
    /// The workspace's own tags.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
}

fn yes() -> bool {
    true
}

impl Validate for NewAgent {
    fn validate(&self, check: &mut Check) {
        check.line("/name", &self.name, 1..=100);
        if let Some(slug) = &self.slug {
            check.slug("/slug", slug, 1..=63);
        }
        check.text_if("/description", self.description.as_ref(), 0..=2_000);
        check.metadata(&self.metadata);
    }
}

/// A change of an agent (JSON Merge Patch).
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"config": {"temperature": 0.2}}))]
pub struct AgentPatch {
    /// Unique in the workspace; 1 to 100 characters.
    #[serde(deserialize_with = "trimmed_given")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// Unique in the workspace.
    #[serde(deserialize_with = "given")]
    #[schema(nullable = false)]
    pub slug: Option<String>,
    /// For people; null takes it away.
    #[serde(deserialize_with = "patched")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Only while no version exists.
    #[serde(deserialize_with = "given")]
    #[schema(nullable = false)]
    pub framework: Option<Framework>,
    /// Merged into the draft; null takes a field away.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Object, nullable = false)]
    pub config: Option<Value>,
    /// Merged into the tags; null takes one away, or all of them.
    #[serde(deserialize_with = "patched")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Option<Option<MetadataPatch>>,
}

impl Validate for AgentPatch {
    fn validate(&self, check: &mut Check) {
        if let Some(name) = &self.name {
            check.line("/name", name, 1..=100);
        }
        if let Some(slug) = &self.slug {
            check.slug("/slug", slug, 1..=63);
        }
        check.text_if("/description", self.description.iter().flatten().next(), 0..=2_000);
        if self.config.as_ref().is_some_and(|config| !config.is_object()) {
            check.refuse("/config", FieldCode::WrongType, "Expected an object.");
        }
    }
}

/// A configuration to be judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"framework": "openai", "config": {"model": "sandbox", "prompt": "What is {{ input.topic }}?"}}))]
pub struct Draft {
    /// What the configuration is written for.
    pub framework: Framework,
    /// The configuration.
    #[schema(value_type = Object)]
    pub config: Value,
}

impl Validate for Draft {
    fn validate(&self, _: &mut Check) {}
}

/// What a version is frozen from: `"draft"`, or a configuration.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "Expected \"draft\", or a configuration.")]
pub enum Source {
    /// The draft.
    Draft(DraftWord),
    /// This configuration; the draft stays as it is.
    Config(serde_json::Map<String, Value>),
}

/// `draft`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DraftWord {
    /// `draft`
    Draft,
}

/// A version to be frozen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "draft", "note": "Shorter answers", "labels": ["staging"]}))]
pub struct NewVersion {
    /// `"draft"`, or a configuration. The draft if absent.
    #[serde(default = "draft")]
    #[schema(value_type = serde_json::Value, default = "draft")]
    pub from: Source,
    /// What its author says about it; at most 2,000 characters.
    #[serde(default, deserialize_with = "trimmed_option")]
    pub note: Option<String>,
    /// Labels that shall mean it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Makes a version even if the newest one is the same.
    #[serde(default)]
    pub force: bool,
}

fn draft() -> Source {
    Source::Draft(DraftWord::Draft)
}

impl Validate for NewVersion {
    fn validate(&self, check: &mut Check) {
        check.text_if("/note", self.note.as_ref(), 0..=2_000);
        check.count("/labels", self.labels.len(), 20);
        for (place, name) in self.labels.iter().enumerate() {
            judge_label(&format!("/labels/{place}"), name, check);
        }
    }
}

/// The draft becomes a version, and a label moves to it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"note": "Shorter answers"}))]
pub struct NewPublication {
    /// What its author says about it; at most 2,000 characters.
    #[serde(default, deserialize_with = "trimmed_option")]
    pub note: Option<String>,
    /// The label that shall mean it.
    #[serde(default = "production")]
    pub label: String,
}

fn production() -> String {
    super::PRODUCTION.into()
}

impl Validate for NewPublication {
    fn validate(&self, check: &mut Check) {
        check.text_if("/note", self.note.as_ref(), 0..=2_000);
        judge_label("/label", &self.label, check);
    }
}

/// Where a label shall point.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"number": 6}))]
pub struct NewLabel {
    /// The number of a version.
    pub number: i32,
}

impl Validate for NewLabel {
    fn validate(&self, check: &mut Check) {
        check.number("/number", i64::from(self.number), 1..=10_000);
    }
}

/// What a label may be called.
pub(in crate::features::agents) fn judge_label(pointer: &str, name: &str, check: &mut Check) {
    use crate::kernel::error::FieldCode;
    let shaped = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if name.is_empty() || name.len() > 32 || !shaped {
        check.refuse(
            pointer,
            FieldCode::InvalidFormat,
            "1 to 32 lower-case letters, digits and hyphens.",
        );
    } else if name == "latest" {
        check.refuse(
            pointer,
            FieldCode::InvalidChoice,
            "latest is always the newest version.",
        );
    }
}
