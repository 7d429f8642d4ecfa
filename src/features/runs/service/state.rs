//! The state of a run: how writes merge into it, and how the difference between two states is kept.

use serde_json::{Map, Number, Value, json};

use crate::{features::agents::plan::Reducer, kernel::patch};

/// What nodes read and write.
pub(super) type State = Map<String, Value>;

/// Merges one write. `None` where the value does not fit the reducer.
pub(super) fn merge(state: &mut State, key: &str, reducer: Reducer, value: Value) -> Option<()> {
    let old = state.remove(key);
    let new = match (reducer, old) {
        (Reducer::Replace, _) => value,
        (Reducer::Append, old) => {
            let mut list = elements(old)?;
            list.extend(elements(Some(value))?);
            Value::Array(list)
        }
        (Reducer::Union, old) => {
            let mut list = elements(old)?;
            for element in elements(Some(value))? {
                if !list.contains(&element) {
                    list.push(element);
                }
            }
            Value::Array(list)
        }
        (Reducer::Merge, old) => {
            let mut merged = old.unwrap_or_else(|| json!({}));
            patch::merge(&mut merged, &value);
            merged
        }
        (Reducer::Add | Reducer::Max | Reducer::Min, None) if value.is_number() => value,
        (Reducer::Add, Some(old)) => sum(&old, &value)?,
        (Reducer::Max, Some(old)) => {
            if value.as_f64()? > old.as_f64()? {
                value
            } else {
                old
            }
        }
        (Reducer::Min, Some(old)) => {
            if value.as_f64()? < old.as_f64()? {
                value
            } else {
                old
            }
        }
        (Reducer::Add | Reducer::Max | Reducer::Min, None) => return None,
    };
    state.insert(key.to_owned(), new);
    Some(())
}

/// A list as it is, anything else as its one element.
#[expect(clippy::unnecessary_wraps, reason = "reads as one with the other reducers")]
fn elements(value: Option<Value>) -> Option<Vec<Value>> {
    Some(match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    })
}

fn sum(one: &Value, other: &Value) -> Option<Value> {
    if let (Some(one), Some(other)) = (one.as_i64(), other.as_i64()) {
        return one.checked_add(other).map(Value::from);
    }
    Number::from_f64(one.as_f64()? + other.as_f64()?).map(Value::Number)
}

/// What leads from one state to the next, as JSON Patch (RFC 6902).
pub(super) fn difference(from: &State, to: &State) -> Value {
    let place = |key: &str| format!("/{}", crate::kernel::check::escape(key));
    let mut steps = Vec::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        steps.push(json!({"op": "remove", "path": place(key)}));
    }
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old == value => {}
            Some(_) => steps.push(json!({"op": "replace", "path": place(key), "value": value})),
            None => steps.push(json!({"op": "add", "path": place(key), "value": value})),
        }
    }
    Value::Array(steps)
}

/// Applies what [`difference`] found.
pub(super) fn apply(state: &mut State, difference: &Value) {
    for step in difference.as_array().into_iter().flatten() {
        let path = step["path"].as_str().unwrap_or_default();
        let key = path.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
        if step["op"] == "remove" {
            state.remove(&key);
        } else {
            state.insert(key, step["value"].clone());
        }
    }
}

/// PostgreSQL cannot hold U+0000, and what comes from outside may.
pub(super) fn storable(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(list) => list.into_iter().map(storable).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name.replace('\0', "\u{fffd}"), storable(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: Value) -> State {
        value.as_object().cloned().expect("an object")
    }

    fn merged(reducer: Reducer, writes: &[Value]) -> Option<Value> {
        let mut state = State::new();
        for write in writes {
            merge(&mut state, "key", reducer, write.clone())?;
        }
        state.remove("key")
    }

    #[test]
    fn every_reducer_merges_in_its_way() {
        for (reducer, writes, result) in [
            (Reducer::Replace, vec![json!(1), json!("two")], json!("two")),
            (
                Reducer::Append,
                vec![json!(1), json!([2, 3]), json!({"a": 4})],
                json!([1, 2, 3, {"a": 4}]),
            ),
            (
                Reducer::Union,
                vec![json!(["b", "a"]), json!(["a", "c"])],
                json!(["b", "a", "c"]),
            ),
            (
                Reducer::Merge,
                vec![json!({"a": 1, "b": 2}), json!({"a": null, "c": 3})],
                json!({"b": 2, "c": 3}),
            ),
            (Reducer::Add, vec![json!(1), json!(2)], json!(3)),
            (Reducer::Add, vec![json!(1), json!(0.5)], json!(1.5)),
            (Reducer::Max, vec![json!(1), json!(3), json!(2)], json!(3)),
            (Reducer::Min, vec![json!(2), json!(1), json!(3)], json!(1)),
        ] {
            assert_eq!(merged(reducer, &writes), Some(result), "{reducer:?}");
        }
        assert_eq!(merged(Reducer::Add, &[json!("one")]), None);
        assert_eq!(merged(Reducer::Add, &[json!(i64::MAX), json!(1)]), None);
        assert_eq!(merged(Reducer::Max, &[json!(1), json!("two")]), None);
    }

    #[test]
    fn a_difference_leads_from_one_state_to_the_next() {
        let from = state(json!({"a": 1, "b/c": [1], "gone~": true}));
        let to = state(json!({"a": 1, "b/c": [2], "new": {"x": null}}));
        let mut walked = from.clone();
        apply(&mut walked, &difference(&from, &to));
        assert_eq!(walked, to);
        assert_eq!(difference(&to, &to), json!([]));
    }

    #[test]
    fn what_cannot_be_stored_is_replaced() {
        let value = storable(json!({"a\0": ["\0", {"b": "x\0y"}], "c": 1}));
        assert_eq!(value, json!({"a\u{fffd}": ["\u{fffd}", {"b": "x\u{fffd}y"}], "c": 1}));
    }
}
