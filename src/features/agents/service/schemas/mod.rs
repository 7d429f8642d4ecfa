//! JSON Schema: what an input, an output or a state must be. Nothing is fetched, patterns run in linear time, and what a check can cost is
//! known before it is made.

mod patterns;
mod reading;
mod shape;

use std::sync::{Arc, LazyLock};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use moka::sync::Cache;
use serde_json::Value;

use self::shape::Shape;
use crate::kernel::{
    check::{brief, escape},
    crypto::sha256,
    deep::deep,
    error::{FieldCode, FieldError},
};

/// The largest schema, in bytes.
const LARGEST: usize = 64 << 10;
/// As many faults as are told.
const MOST: usize = 50;
/// The most that one check may cost, in looks of a schema at a value: tenths of a second.
const DEAREST: u64 = 4_000_000;
/// The most that it may cost to be told everything that is wrong: what is found is kept in memory.
const ALL_TOLD: u64 = 20_000;
/// Checks that go deeper have a stack of their own.
const DEEP: usize = 150;

/// A schema that can be used.
struct Schema {
    validator: Validator,
    shape: Shape,
    size: usize,
}

/// Those that were used last, by SHA-256 of their texts.
static READ: LazyLock<Cache<[u8; 32], Arc<Schema>>> = LazyLock::new(|| {
    Cache::builder()
        .weigher(|_, schema: &Arc<Schema>| u32::try_from(schema.size + schema.shape.patterns).unwrap_or(u32::MAX))
        .max_capacity(32 << 20)
        .build()
});

/// Whether a value is a schema that can be used. May take tenths of a second.
///
/// # Errors
/// Why not, for its author.
pub fn check(schema: &Value) -> Result<(), String> {
    read(schema).map(drop)
}

/// What of a value is not as the schema wants it; `at` is the pointer of the value. May take tenths of a second.
///
/// # Errors
/// Everything that is wrong, at most 50 of it; or that it is too much to be checked. A schema that cannot be used accepts nothing.
pub fn accepts(schema: &Value, value: &Value, at: &str) -> Result<(), Vec<FieldError>> {
    let refused = |code, detail| vec![fault(at, code, detail)];
    let schema = read(schema).map_err(|detail| refused(FieldCode::InvalidFormat, detail))?;
    let cost = schema.shape.cost(value);
    if cost > DEAREST {
        let detail = "It is too large or too deep to be checked against the schema.".to_owned();
        return Err(refused(FieldCode::TooLarge, detail));
    }
    match schema.shape.depth(value) {
        0..=DEEP => schema.judge(value, cost, at),
        _ => deep(|| schema.judge(value, cost, at)),
    }
}

impl Schema {
    fn judge(&self, value: &Value, cost: u64, at: &str) -> Result<(), Vec<FieldError>> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        Err(if cost <= ALL_TOLD {
            let all = self.validator.iter_errors(value).take(MOST);
            all.map(|error| told(&error, at)).collect()
        } else if self.shape.has_branches() {
            vec![fault(
                at,
                FieldCode::InvalidFormat,
                "It is not as the schema wants.".into(),
            )]
        } else {
            let first = self.validator.validate(value).err();
            first.iter().map(|error| told(error, at)).collect()
        })
    }
}

/// A fault as its author reads it.
fn told(error: &ValidationError<'_>, at: &str) -> FieldError {
    let place = format!("{at}{}", error.instance_path());
    let (place, code) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            (format!("{place}/{}", escape(name)), FieldCode::Required)
        }
        kind => (place, code_of(kind)),
    };
    fault(&place, code, brief(&error.masked().to_string(), 300))
}

fn read(schema: &Value) -> Result<Arc<Schema>, String> {
    let text = schema.to_string();
    if text.len() > LARGEST {
        return Err(format!("A schema has at most {} KiB.", LARGEST >> 10));
    }
    let name = sha256(text.as_bytes());
    if let Some(known) = READ.get(&name) {
        return Ok(known);
    }
    let read = Arc::new(Schema {
        shape: Shape::of(schema)?,
        validator: deep(|| compiled(schema))?,
        size: text.len(),
    });
    READ.insert(name, read.clone());
    Ok(read)
}

fn compiled(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns::engine(patterns::LARGEST))
        .build(schema)
        .map_err(|error| format!("Not a JSON Schema: {}.", brief(&error.to_string(), 300)))
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
    fn branches_that_come_back_are_measured_before_they_are_followed() {
        let x = json!({"required": ["x"], "properties": {"x": {"$ref": "#/$defs/a"}}});
        let schema = json!({"$defs": {"a": {"anyOf": [x, x]}}, "$ref": "#/$defs/a"});
        let nested = |depth| (0..depth).fold(json!({}), |value, _| json!({ "x": value }));
        let began = std::time::Instant::now();
        let faults = accepts(&schema, &nested(40), "/input").expect_err("too deep");
        assert_eq!((faults.len(), faults[0].code), (1, FieldCode::TooLarge));
        assert_eq!(
            accepts(&schema, &nested(14), "/input").expect_err("x is missing").len(),
            1
        );
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn a_tree_is_still_a_schema() {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}});
        let tree = |leaf: Value| (0..30).fold(leaf, |child, _| json!({"name": "n", "children": [child]}));
        assert_eq!(accepts(&schema, &tree(json!({"name": "leaf"})), ""), Ok(()));
        let faults = accepts(&schema, &tree(json!({})), "").expect_err("a leaf without a name");
        assert_eq!(faults[0].pointer, format!("{}/name", "/children/0".repeat(30)));
        let many = json!({"name": "n", "children": vec![json!({"name": "leaf"}); 20_000]});
        assert_eq!(accepts(&schema, &many, ""), Ok(()));
        let mut odd = many;
        odd["children"][19_999] = json!({"name": 7});
        assert_eq!(
            accepts(&schema, &odd, "").expect_err("one of them")[0].pointer,
            "/children/19999/name"
        );
    }

    #[test]
    fn the_deepest_check_that_is_made_has_the_stack_for_it() {
        let chain = (0..22).fold(
            json!({"properties": {"x": {"$ref": "#"}}}),
            |schema, _| json!({"anyOf": [schema]}),
        );
        let value = (0..120).fold(json!(1), |value, _| json!({ "x": value }));
        assert_eq!(accepts(&chain, &value, ""), Ok(()));
        let step = |n: usize| {
            (
                format!("d{n}"),
                json!({"properties": {"x": {"$ref": format!("#/$defs/d{}", n + 1)}}}),
            )
        };
        let last = ("d290".to_owned(), json!(true));
        let steps: serde_json::Map<String, Value> = (0..290).map(step).chain([last]).collect();
        check(&json!({"$defs": steps, "$ref": "#/$defs/d0"})).expect("a long way of references compiles");
    }

    #[test]
    fn what_takes_long_to_compile_is_refused_at_once() {
        let patterns: Vec<Value> = (0..500)
            .map(|n| json!({"pattern": format!(r"\p{{L}}{{40}}{n}")}))
            .collect();
        let began = std::time::Instant::now();
        assert!(check(&json!({ "allOf": patterns })).is_err());
        assert!(began.elapsed() < std::time::Duration::from_secs(3));
    }

    #[test]
    fn what_reads_a_text_whole_costs_by_its_length() {
        let long = "x".repeat(200_000);
        for keyword in [
            json!({"contentMediaType": "application/json"}),
            json!({"contentEncoding": "base64"}),
            json!({"format": "uri"}),
            json!({"maxLength": 1_000_000}),
        ] {
            let often = json!({"allOf": vec![keyword.clone(); 900]});
            let refused = accepts(&often, &json!(long), "").expect_err("it would take too long");
            assert_eq!(refused[0].code, FieldCode::TooLarge, "{keyword}");
        }
        let often = json!({"allOf": vec![json!({"maxLength": 9}); 900]});
        accepts(&often, &json!("short"), "").expect("it takes no time");
        let list: Vec<String> = (0..900).map(|n| format!("{n}{}", "x".repeat(1_000))).collect();
        let once = json!({"uniqueItems": true});
        accepts(&once, &json!(list), "").expect("once");
        let refused = accepts(&json!({"allOf": vec![once; 20]}), &json!(list), "").expect_err("too often");
        assert_eq!(refused[0].code, FieldCode::TooLarge);
    }

    #[test]
    fn a_fault_is_told_briefly() {
        let choices: Vec<String> = (0..5_000).map(|n| format!("choice {n}")).collect();
        let faults = accepts(&json!({ "enum": choices }), &json!("none"), "").expect_err("not a choice");
        assert!(faults[0].detail.len() < 1_000);
        assert!(check(&json!({"type": "x".repeat(50_000)})).expect_err("no type").len() < 1_000);
    }

    #[test]
    fn a_pattern_cannot_take_for_ever() {
        let schema = json!({"type": "string", "pattern": "^(a+)+$"});
        assert!(accepts(&schema, &json!("a".repeat(50_000) + "b"), "").is_err());
    }
}
