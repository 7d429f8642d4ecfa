//! What generators of clients must be told in so many words: whatever is left unsaid they take for something else.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Tells it. `sent` are the names of the schemas that bodies of requests lead to.
pub(super) fn complete(document: &mut Value, sent: &BTreeSet<String>) {
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        let is_patch = name.ends_with("Patch");
        for (property, described) in properties(schema) {
            let Some(described) = described.as_object_mut() else {
                continue;
            };
            if matches!(property.as_str(), "metadata" | "public_metadata") {
                tags(described, is_patch, sent.contains(name));
            }
            if sent.contains(name) {
                tell_default(described, is_patch);
            }
        }
    }
    open(document);
}

fn properties(schema: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten()
}

/// Tags are texts, and a change takes one away by null.
fn tags(described: &mut Map<String, Value>, is_patch: bool, is_sent: bool) {
    let mut value = match is_patch {
        true => json!({"type": ["string", "null"]}),
        false => json!({"type": "string"}),
    };
    if is_sent {
        value["maxLength"] = json!(500);
        described.insert("maxProperties".into(), json!(50));
        let name = json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,40}$"});
        described.insert("propertyNames".into(), name);
    }
    described.insert("additionalProperties".into(), value);
}

/// They take a field with a default for one that is always there. What may be left out of a body has none, and says in words what it then is;
/// what may be left out of a change stays as it was.
fn tell_default(described: &mut Map<String, Value>, is_patch: bool) {
    let Some(default) = described.remove("default") else {
        return;
    };
    let nothing = [json!(null), json!(""), json!([]), json!({})];
    if is_patch || nothing.contains(&default) {
        return;
    }
    let said = described.get("description").and_then(Value::as_str).unwrap_or_default();
    let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
    let told = format!("{said} `{default}` if absent.");
    described.insert("description".into(), told.trim().into());
}

/// They take an object of whose members nothing is said for one that has none.
fn open(part: &mut Value) {
    match part {
        Value::Array(elements) => elements.iter_mut().for_each(open),
        Value::Object(members) => {
            let kind = members.get("type");
            let is_object = kind.is_some_and(|kind| kind == "object" || kind == &json!(["object", "null"]));
            let is_told = ["properties", "additionalProperties", "allOf", "oneOf", "anyOf"]
                .iter()
                .any(|word| members.contains_key(*word));
            if is_object && !is_told {
                members.insert("additionalProperties".into(), json!(true));
            }
            for (name, member) in members {
                if !matches!(name.as_str(), "example" | "examples" | "default" | "enum" | "const") {
                    open(member);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_of_a_body_has_its_default_in_words() {
        let thing = json!({"type": "object", "required": ["must"], "properties": {
            "must": {"default": ""}, "none": {"default": null}, "some": {"default": "en", "description": "The language."},
            "few": {"default": ["a"]},
        }});
        let mut document = json!({"components": {"schemas": {"New": thing, "ThingPatch": thing, "Thing": thing}}});
        complete(&mut document, &BTreeSet::from(["New".into(), "ThingPatch".into()]));
        let of = |name: &str| &document["components"]["schemas"][name]["properties"];
        let told = json!({"must": {}, "none": {}, "some": {"description": "The language. `en` if absent."},
                          "few": {"description": "`[\"a\"]` if absent."}});
        assert_eq!(of("New"), &told);
        assert_eq!(of("ThingPatch")["some"], json!({"description": "The language."}));
        assert_eq!(of("Thing"), &thing["properties"]);
    }

    #[test]
    fn what_nothing_is_said_of_is_open_and_tags_are_texts() {
        let any = json!({"type": "object", "example": {"type": "object"}});
        let schema = json!({"type": "object", "properties": {"metadata": {"type": "object"}, "free": any}});
        let mut document = json!({"components": {"schemas": {"ThingPatch": schema, "Thing": schema}}});
        complete(&mut document, &BTreeSet::from(["ThingPatch".into()]));
        let of = |name: &str| &document["components"]["schemas"][name]["properties"];
        let free = json!({"type": "object", "example": {"type": "object"}, "additionalProperties": true});
        assert_eq!(of("Thing")["free"], free);
        let text = json!({"type": "object", "additionalProperties": {"type": "string"}});
        assert_eq!(of("Thing")["metadata"], text);
        let change = &of("ThingPatch")["metadata"]["additionalProperties"];
        assert_eq!(change, &json!({"type": ["string", "null"], "maxLength": 500}));
    }
}
