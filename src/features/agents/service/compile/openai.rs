//! Framework `openai`: one prompt, one model.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        super::model::{
            config::OpenAi,
            plan::{Common, END, Edge, IR, Limits, Llm, Node, Plan, PromptMessage, Retry, Work},
        },
        schemas,
    },
    template,
};
use crate::{
    features::{
        prompts,
        providers::{Providers, ResponseFormat, Role},
    },
    kernel::{
        check::Check,
        error::{FieldCode, FieldError},
        shape,
    },
};

/// The longest answer where a configuration says nothing: it is what every call reserves.
const OUTPUT_TOKENS: u32 = 4_096;

/// `prompt → llm`.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub(super) fn compile(config: &Value, providers: &Providers) -> Result<Plan, Vec<FieldError>> {
    let config: OpenAi = shape::read(config, "/config").map_err(|fault| vec![fault])?;
    let mut check = Check::default();
    let messages = conversation(&config, &mut check);
    let max_output_tokens = settings(&config, providers, &mut check);
    let faults = check.into_errors();
    if !faults.is_empty() {
        return Err(faults);
    }
    let llm = Llm {
        scope: "main".into(),
        model: config.model,
        fallback_models: config.fallback_models,
        temperature: config.temperature,
        top_p: config.top_p,
        max_output_tokens,
        stop: config.stop,
        seed: config.seed,
        reasoning_effort: config.reasoning_effort,
        response_format: config.response_format.clone(),
    };
    let output_schema = match config.response_format {
        ResponseFormat::JsonSchema { schema } => Some(schema),
        ResponseFormat::Text | ResponseFormat::Json => None,
    };
    let prompt = Node {
        common: Common::default(),
        work: Work::Prompt {
            scope: "main".into(),
            messages,
        },
    };
    let ask = Node {
        common: Common {
            writes: Some("output".into()),
            timeout_seconds: Some(600),
            retry: Some(Retry::default()),
            ..Common::default()
        },
        work: Work::Llm(Box::new(llm)),
    };
    let edge = |from: &str, to: &str| Edge {
        from: from.into(),
        to: to.into(),
    };
    Ok(Plan {
        ir: IR,
        entry: vec!["prompt".into()],
        input_schema: config.input_schema,
        output_schema,
        state_schema: None,
        reducers: BTreeMap::new(),
        nodes: BTreeMap::from([("prompt".to_owned(), prompt), ("llm".to_owned(), ask)]),
        edges: vec![edge("prompt", "llm"), edge("llm", END)],
        output: "{{ state.output }}".into(),
        limits: Limits::default(),
    })
}

/// The most words and signs in the tags of all templates together: to judge so many takes some hundredths of a second.
const WORDS: usize = 10_000;

/// The messages of the prompt, each a template that can be rendered.
fn conversation(config: &OpenAi, check: &mut Check) -> Vec<PromptMessage> {
    let said = |role, content: &String| PromptMessage {
        role,
        content: content.clone(),
    };
    let more = config.messages.iter().flatten().map(|message| &message.content);
    let texts = config.system.iter().chain(&config.prompt).chain(more);
    if texts.map(|text| prompts::words(text)).sum::<usize>() > WORDS {
        let detail = format!("Its templates have at most {WORDS} words and signs in their tags.");
        check.refuse("/config", FieldCode::TooLarge, detail);
        return Vec::new();
    }
    let mut messages: Vec<PromptMessage> = config.system.iter().map(|text| said(Role::System, text)).collect();
    if let Some(system) = &config.system {
        template("/config/system", system, check);
    }
    match (&config.prompt, &config.messages) {
        (Some(prompt), None) => {
            template("/config/prompt", prompt, check);
            messages.push(said(Role::User, prompt));
        }
        (None, Some(more)) => {
            check.count("/config/messages", more.len(), 200);
            if more.is_empty() {
                check.refuse("/config/messages", FieldCode::Required, "At least one message.");
            }
            for (place, message) in more.iter().enumerate() {
                template(&format!("/config/messages/{place}/content"), &message.content, check);
                if message.role == Role::Tool {
                    let detail = "A conversation begins with system, user and assistant.";
                    check.refuse(
                        format!("/config/messages/{place}/role"),
                        FieldCode::InvalidChoice,
                        detail,
                    );
                }
            }
            messages.extend(more.iter().cloned());
        }
        (None, None) => check.refuse("/config/prompt", FieldCode::Required, "Either a prompt or messages."),
        (Some(_), Some(_)) => check.refuse(
            "/config/messages",
            FieldCode::ConflictsWith,
            "Either a prompt or messages.",
        ),
    }
    messages
}

/// Everything but the messages. Answers the longest answer, in tokens.
fn settings(config: &OpenAi, providers: &Providers, check: &mut Check) -> u32 {
    let found = model("/config/model", &config.model, providers, check);
    check.count("/config/fallback_models", config.fallback_models.len(), 5);
    for (place, name) in config.fallback_models.iter().enumerate() {
        model(&format!("/config/fallback_models/{place}"), name, providers, check);
    }
    within("/config/temperature", config.temperature, 2.0, check);
    within("/config/top_p", config.top_p, 1.0, check);
    check.count("/config/stop", config.stop.len(), 4);
    for (place, text) in config.stop.iter().enumerate() {
        check.text(&format!("/config/stop/{place}"), text, 1..=100);
    }
    let efforts = ["minimal", "low", "medium", "high"];
    if config
        .reasoning_effort
        .as_deref()
        .is_some_and(|effort| !efforts.contains(&effort))
    {
        check.refuse(
            "/config/reasoning_effort",
            FieldCode::InvalidChoice,
            format!("One of {}.", efforts.join(", ")),
        );
    }
    if let Some(schema) = &config.input_schema {
        schema_at("/config/input_schema", schema, check);
    }
    if let ResponseFormat::JsonSchema { schema } = &config.response_format {
        schema_at("/config/response_format/schema", schema, check);
    }
    let most = found.unwrap_or(u32::MAX);
    match config.max_output_tokens {
        Some(tokens) => {
            check.number("/config/max_output_tokens", tokens, 1..=i64::from(most));
            u32::try_from(tokens).unwrap_or(most)
        }
        None => OUTPUT_TOKENS.min(most),
    }
}

/// The longest answer of a model, if there is such a model.
fn model(pointer: &str, name: &str, providers: &Providers, check: &mut Check) -> Option<u32> {
    let found = providers.find(name).map(|model| model.max_output_tokens);
    if found.is_none() {
        check.refuse(
            pointer,
            FieldCode::NotFound,
            format!("There is no such model. Known are: {}.", providers.names()),
        );
    }
    found
}

fn schema_at(pointer: &str, schema: &Value, check: &mut Check) {
    if let Err(detail) = schemas::check(schema) {
        check.refuse(pointer, FieldCode::InvalidFormat, detail);
    }
}

fn within(pointer: &str, number: Option<f64>, most: f64, check: &mut Check) {
    match number {
        Some(number) if number < 0.0 => check.refuse(pointer, FieldCode::TooSmall, "At least 0."),
        Some(number) if number > most => check.refuse(pointer, FieldCode::TooLarge, format!("At most {most}.")),
        _ => {}
    }
}
