//! The filters and tests that a template may use. Those that make a text pay for it out of one purse, so that no chain or list of them
//! can fill the memory.

use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests, value::Kwargs};

use super::output::Bounded;

/// All that the filters of one rendering may build, in bytes.
const PURSE: usize = 4 << 20;

struct Spent(usize);

pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("default", filters::default);
    environment.add_filter("d", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("count", filters::length);
    environment.add_filter("round", filters::round);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("lower", |state: &mut State<'_, '_>, text: &str| {
        paid(state, text.to_lowercase())
    });
    environment.add_filter("upper", |state: &mut State<'_, '_>, text: &str| {
        paid(state, text.to_uppercase())
    });
    environment.add_filter("trim", |state: &mut State<'_, '_>, text: &str| {
        pay(state, text.len())?;
        Ok::<_, Error>(text.trim().to_owned())
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("string", text_of);
    environment.add_filter("tojson", json_of);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", |value: &Value| value.is_undefined());
    environment.add_test("none", tests::is_none);
    environment.add_test("string", tests::is_string);
    environment.add_test("number", tests::is_number);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("sequence", tests::is_sequence);
}

/// A number of a text, which is paid for as if it were written.
fn int(
    state: &mut State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    named: Kwargs,
) -> Result<Value, Error> {
    pay(state, value.as_str().map_or(0, str::len))?;
    filters::int(state, value, default, base, named)
}

/// The same with what stands behind its point.
fn float(state: &mut State<'_, '_>, value: &Value, default: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    pay(state, value.as_str().map_or(0, str::len))?;
    filters::float(state, value, default, named)
}

/// At most so many characters, with an ellipsis where something was left off.
fn truncate(state: &mut State<'_, '_>, text: &str, length: Option<usize>) -> Result<String, Error> {
    match text.char_indices().nth(length.unwrap_or(255)) {
        Some((end, _)) => paid(state, format!("{}…", &text[..end])),
        None => paid(state, text.to_owned()),
    }
}

fn replace(state: &mut State<'_, '_>, text: &str, from: &str, to: &str) -> Result<String, Error> {
    let growth = text.matches(from).count().saturating_mul(to.len());
    pay(state, text.len().saturating_add(growth))?;
    Ok(text.replace(from, to))
}

fn join(state: &mut State<'_, '_>, values: &Value, between: Option<&str>) -> Result<String, Error> {
    let between = between.unwrap_or_default();
    let mut joined = String::new();
    for (place, value) in values.try_iter()?.enumerate() {
        let text = text_of(state, &value)?;
        pay(state, between.len())?;
        if place > 0 {
            joined.push_str(between);
        }
        joined.push_str(&text);
    }
    Ok(joined)
}

/// A text as it is, anything else as JSON: as it would be printed.
fn text_of(state: &mut State<'_, '_>, value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => paid(state, text.to_owned()),
        None if value.is_undefined() => Err(Error::from(ErrorKind::UndefinedError)),
        None => json_of(state, value),
    }
}

/// A value as JSON, as far as the purse goes: it is paid for as it grows.
fn json_of(state: &mut State<'_, '_>, value: &Value) -> Result<String, Error> {
    let left = PURSE.saturating_sub(state.get_or_insert_extension(Spent(0)).0);
    let mut text = Bounded::of(left);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => paid(state, text.into_text()),
        Err(error) if error.is_io() => Err(ErrorKind::OutOfFuel.into()),
        Err(_) => Err(Error::new(ErrorKind::InvalidOperation, "not a value of JSON")),
    }
}

fn paid(state: &mut State<'_, '_>, text: String) -> Result<String, Error> {
    pay(state, text.len())?;
    Ok(text)
}

fn pay(state: &mut State<'_, '_>, bytes: usize) -> Result<(), Error> {
    let spent = state.get_or_insert_extension(Spent(0));
    spent.0 = spent.0.saturating_add(bytes);
    if spent.0 > PURSE {
        Err(ErrorKind::OutOfFuel.into())
    } else {
        Ok(())
    }
}
