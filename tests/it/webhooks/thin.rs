//! Events that are told by their address alone.

use std::collections::BTreeSet;

use guildhall::app::events;
use serde_json::{Value, json};

use super::receiver::Receiver;
use crate::{rules::none, world::World};

#[actix_web::test]
async fn a_thin_event_says_where_its_thing_is_shown_and_so_does_a_test() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["product.created", "agent_label.moved"], "payload": "thin" });
    let endpoint = owner.post("/webhook-endpoints", wish).await.created();
    let agent = json!({ "name": "Echo", "framework": "openai", "config": { "model": "sandbox", "prompt": "a" } });
    let agent = owner.post("/agents", agent).await.created().id();
    owner
        .put(&format!("/agents/{agent}/labels/staging"), json!({ "number": 1 }))
        .await
        .created();
    let product = owner
        .post("/products", json!({ "code": "scribe", "name": "Scribe" }))
        .await;
    let product = product.created();
    world.run_jobs().await;
    let told: Vec<Value> = receiver.got().iter().map(|got| got.json()).collect();
    let of = |kind: &str| told.iter().rfind(|event| event["type"] == kind).expect(kind);
    assert_eq!(
        of("product.created")["data"],
        json!({ "id": product.id(), "version": 1, "href": product.path() })
    );
    // Two labels were set, the first one with the agent.
    let moved =
        json!({ "agent_id": agent, "label": "staging", "href": format!("/api/v1/agents/{agent}/labels/staging") });
    assert!(told.iter().any(|event| event["data"] == moved), "{told:?}");
    assert!(told.iter().all(|event| event["thin"] == true), "{told:?}");
    let before = receiver.got().len();
    let test = json!({ "event_type": "product.created" });
    owner.post(&format!("{}/test", endpoint.path()), test).await.ok();
    let tried = receiver.got()[before].json();
    assert_eq!((&tried["thin"], &tried["test"]), (&json!(true), &json!(true)));
    assert!(
        tried["data"]["href"]
            .as_str()
            .is_some_and(|href| href.starts_with("/api/v1/products/prd_"))
    );
    assert!(tried["data"].get("name").is_none(), "{tried}");
}

#[actix_web::test]
async fn an_event_too_large_to_be_told_is_filtered_by_what_it_was() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let agent = async |name: &str| {
        let config = json!({ "model": "sandbox", "prompt": "a" });
        let agent = json!({ "name": name, "framework": "openai", "config": config });
        owner.post("/agents", agent).await.created().id()
    };
    let (wanted, other) = (agent("Wanted").await, agent("Other").await);
    let wish =
        json!({ "url": receiver.url, "events": ["run.created"], "filter": { "agent_id": [wanted] }, "once": true });
    owner.post("/webhook-endpoints", wish).await.created();
    let run = async |agent: &str| {
        let input = json!({ "input": { "text": "x".repeat(300_000) } });
        let run = owner.post(&format!("/agents/{agent}/execute"), input).await;
        run.accepted().text_at("/id")
    };
    run(&other).await;
    world.run_jobs().await;
    assert!(receiver.got().is_empty(), "it is about another agent");
    let run = run(&wanted).await;
    world.run_jobs().await;
    let told = receiver.got()[0].json();
    assert_eq!(told["thin"], true);
    let data = told["data"].as_object().expect("an object");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["href", "id", "version"]);
    assert_eq!(
        (&data["id"], &data["href"]),
        (&json!(run), &json!(format!("/api/v1/runs/{run}")))
    );
}

#[test]
fn what_an_event_is_about_is_shown_where_the_event_says() {
    let document: Value = serde_json::from_str(include_str!("../../../openapi/openapi.json")).expect("JSON");
    let unnamed = |path: &str| {
        let parts = path
            .split('/')
            .map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let paths = document["paths"].as_object().expect("paths").iter();
    let shown: BTreeSet<String> = paths
        .filter(|(_, path)| path.get("get").is_some())
        .map(|(name, _)| unnamed(name))
        .collect();
    let (mut broken, mut told) = (Vec::new(), 0);
    for event in events::catalogue() {
        let thin = event.thin(&event.example());
        let Some(href) = thin["href"].as_str() else { continue };
        told += 1;
        if href.contains("null") || href.contains('{') || !shown.contains(&unnamed(&format!("/api/v1{}", event.at))) {
            broken.push(format!("{}: {href}", event.name));
        }
    }
    none("events that lead nowhere", broken);
    assert!(told > 40, "{told}");
}
