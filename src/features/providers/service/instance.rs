//! A value for a schema, as a model without a mind would make it up.

use serde_json::{Map, Value, json};

/// As many values as one is made of.
const LARGEST: usize = 10_000;

/// The plainest value that a schema describes by its types, with `text` for every string. Where it wants too much, it gets less.
pub(super) fn of(schema: &Value, text: &str) -> Value {
    instance(schema, text, 0, &mut { LARGEST })
}

/// The same, for as long as there is room.
fn instance(schema: &Value, text: &str, depth: usize, room: &mut usize) -> Value {
    *room = room.saturating_sub(1);
    if let Some(value) = schema
        .get("const")
        .or_else(|| schema.get("default"))
        .or_else(|| schema.get("enum")?.get(0))
    {
        *room = room.saturating_sub(value.to_string().len() / 16);
        return value.clone();
    }
    let kind = schema
        .get("type")
        .and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    let least = |name| schema.get(name).and_then(Value::as_i64);
    match kind {
        Some("string") => json!(text),
        Some("integer") => json!(least("minimum").unwrap_or(0)),
        Some("number") => {
            let least = schema.get("minimum").filter(|least| least.is_number());
            least.cloned().unwrap_or(json!(0))
        }
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") if depth < 16 => {
            let before = *room;
            let item = instance(schema.get("items").unwrap_or(&Value::Null), text, depth + 1, room);
            let more = *room / (before - *room).max(1);
            let length = (least("minItems").unwrap_or(0).clamp(0, 100) as usize).min(1 + more);
            *room = room.saturating_sub((before - *room) * length.saturating_sub(1));
            Value::Array(vec![item; length])
        }
        Some("array") => json!([]),
        _ => {
            let properties = schema
                .get("properties")
                .and_then(Value::as_object)
                .filter(|_| depth < 16);
            let fields = properties.into_iter().flatten();
            let mut members = Map::new();
            for (name, schema) in fields {
                if *room == 0 {
                    break;
                }
                members.insert(name.clone(), instance(schema, text, depth + 1, room));
            }
            Value::Object(members)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_no_less_than_the_schema_says() {
        for (kind, least) in [
            ("number", json!(0.5)),
            ("number", json!(3)),
            ("integer", json!(3)),
            ("integer", json!(0)),
        ] {
            assert_eq!(of(&json!({"type": kind, "minimum": least}), ""), least);
        }
        assert_eq!(of(&json!({"type": "number"}), ""), 0);
    }

    #[test]
    fn a_schema_that_wants_too_much_gets_less() {
        let nested = (0..12).fold(
            json!({"type": "string"}),
            |items, _| json!({"type": "array", "minItems": 100, "items": items}),
        );
        let large = json!({"type": "array", "minItems": 100, "items": {"const": "x".repeat(50_000)}});
        for schema in [nested, large] {
            let length = of(&schema, "word").to_string().len();
            assert!(length < 1 << 20, "{length}");
        }
        let fits = json!({"type": "array", "minItems": 100, "items": {"type": "array", "minItems": 50, "items": {"type": "null"}}});
        let list = of(&fits, "word");
        assert_eq!(list.as_array().map(Vec::len), Some(100));
        assert_eq!(list[99].as_array().map(Vec::len), Some(50));
    }
}
