//! Templates are minijinja with a strict reading: what is missing is an error, never an empty text.

mod calls;
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
use crate::kernel::{check::brief, deep::deep};

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
    fn new(detail: impl AsRef<str>) -> Fault {
        Fault::at(None, detail)
    }

    /// What it repeats of the template may be long.
    fn at(line: Option<usize>, detail: impl AsRef<str>) -> Fault {
        Fault {
            detail: brief(detail.as_ref(), 1_000),
            line,
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
        Fault::at(error.line(), detail)
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

/// How many words and signs the tags of a template hold: how long it takes to judge goes by that. None, if it cannot be read.
pub fn words(source: &str) -> usize {
    let tags = read(source).unwrap_or_default();
    tags.iter().map(|tag| tag.words).sum()
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
    let called = &brief(expression, 300);
    deep(|| {
        let environment = fuelled(source, &context)?;
        let value = environment
            .compile_expression(expression)?
            .eval(context.values.clone())?;
        let value = match value.kind() {
            ValueKind::Undefined => Err(Fault::new(format!("{called} is missing."))),
            ValueKind::Invalid => Err(Fault::new(format!("{called} has no value."))),
            _ => document(&value, called),
        };
        context.paid().and(value)
    })
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // So that errors know what they are about.
    environment.set_debug(true);
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
mod tests;
