//! Gives a JSON document its shape, and says everything that keeps it from having it.

mod strict;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::strict::Strict;
use crate::kernel::{
    check::escape,
    error::{FieldCode, FieldError},
    id::{NOT_FOUND_MARK, public},
};

/// How often a document is read at most to find everything that is wrong with it,
const READINGS: usize = 40;
/// and how many bytes are read for that in all: of a large one, what is found first has to do.
const EFFORT: usize = 512 << 10;

/// A `T` from a document.
///
/// # Errors
/// Every field that does not fit, in the order in which they are found.
pub fn shape<T: DeserializeOwned>(document: &Value) -> Result<T, Vec<FieldError>> {
    match read_once(document) {
        Ok(value) => Ok(value),
        Err(first) => Err(all::<T>(document.clone(), first)),
    }
}

fn read_once<T: DeserializeOwned>(document: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Strict(document)).map_err(misfit)
}

/// Reading ends at the first fault. So each is noted, something that may fit is put in its place, and it is read again.
fn all<T: DeserializeOwned>(mut document: Value, first: FieldError) -> Vec<FieldError> {
    let readings = READINGS.min(EFFORT / document.to_string().len().max(1));
    let mut found: Vec<FieldError> = Vec::new();
    let mut placed: Vec<(String, usize)> = Vec::new();
    let mut fault = first;
    for _ in 0..readings.max(1) {
        let pointer = fault.pointer.clone();
        let within = |(outer, _): &(String, usize)| *outer == pointer || pointer.starts_with(&format!("{outer}/"));
        if !placed.iter().any(within) {
            found.push(fault.clone());
        }
        let tries = match placed.iter_mut().find(|(known, _)| *known == pointer) {
            Some((_, tries)) => {
                *tries += 1;
                *tries
            }
            None => {
                placed.push((pointer.clone(), 0));
                0
            }
        };
        let put = match fault.code {
            FieldCode::UnknownField => place(&mut document, &pointer, None),
            _ => stand_in(&fault, tries).is_some_and(|value| place(&mut document, &pointer, Some(value))),
        };
        if !put {
            break;
        }
        match read_once::<T>(&document) {
            Ok(_) => break,
            Err(next) => fault = next,
        }
    }
    found
}

/// What may fit where something else did not.
fn stand_in(fault: &FieldError, tries: usize) -> Option<Value> {
    let first_word = |text: &str| {
        let text = text.trim_start_matches("Expected ").trim_start_matches("one of ");
        text.split([',', ' ', '.']).next().map(str::to_owned)
    };
    match fault.code {
        FieldCode::InvalidChoice if tries < 4 => first_word(&fault.detail).map(Value::from),
        FieldCode::NotFound if tries < 4 => {
            let prefix = fault.detail.split(' ').find_map(|word| word.strip_suffix('_'))?;
            Some(json!(public(prefix, uuid::Uuid::nil())))
        }
        _ => {
            let known = [
                json!(""),
                json!(1),
                json!(true),
                json!({}),
                json!([]),
                json!("2000-01-01T00:00:00Z"),
            ];
            known.get(tries).cloned()
        }
    }
}

/// Puts a value where the pointer leads, or takes away what is there. False if it leads nowhere.
fn place(document: &mut Value, pointer: &str, value: Option<Value>) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return false;
    };
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(members)), Some(value)) => {
            members.insert(unescape(last), value);
            true
        }
        (Some(Value::Object(members)), None) => members.remove(&unescape(last)).is_some(),
        (Some(Value::Array(elements)), Some(value)) => {
            let Ok(place) = last.parse::<usize>() else {
                return false;
            };
            let Some(element) = elements.get_mut(place) else {
                return false;
            };
            *element = value;
            true
        }
        _ => false,
    }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// Gives a part of a document its shape: what a slice keeps as JSON until it is needed. `at` is the pointer of that part.
///
/// # Errors
/// The first field that does not fit.
pub fn read<T: DeserializeOwned>(part: &Value, at: &str) -> Result<T, FieldError> {
    read_once(part).map_err(|error| FieldError {
        pointer: format!("{at}{}", error.pointer),
        ..error
    })
}

/// serde's refusal as a field error.
fn misfit(error: serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let mut pointer: String = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(format!("/{index}")),
            serde_path_to_error::Segment::Map { key } => Some(format!("/{}", escape(key))),
            _ => None,
        })
        .collect();
    let text = error.inner().to_string();
    let quoted = || text.split('`').nth(1).unwrap_or_default().to_owned();
    let expected = || text.split_once("expected ").map(|(_, wanted)| wanted.replace('`', ""));
    let (code, detail) = if let Some(detail) = text.strip_prefix(NOT_FOUND_MARK) {
        (FieldCode::NotFound, detail.to_owned())
    } else if text.starts_with("unknown field") {
        if !pointer.ends_with(&format!("/{}", escape(&quoted()))) {
            pointer += &format!("/{}", escape(&quoted()));
        }
        let known = expected().map(|known| format!(" Known are {}.", known.replace("one of ", "")));
        (
            FieldCode::UnknownField,
            format!("There is no such field.{}", known.unwrap_or_default()),
        )
    } else if text.starts_with("missing field") {
        pointer += &format!("/{}", escape(&quoted()));
        (FieldCode::Required, "This field is required.".to_owned())
    } else if text.starts_with("unknown variant") {
        let choices = expected().unwrap_or_default();
        (FieldCode::InvalidChoice, format!("Expected {choices}."))
    } else if let Some(wanted) = expected().filter(|_| text.starts_with("invalid type")) {
        (FieldCode::WrongType, format!("Expected {}.", in_json(&wanted)))
    } else if text.starts_with("invalid value") {
        (FieldCode::TooLarge, "The value is out of range.".to_owned())
    } else if text.starts_with("Expected ") {
        // An input of several forms says by itself what it may be.
        (FieldCode::WrongType, text)
    } else if TIMES.contains(&text.as_str()) {
        (
            FieldCode::InvalidFormat,
            "Expected a time, as 2026-11-20T17:30:00Z.".to_owned(),
        )
    } else {
        (FieldCode::InvalidFormat, "The value is not acceptable.".to_owned())
    };
    FieldError { pointer, code, detail }
}

/// What chrono says of a text that is no time.
const TIMES: [&str; 6] = [
    "input is out of range",
    "no possible date and time matching input",
    "input is not enough for unique date and time",
    "input contains invalid characters",
    "premature end of input",
    "trailing input",
];

/// What serde calls something, as JSON calls it.
fn in_json(wanted: &str) -> &str {
    match wanted {
        "a map" => "an object",
        "a sequence" => "an array",
        "unit" => "null",
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => "an integer",
        rust if rust.starts_with("struct ") || rust.contains("ly tagged enum ") => "an object",
        rust if rust.starts_with("enum ") || rust.ends_with(" enum") => "a string",
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, Utc};
    use serde::Deserialize;

    use super::*;
    use crate::kernel::id::UserId;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Pet {
        name: String,
        legs: u8,
        owner: UserId,
        kind: Kind,
        born: DateTime<Utc>,
        #[serde(default)]
        toy: Option<Toy>,
        #[serde(default)]
        home: Option<Home>,
        #[serde(default)]
        friends: Vec<Home>,
        #[serde(default)]
        tags: BTreeMap<String, Option<String>>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Home {
        street: String,
        #[serde(default)]
        number: Option<f64>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Toy {
        Ball,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Cat,
        Dog,
    }

    fn faults(document: Value) -> Vec<(String, FieldCode)> {
        let found = shape::<Pet>(&document).expect_err("does not fit");
        found.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn at(pointers: &[(&str, FieldCode)]) -> Vec<(String, FieldCode)> {
        pointers
            .iter()
            .map(|(pointer, code)| ((*pointer).into(), *code))
            .collect()
    }

    fn tom() -> Value {
        json!({"name": "Tom", "legs": 4, "owner": public("usr", uuid::Uuid::nil()), "kind": "cat", "born": "2020-01-01T00:00:00Z",
               "home": {"street": "Lane", "number": 1.5}, "friends": [{"street": "Alley"}], "tags": {"a": null, "b": "c"}})
    }

    #[test]
    fn what_fits_is_read() {
        let pet: Pet = shape(&tom()).expect("fits");
        assert_eq!((pet.name.as_str(), pet.legs, &pet.kind), ("Tom", 4, &Kind::Cat));
        assert_eq!(pet.home.and_then(|home| home.number), Some(1.5));
        assert_eq!((pet.friends.len(), pet.tags.len()), (1, 2));
    }

    #[test]
    fn everything_that_is_missing_or_of_the_wrong_type_is_found() {
        use FieldCode::{InvalidChoice, NotFound, Required, TooLarge, UnknownField, WrongType};
        let missing = ["/name", "/legs", "/owner", "/kind", "/born"].map(|pointer| (pointer, Required));
        assert_eq!(faults(json!({})), at(&missing));
        let mut found = faults(
            json!({"name": 7, "legs": 400, "owner": "usr_1", "kind": "fish", "born": "2020-01-01T00:00:00Z", "tail": 1,
                                      "home": {"number": "one"}, "friends": [{"street": "Alley"}, {"street": null}]}),
        );
        found.sort_by(|one, two| one.0.cmp(&two.0));
        let wanted = [
            ("/friends/1/street", WrongType),
            ("/home/number", WrongType),
            ("/home/street", Required),
            ("/kind", InvalidChoice),
            ("/legs", TooLarge),
            ("/name", WrongType),
            ("/owner", NotFound),
            ("/tail", UnknownField),
        ];
        assert_eq!(found, at(&wanted));
    }

    #[test]
    fn a_list_is_no_object() {
        let list = json!([
            "Tom",
            4,
            public("usr", uuid::Uuid::nil()),
            "cat",
            "2020-01-01T00:00:00Z",
            null,
            [],
            {}
        ]);
        assert_eq!(faults(list), at(&[("", FieldCode::WrongType)]));
        for (member, value) in [
            ("home", json!(["Lane", 1])),
            ("tags", json!([])),
            ("home", json!("Lane")),
        ] {
            let mut document = tom();
            document[member] = value;
            let found = shape::<Pet>(&document).expect_err("does not fit");
            assert_eq!(
                (found.len(), found[0].detail.as_str()),
                (1, "Expected an object."),
                "{document}"
            );
        }
        let mut document = tom();
        document["friends"] = json!([["Lane"]]);
        assert_eq!(faults(document), at(&[("/friends/0", FieldCode::WrongType)]));
    }

    #[test]
    fn it_is_said_in_the_words_of_json() {
        for (member, value, detail) in [
            ("legs", json!("four"), "Expected an integer."),
            ("name", json!(null), "Expected a string."),
            ("friends", json!({}), "Expected an array."),
            ("born", json!("yesterday"), "Expected a time, as 2026-11-20T17:30:00Z."),
            ("kind", json!("fish"), "Expected cat or dog."),
            ("toy", json!("ball"), "Expected an object."),
        ] {
            let mut document = tom();
            document[member] = value;
            let found = shape::<Pet>(&document).expect_err("does not fit");
            assert_eq!(found[0].detail, detail, "{member}");
        }
    }
}
