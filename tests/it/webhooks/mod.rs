//! Outgoing webhooks, from the change to the receiver.

mod backlog;
pub mod concurrent;
mod endpoints;
mod killed;
mod order;
mod pace;
pub mod receiver;
mod thin;
mod under_way;
mod unheard;

use base64::{Engine, engine::general_purpose::STANDARD};
use guildhall::{
    app::events,
    features::webhooks,
    kernel::{
        jobs::Runner,
        outbox::{Catalogue, Relay},
    },
};
use serde_json::{Value, json};

use crate::world::{Answer, Caller, World};
use receiver::{Got, Receiver};

/// What matches events with endpoints, and nothing that sends.
fn relay(world: &World) -> Relay {
    let deployment = &world.deployment;
    let mut runner = Runner::new(deployment.db.clone());
    let mut relay = Relay::new(deployment.db.clone());
    webhooks::register(
        &mut runner,
        &mut relay,
        &deployment.outbound,
        &deployment.limits,
        &deployment.keyring,
        Catalogue::new(events::catalogue()),
    );
    relay
}

/// How many deliveries of the home workspace are so.
fn deliveries(world: &World, so: &str) -> i64 {
    let home = world.home().uuid();
    world.count(&format!(
        "SELECT count(*) FROM guildhall.webhook_deliveries WHERE workspace_id = '{home}' AND ({so})"
    ))
}

/// How many events of the home workspace nobody has matched yet.
fn unmatched(world: &World) -> i64 {
    let home = world.home().uuid();
    world.count(&format!(
        "SELECT count(*) FROM guildhall.outbox_queue WHERE workspace_id = '{home}'"
    ))
}

/// An endpoint at the receiver for these events.
async fn listens(owner: &Caller, receiver: &Receiver, events: &[&str]) -> Answer {
    let new = json!({ "url": receiver.url, "events": events });
    owner.post("/webhook-endpoints", new).await.created()
}

/// Whether a signature is what a receiver computes with the secret.
pub fn verifies(got: &Got, secret: &str) -> bool {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
    let signed = format!(
        "{}.{}.{}",
        got.header("webhook-id"),
        got.header("webhook-timestamp"),
        got.body
    );
    let mac = aws_lc_rs::hmac::sign(
        &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key),
        signed.as_bytes(),
    );
    let expected = format!("v1,{}", STANDARD.encode(mac.as_ref()));
    got.header("webhook-signature").split(' ').any(|one| one == expected)
}

#[actix_web::test]
async fn an_event_reaches_the_endpoint_signed_and_once() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let endpoint = listens(&owner, &receiver, &["workspace.*"]).await;
    let secret = endpoint.text_at("/secret");
    owner.patch("/workspace", json!({ "name": "Renamed" })).await.ok();
    world.run_jobs().await;

    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let event = got[0].json();
    assert_eq!(
        (event["type"].as_str(), event["data"]["name"].as_str()),
        (Some("workspace.updated"), Some("Renamed"))
    );
    assert_eq!(got[0].header("webhook-id"), event["id"]);
    assert!(verifies(&got[0], &secret) && !verifies(&got[0], "whsec_AAAA"));
    world.run_jobs().await;
    assert_eq!(receiver.got().len(), 1);

    for status in ["abc", "99", "600", ""] {
        let log = owner.get(&format!("/webhook-deliveries?http_status={status}")).await;
        log.refused("invalid-parameter");
    }
    let log = owner
        .get("/webhook-deliveries?state=delivered&http_status=204")
        .await
        .ok();
    let id = log.text_at("/data/0/id");
    let delivery = owner.get(&format!("/webhook-deliveries/{id}")).await.ok();
    assert_eq!(delivery.body["attempts_log"][0]["http_status"], 204);
    world
        .stranger()
        .get(&format!("/webhook-deliveries/{id}"))
        .await
        .refused("not-found");
    world
        .stranger()
        .get(&format!("/webhook-endpoints/{}", endpoint.id()))
        .await
        .refused("not-found");
    world.viewer().get("/webhook-endpoints").await.refused("forbidden");
}

#[actix_web::test]
async fn an_endpoint_that_fails_is_tried_again_with_the_same_id() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    listens(&owner, &receiver, &["*"]).await;
    receiver.answers("500 Internal Server Error", 2);
    owner.patch("/workspace", json!({ "name": "Twice" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.got().len(), 1);
    world.clock.advance(chrono::Duration::seconds(10));
    world.run_jobs().await;
    assert_eq!(receiver.got().len(), 2);
    world.clock.advance(chrono::Duration::minutes(7));
    world.run_jobs().await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(
        got.iter()
            .all(|one| one.header("webhook-id") == got[0].header("webhook-id"))
    );
    assert_eq!(
        got.iter().map(|one| one.header("webhook-attempt")).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    let log = owner.get("/webhook-deliveries").await.ok();
    assert_eq!(
        (
            log.body["data"][0]["state"].as_str(),
            log.body["data"][0]["attempts"].as_i64()
        ),
        (Some("delivered"), Some(3))
    );
}

#[actix_web::test]
async fn a_receiver_that_is_gone_is_left_alone_and_a_disabled_endpoint_gets_nothing() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let endpoint = listens(&owner, &receiver, &["workspace.updated"]).await;
    let path = endpoint.path();
    receiver.answers("410 Gone", 1);
    owner.patch("/workspace", json!({ "name": "One" })).await.ok();
    world.run_jobs().await;
    let off = owner.get(&path).await.ok();
    assert_eq!(
        (off.body["enabled"].as_bool(), off.body["disabled_reason"].as_str()),
        (Some(false), Some("gone"))
    );
    owner.patch("/workspace", json!({ "name": "Two" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.got().len(), 1);

    owner.post(&format!("{path}/enable"), json!({})).await.ok();
    owner.patch("/workspace", json!({ "name": "Three" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.got().len(), 2);
    owner.delete(&path).await.gone();
    owner.delete(&path).await.refused("not-found");
}

#[actix_web::test]
async fn what_was_refused_is_told_to_nobody() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    listens(&owner, &receiver, &["*"]).await;
    owner
        .patch("/workspace", json!({ "name": "" }))
        .await
        .refused("validation-failed");
    world.run_jobs().await;
    assert!(receiver.got().is_empty());
    owner
        .post(
            "/webhook-endpoints",
            json!({ "url": receiver.url, "events": ["no.such"] }),
        )
        .await
        .invalid("/events/0", "invalid-choice");
    owner
        .post(
            "/webhook-endpoints",
            json!({ "url": "https://169.254.169.254/", "events": ["*"] }),
        )
        .await
        .refused("target-not-allowed");
}

#[actix_web::test]
async fn a_test_is_sent_at_once_and_a_delivery_can_be_sent_again() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let endpoint = listens(&owner, &receiver, &["workspace.updated"]).await;
    let tried = owner
        .post(
            &format!("{}/test", endpoint.path()),
            json!({ "event_type": "member.joined" }),
        )
        .await
        .ok();
    assert_eq!(
        (tried.body["state"].as_str(), tried.body["test"].as_bool()),
        (Some("delivered"), Some(true))
    );
    // It is an event like any other, but for the mark.
    let sent = receiver.got()[0].json();
    assert_eq!(
        (&sent["test"], &sent["actor"]["type"]),
        (&json!(true), &json!("api_key"))
    );
    let document: Value = serde_json::from_slice(&world.deployment.documents.current.text).expect("JSON");
    let required = &document["components"]["schemas"]["WebhookEvent"]["required"];
    for name in required.as_array().expect("a list") {
        let name = name.as_str().expect("a name");
        assert!(sent.get(name).is_some(), "{name}: {sent}");
    }
    owner.patch("/workspace", json!({ "name": "Again" })).await.ok();
    world.run_jobs().await;
    let log = owner.get("/webhook-deliveries?event_type=workspace.updated").await.ok();
    owner
        .act(&format!("/webhook-deliveries/{}/retry", log.text_at("/data/0/id")))
        .await
        .ok();
    world.run_jobs().await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert_eq!(got[1].header("webhook-id"), got[2].header("webhook-id"));
    let types = owner.get("/event-types").await.ok();
    assert!(
        types.body["data"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|kind| kind["name"] == "workspace.updated")
    );
}
