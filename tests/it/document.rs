//! What the API says of itself: complete, described, and the same as what lies in the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use guildhall::app::{api, openapi::Documents};
use serde_json::Value;

use crate::{
    rules::{none, sources},
    world::World,
};

/// The served document, as JSON.
fn document() -> Value {
    let documents = Documents::new(&api::document(), "https://api.example.com").expect("a sound description");
    serde_json::from_slice(&documents.current.text).expect("JSON")
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = ["get", "post", "put", "patch", "delete"];
    paths
        .iter()
        .flat_map(|(path, item)| {
            methods
                .iter()
                .filter_map(move |method| Some((format!("{method} {path}"), item.get(method)?)))
        })
        .collect()
}

#[test]
fn every_operation_says_who_may_call_it_and_how_often() {
    let document = document();
    let mut broken = Vec::new();
    for (name, operation) in operations(&document) {
        let marks = ["x-permission", "x-public", "x-account"]
            .iter()
            .filter(|mark| operation.get(**mark).is_some())
            .count();
        if marks != 1 {
            broken.push(format!("{name}: exactly one of x-permission, x-public, x-account"));
        }
        let permission = operation["x-permission"].as_str();
        if permission.is_some_and(|permission| guildhall::kernel::access::Permission::named(permission).is_none()) {
            broken.push(format!("{name}: there is no permission {}", operation["x-permission"]));
        }
        for text in ["summary", "operationId", "x-rate-class", "x-admission"] {
            if operation[text].as_str().is_none_or(str::is_empty) {
                broken.push(format!("{name}: no {text}"));
            }
        }
    }
    none("operations", broken);
}

#[test]
fn every_post_takes_a_key_for_retries_or_says_why_not() {
    let listed: BTreeMap<String, String> =
        toml::from_str(include_str!("../../src/app/openapi/unkeyed.toml")).expect("a registry that can be read");
    let document = document();
    let mut unlisted = listed.clone();
    let mut broken = Vec::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let parameters = operation["parameters"].to_string();
        let takes = operation["x-idempotent"] == true && parameters.contains("/IdempotencyKey\"");
        match (unlisted.remove(id), takes) {
            (None, true) => {}
            (None, false) if !name.starts_with("post ") => {}
            (None, false) => broken.push(format!(
                "{id}: takes no Idempotency-Key, and unkeyed.toml does not say why"
            )),
            (Some(_), true) => broken.push(format!(
                "{id}: takes an Idempotency-Key by now: its line of unkeyed.toml goes"
            )),
            (Some(why), false) => {
                let told = operation["description"]
                    .as_str()
                    .is_some_and(|text| text.ends_with(&why));
                if !told || !name.starts_with("post ") {
                    broken.push(format!(
                        "{id}: the document does not say that it takes no Idempotency-Key"
                    ));
                }
            }
        }
    }
    broken.extend(
        unlisted
            .into_keys()
            .map(|id| format!("{id}: there is no such operation")),
    );
    none("keys for retries", broken);
    assert!(listed.len() <= 18, "the list of unkeyed.toml may only shrink");
}

/// A handler that declares `x-idempotent` and forgets to ask for the key would swallow it; one that asks for a header or gives an answer that
/// nobody declared keeps it from typed clients.
#[test]
fn who_says_that_it_takes_a_key_or_a_version_takes_it() {
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        for described in text.split("#[utoipa::path(").skip(1) {
            let handler = described.split("\n}\n").next().unwrap_or_default();
            let id = handler.split('"').nth(1).unwrap_or_default();
            let has = |text: &str| handler.contains(text);
            for (what, declares, does) in [
                ("key", has("\"x-idempotent\""), has("IdempotencyKey,") && has("once")),
                ("If-Match", has("\"x-if-match\""), has(": IfMatch,")),
                (
                    "304",
                    has("(status = 304"),
                    has("#[get(") && (has("Tagged<") || has("shared(")),
                ),
            ] {
                if declares != does {
                    broken.push(format!("{file}: {id}: {what}"));
                }
            }
        }
    }
    none("handlers that do not what they declare", broken);
}

/// The schemas that a part of the document leads to.
fn led_to<'d>(part: &'d Value, document: &'d Value, found: &mut BTreeMap<&'d str, &'d Value>) {
    if let Some(name) = part["$ref"]
        .as_str()
        .and_then(|to| to.strip_prefix("#/components/schemas/"))
        && found.insert(name, &document["components"]["schemas"][name]).is_none()
    {
        led_to(found[name], document, found);
    }
    let members = part.as_object().into_iter().flat_map(|members| members.values());
    for inner in members.chain(part.as_array().into_iter().flatten()) {
        led_to(inner, document, found);
    }
}

/// Generators of clients take a field with a default for one that must be sent, and an object of which nothing is said for an empty one.
#[test]
fn what_is_sent_is_told_as_generators_of_clients_understand_it() {
    let document = document();
    let (mut sent, mut broken) = (BTreeMap::new(), Vec::new());
    for (name, operation) in operations(&document) {
        led_to(&operation["requestBody"], &document, &mut sent);
        let order = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["name"] == "order");
        if order.is_some_and(|order| order["schema"]["enum"].as_array().is_none_or(|words| words.len() < 2)) {
            broken.push(format!("{name}: order is any text"));
        }
    }
    assert!(sent.len() > 20 && sent.contains_key("NewAgent"), "{:?}", sent.keys());
    for (name, schema) in sent {
        for (property, described) in schema["properties"].as_object().into_iter().flatten() {
            if described.get("default").is_some() {
                broken.push(format!("{name}.{property} has a default"));
            }
            if described["type"] == "object" && described.get("additionalProperties").is_none() {
                broken.push(format!("{name}.{property} takes nothing"));
            }
            if property.ends_with("metadata") && described["additionalProperties"]["type"].is_null() {
                broken.push(format!("{name}.{property} takes anything"));
            }
        }
    }
    none("what generators stumble over", broken);
}

#[test]
fn everything_in_the_document_is_described() {
    let document = document();
    let mut broken = Vec::new();
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter.get("$ref").is_none() && parameter["description"].as_str().is_none_or(str::is_empty) {
                broken.push(format!("{name}: parameter {} has no description", parameter["name"]));
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        if schema["description"].as_str().is_none_or(str::is_empty) {
            broken.push(format!("schema {name} has no description"));
        }
        if schema.get("example").is_none() && schema.get("examples").is_none() {
            broken.push(format!("schema {name} has no example"));
        }
        for (property, described) in schema["properties"].as_object().into_iter().flatten() {
            let said = described["description"].as_str().is_some_and(|text| !text.is_empty());
            let referred =
                described.get("$ref").is_some() || described.get("allOf").is_some() || described.get("oneOf").is_some();
            if !said && !referred {
                broken.push(format!("schema {name}: property {property} has no description"));
            }
        }
    }
    none("descriptions", broken);
}

#[test]
fn an_id_says_whose_it_is() {
    let document = document();
    let mut broken = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for (property, described) in schema["properties"].as_object().into_iter().flatten() {
            let named = property == "id" || property.ends_with("_id");
            let free =
                ["request_id", "external_id", "trace_id", "connection_id", "object_id"].contains(&property.as_str());
            let text = described.to_string();
            if named && !free && !text.contains("\"typeid\"") && !text.contains("_id\"") {
                broken.push(format!("schema {name}: {property} has no format typeid"));
            }
        }
    }
    none("ids", broken);
}

/// Every `$ref` in it, with where it stands.
fn references(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(target) => found.push((place.to_owned(), target.to_owned())),
                    None => references(member, &format!("{place}/{name}"), found),
                }
            }
        }
        Value::Array(members) => {
            for (n, member) in members.iter().enumerate() {
                references(member, &format!("{place}/{n}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, "", &mut found);
    assert!(found.len() > 500, "{}", found.len());
    let broken = found
        .into_iter()
        .filter(|(_, target)| document.pointer(target.trim_start_matches('#')).is_none())
        .map(|(place, target)| format!("{place}: {target}"))
        .collect();
    none("references", broken);
}

#[test]
fn every_example_is_one_of_its_schema() {
    let document = document();
    let mut shown = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        let single = schema.get("example").into_iter();
        let examples = single.chain(schema["examples"].as_array().into_iter().flatten());
        shown.extend(examples.map(|example| (name, schema, example)));
    }
    for (name, webhook) in document["webhooks"].as_object().expect("webhooks") {
        let content = &webhook["post"]["requestBody"]["content"]["application/json"];
        let told = guildhall::app::events::catalogue();
        let told = told.iter().find(|event| event.name == name).expect("an event");
        assert_eq!(content["example"]["type"], *name);
        assert_eq!(content["example"]["data"], told.example());
        shown.push((name, &content["schema"], &content["example"]));
    }
    let mut broken = Vec::new();
    for (name, schema, example) in shown {
        let mut whole = schema.clone();
        whole["components"] = document["components"].clone();
        let judge = jsonschema::draft202012::new(&whole).expect("a schema");
        for fault in judge.iter_errors(example) {
            broken.push(format!("{name}: {} {fault}", fault.instance_path()));
        }
    }
    none("examples", broken);
}

#[test]
fn every_event_that_endpoints_can_ask_for_is_a_webhook_of_the_document() {
    let document = document();
    let webhooks = document["webhooks"].as_object().expect("webhooks");
    let told = guildhall::app::events::catalogue();
    let told: Vec<_> = told
        .iter()
        .filter(|event| event.audience.webhook)
        .map(|event| event.name)
        .collect();
    assert_eq!(webhooks.keys().collect::<Vec<_>>(), told);
    for (name, webhook) in webhooks {
        let schema = &webhook["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["allOf"][1]["properties"]["type"]["const"], *name);
    }
}

/// The names that a file's types have in the document: what `schema(as = …)` says, or their own.
fn schema_names(text: &str) -> Vec<String> {
    let (mut names, mut attributes) = (Vec::new(), String::new());
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("#[derive(") {
            attributes.clear();
        }
        if line.ends_with("words! {") {
            attributes = "ToSchema ".to_owned();
        }
        attributes.push_str(line);
        let declared = line.strip_prefix("pub ").unwrap_or(line);
        let declared = ["struct ", "enum "].iter().find_map(|kind| declared.strip_prefix(kind));
        if let Some(name) = declared
            && attributes.contains("ToSchema")
        {
            let own = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let said = attributes
                .split_once("as = ")
                .map(|(_, rest)| rest.split([',', ')']).next().unwrap_or(own));
            names.push(said.unwrap_or(own).to_owned());
            attributes.clear();
        }
    }
    names
}

/// The later of two would take the earlier one's place in silence.
#[test]
fn no_two_types_have_one_name() {
    let mut known = BTreeMap::new();
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        for name in schema_names(&text) {
            if let Some(other) = known.insert(name.clone(), file.clone()) {
                broken.push(format!("{name} is in {other} and in {file}: say `#[schema(as = …)]`"));
            }
        }
    }
    assert!(known.len() > 150, "{known:?}");
    none("names of schemas", broken);
}

#[test]
fn the_documents_in_the_repository_are_current() {
    let documents = Documents::new(&api::document(), "https://api.example.com").expect("a sound description");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    for (file, now) in [
        ("openapi.json", &documents.current.text),
        ("openapi-3.0.json", &documents.older.text),
    ] {
        let kept = fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(kept == *now, "openapi/{file} is not current: run `make openapi`");
    }
}

#[actix_web::test]
async fn every_refusal_has_a_page_for_people_and_one_for_programs() {
    let world = World::new().await;
    let list = world.anonymous().get("/problems").await.ok();
    for problem in list.body["data"].as_array().expect("problems") {
        let path = format!("/problems/{}", problem["code"].as_str().expect("a code"));
        let shown = world.anonymous().get(&path).await.ok();
        assert_eq!(&shown.body, problem);
        let members: BTreeSet<&str> = shown
            .body
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let wanted = ["cause", "code", "fix", "meaning", "status", "title"];
        assert_eq!(members, BTreeSet::from(wanted));
        let page = world.anonymous().get(&path).header("accept", "text/html").await.ok();
        for heading in ["Usual cause", "What to do"] {
            assert!(page.text.contains(&format!("<h2>{heading}</h2>\n<p>")), "{path}");
        }
        assert!(!page.text.contains('`'), "{path}: {}", page.text);
    }
    let page = world
        .anonymous()
        .get("/problems/unauthenticated")
        .header("accept", "text/html");
    let text = page.await.ok().text;
    assert!(
        text.contains("<p>Send <code>Authorization: Bearer …</code> or <code>X-Api-Key: …</code>.</p>"),
        "{text}"
    );
}
