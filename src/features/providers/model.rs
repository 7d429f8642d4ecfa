//! What a model is asked and what it answers, in the shape that all providers share.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The author of the agent.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
    /// A tool that the model called.
    Tool,
}

impl Role {
    /// As the database holds it.
    pub const fn key(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// The role of that name.
    pub fn named(key: &str) -> Option<Role> {
        [Role::System, Role::User, Role::Assistant, Role::Tool]
            .into_iter()
            .find(|role| role.key() == key)
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What shape an answer has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ResponseFormat {
    /// Any text.
    #[default]
    Text,
    /// Any document of JSON.
    Json,
    /// JSON that this schema accepts.
    JsonSchema { schema: Value },
}

/// One question to a model.
#[derive(Clone, Debug, Serialize)]
pub struct ChatRequest {
    /// The model's id, as resolved.
    pub model: String,
    /// The conversation so far, the question last.
    pub messages: Vec<Message>,
    /// How freely it may choose its words, 0 to 2.
    pub temperature: Option<f64>,
    /// The share of likely words that it may choose from.
    pub top_p: Option<f64>,
    /// The longest answer, in tokens.
    pub max_output_tokens: u32,
    /// Texts at which it stops.
    pub stop: Vec<String>,
    /// Makes two answers alike, where the provider can.
    pub seed: Option<i64>,
    /// How long it may think, where it can.
    pub reasoning_effort: Option<String>,
    /// The shape of the answer.
    pub response_format: ResponseFormat,
}

impl ChatRequest {
    /// The tokens of the question, estimated: four bytes each, and four for the frame of every message.
    pub fn estimated_tokens(&self) -> i64 {
        self.messages
            .iter()
            .map(|message| 4 + tokens_of(&message.content))
            .sum()
    }
}

/// The tokens of a text, estimated at four bytes each.
pub(super) fn tokens_of(text: &str) -> i64 {
    text.len().div_ceil(4) as i64
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It had said everything.
    Stop,
    /// It reached the longest answer.
    Length,
}

/// A model's answer.
#[derive(Clone, Debug)]
pub struct Completion {
    /// What it said.
    pub text: String,
    /// Why it stopped.
    pub finish: Finish,
    /// The tokens of this call.
    pub usage: TokenUsage,
}

/// Why a call brought no answer.
#[derive(Clone, Debug)]
pub struct CallFailure {
    /// What programs branch on: `provider_error`, `timeout`, `stream_cut`, `credential_rejected`.
    pub code: &'static str,
    /// The same for people.
    pub message: String,
    /// Whether a second try may bring one.
    pub retryable: bool,
    /// The status of the provider's answer, where there was one.
    pub http_status: Option<u16>,
    /// How long the provider asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What the call cost all the same.
    pub usage: Option<TokenUsage>,
}

impl CallFailure {
    /// The failure that an HTTP status other than 2xx stands for.
    pub fn status(status: u16) -> CallFailure {
        CallFailure {
            code: if matches!(status, 401 | 403) {
                "credential_rejected"
            } else {
                "provider_error"
            },
            message: format!("The provider answered {status}."),
            retryable: matches!(status, 408 | 409 | 425 | 429 | 500 | 502..=599),
            http_status: Some(status),
            retry_after: None,
            usage: None,
        }
    }
}

/// The tokens of one call, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(example = json!({
    "input_tokens": 812, "input_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 0}, "output_tokens": 240,
    "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 1052, "requests": 1, "tool_calls": 0, "estimated": false
}))]
pub struct TokenUsage {
    /// Tokens of what the model read, cached ones included.
    pub input_tokens: i64,
    /// How many of them were special.
    pub input_tokens_details: InputDetails,
    /// Tokens of what the model wrote, its thoughts included.
    pub output_tokens: i64,
    /// How many of them were special.
    pub output_tokens_details: OutputDetails,
    /// Both together.
    pub total_tokens: i64,
    /// Calls to a model.
    pub requests: i64,
    /// Calls to a tool.
    pub tool_calls: i64,
    /// True if a number in it was counted here, because the provider gave none.
    pub estimated: bool,
}

/// Special tokens among those that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct InputDetails {
    /// Read from the provider's cache.
    pub cached_tokens: i64,
    /// Written to the provider's cache.
    pub cache_write_tokens: i64,
}

/// Special tokens among those that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct OutputDetails {
    /// Thought, and not said.
    pub reasoning_tokens: i64,
}

impl TokenUsage {
    /// One call of so many tokens.
    pub fn of_call(input_tokens: i64, output_tokens: i64) -> TokenUsage {
        TokenUsage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens + output_tokens,
            requests: 1,
            ..TokenUsage::default()
        }
    }

    /// Adds another call, or takes an estimate back with `times` −1.
    pub fn add(&mut self, other: &TokenUsage, times: i64) {
        self.input_tokens += times * other.input_tokens;
        self.input_tokens_details.cached_tokens += times * other.input_tokens_details.cached_tokens;
        self.input_tokens_details.cache_write_tokens += times * other.input_tokens_details.cache_write_tokens;
        self.output_tokens += times * other.output_tokens;
        self.output_tokens_details.reasoning_tokens += times * other.output_tokens_details.reasoning_tokens;
        self.total_tokens += times * other.total_tokens;
        self.requests += times * other.requests;
        self.tool_calls += times * other.tool_calls;
        self.estimated |= other.estimated;
    }
}

/// What tokens cost, in micros of a dollar for a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Tokens that are read.
    pub input: i64,
    /// Tokens that are written.
    pub output: i64,
}

impl Price {
    /// What these tokens cost, in micros of a dollar, each kind rounded up.
    pub fn of(&self, input_tokens: i64, output_tokens: i64) -> i64 {
        let cost = |tokens: i64, price: i64| (i128::from(tokens) * i128::from(price) + 999_999).div_euclid(1_000_000);
        i64::try_from(cost(input_tokens, self.input) + cost(output_tokens, self.output)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_up_and_never_overflows() {
        let price = Price {
            input: 2_500_000,
            output: 10_000_000,
        };
        assert_eq!(price.of(812, 240), 2_030 + 2_400);
        assert_eq!(price.of(1, 0), 3);
        assert_eq!(price.of(0, 0), 0);
        assert_eq!(price.of(i64::MAX, i64::MAX), i64::MAX);
    }

    #[test]
    fn retryable_is_what_may_go_well_the_second_time() {
        let retryable = |status| CallFailure::status(status).retryable;
        assert!([408, 409, 425, 429, 500, 502, 503, 529].into_iter().all(retryable));
        assert!(![400, 401, 403, 404, 422, 501].into_iter().any(retryable));
    }

    #[test]
    fn an_estimate_can_be_taken_back() {
        let mut sum = TokenUsage::of_call(10, 20);
        sum.add(&TokenUsage::of_call(5, 6), 1);
        assert_eq!((sum.total_tokens, sum.requests), (41, 2));
        sum.add(&TokenUsage::of_call(5, 6), -1);
        assert_eq!(sum, TokenUsage::of_call(10, 20));
    }
}
