//! What an author writes: the configuration of a framework.

use serde::Deserialize;
use serde_json::Value;

use super::plan::PromptMessage;
use crate::features::providers::ResponseFormat;

/// The configuration of framework `openai`: one prompt, one model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    /// The model's name.
    pub model: String,
    /// What the model is told before everything else. A template.
    #[serde(default)]
    pub system: Option<String>,
    /// The question. A template. Either this or `messages`.
    #[serde(default)]
    pub prompt: Option<String>,
    /// A conversation. Templates.
    #[serde(default)]
    pub messages: Option<Vec<PromptMessage>>,
    /// 0 to 2.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// The longest answer, in tokens; 4,096 if nothing is said.
    #[serde(default)]
    pub max_output_tokens: Option<i64>,
    /// Texts at which the model stops.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Makes answers alike.
    #[serde(default)]
    pub seed: Option<i64>,
    /// `minimal`, `low`, `medium` or `high`.
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    /// The shape of the answer.
    #[serde(default)]
    pub response_format: ResponseFormat,
    /// Asked in order where the model fails in a way that may pass.
    #[serde(default)]
    pub fallback_models: Vec<String>,
    /// What an input must be (JSON Schema). Anything, if nothing is said.
    #[serde(default)]
    pub input_schema: Option<Value>,
}
