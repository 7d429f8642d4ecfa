//! OpenAPI 3.1 told in 3.0.3, for generators that know no newer one.

use serde_json::{Map, Value, json};

/// The same document in 3.0.3.
pub(super) fn downgraded(document: &Value) -> Value {
    let mut older = document.clone();
    older["openapi"] = json!("3.0.3");
    if let Some(root) = older.as_object_mut() {
        root.remove("jsonSchemaDialect");
        root.remove("webhooks");
    }
    if let Some(license) = older.pointer_mut("/info/license").and_then(Value::as_object_mut) {
        license.remove("identifier");
    }
    walk(&mut older, false);
    older
}

/// Visits everything. `named` is true inside maps whose keys are names of somebody's own and no keywords.
fn walk(value: &mut Value, named: bool) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| walk(element, false)),
        Value::Object(members) => {
            if !named {
                keywords(members);
            }
            for (name, member) in members.iter_mut() {
                let names = !named
                    && matches!(
                        name.as_str(),
                        "properties"
                            | "schemas"
                            | "parameters"
                            | "headers"
                            | "responses"
                            | "paths"
                            | "securitySchemes"
                            | "content"
                    );
                if !named && matches!(name.as_str(), "example" | "default" | "enum") {
                    continue;
                }
                walk(member, names);
            }
        }
        _ => {}
    }
}

/// Tells the keywords of one object in the older words.
fn keywords(members: &mut Map<String, Value>) {
    types(members);
    for unions in ["oneOf", "anyOf"] {
        null_branch(members, unions);
    }
    if let Some(value) = members.remove("const") {
        members.insert("enum".into(), json!([value]));
    }
    let schema = members.contains_key("type") || members.contains_key("$ref") || members.contains_key("oneOf");
    if schema
        && let Some(Value::Array(examples)) = members.remove("examples")
        && let Some(first) = examples.into_iter().next()
    {
        members.entry("example").or_insert(first);
    }
    for gone in [
        "prefixItems",
        "propertyNames",
        "contentEncoding",
        "contentMediaType",
        "$schema",
    ] {
        members.remove(gone);
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(number) = members.get(exclusive).filter(|value| value.is_number()).cloned() {
            members.insert(bound.into(), number);
            members.insert(exclusive.into(), json!(true));
        }
    }
    // Beside a reference nothing counts in 3.0.
    if members.len() > 1
        && let Some(reference) = members.remove("$ref")
    {
        members.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
}

/// `["string", "null"]` is `string`, nullable.
fn types(members: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = members.get("type") else {
        return;
    };
    let kept: Vec<Value> = types.iter().filter(|name| *name != "null").cloned().collect();
    if kept.len() < types.len() {
        members.insert("nullable".into(), json!(true));
    }
    match kept.len() {
        1 => members.insert("type".into(), kept[0].clone()),
        _ => members.remove("type"),
    };
}

/// `oneOf [x, null]` is `allOf [x]`, nullable.
fn null_branch(members: &mut Map<String, Value>, unions: &str) {
    let Some(Value::Array(branches)) = members.get(unions) else {
        return;
    };
    let kept: Vec<Value> = branches
        .iter()
        .filter(|branch| branch["type"] != "null")
        .cloned()
        .collect();
    if kept.len() == branches.len() {
        return;
    }
    members.insert("nullable".into(), json!(true));
    members.remove(unions);
    let word = if kept.len() == 1 { "allOf" } else { unions };
    members.insert(word.into(), Value::Array(kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_words_are_told_in_older_ones() {
        let newer = json!({
            "openapi": "3.1.0", "webhooks": {}, "info": {"license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
            "components": {"schemas": {"Pet": {
                "type": "object",
                "properties": {
                    "type": {"type": ["string", "null"], "examples": ["cat"]},
                    "owner": {"oneOf": [{"$ref": "#/components/schemas/Owner"}, {"type": "null"}]},
                    "kind": {"const": "pet", "type": "string"},
                    "const": {"type": "integer", "exclusiveMinimum": 0},
                    "friend": {"$ref": "#/components/schemas/Pet", "description": "Another one."}
                },
                "example": {"type": ["kept", "null"]}
            }}}
        });
        assert_eq!(
            downgraded(&newer),
            json!({
                "openapi": "3.0.3", "info": {"license": {"name": "Apache-2.0"}},
                "components": {"schemas": {"Pet": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "nullable": true, "example": "cat"},
                        "owner": {"allOf": [{"$ref": "#/components/schemas/Owner"}], "nullable": true},
                        "kind": {"enum": ["pet"], "type": "string"},
                        "const": {"type": "integer", "minimum": 0, "exclusiveMinimum": true},
                        "friend": {"allOf": [{"$ref": "#/components/schemas/Pet"}], "description": "Another one."}
                    },
                    "example": {"type": ["kept", "null"]}
                }}}
            })
        );
    }
}
