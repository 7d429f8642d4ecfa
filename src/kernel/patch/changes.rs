//! Changes to a whole thing: what is there replaces, `null` clears, what is absent stays.

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

use super::merge;
use crate::kernel::{
    check::{Check, Validate, unfit},
    error::{FieldCode, FieldError, Result},
    shape::shape,
};

/// What may be changed of a thing.
pub trait Patchable: Default + Serialize + DeserializeOwned + Validate {
    /// Fields that are written once.
    const FIXED: &'static [&'static str] = &[];
    /// Objects that are replaced whole: in them null is a value.
    const WHOLE: &'static [&'static str] = &[];
}

/// Changes to a `T`.
pub struct Patch<T> {
    changes: Map<String, Value>,
    of: PhantomData<fn() -> T>,
}

impl<T: Patchable> Patch<T> {
    /// The thing with the changes made.
    ///
    /// # Errors
    /// 422 `validation-failed` if it would not be acceptable any more.
    pub fn apply(&self, before: &T) -> Result<T> {
        let after: T = self.merged(before).map_err(unfit)?;
        let mut check = Check::default();
        after.validate(&mut check);
        check.done()?;
        Ok(after)
    }

    /// Whether this field is among the changes.
    pub fn names(&self, field: &str) -> bool {
        self.changes.contains_key(field)
    }

    fn merged(&self, before: &T) -> Result<T, Vec<FieldError>> {
        let mut document = serde_json::to_value(before).expect("resources are plain values");
        let empty = serde_json::to_value(T::default()).expect("resources are plain values");
        for (field, change) in &self.changes {
            let target = &mut document[field.as_str()];
            match change {
                // An object that cannot be absent is empty without its members.
                Value::Null if empty[field.as_str()].is_object() => *target = Value::Object(Map::new()),
                // At the top null stays: an optional field reads "nothing" from it, and any other field refuses it.
                Value::Object(_) if !T::WHOLE.contains(&field.as_str()) => merge(target, change),
                whole => *target = whole.clone(),
            }
        }
        shape(&document)
    }
}

impl<'de, T> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A JSON map by itself takes null for an empty one.
        let changes: BTreeMap<String, Value> = Deserialize::deserialize(deserializer)?;
        Ok(Patch {
            changes: changes.into_iter().collect(),
            of: PhantomData,
        })
    }
}

/// Judged against an empty thing: an unknown field or a wrong type is refused before the database is asked.
impl<T: Patchable> Validate for Patch<T> {
    fn validate(&self, check: &mut Check) {
        for field in T::FIXED {
            if self.changes.contains_key(*field) {
                check.refuse(format!("/{field}"), FieldCode::Immutable, "This field is written once.");
            }
        }
        if let Err(errors) = self.merged(&T::default()) {
            for error in errors {
                check.refuse(error.pointer, error.code, error.detail);
            }
        }
    }
}

/// The same properties without those that stay for ever; none is required, and none has a default.
impl<T: ToSchema + Patchable> PartialSchema for Patch<T> {
    fn schema() -> RefOr<Schema> {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.clear();
            object.description = Some(described(T::WHOLE));
            object.properties.retain(|name, _| !T::FIXED.contains(&name.as_str()));
            let empty = serde_json::to_value(T::default()).unwrap_or_default();
            for (name, property) in &mut object.properties {
                if let RefOr::T(Schema::Object(property)) = property {
                    property.default = None;
                    if empty[name].is_object() {
                        property.schema_type = SchemaType::from_iter([Type::Object, Type::Null]);
                    }
                }
            }
            for example in object.example.iter_mut().chain(&mut object.examples) {
                if let Value::Object(members) = example {
                    members.retain(|name, _| !T::FIXED.contains(&name.as_str()));
                }
            }
        }
        schema
    }
}

fn described(whole: &[&str]) -> String {
    let patch = "Changes, as a JSON Merge Patch: what is absent stays, null clears.";
    let whole: Vec<String> = whole.iter().map(|field| format!("`{field}`")).collect();
    match whole.is_empty() {
        true => patch.to_owned(),
        false => format!(
            "{patch} But {} is replaced whole: what it does not name is gone.",
            whole.join(" and ")
        ),
    }
}

impl<T: ToSchema + Patchable> ToSchema for Patch<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Patch", T::name().trim_start_matches("New")))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::error::Error;

    #[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Pet {
        name: String,
        owner: Option<String>,
        tags: std::collections::BTreeMap<String, String>,
        limits: std::collections::BTreeMap<String, Option<i32>>,
    }

    impl Validate for Pet {
        fn validate(&self, check: &mut Check) {
            check.text("/name", &self.name, 1..=5);
        }
    }

    impl Patchable for Pet {
        const FIXED: &'static [&'static str] = &["kind"];
        const WHOLE: &'static [&'static str] = &["limits"];
    }

    fn patch(changes: Value) -> Patch<Pet> {
        serde_json::from_value(changes).expect("an object")
    }

    fn tom() -> Pet {
        serde_json::from_value(
            json!({"name": "Tom", "owner": "Ann", "tags": {"a": "1", "b": "2"}, "limits": {"x": 1, "y": 2}}),
        )
        .expect("a pet")
    }

    fn refused(changes: Value) -> (String, FieldCode) {
        let mut check = Check::default();
        patch(changes).validate(&mut check);
        let error = check.into_errors().remove(0);
        (error.pointer, error.code)
    }

    #[test]
    fn what_is_named_changes_and_nothing_else_does() {
        let after = patch(json!({"owner": null, "tags": {"a": null, "c": "3"}, "limits": {"x": null}})).apply(&tom());
        let wanted = json!({"name": "Tom", "owner": null, "tags": {"b": "2", "c": "3"}, "limits": {"x": null}});
        assert_eq!(serde_json::to_value(after.expect("acceptable")).expect("plain"), wanted);
        assert_eq!(patch(json!({})).apply(&tom()).expect("acceptable"), tom());
    }

    #[test]
    fn what_cannot_be_is_refused_before_the_thing_is_looked_for() {
        assert_eq!(refused(json!({"nme": "Tim"})), ("/nme".into(), FieldCode::UnknownField));
        assert_eq!(refused(json!({"name": 7})), ("/name".into(), FieldCode::WrongType));
        assert_eq!(refused(json!({"name": null})), ("/name".into(), FieldCode::WrongType));
        assert_eq!(
            refused(json!({"tags": {"a": 1}})),
            ("/tags/a".into(), FieldCode::WrongType)
        );
        assert_eq!(refused(json!({"kind": "cat"})), ("/kind".into(), FieldCode::Immutable));
    }

    #[test]
    fn the_whole_is_judged_after_the_change() {
        let Err(Error::Refused(problem)) = patch(json!({"name": "Thomas"})).apply(&tom()) else {
            panic!("refused")
        };
        assert_eq!(problem.case().errors[0].pointer, "/name");
    }
}
