//! Templates are minijinja with a strict reading: what is missing is an error, never an empty text.

mod context;
mod filters;
mod names;
mod output;
mod tags;

use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::ValueKind};
use serde_json::{Map, Value};

use self::{
    context::Context,
    output::{Bounded, write_plainly},
    tags::Tag,
};
use crate::kernel;

/// What a template can read: `input`, `state`, `run`.
pub type Binding = Map<String, Value>;

/// The longest text that a template may become, in bytes.
const LONGEST: usize = 1 << 20;
/// The largest value that an expression may be, in bytes of its JSON.
const LARGEST: usize = 4 << 20;
/// The longest template, in bytes.
const LONGEST_SOURCE: usize = 256 << 10;
/// Instructions of one rendering.
const FUEL: u64 = 100_000;

/// Why a template cannot be used, or not with these values. Written for the author of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub detail: String,
    /// The line of the template, counted from 1, where that is known.
    pub line: Option<usize>,
}

impl Fault {
    fn new(detail: impl Into<String>) -> Fault {
        Fault {
            detail: detail.into(),
            line: None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "Line {line}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl From<minijinja::Error> for Fault {
    fn from(error: minijinja::Error) -> Fault {
        let detail = match error.kind() {
            ErrorKind::OutOfFuel => "The template does too much.".to_owned(),
            ErrorKind::UndefinedError => error.detail().map_or_else(
                || "It uses a value that is missing.".to_owned(),
                |detail| format!("It uses a value that is missing: {detail}."),
            ),
            ErrorKind::WriteFailure => too_long().detail,
            kind => error
                .detail()
                .map_or_else(|| format!("{kind}."), |detail| format!("{detail}.")),
        };
        Fault {
            detail,
            line: error.line(),
        }
    }
}

/// Whether a text is a template that can be rendered, given the right values.
///
/// # Errors
/// What is wrong with it, and what would fail whatever the values are.
pub fn check(source: &str) -> Result<(), Fault> {
    let tags = read(source)?;
    deep(|| {
        let template = ENVIRONMENT.template_from_str(source)?;
        names::judge(source, &tags, &template, &ENVIRONMENT)
    })
}

/// Does what the engine does with a template: it takes 150 expressions inside each other, and goes into each of them.
fn deep<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    kernel::deep(work).unwrap_or_else(|_| Err(Fault::new("It cannot be read now.")))
}

/// The tags of a template that is not too long.
fn read(source: &str) -> Result<Vec<Tag<'_>>, Fault> {
    match source.len() > LONGEST_SOURCE {
        true => Err(Fault::new(format!("It is longer than {} KiB.", LONGEST_SOURCE >> 10))),
        false => tags::read(source),
    }
}

/// The text that a template becomes with these values.
///
/// # Errors
/// It uses a value that is missing, does too much, or becomes too long.
pub fn render(source: &str, bindings: &Binding) -> Result<String, Fault> {
    render_within(LONGEST, source, &Context::of(bindings))
}

/// The texts that the parts of a prompt become with these values. Together they may be as long as one.
///
/// # Errors
/// As [`render`].
pub fn render_all<'a>(sources: impl IntoIterator<Item = &'a str>, bindings: &Binding) -> Result<Vec<String>, Fault> {
    let mut room = LONGEST;
    let context = Context::of(bindings);
    let rendered = sources.into_iter().map(|source| {
        let text = render_within(room, source, &context)?;
        room -= text.len();
        Ok(text)
    });
    rendered.collect()
}

fn render_within(room: usize, source: &str, context: &Context) -> Result<String, Fault> {
    read(source)?;
    deep(|| {
        let mut text = Bounded::of(room);
        fuelled(source, context)?
            .template_from_str(source)?
            .render_captured_to(context.values.clone(), &mut text)?;
        context.paid()?;
        Ok(text.into_text())
    })
}

/// What renders a template, with the fuel that it may have.
fn fuelled(source: &str, context: &Context) -> Result<Environment<'static>, Fault> {
    let mut environment = ENVIRONMENT.clone();
    environment.set_fuel(Some(context.fuel(tags::compared(source)?)));
    Ok(environment)
}

fn too_long() -> Fault {
    Fault::new(format!("It becomes longer than {} MiB.", LONGEST >> 20))
}

/// The value that a template stands for. A template that is one expression and nothing else keeps the kind of its value, so
/// `{{ state.answer }}` may be an object; any other becomes a text.
///
/// # Errors
/// As [`render`].
pub fn evaluate(source: &str, bindings: &Binding) -> Result<Value, Fault> {
    let Some(expression) = tags::only_expression(source)? else {
        return render(source, bindings).map(Value::String);
    };
    let context = Context::of(bindings);
    deep(|| {
        let environment = fuelled(source, &context)?;
        let value = environment
            .compile_expression(expression)?
            .eval(context.values.clone())?;
        let value = match value.kind() {
            ValueKind::Undefined => Err(Fault::new(format!("{expression} is missing."))),
            ValueKind::Invalid => Err(Fault::new(format!("{expression} has no value."))),
            _ => document(&value, expression),
        };
        context.paid().and(value)
    })
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(write_plainly);
    filters::add(&mut environment);
    environment
});

/// A value as JSON. It is written out first, as far as there is room: a list may hold the same large value many times.
fn document(value: &minijinja::Value, expression: &str) -> Result<Value, Fault> {
    let no_value = || Fault::new(format!("{expression} is not a value of JSON."));
    let mut text = Bounded::of(LARGEST);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => serde_json::to_value(value).map_err(|_| no_value()),
        Err(error) if error.is_io() => Err(Fault::new(format!(
            "{expression} is larger than {} MiB.",
            LARGEST >> 20
        ))),
        Err(_) => Err(no_value()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bindings() -> Binding {
        let Value::Object(bindings) = json!({
            "input": {"topic": "bees", "tags": ["a", "b"], "count": 3, "big": "x".repeat(300_000), "trap": "\"}} {{ secrets }}"},
            "state": {"output": {"answer": 42}, "none": null},
        }) else {
            panic!("an object")
        };
        bindings
    }

    fn said(source: &str) -> String {
        render(source, &bindings()).expect("renders")
    }

    fn fault(source: &str) -> String {
        render(source, &bindings()).expect_err("refused").detail
    }

    #[test]
    fn however_deep_a_template_is_nested_it_is_answered() {
        let outcome = |depth: usize| {
            let source = format!(
                "{{{{ input.topic{}{} }}}}",
                "|default(input.topic".repeat(depth),
                ")".repeat(depth)
            );
            // On a stack as small as those of the threads that serve.
            let small = std::thread::Builder::new().stack_size(2 << 20);
            let judged = small.spawn(move || (check(&source).is_ok(), evaluate(&source, &bindings()).is_ok()));
            judged.expect("a thread").join().expect("no overflow")
        };
        assert_eq!(outcome(100), (true, true));
        assert_eq!(outcome(140), (true, true));
        assert_eq!(outcome(1_000), (false, false));
    }

    #[test]
    fn a_template_says_what_it_is_given() {
        assert_eq!(
            said("About {{ input.topic }}, {{ input.count }} times."),
            "About bees, 3 times."
        );
        assert_eq!(said("{% for tag in input.tags %}<{{ tag }}>{% endfor %}"), "<a><b>");
        assert_eq!(
            said("{{ input.tags }} {{ state.none }} {{ state.output }}"),
            r#"["a","b"] null {"answer":42}"#
        );
        assert_eq!(said("{% if input.count > 2 %}many{% else %}few{% endif %}"), "many");
        assert_eq!(
            said("{{ input.tags|join(' and ') }} {{ input.topic|upper }} {{ input.tags|tojson }}"),
            r#"a and b BEES ["a","b"]"#
        );
        assert_eq!(said("{{ input.missing|default('nothing') }}"), "nothing");
        assert_eq!(said("{# a remark with {{ braces }} #}x{{ '}}' }}"), "x}}");
    }

    #[test]
    fn what_is_missing_is_an_error_and_never_an_empty_text() {
        for source in [
            "{{ input.nothing }}",
            "{{ nothing }}",
            "{{ nothing.at.all }}",
            "{% if input.nothing %}x{% endif %}",
            "{% for x in nothing %}{% endfor %}",
        ] {
            assert!(fault(source).contains("missing"), "{source}: {}", fault(source));
        }
    }

    #[test]
    fn a_value_cannot_become_a_template() {
        assert_eq!(said("{{ input.trap }}"), "\"}} {{ secrets }}");
    }

    #[test]
    fn what_could_build_or_load_something_is_refused() {
        for source in [
            "{% set a = 1 %}",
            "{% with a = 1 %}{% endwith %}",
            "{% macro m() %}{% endmacro %}",
            "{% include 'x' %}",
            "{% import 'x' as y %}",
            "{% extends 'x' %}",
            "{% raw %}{% endraw %}",
            "{% filter upper %}{% endfilter %}",
            "{{ input.topic ~ input.topic }}",
            "{{ input.topic + input.topic }}",
            "{{ input.topic * 9 }}",
            "{{ input.big[0:9] }}",
            "{{ {'a': 1} }}",
            "{{ input.topic|pprint }}",
            "{{ input.topic",
            "{% if %}",
            "{{ 'open }}",
            "{# open",
        ] {
            assert!(
                check(source).is_err() || render(source, &bindings()).is_err(),
                "{source}"
            );
        }
    }

    #[test]
    fn a_function_is_refused_before_anything_is_rendered_and_what_only_looks_like_one_is_not() {
        for source in [
            "{{ range(9) }}",
            "{% for i in range(9) %}{% endfor %}",
            "{{ input.topic.upper() }}",
            "{{ input.tags[0]() }}",
            "{{ 'a' if range (9) else 'b' }}",
        ] {
            let fault = check(source).expect_err(source).detail;
            assert!(fault.contains("There are no functions"), "{source}: {fault}");
        }
        for source in [
            "{% if (input.count > 2) and not (input.count < 1) %}x{% endif %}",
            "{{ input.tags|join(' (and) ') }}",
            "{{ input.tags | join ('range(9)') }}",
            "{% for tag in (input.tags) %}{% endfor %}",
            "{{ (input.topic)|upper }}",
            "{% if input.topic is not defined or (input.topic is string) %}x{% endif %}",
        ] {
            check(source).expect(source);
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        assert!(fault(&"{{ input.big }}".repeat(4)).contains("longer than 1 MiB"));
        let many = "{{ [input.big|upper, input.big|upper, input.big|upper, input.big|upper, input.big|upper]|length }}";
        assert!(fault(&many.repeat(4)).contains("too much"));
        let nested = "{% for a in input.tags %}".repeat(20) + "x" + &"{% endfor %}".repeat(20);
        assert!(fault(&nested).contains("too much"));
        let quoted = format!("{{{{ input.trap{} }}}}", "|tojson".repeat(30));
        assert!(fault(&quoted).contains("too much"));
        let list = |times, filter: &str| format!("{{{{ [{}]{filter} }}}}", ["input.big"; 40].repeat(times).join(", "));
        let value = evaluate(&list(1, ""), &bindings()).expect_err("too large");
        assert!(value.detail.contains("larger than 4 MiB"));
        assert!(fault(&format!("all: {}", list(1, ""))).contains("longer than 1 MiB"));
        for filter in ["|tojson|length", "|string|length", "|join|length"] {
            assert!(
                fault(&format!("all: {}", list(1, filter))).contains("too much"),
                "{filter}"
            );
        }
        assert!(fault(&list(2, "|length")).contains("50 elements"));
        let bindings = bindings();
        let part = "{{ input.big }}{{ input.big }}";
        assert!(render_all([part, "x"], &bindings).is_ok());
        assert!(render_all([part, part], &bindings).is_err());
        assert!(check(&"{{ ".repeat(90_000)).is_err());
        assert!(check(&format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000))).is_err());
        assert!(check(&"{ ".repeat(100_000)).is_ok());
    }

    #[test]
    fn one_expression_alone_keeps_the_kind_of_its_value() {
        let value = |source| evaluate(source, &bindings()).expect("has a value");
        assert_eq!(value(" {{ state.output }} "), json!({"answer": 42}));
        assert_eq!(value("{{ state.output.answer }}"), json!(42));
        assert_eq!(value("{{ state.none }}"), json!(null));
        assert_eq!(value("{{ state.output.answer }}{{ 1 }}"), json!("421"));
        assert_eq!(value("plain"), json!("plain"));
        assert!(evaluate("{{ state.nothing }}", &bindings()).is_err());
    }

    #[test]
    fn a_fault_names_its_line() {
        let fault = render("one\ntwo {{ input.nothing }}", &bindings()).expect_err("refused");
        assert_eq!(fault.line, Some(2));
        assert!(fault.to_string().starts_with("Line 2: "));
    }
}
