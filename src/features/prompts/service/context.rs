//! What templates read, and what it may cost to look at it.
//!
//! Fuel counts instructions, and one instruction may compare a list of a mebibyte with another, or search a text as long. So lists and objects
//! are paid for as they are walked, and a template that compares has the less fuel the longer the texts are that it may compare.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use minijinja::{
    Error, ErrorKind, Value,
    value::{DynObject, Enumerator, Object, ObjectExt, ObjectRepr, Serde},
};
use serde_json::Value as Json;

use super::{Binding, FUEL, Fault};

/// Tests look at a part of what may be looked at: what holds of it holds of the whole, and they are over sooner.
const PART: usize = if cfg!(test) { 32 } else { 1 };
/// Elements that one rendering may look at: tenths of a second.
const LOOKS: usize = 8_000_000 / PART;
/// Bytes of text that are looked at as quickly as an element.
const BYTES: usize = 64;
/// Bytes of text that one rendering may look at, were each of its instructions to look at the longest text that there is.
const TEXT: u64 = (4 << 30) / PART as u64;

/// What templates read.
pub(super) struct Context {
    pub(super) values: Value,
    /// Bytes of the longest text in it.
    longest: usize,
    purse: Arc<Purse>,
}

impl Context {
    pub(super) fn of(bindings: &Binding) -> Context {
        let purse = Arc::new(Purse(AtomicUsize::new(LOOKS)));
        let mut longest = 0;
        Context {
            values: members(bindings, &purse, &mut longest),
            longest,
            purse,
        }
    }

    /// The instructions of a template whose texts, if it compares any, are no longer than this.
    pub(super) fn fuel(&self, literal: Option<usize>) -> u64 {
        literal.map_or(FUEL, |literal| {
            let longest = self.longest.max(literal).max(1);
            FUEL.min(TEXT / longest as u64)
        })
    }

    /// Whether everything that was looked at could be paid. What was found out with an empty purse is worth nothing.
    ///
    /// # Errors
    /// The template does too much.
    pub(super) fn paid(&self) -> Result<(), Fault> {
        match self.purse.0.load(Relaxed) {
            0 => Err(Error::from(ErrorKind::OutOfFuel).into()),
            _ => Ok(()),
        }
    }
}

/// The looks that are left.
#[derive(Debug)]
struct Purse(AtomicUsize);

impl Purse {
    /// False when it is empty, which it then stays.
    fn pay(&self, looks: usize) -> bool {
        let left = self.0.load(Relaxed).saturating_sub(looks);
        self.0.store(left, Relaxed);
        left > 0
    }

    /// Compares two values one after the other.
    fn compare(&self, one: &Value, other: &Value) -> Ordering {
        let texts = one.as_str().zip(other.as_str());
        let bytes = texts.map_or(0, |(one, other)| one.len().min(other.len()));
        match self.pay(1 + bytes / BYTES) {
            true => one.cmp(other),
            false => Ordering::Less,
        }
    }
}

fn value(json: &Json, purse: &Arc<Purse>, longest: &mut usize) -> Value {
    match json {
        Json::String(text) => {
            *longest = text.len().max(*longest);
            Value::from(text.as_str())
        }
        Json::Array(items) => Value::from_object(List {
            items: items.iter().map(|item| value(item, purse, longest)).collect(),
            purse: purse.clone(),
        }),
        Json::Object(object) => members(object, purse, longest),
        plain => Serde(plain).into(),
    }
}

fn members(object: &Binding, purse: &Arc<Purse>, longest: &mut usize) -> Value {
    let members = object.iter().map(|(name, member)| {
        *longest = name.len().max(*longest);
        (name.clone(), value(member, purse, longest))
    });
    Value::from_object(Members {
        members: members.collect(),
        purse: purse.clone(),
    })
}

#[derive(Debug)]
struct List {
    items: Vec<Value>,
    purse: Arc<Purse>,
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match self.purse.pay(1) {
            true => self.items.get(key.as_usize()?).cloned(),
            // A value that ends the rendering.
            false => Some(Error::from(ErrorKind::OutOfFuel).into()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<List>()?;
        let mut pairs = self.items.iter().zip(&other.items);
        let unlike = pairs.find_map(|(one, other)| {
            let order = self.purse.compare(one, other);
            order.is_ne().then_some(order)
        });
        Some(unlike.unwrap_or_else(|| self.items.len().cmp(&other.items.len())))
    }
}

#[derive(Debug)]
struct Members {
    members: BTreeMap<String, Value>,
    purse: Arc<Purse>,
}

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.members.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| Box::new(this.members.keys().map(|name| Value::from(name.as_str()))))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.members.len())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Members>()?;
        let mut pairs = self.members.iter().zip(&other.members);
        let unlike = pairs.find_map(|((name, one), (other_name, other))| {
            let order = name.cmp(other_name).then_with(|| self.purse.compare(one, other));
            order.is_ne().then_some(order)
        });
        Some(unlike.unwrap_or_else(|| self.members.len().cmp(&other.members.len())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::super::{evaluate, render};
    use super::*;

    fn bindings(input: Json) -> Binding {
        let Json::Object(bindings) = json!({ "input": input }) else {
            panic!("an object")
        };
        bindings
    }

    #[test]
    fn values_compare_as_they_did() {
        let bindings = bindings(json!({
            "list": [1, "two", [3, {"four": 4}]], "twin": [1, "two", [3, {"four": 4}]], "longer": [1, "two", [3, {"four": 4}], 5],
            "map": {"a": 1, "b": [2]}, "same": {"b": [2], "a": 1}, "other": {"a": 1, "b": [3]}, "text": "two", "words": ["one", "two"],
        }));
        for (condition, holds) in [
            ("input.list == input.twin", true),
            ("input.list == input.longer", false),
            ("input.list != input.longer", true),
            ("input.list < input.longer", true),
            ("input.list == [1, 'two', input.list[2]]", true),
            ("input.map == input.same", true),
            ("input.map == input.other", false),
            ("input.text in input.words", true),
            ("'three' in input.words", false),
            ("'b' in input.map", true),
            ("'w' in input.text", true),
            ("input.list[2] in input.list", true),
            ("input.list is sequence and input.map is mapping", true),
            ("input.words|length == 2 and input.map|length == 2", true),
            ("input.words|last == 'two' and input.words|first == 'one'", true),
        ] {
            let said = render(
                &format!("{{% if {condition} %}}yes{{% else %}}no{{% endif %}}"),
                &bindings,
            );
            assert_eq!(said.as_deref(), Ok(if holds { "yes" } else { "no" }), "{condition}");
        }
        assert_eq!(
            render("{% for key in input.map %}{{ key }}{% endfor %}", &bindings).as_deref(),
            Ok("ab")
        );
        assert_eq!(
            evaluate("{{ input.list }}", &bindings),
            Ok(json!([1, "two", [3, {"four": 4}]]))
        );
        assert_eq!(evaluate("{{ input.map }}", &bindings), Ok(json!({"a": 1, "b": [2]})));
    }

    #[test]
    fn no_template_compares_for_long() {
        let numbers: Vec<u32> = (0..150_000).collect();
        let bindings = bindings(json!({
            "one": numbers, "two": numbers, "text": "x".repeat(1 << 20), "end": "x".repeat(1 << 19) + "y",
            "spaces": " ".repeat(1 << 20), "digits": "1".repeat(1 << 20), "place": 1_000_000, "times": (0..5_000).collect::<Vec<_>>(),
            "deep": {"one": numbers}, "twin": {"one": numbers},
        }));
        for condition in [
            "input.one == input.two",
            "input.one < input.two",
            "'none' in input.one",
            "[input.one] == [input.two]",
            "input.one in [input.two]",
            "input.deep == input.twin",
            "input.end in input.text",
            "input.text|length == 1",
            "input.text != input.end",
            "input.text == ''|default(input.text, true)",
            "input.text[1000000] == 'y'",
            "input.text[input.place] == 'y'",
            "input.text[-1] == 'y'",
            "input.spaces|trim == 'y'",
            "input.digits|int(default=0) == 1",
            "input.digits|float(default=0) == 1",
        ] {
            let many = format!("{{% for n in input.times %}}{{% if {condition} %}}x{{% endif %}}{{% endfor %}}");
            let side_by_side = format!("{{% if {condition} %}}x{{% endif %}}").repeat(4_000);
            for source in [many, side_by_side] {
                let begun = Instant::now();
                let fault = render(&source, &bindings).expect_err(condition);
                assert!(fault.detail.contains("too much"), "{condition}: {fault}");
                assert!(
                    begun.elapsed() < Duration::from_secs(5),
                    "{condition}: {:?}",
                    begun.elapsed()
                );
            }
            assert!(
                evaluate(&format!("{{{{ {condition} }}}}"), &bindings).is_ok(),
                "once is allowed: {condition}"
            );
        }
    }

    #[test]
    fn what_is_compared_with_a_word_of_the_template_costs_no_more_than_the_word() {
        let rows: Vec<Json> = (0..5_000)
            .map(|n| json!({"kind": if n % 2 == 0 { "even" } else { "odd" }, "n": n}))
            .collect();
        let bindings = bindings(json!({"rows": rows, "document": "x".repeat(1 << 20)}));
        for condition in [
            "row.kind == 'even'",
            "'even' == row.kind",
            "row.kind != \"odd\"",
            "row['kind'] == 'even' and row.n >= 0",
        ] {
            let source = format!("{{% for row in input.rows %}}{{% if {condition} %}}.{{% endif %}}{{% endfor %}}");
            assert_eq!(
                render(&source, &bindings).map(|text| text.len()),
                Ok(2_500),
                "{condition}"
            );
        }
        let long = format!(
            "{{% for row in input.rows %}}{{% if input.document == '{}' %}}.{{% endif %}}{{% endfor %}}",
            "x".repeat(100_000)
        );
        assert!(render(&long, &bindings).is_err());
    }

    #[test]
    fn many_small_things_are_compared_beside_a_large_list() {
        let rows: Vec<Json> = (0..5_000)
            .map(|n| json!({"kind": if n % 2 == 0 { "even" } else { "odd" }, "n": n, "note": "x".repeat(100)}))
            .collect();
        let source = "{% for row in input %}{% if row.kind == 'even' %}.{% endif %}{% endfor %}";
        assert_eq!(render(source, &bindings(json!(rows))).map(|text| text.len()), Ok(2_500));
    }
}
