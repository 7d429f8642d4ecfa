//! The operations of the served document, and where in each of them an id can stand.

use std::collections::{BTreeMap, BTreeSet};

use guildhall::{
    app::{api, openapi::Documents},
    kernel::id::public,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::Answer;

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: String,
    pub method: Method,
    pub path: String,
    /// What it takes; `None`: no permission in a workspace.
    pub permission: Option<String>,
    /// It takes a licence's key and nothing else.
    pub software_only: bool,
    /// It takes no credential.
    pub public: bool,
    /// Placeholders of the path, and the prefix of those that are ids.
    pub places: Vec<(String, Option<String>)>,
    /// Query parameters that are ids, with their prefix.
    pub queries: Vec<(String, String)>,
    /// A body that is right in form.
    pub body: Option<Value>,
    /// Pointers into the body, with the prefix of the id that stands there.
    pub body_ids: Vec<(String, String)>,
    /// Its answer is a page.
    pub paged: bool,
    /// What its pages can be filtered by.
    pub filters: Vec<String>,
    /// Statuses whose answers have an `ETag`.
    pub tagged: BTreeSet<String>,
}

/// All of them; with `GUILDHALL_L2` set, those whose name begins with it.
pub fn all() -> Vec<Operation> {
    let documents = Documents::new(&api::document(), "https://api.example.com").expect("a sound description");
    let document: Value = serde_json::from_slice(&documents.current.text).expect("JSON");
    let only = std::env::var("GUILDHALL_L2").unwrap_or_default();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(described) = item.get(method) {
                all.push(read(&document, path, method, described));
            }
        }
    }
    all.retain(|operation| operation.id.starts_with(&only));
    // Whoever leaves is not asked again.
    all.sort_by_key(|operation| operation.id == "workspace_leave");
    all
}

fn read(document: &Value, path: &str, method: &str, described: &Value) -> Operation {
    let mut operation = Operation {
        id: described["operationId"].as_str().expect("an id").to_owned(),
        method: method.to_uppercase().parse().expect("a method"),
        path: path.to_owned(),
        permission: described["x-permission"].as_str().map(str::to_owned),
        software_only: described["x-license"] == "only",
        public: described.get("x-public").is_some(),
        places: Vec::new(),
        queries: Vec::new(),
        body: None,
        body_ids: Vec::new(),
        paged: false,
        filters: Vec::new(),
        tagged: BTreeSet::new(),
    };
    for (status, answer) in described["responses"].as_object().into_iter().flatten() {
        if answer["headers"].get("ETag").is_some() {
            operation.tagged.insert(status.clone());
        }
    }
    for parameter in described["parameters"].as_array().into_iter().flatten() {
        let Some(name) = parameter["name"].as_str() else {
            continue;
        };
        let prefix = prefix_of(document, &parameter["schema"]);
        match parameter["in"].as_str() {
            Some("path") => operation.places.push((name.to_owned(), prefix)),
            Some("query") if name == "cursor" => operation.paged = true,
            Some("query") => {
                if !["limit", "order"].contains(&name) {
                    operation.filters.push(name.to_owned());
                }
                operation.queries.extend(prefix.map(|prefix| (name.to_owned(), prefix)));
            }
            _ => {}
        }
    }
    if let Some(schema) = described.pointer("/requestBody/content/application~1json/schema") {
        let schema = resolved(document, schema);
        let shown = schema.get("example").or_else(|| schema.pointer("/examples/0"));
        operation.body = Some(shown.cloned().unwrap_or_else(|| json!({})));
        body_ids(document, schema, "", 0, &mut operation.body_ids);
    }
    operation
}

/// What a schema refers to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let referred = schema["$ref"].as_str().or_else(|| {
        let one_of = schema["oneOf"].as_array().into_iter().flatten();
        one_of.filter_map(|one| one["$ref"].as_str()).next()
    });
    match referred.and_then(|name| document.pointer(name.trim_start_matches('#'))) {
        Some(found) => found,
        None => schema,
    }
}

/// The prefix of the ids of this schema, if it is one of ids or a list of them.
fn prefix_of(document: &Value, schema: &Value) -> Option<String> {
    let schema = resolved(document, schema);
    let schema = match schema.get("items") {
        Some(items) => resolved(document, items),
        None => schema,
    };
    schema["x-resource"].as_str().map(str::to_owned)
}

fn body_ids(document: &Value, schema: &Value, at: &str, depth: u8, found: &mut Vec<(String, String)>) {
    for (name, described) in schema["properties"].as_object().into_iter().flatten() {
        let (pointer, described) = (format!("{at}/{name}"), resolved(document, described));
        match described["x-resource"].as_str() {
            Some(prefix) => found.push((pointer, prefix.to_owned())),
            None if depth < 3 => body_ids(document, described, &pointer, depth + 1, found),
            None => {}
        }
    }
}

/// An id of that kind that nothing has.
pub fn nobodys(prefix: &str) -> String {
    public(prefix, Uuid::now_v7())
}

impl Operation {
    /// How the document and an answer differ about the `ETag`, if they do.
    pub fn mistagged(&self, answer: &Answer) -> Option<String> {
        let (has, should) = (
            answer.headers.contains_key("etag"),
            self.tagged.contains(answer.status.as_str()),
        );
        let says_what_is = answer.status.is_success() || answer.status == 304;
        (says_what_is && has != should).then(|| {
            format!(
                "{}: {} has an ETag: {has}, in the document: {should}",
                self.id, answer.status
            )
        })
    }

    /// Its address with this id in every place of its kind, and something that is there in the others.
    pub fn address(&self, id: &str) -> String {
        let mut path = self.path.clone();
        for (name, prefix) in &self.places {
            let value = match (prefix, name.as_str()) {
                (Some(_), _) => id,
                (None, "number") => "1",
                (None, "label") => "production",
                (None, "name") => "member.joined",
                (None, other) => other,
            };
            path = path.replace(&format!("{{{name}}}"), value);
        }
        path
    }

    /// The kind of id that its path holds.
    pub fn subject(&self) -> Option<&str> {
        self.places.iter().find_map(|(_, prefix)| prefix.as_deref())
    }

    /// Its body with these ids where the example has others.
    pub fn body_with(&self, ids: &BTreeMap<String, String>) -> Option<Value> {
        let mut body = self.body.clone()?;
        for (pointer, prefix) in &self.body_ids {
            if let (Some(place), Some(id)) = (body.pointer_mut(pointer), ids.get(prefix)) {
                *place = json!(id);
            }
        }
        Some(body)
    }
}
