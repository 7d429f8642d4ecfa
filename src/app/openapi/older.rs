//! OpenAPI 3.1 told in 3.0.3, for generators that know no newer one.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::outputs::collect;

/// The same document in 3.0.3.
pub(super) fn downgraded(document: &Value) -> Value {
    let mut older = document.clone();
    older["openapi"] = json!("3.0.3");
    if let Some(root) = older.as_object_mut() {
        root.remove("jsonSchemaDialect");
        root.remove("webhooks");
    }
    drop_unused(&mut older);
    if let Some(license) = older.pointer_mut("/info/license").and_then(Value::as_object_mut)
        && let Some(Value::String(identifier)) = license.remove("identifier")
    {
        license.insert(
            "url".into(),
            json!(format!("https://spdx.org/licenses/{identifier}.html")),
        );
    }
    walk(&mut older, false, &document["components"]["schemas"]);
    older
}

/// Leaves out the schemas that only webhooks lead to.
fn drop_unused(document: &mut Value) {
    let schemas = document["components"]["schemas"].take();
    let mut used = BTreeSet::new();
    collect(document, &schemas, &mut used);
    let Value::Object(mut schemas) = schemas else { return };
    schemas.retain(|name, _| used.contains(name));
    document["components"]["schemas"] = schemas.into();
}

/// Visits everything. `named` is true inside maps whose keys are names of somebody's own and no keywords; `schemas` are those that a
/// reference may mean.
fn walk(value: &mut Value, named: bool, schemas: &Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| walk(element, false, schemas)),
        Value::Object(members) => {
            if !named {
                keywords(members, schemas);
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
                walk(member, names, schemas);
            }
        }
        _ => {}
    }
}

/// Tells the keywords of one object in the older words.
fn keywords(members: &mut Map<String, Value>, schemas: &Value) {
    types(members);
    for unions in ["oneOf", "anyOf"] {
        null_branch(members, unions, schemas);
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

/// `oneOf [x, null]` is `x`, nullable. `nullable` counts only beside a type, so the type of what is referred to is told
/// too; what has no single type cannot be told to be null, only be left out.
fn null_branch(members: &mut Map<String, Value>, unions: &str, schemas: &Value) {
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
    if let Some(kind) = kept.first().and_then(|branch| kind(branch, schemas)) {
        members.insert("nullable".into(), json!(true));
        members.insert("type".into(), kind.clone());
    }
    members.remove(unions);
    match kept.as_slice() {
        [Value::Object(only)] => members.extend(only.clone()),
        _ => {
            members.insert(unions.into(), Value::Array(kept));
        }
    }
}

/// The type of a schema, or of the one that it refers to.
fn kind<'a>(schema: &'a Value, schemas: &'a Value) -> Option<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return kind(&schemas[reference.rsplit('/').next()?], schemas);
    }
    let own = schema.get("type").filter(|kind| kind.is_string());
    own.or_else(|| kind(schema["allOf"].get(0)?, schemas))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_words_are_told_in_older_ones() {
        let newer = json!({
            "openapi": "3.1.0", "webhooks": {"pet.told": {"$ref": "#/components/schemas/Told"}},
            "paths": {"/pets": {"get": {"$ref": "#/components/schemas/Pet"}}}, "info": {"license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
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
            }, "Owner": {"type": "object"}, "Told": {"type": "object"}}}
        });
        assert_eq!(
            downgraded(&newer),
            json!({
                "openapi": "3.0.3", "paths": {"/pets": {"get": {"$ref": "#/components/schemas/Pet"}}}, "info": {"license": {"name": "Apache-2.0", "url": "https://spdx.org/licenses/Apache-2.0.html"}},
                "components": {"schemas": {"Pet": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "nullable": true, "example": "cat"},
                        "owner": {"type": "object", "allOf": [{"$ref": "#/components/schemas/Owner"}], "nullable": true},
                        "kind": {"enum": ["pet"], "type": "string"},
                        "const": {"type": "integer", "minimum": 0, "exclusiveMinimum": true},
                        "friend": {"allOf": [{"$ref": "#/components/schemas/Pet"}], "description": "Another one."}
                    },
                    "example": {"type": ["kept", "null"]}
                }, "Owner": {"type": "object"}}}
            })
        );
    }
}
