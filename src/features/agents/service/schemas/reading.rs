//! Reads the places of a schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    patterns,
    shape::{Place, Shape},
};
use crate::kernel::check;

/// As many schemas as one may be made of.
const PLACES: usize = 1_000;
/// As many references as it may hold.
const REFERENCES: usize = 300;

/// What cannot be bounded.
const REFUSED: [&str; 4] = [
    "$dynamicRef",
    "$recursiveRef",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// What is only said.
const SAID: [&str; 7] = [
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "$schema",
    "$id",
];

/// Where the schemas under a keyword look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// At the same value.
    Here,
    /// At a member of it, unless another of these does.
    Member,
    /// At any member of it, or its name.
    AnyMember,
    /// At an element of it, unless another of these does.
    Element,
    /// At any element of it.
    AnyElement,
    /// At nothing, until something refers to them.
    Nowhere,
}

/// The keywords that hold schemas: where those look, and whether they have names.
const KEYWORDS: [(&str, Looks, bool); 20] = [
    ("allOf", Looks::Here, false),
    ("anyOf", Looks::Here, false),
    ("oneOf", Looks::Here, false),
    ("not", Looks::Here, false),
    ("if", Looks::Here, false),
    ("then", Looks::Here, false),
    ("else", Looks::Here, false),
    ("dependentSchemas", Looks::Here, true),
    ("dependencies", Looks::Here, true),
    ("properties", Looks::Member, true),
    ("additionalProperties", Looks::Member, false),
    ("patternProperties", Looks::AnyMember, true),
    ("propertyNames", Looks::AnyMember, false),
    ("items", Looks::Element, false),
    ("prefixItems", Looks::Element, false),
    ("additionalItems", Looks::Element, false),
    ("contains", Looks::AnyElement, false),
    ("$defs", Looks::Nowhere, true),
    ("definitions", Looks::Nowhere, true),
    ("contentSchema", Looks::Nowhere, false),
];

/// Reads a schema.
struct Reading {
    shape: Shape,
    /// By JSON pointer.
    known: BTreeMap<String, usize>,
    references: Vec<(usize, String)>,
    weights: BTreeMap<String, u64>,
}

/// The places of a schema, in no order yet.
///
/// # Errors
/// What it holds that cannot be bounded, for its author.
pub(super) fn read(schema: &Value) -> Result<Shape, String> {
    let mut reading = Reading {
        shape: Shape::default(),
        known: BTreeMap::new(),
        references: Vec::new(),
        weights: BTreeMap::new(),
    };
    reading.schema(schema, String::new())?;
    let Reading {
        mut shape,
        known,
        references,
        ..
    } = reading;
    if references.len() > REFERENCES {
        return Err(format!("A schema has at most {REFERENCES} references."));
    }
    for (from, reference) in references {
        let target = reference.strip_prefix('#').and_then(|pointer| known.get(pointer));
        let Some(target) = target else {
            return Err(format!(
                "A reference leads to a schema in the same document, as #/$defs/name; {} does not.",
                check::brief(&reference, 300)
            ));
        };
        shape.places[from].here.push(*target);
    }
    Ok(shape)
}

impl Reading {
    fn schema(&mut self, schema: &Value, pointer: String) -> Result<usize, String> {
        let id = self.shape.places.len();
        if id >= PLACES {
            return Err(format!("A schema is made of at most {PLACES}."));
        }
        self.shape.places.push(Place {
            look: 1,
            ..Place::default()
        });
        if let Value::Object(members) = schema {
            self.members(id, members, &pointer)?;
        }
        self.known.insert(pointer, id);
        Ok(id)
    }

    fn members(&mut self, id: usize, members: &Map<String, Value>, pointer: &str) -> Result<(), String> {
        let nested = |name: &str| ["$id", "id"].contains(&name) && !pointer.is_empty();
        if let Some((name, _)) = members
            .iter()
            .find(|(name, value)| REFUSED.contains(&name.as_str()) || nested(name) && value.is_string())
        {
            return Err(format!("{name} is not available here."));
        }
        for (name, value) in members {
            let at = format!("{pointer}/{}", check::escape(name));
            if let Some((_, looks, named)) = KEYWORDS.iter().find(|(keyword, ..)| keyword == name) {
                self.shape.branches |= ["anyOf", "oneOf"].contains(&name.as_str());
                self.below(id, *looks, *named, value, &at)?;
            }
            match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => self.references.push((id, reference.clone())),
                ("pattern", Value::String(pattern)) => self.pattern(id, pattern)?,
                ("patternProperties", Value::Object(patterns)) => {
                    for pattern in patterns.keys() {
                        self.pattern(id, pattern)?;
                    }
                }
                ("uniqueItems", Value::Bool(true)) => self.shape.places[id].unique += 1,
                (name, value) if let Some(byte) = of_a_byte(name, value) => {
                    self.shape.places[id].look += 1;
                    self.shape.places[id].byte += byte;
                }
                (name, _) if SAID.contains(&name) || KEYWORDS.iter().any(|(keyword, ..)| *keyword == name) => {}
                (_, value) => self.shape.places[id].look += count(value),
            }
        }
        Ok(())
    }

    /// The schemas under a keyword.
    fn below(&mut self, id: usize, looks: Looks, named: bool, value: &Value, at: &str) -> Result<(), String> {
        let mut found = Vec::new();
        match value {
            Value::Object(schemas) if named => {
                for (name, schema) in schemas.iter().filter(|(_, schema)| is_schema(schema)) {
                    found.push(self.schema(schema, format!("{at}/{}", check::escape(name)))?);
                }
            }
            Value::Array(schemas) => {
                for (place, schema) in schemas.iter().enumerate().filter(|(_, schema)| is_schema(schema)) {
                    found.push(self.schema(schema, format!("{at}/{place}"))?);
                }
            }
            schema if is_schema(schema) => found.push(self.schema(schema, at.to_owned())?),
            _ => {}
        }
        let place = &mut self.shape.places[id];
        match looks {
            Looks::Here => place.here.append(&mut found),
            Looks::Member => place.member.append(&mut found),
            Looks::AnyMember => place.any_member.append(&mut found),
            Looks::Element => place.element.append(&mut found),
            Looks::AnyElement => place.any_element.append(&mut found),
            Looks::Nowhere => {}
        }
        Ok(())
    }

    fn pattern(&mut self, id: usize, pattern: &str) -> Result<(), String> {
        if !self.weights.contains_key(pattern) {
            let size = patterns::size(pattern);
            self.shape.patterns += size;
            if self.shape.patterns > patterns::MOST {
                return Err("Its patterns are too large together.".into());
            }
            self.weights.insert(pattern.to_owned(), size as u64 / 2_048);
        }
        self.shape.places[id].byte += self.weights[pattern];
        Ok(())
    }
}

/// What each byte of a text costs that a keyword reads whole.
fn of_a_byte(keyword: &str, value: &Value) -> Option<u64> {
    match keyword {
        "minLength" | "maxLength" => Some(1),
        // A pattern is compiled.
        "format" if value == "regex" => Some(64),
        "format" | "contentMediaType" | "contentEncoding" => Some(4),
        _ => None,
    }
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// How many values a value is made of.
fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}
