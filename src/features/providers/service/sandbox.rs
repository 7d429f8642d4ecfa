//! The provider that answers without a model: for development, tests and the first five minutes.
//!
//! The answer follows from the question, so the same question is answered the same way. Directives in the last message make it do
//! something else: `[[say …]]`, `[[json …]]`, `[[sleep ms]]`, `[[fail status times]]`, `[[cut after words]]`, `[[usage in out]]`. Whatever
//! is no directive is plain text.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::instance;
use crate::features::providers::model::{
    CallFailure, ChatRequest, Completion, Finish, Price, ResponseFormat, TokenUsage, tokens_of,
};

/// One micro a token, so that budgets can be seen to work.
pub(in crate::features::providers) const PRICE: Price = Price {
    input: 1_000_000,
    output: 1_000_000,
};

/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(600);

const WORDS: [&str; 32] = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper", "kestrel",
    "lantern", "meadow", "north", "orchard", "pebble", "quartz", "river", "summit", "timber", "umber", "valley",
    "willow", "yarrow", "zephyr", "anchor", "beacon", "copper", "dune", "estuary", "fern", "glacier",
];

/// What will happen.
#[derive(Debug)]
pub(in crate::features::providers) struct Script {
    /// How long it takes.
    pub(in crate::features::providers) wait: Duration,
    /// How it ends.
    pub(in crate::features::providers) end: Result<Completion, CallFailure>,
}

/// One `[[…]]`.
#[derive(Debug, PartialEq)]
enum Directive {
    Say(String),
    Json(Value),
    Sleep(Duration),
    Fail { status: u16, times: Option<u32> },
    Cut { after: usize },
    Usage { input: i64, output: i64 },
}

/// What the provider does with this question when it is asked for the `attempt`th time, counted from 1.
pub(in crate::features::providers) fn script(request: &ChatRequest, attempt: u32) -> Script {
    let question = request.messages.last().map_or("", |message| message.content.as_str());
    let directives = directives(question);
    let wait = directives
        .iter()
        .map(|one| {
            if let Directive::Sleep(time) = one {
                *time
            } else {
                Duration::ZERO
            }
        })
        .sum();
    let status = directives.iter().find_map(|one| match one {
        Directive::Fail { status, times } if times.is_none_or(|times| attempt <= times) => Some(*status),
        _ => None,
    });
    let end = match status {
        Some(status) => Err(CallFailure::status(status)),
        None => answer(request, &directives),
    };
    Script {
        wait: Duration::min(wait, LONGEST),
        end,
    }
}

fn answer(request: &ChatRequest, directives: &[Directive]) -> Result<Completion, CallFailure> {
    let said = directives.iter().rev().find_map(|one| match one {
        Directive::Say(text) => Some(text.clone()),
        Directive::Json(value) => Some(value.to_string()),
        _ => None,
    });
    let mut text = said.unwrap_or_else(|| match &request.response_format {
        ResponseFormat::Text => sentence(request),
        ResponseFormat::Json => json!({"answer": sentence(request)}).to_string(),
        ResponseFormat::JsonSchema { schema } => instance::of(schema, &sentence(request)).to_string(),
    });
    if let Some(end) = request.stop.iter().filter_map(|stop| text.find(stop)).min() {
        text.truncate(end);
    }
    let usage = |text: &str| {
        let stated = directives.iter().find_map(|one| match one {
            Directive::Usage { input, output } => Some(TokenUsage::of_call(*input, *output)),
            _ => None,
        });
        stated.unwrap_or_else(|| TokenUsage::of_call(request.estimated_tokens(), tokens_of(text)))
    };
    if let Some(after) = directives.iter().find_map(|one| {
        if let Directive::Cut { after } = one {
            Some(*after)
        } else {
            None
        }
    }) {
        let heard: Vec<&str> = text.split_whitespace().take(after).collect();
        return Err(CallFailure {
            code: "stream_cut",
            message: format!("The answer broke off after {} words.", heard.len()),
            retryable: true,
            http_status: Some(200),
            retry_after: None,
            usage: Some(TokenUsage {
                estimated: true,
                ..usage(&heard.join(" "))
            }),
        });
    }
    let longest = request.max_output_tokens as usize * 4;
    let (text, finish) = match text.char_indices().find(|(place, _)| *place >= longest) {
        Some((end, _)) => (text[..end].to_owned(), Finish::Length),
        None => (text, Finish::Stop),
    };
    Ok(Completion {
        usage: usage(&text),
        text,
        finish,
    })
}

/// Twelve words that follow from the whole question.
fn sentence(request: &ChatRequest) -> String {
    let question = serde_json::to_vec(&request.messages).expect("plain texts");
    let words: Vec<&str> = digest(&SHA256, &question)
        .as_ref()
        .iter()
        .take(12)
        .map(|byte| WORDS[usize::from(*byte) % WORDS.len()])
        .collect();
    format!("Sandbox: {}.", words.join(" "))
}

/// The directives of a text, in their order.
fn directives(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    // Nothing is a directive that no bracket closes.
    let mut rest = &text[..text.rfind("]]").map_or(0, |last| last + 2)];
    while let Some(start) = rest.find("[[") {
        let inside = &rest[start + 2..];
        match directive(inside) {
            Some((directive, length)) => {
                found.push(directive);
                rest = &inside[length..];
            }
            None => rest = inside,
        }
    }
    found
}

/// The longest directive that says neither a text nor a document, in bytes.
const NEAR: usize = 200;

/// The directive that begins here and how many bytes it takes, its closing brackets included.
fn directive(text: &str) -> Option<(Directive, usize)> {
    if let Some(document) = text.strip_prefix("json ") {
        // A document may hold `]]` itself, so it is read as JSON and not up to the next brackets.
        let mut values = serde_json::Deserializer::from_str(document).into_iter::<Value>();
        let value = values.next()?.ok()?;
        let after = &document[values.byte_offset()..];
        let length = text.len() - after.trim_start().strip_prefix("]]")?.len();
        return Some((Directive::Json(value), length));
    }
    // What is said may be long, and ends with the first brackets; of anything else these are near.
    let says = text.trim_start().strip_prefix("say");
    let near = match says.is_some_and(|said| said.starts_with(char::is_whitespace)) {
        true => text.len(),
        false => text.floor_char_boundary(NEAR),
    };
    let length = text[..near].find("]]")?;
    let mut words = text[..length].split_whitespace();
    let directive = match words.next()? {
        "say" => Directive::Say(text[..length].trim_start().strip_prefix("say")?.trim().to_owned()),
        "sleep" => Directive::Sleep(Duration::from_millis(words.next()?.parse().ok()?).min(LONGEST)),
        "fail" => Directive::Fail {
            status: words
                .next()?
                .parse()
                .ok()
                .filter(|status| (400..=599).contains(status))?,
            times: words.next().map(str::parse).transpose().ok()?,
        },
        "cut" => Directive::Cut {
            after: words.find(|word| *word != "after")?.parse().ok()?,
        },
        "usage" => {
            let mut number = || {
                words
                    .next()?
                    .parse()
                    .ok()
                    .filter(|tokens| (0..=1_000_000_000).contains(tokens))
            };
            Directive::Usage {
                input: number()?,
                output: number()?,
            }
        }
        _ => return None,
    };
    Some((directive, length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::providers::model::{Message, Role};

    fn asked(question: &str) -> ChatRequest {
        ChatRequest {
            model: "sandbox/echo".into(),
            messages: vec![
                Message {
                    role: Role::System,
                    content: "Be brief. [[say not this]]".into(),
                },
                Message {
                    role: Role::User,
                    content: question.into(),
                },
            ],
            temperature: None,
            top_p: None,
            max_output_tokens: 4_096,
            stop: Vec::new(),
            seed: None,
            reasoning_effort: None,
            response_format: ResponseFormat::Text,
        }
    }

    fn said(question: &str) -> String {
        script(&asked(question), 1).end.expect("an answer").text
    }

    fn failure(question: &str, attempt: u32) -> Option<(&'static str, Option<u16>, bool)> {
        script(&asked(question), attempt)
            .end
            .err()
            .map(|failure| (failure.code, failure.http_status, failure.retryable))
    }

    #[test]
    fn the_same_question_is_answered_the_same_way() {
        assert_eq!(said("What is a guild?"), said("What is a guild?"));
        assert_ne!(said("What is a guild?"), said("What is a hall?"));
        assert!(said("What is a guild?").starts_with("Sandbox: "));
    }

    #[test]
    fn directives_decide_the_answer() {
        assert_eq!(said("Please [[say good day]] now"), "good day");
        assert_eq!(said(r#"[[json {"a": [[1]], "b": "]]"}]]"#), r#"{"a":[[1]],"b":"]]"}"#);
        assert_eq!(said("[[say one]] [[say two]]"), "two");
        assert_eq!(script(&asked("[[sleep 250]]"), 1).wait, Duration::from_millis(250));
        assert_eq!(script(&asked("[[sleep 99999999]]"), 1).wait, LONGEST);
    }

    #[test]
    fn failures_stop_after_so_many_tries() {
        assert_eq!(failure("[[fail 503 2]]", 2), Some(("provider_error", Some(503), true)));
        assert_eq!(failure("[[fail 503 2]]", 3), None);
        assert_eq!(
            failure("[[fail 401]]", 99),
            Some(("credential_rejected", Some(401), false))
        );
        let cut = script(&asked("[[say one two three]] [[cut after 2]]"), 1)
            .end
            .expect_err("cut");
        assert_eq!(
            (cut.code, cut.usage.expect("something was said").estimated),
            ("stream_cut", true)
        );
    }

    #[test]
    fn usage_is_counted_or_as_told() {
        let usage = script(&asked("[[usage 812 240]]"), 1).end.expect("an answer").usage;
        assert_eq!(
            (usage.input_tokens, usage.output_tokens, usage.total_tokens),
            (812, 240, 1_052)
        );
        let counted = script(&asked("[[say abcd]]"), 1).end.expect("an answer").usage;
        assert_eq!(counted.output_tokens, 1);
        assert!(counted.input_tokens > 8);
    }

    #[test]
    fn what_is_no_directive_is_plain_text() {
        for text in [
            "[[",
            "[[]]",
            "[[say",
            "[[fail]]",
            "[[fail 42]]",
            "[[sleep soon]]",
            "[[json {]]",
            "[[usage 1]]",
            "[[dance]]",
            "a[b[c]]",
        ] {
            assert_eq!(directives(text), [], "{text}");
        }
        assert_eq!(directives("[[dance]] [[say x]]"), [Directive::Say("x".into())]);
    }

    #[test]
    fn brackets_that_lead_nowhere_are_plain_text_however_many() {
        for (text, found) in [
            ("[", 0),
            ("[[sayonara ", 0),
            ("[[sleep x ", 0),
            ("[[json [", 0),
            ("[[say x]]", 1),
        ] {
            let question = format!("{}]]", text.repeat(100_000));
            assert_eq!(directives(&question).len(), found * 100_000, "{text}");
        }
    }

    #[test]
    fn a_schema_gets_an_instance() {
        let schema = json!({"type": "object", "properties": {
            "title": {"type": "string"}, "count": {"type": "integer", "minimum": 2}, "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}}, "deep": {"properties": {"ok": {"type": "boolean"}}}}});
        let request = ChatRequest {
            response_format: ResponseFormat::JsonSchema { schema: schema.clone() },
            ..asked("Describe.")
        };
        let answer: Value = serde_json::from_str(&script(&request, 1).end.expect("an answer").text).expect("JSON");
        assert_eq!(answer["count"], 2);
        assert_eq!(answer["kind"], "a");
        assert_eq!(answer["deep"], json!({"ok": true}));
        assert!(jsonschema::is_valid(&schema, &answer));
    }

    #[test]
    fn an_answer_ends_at_a_stop() {
        let request = ChatRequest {
            stop: vec!["three".into(), " two".into()],
            ..asked("[[say one two three]]")
        };
        assert_eq!(script(&request, 1).end.expect("an answer").text, "one");
    }

    #[test]
    fn an_answer_is_no_longer_than_asked() {
        let request = ChatRequest {
            max_output_tokens: 2,
            ..asked("[[say äöüäöüäöü]]")
        };
        let completion = script(&request, 1).end.expect("an answer");
        assert_eq!((completion.text.as_str(), completion.finish), ("äöüä", Finish::Length));
    }
}
