//! A plan: what the engine executes. Nodes, edges, and what becomes of the state between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::features::providers::{ResponseFormat, Role};

/// The version of this language. A worker that meets another one leaves the run to a newer worker.
pub const IR: i32 = 1;
/// Where an edge goes that ends a path.
pub const END: &str = "END";

/// What is executed. It never changes: its name is the SHA-256 of its canonical text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`IR`].
    pub ir: i32,
    /// The nodes of the first tick.
    pub entry: Vec<String>,
    /// What an input must be (JSON Schema).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// What an output must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What the state must be after every tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_schema: Option<Value>,
    /// How writes to a key merge; `replace` where nothing is said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reducers: BTreeMap<String, Reducer>,
    /// By their ids, in the order in which the writes of one tick merge.
    pub nodes: BTreeMap<String, Node>,
    /// What follows what.
    pub edges: Vec<Edge>,
    /// A template of the output.
    pub output: String,
    /// How much a run may do.
    #[serde(default)]
    pub limits: Limits,
}

/// How much a run of the plan may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Steps in all, inline ones included.
    pub max_steps: i32,
    /// What it may cost, in micros of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_micros: Option<i64>,
    /// How long it may work, in seconds, waiting left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_steps: 200,
            max_cost_micros: None,
            timeout_seconds: None,
        }
    }
}

/// What follows a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// A node.
    pub from: String,
    /// A node, or [`END`].
    pub to: String,
}

/// How the writes to one key of the state come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reducer {
    /// The new value stands. One writer a tick.
    Replace,
    /// One more element, or several.
    Append,
    /// JSON Merge Patch (RFC 7396).
    Merge,
    /// The sum.
    Add,
    /// The larger number.
    Max,
    /// The smaller number.
    Min,
    /// Elements that are not there yet, in the order of first sight.
    Union,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Node {
    /// What every kind of node has.
    pub common: Common,
    /// What it does.
    pub work: Work,
}

/// What every kind of node has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// The key of the state that its output goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<String>,
    /// The longest that one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Second tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What a failure means.
    #[serde(skip_serializing_if = "OnError::is_fail")]
    pub on_error: OnError,
}

/// Second tries after a failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, 1 to 10.
    pub attempts: u32,
    /// The longest first wait.
    pub initial_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 3,
            initial_ms: 500,
            max_ms: 128_000,
        }
    }
}

/// What a node's failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// `{"error": …}` goes to the key that the node writes.
    Continue,
}

impl OnError {
    fn is_fail(&self) -> bool {
        *self == OnError::Fail
    }
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Adds messages to a conversation. Inline.
    Prompt {
        /// Which conversation.
        scope: String,
        /// Templates, rendered one by one.
        messages: Vec<PromptMessage>,
    },
    /// Asks a model.
    Llm(Box<Llm>),
    /// Computes a value. Inline.
    Transform {
        /// A template of it.
        value: String,
    },
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptMessage {
    /// Who says it.
    pub role: Role,
    /// A template of what is said.
    pub content: String,
}

/// How a model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Llm {
    /// Which conversation it continues.
    pub scope: String,
    /// The model's name.
    pub model: String,
    /// Asked in order where the model fails in a way that may pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_models: Vec<String>,
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The longest answer, in tokens: what is reserved before every call.
    pub max_output_tokens: u32,
    /// Texts at which it stops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Makes answers alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// How long it may think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// The shape of the answer.
    #[serde(default, skip_serializing_if = "is_text")]
    pub response_format: ResponseFormat,
}

fn is_text(format: &ResponseFormat) -> bool {
    *format == ResponseFormat::Text
}

/// How often, and when, what a lost attempt of a node may have done can be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing happens outside.
    Pure,
    /// Nothing changes outside; it may cost.
    Read,
}

impl Effect {
    /// As the database holds it.
    pub const fn word(self) -> &'static str {
        match self {
            Effect::Pure => "pure",
            Effect::Read => "read",
        }
    }
}

impl Work {
    /// As the plan and the database hold it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Work::Prompt { .. } => "prompt",
            Work::Llm(_) => "llm",
            Work::Transform { .. } => "transform",
        }
    }

    /// What it may do outside.
    pub const fn effect(&self) -> Effect {
        match self {
            Work::Prompt { .. } | Work::Transform { .. } => Effect::Pure,
            Work::Llm(_) => Effect::Read,
        }
    }

    /// Whether it is done inside the transaction that reaches it, without a trip through the queue.
    pub const fn is_inline(&self) -> bool {
        matches!(self.effect(), Effect::Pure)
    }
}

impl Plan {
    /// The nodes that follow a node, the end left out.
    pub fn after<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a str> {
        let follows = self
            .edges
            .iter()
            .filter(move |edge| edge.from == node && edge.to != END);
        follows.map(|edge| edge.to.as_str())
    }
}

/// The names of [`Common`]'s fields.
const COMMON: [&str; 4] = ["writes", "timeout_seconds", "retry", "on_error"];

impl TryFrom<Map<String, Value>> for Node {
    type Error = serde_json::Error;

    fn try_from(mut fields: Map<String, Value>) -> Result<Node, serde_json::Error> {
        let common = COMMON.iter().filter_map(|name| fields.remove_entry(*name)).collect();
        Ok(Node {
            common: serde_json::from_value(Value::Object(common))?,
            work: serde_json::from_value(Value::Object(fields))?,
        })
    }
}

impl From<Node> for Map<String, Value> {
    fn from(node: Node) -> Map<String, Value> {
        let object = |value: Result<Value, _>| match value {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("structs become objects"),
        };
        let mut fields: Map<String, Value> = object(serde_json::to_value(node.work));
        fields.extend(object(serde_json::to_value(node.common)));
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_reads_back_what_it_wrote() {
        let written = json!({"kind": "llm", "scope": "main", "model": "sandbox", "max_output_tokens": 16, "writes": "output",
            "retry": {"attempts": 2, "initial_ms": 1, "max_ms": 2}, "timeout_seconds": 9});
        let node: Node = serde_json::from_value(written.clone()).expect("a node");
        assert_eq!((node.work.kind(), node.work.is_inline()), ("llm", false));
        assert_eq!(serde_json::to_value(node).expect("JSON"), written);
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for node in [
            json!({"kind": "wait", "until": "tomorrow"}),
            json!({"kind": "transform", "value": "x", "when": "later"}),
            json!({"kind": "llm", "scope": "main", "model": "m", "max_output_tokens": 1, "tools": []}),
            json!({"kind": "transform", "value": "x", "retry": {"when": "x"}}),
            json!({"value": "x"}),
        ] {
            assert!(serde_json::from_value::<Node>(node.clone()).is_err(), "{node}");
        }
        let conditional = json!({"from": "a", "to": "b", "when": []});
        assert!(serde_json::from_value::<Edge>(conditional).is_err());
    }
}
