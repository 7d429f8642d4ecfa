//! An example of what a JSON schema describes, made of what its parts say of themselves.

use serde_json::{Map, Value, json};

/// Deeper than this, what refers to itself ends.
const DEPTH: usize = 12;

/// An example of the schema: its own if it has one, else one made of its properties. What may be null and has no example of its own is null;
/// lists have one element. `named` finds the schema that a reference means by the last part of it.
pub fn example<'a>(schema: &'a Value, named: &impl Fn(&str) -> Option<&'a Value>) -> Value {
    made(schema, named, DEPTH)
}

fn made<'a>(schema: &'a Value, named: &impl Fn(&str) -> Option<&'a Value>, depth: usize) -> Value {
    let own = ["/example", "/examples/0", "/const", "/default", "/enum/0"];
    if let Some(own) = own.into_iter().find_map(|place| schema.pointer(place)) {
        return own.clone();
    }
    if depth == 0 || may_be_null(schema) {
        return Value::Null;
    }
    let made = |part: &'a Value| made(part, named, depth - 1);
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return named(name).map_or(Value::Null, made);
    }
    if let Some(all) = schema["allOf"].as_array() {
        let members = all.iter().map(made).filter_map(|part| part.as_object().cloned());
        return Value::Object(members.flatten().collect());
    }
    if let Some(one) = ["/oneOf/0", "/anyOf/0"]
        .into_iter()
        .find_map(|place| schema.pointer(place))
    {
        return made(one);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let members = properties.map(|(name, property)| (name.clone(), made(property)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some("array") => schema
            .get("items")
            .map_or_else(|| json!([]), |items| json!([made(items)])),
        Some("string") => text(schema),
        Some("integer") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(0.5)),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

/// Whether the schema admits null.
pub fn may_be_null(schema: &Value) -> bool {
    let types = schema["type"].as_array();
    let unions = ["oneOf", "anyOf"]
        .into_iter()
        .filter_map(|union| schema[union].as_array());
    types.is_some_and(|types| types.iter().any(|one| one == "null"))
        || unions.flatten().any(|one| one["type"] == "null")
}

fn text(schema: &Value) -> Value {
    match schema["format"].as_str() {
        Some("date-time") => json!("2026-11-20T17:30:00.123Z"),
        Some("date") => json!("2026-11-20"),
        Some("uri") => json!("https://www.example.com"),
        Some("uuid") => json!("0192f5a1-8c00-7000-8000-000000000001"),
        Some("email") => json!("ann@example.com"),
        _ => json!("text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parts_say_makes_the_whole() {
        let pet = json!({"type": "object", "properties": {
            "name": {"type": "string", "example": "Rex"},
            "kind": {"$ref": "#/components/schemas/Kind"},
            "born": {"type": "string", "format": "date-time"},
            "owner": {"oneOf": [{"$ref": "#/$defs/Pet"}, {"type": "null"}]},
            "friends": {"type": "array", "items": {"$ref": "#/$defs/Friend"}},
            "weight": {"type": ["integer", "null"]},
            "legs": {"type": "integer", "minimum": 2},
            "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}}, {"example": {"b": 1}}]},
        }});
        let kind = json!({"type": "string", "enum": ["dog", "cat"]});
        let friend = json!({"type": "object", "properties": {"friend": {"$ref": "#/$defs/Friend"}}});
        let named = |name: &str| match name {
            "Kind" => Some(&kind),
            "Friend" => Some(&friend),
            _ => None,
        };
        let mut made = example(&pet, &named);
        assert!(made["friends"][0]["friend"]["friend"].is_object());
        made["friends"] = json!([]);
        assert_eq!(
            made,
            json!({"name": "Rex", "kind": "dog", "born": "2026-11-20T17:30:00.123Z", "owner": null, "friends": [], "weight": null, "legs": 2,
                   "both": {"a": false, "b": 1}})
        );
    }
}
