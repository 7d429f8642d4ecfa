//! What answers always have. A field of an answer that may be null is there all the same, as null; serde says so and utoipa does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::clients;
use crate::kernel::example::may_be_null;

/// Marks the fields of whatever is only ever answered as required, if they are nullable or have a default: they are written all the same.
/// What is also sent says for itself what may be left out.
pub(super) fn complete(document: &mut Value) {
    let (mut answered, mut sent) = (BTreeSet::new(), BTreeSet::new());
    let schemas = document["components"]["schemas"].clone();
    for item in document["paths"]
        .as_object()
        .into_iter()
        .flat_map(|paths| paths.values())
    {
        for operation in item.as_object().into_iter().flat_map(|item| item.values()) {
            collect(&operation["responses"], &schemas, &mut answered);
            collect(&operation["requestBody"], &schemas, &mut sent);
        }
    }
    collect(&document["webhooks"], &schemas, &mut answered);
    for name in answered.difference(&sent) {
        require(&mut document["components"]["schemas"][name.as_str()]);
    }
    clients::complete(document, &sent);
}

/// The schemas that a part of the document leads to.
pub(super) fn collect(part: &Value, schemas: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, schemas, found)),
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(schema_of)
                && found.insert(name.to_owned())
            {
                collect(&schemas[name], schemas, found);
            }
            members.values().for_each(|member| collect(member, schemas, found));
        }
        _ => {}
    }
}

fn schema_of(reference: &str) -> Option<&str> {
    reference.strip_prefix("#/components/schemas/")
}

fn require(schema: &mut Value) {
    let written: Vec<_> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, property)| may_be_null(property) || property.get("default").is_some())
        .map(|(name, _)| json!(name))
        .collect();
    if written.is_empty() {
        return;
    }
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    required.extend(
        written
            .into_iter()
            .filter(|name| !required.contains(name))
            .collect::<Vec<_>>(),
    );
    required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    schema["required"] = Value::Array(required);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_has_all_its_fields_and_what_is_sent_keeps_its_choice() {
        let either = json!({"type": ["string", "null"]});
        let thing = json!({"type": "object", "required": ["z"], "properties": {
            "a": either, "z": {"type": "string"}, "optional": {"type": "string"}, "part": {"$ref": "#/components/schemas/Part"},
            "count": {"type": "integer", "default": 0},
        }});
        let part = json!({"type": "object", "properties": {"b": {"oneOf": [{"$ref": "#/x"}, {"type": "null"}]}}});
        let new = json!({"type": "object", "properties": {"a": either, "type": {"type": "object", "example": {"type": "object"}}}});
        let to = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let mut document = json!({
            "paths": {"/things": {"post": {"requestBody": to("New"), "responses": {"201": to("Thing"), "200": to("New")}}}},
            "components": {"schemas": {"Thing": thing, "Part": part, "New": new}},
        });
        complete(&mut document);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Thing"]["required"], json!(["a", "count", "z"]));
        assert_eq!(schemas["Part"]["required"], json!(["b"]));
        assert_eq!(schemas["New"]["required"], json!(null));
    }
}
