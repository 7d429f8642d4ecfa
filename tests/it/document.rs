//! What the API says of itself: complete, described, and the same as what lies in the repository.

use std::{fs, path::Path};

use guildhall::app::{api, openapi::Documents};
use serde_json::Value;

use crate::rules::none;

/// The served document, as JSON.
fn document() -> Value {
    let documents = Documents::new(&api::document(), "https://api.example.com").expect("a sound description");
    serde_json::from_str(&documents.current).expect("JSON")
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

#[test]
fn the_documents_in_the_repository_are_current() {
    let documents = Documents::new(&api::document(), "https://api.example.com").expect("a sound description");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    for (file, now) in [
        ("openapi.json", &documents.current),
        ("openapi-3.0.json", &documents.older),
    ] {
        let kept = fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(kept == *now, "openapi/{file} is not current: run `make openapi`");
    }
}
