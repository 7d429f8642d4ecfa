//! JSON Schema: what an input, an output or a state must be. Nothing is fetched, and patterns run in linear time.

use jsonschema::{PatternOptions, Validator, error::ValidationErrorKind};
use serde_json::Value;

use crate::kernel::error::{FieldCode, FieldError};

/// The largest schema, in bytes.
const LARGEST: usize = 64 << 10;
/// As many faults as are told.
const MOST: usize = 50;

/// Whether a value is a schema that can be used.
///
/// # Errors
/// Why not, for its author.
pub fn check(schema: &Value) -> Result<(), String> {
    compiled(schema).map(drop)
}

/// What of a value is not as the schema wants it; `at` is the pointer of the value.
///
/// # Errors
/// Everything that is wrong, at most 50 of it. A schema that cannot be used accepts nothing.
pub fn accepts(schema: &Value, value: &Value, at: &str) -> Result<(), Vec<FieldError>> {
    let validator = compiled(schema).map_err(|detail| vec![fault(at, FieldCode::InvalidFormat, detail)])?;
    let faults: Vec<FieldError> = validator
        .iter_errors(value)
        .take(MOST)
        .map(|error| {
            let place = format!("{at}{}", error.instance_path());
            let (place, code) = match error.kind() {
                ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default();
                    (
                        format!("{place}/{}", crate::kernel::check::escape(name)),
                        FieldCode::Required,
                    )
                }
                kind => (place, code_of(kind)),
            };
            fault(&place, code, error.masked().to_string())
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn compiled(schema: &Value) -> Result<Validator, String> {
    if schema.to_string().len() > LARGEST {
        return Err(format!("A schema has at most {} KiB.", LARGEST >> 10));
    }
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
        .build(schema)
        .map_err(|error| format!("Not a JSON Schema: {error}."))
}

fn code_of(kind: &ValidationErrorKind) -> FieldCode {
    match kind {
        ValidationErrorKind::Type { .. } => FieldCode::WrongType,
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::UnevaluatedProperties { .. } => {
            FieldCode::UnknownField
        }
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => FieldCode::InvalidChoice,
        ValidationErrorKind::MinLength { .. } => FieldCode::TooShort,
        ValidationErrorKind::MaxLength { .. } => FieldCode::TooLong,
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::ExclusiveMinimum { .. } => FieldCode::TooSmall,
        ValidationErrorKind::Maximum { .. } | ValidationErrorKind::ExclusiveMaximum { .. } => FieldCode::TooLarge,
        ValidationErrorKind::MaxItems { .. } | ValidationErrorKind::MaxProperties { .. } => FieldCode::TooMany,
        ValidationErrorKind::UniqueItems => FieldCode::NotUnique,
        _ => FieldCode::InvalidFormat,
    }
}

fn fault(pointer: &str, code: FieldCode, detail: String) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_named_where_they_are() {
        let schema = json!({"type": "object", "required": ["topic", "a/b"], "additionalProperties": false,
            "properties": {"topic": {"type": "string", "minLength": 3}, "count": {"maximum": 5}, "a/b": {}}});
        let faults = accepts(&schema, &json!({"topic": "x", "count": 9, "more": 1}), "/input").expect_err("faults");
        let mut found: Vec<_> = faults
            .iter()
            .map(|fault| (fault.pointer.as_str(), fault.code))
            .collect();
        found.sort_by_key(|(pointer, _)| *pointer);
        assert_eq!(
            found,
            [
                ("/input", FieldCode::UnknownField),
                ("/input/a~1b", FieldCode::Required),
                ("/input/count", FieldCode::TooLarge),
                ("/input/topic", FieldCode::TooShort),
            ]
        );
        assert!(accepts(&schema, &json!({"topic": "bees", "a/b": null}), "").is_ok());
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused() {
        for schema in [
            json!({"type": "strange"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"pattern": "("}),
            json!("text"),
            json!({"description": "x".repeat(70_000)}),
        ] {
            assert!(check(&schema).is_err(), "{}", &schema.to_string()[..20]);
        }
        assert!(check(&json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}})).is_ok());
    }

    #[test]
    fn a_pattern_cannot_take_for_ever() {
        let schema = json!({"type": "string", "pattern": "^(a+)+$"});
        assert!(accepts(&schema, &json!("a".repeat(50_000) + "b"), "").is_err());
    }
}
