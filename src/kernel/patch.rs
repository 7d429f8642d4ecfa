//! JSON Merge Patch (RFC 7396).

mod changes;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use changes::{Patch, Patchable};

use crate::kernel::check::Metadata;

/// Tags to set, and with `null` to take away.
pub type MetadataPatch = BTreeMap<String, Option<String>>;

/// Merges a patch into a document: `null` removes a member, an object merges, anything else replaces.
pub fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        document.clone_from(patch);
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let members = document.as_object_mut().expect("made an object above");
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// Merges a patch into tags; without one none is left.
pub fn merge_metadata(metadata: &mut Metadata, patch: Option<&MetadataPatch>) {
    let Some(patch) = patch else { return metadata.clear() };
    for (key, value) in patch {
        match value {
            Some(value) => metadata.insert(key.clone(), value.clone()),
            None => metadata.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_the_standard_hold() {
        for (mut document, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge(&mut document, &patch);
            assert_eq!(document, merged, "{patch}");
        }
    }

    #[test]
    fn tags_merge() {
        let mut tags = Metadata::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let patch = MetadataPatch::from([("a".into(), None), ("c".into(), Some("3".into()))]);
        merge_metadata(&mut tags, Some(&patch));
        assert_eq!(
            tags,
            Metadata::from([("b".into(), "2".into()), ("c".into(), "3".into())])
        );
        merge_metadata(&mut tags, None);
        assert!(tags.is_empty());
    }
}
