//! What is asked of endpoints, and what is kept of it.

use std::{net::TcpListener, sync::Arc};

use guildhall::{
    app::{api, boot::Deployment},
    kernel::config::{Config, Environment},
};
use serde_json::json;

use super::{Receiver, deliveries};
use crate::world::World;

#[actix_web::test]
async fn a_filter_goes_with_the_events_that_are_chosen() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let types = owner.get("/event-types").await.ok();
    let types = types.body["data"].as_array().expect("a list").clone();
    let kind = types
        .iter()
        .find(|kind| kind["filterable"].as_array().is_some_and(|fields| !fields.is_empty()))
        .expect("a type that can be filtered");
    let field = kind["filterable"][0].as_str().expect("a field");
    let wish = json!({ "url": receiver.url, "events": [kind["name"]], "filter": { field: ["one"] } });
    let path = owner.post("/webhook-endpoints", wish).await.created().path();
    // The events change, and the filter that is kept would mean nothing any more.
    owner
        .patch(&path, json!({ "events": ["workspace.updated"] }))
        .await
        .invalid(&format!("/filter/{field}"), "invalid-choice");
    let both = json!({ "events": ["workspace.updated"], "filter": {} });
    owner.patch(&path, both).await.ok();
    owner.patch("/workspace", json!({ "name": "Filtered" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["Filtered"]);
}

#[actix_web::test]
async fn an_endpoint_ends_at_a_time_that_calendars_know() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = |until: &str| json!({ "url": receiver.url, "events": ["workspace.updated"], "expires_at": until });
    for (until, code) in [
        ("-200000-01-01T00:00:00Z", "too-small"),
        ("+200000-01-01T00:00:00Z", "too-large"),
    ] {
        owner
            .post("/webhook-endpoints", wish(until))
            .await
            .invalid("/expires_at", code);
    }
    let past = (world.clock.now() - chrono::Duration::seconds(1)).to_rfc3339();
    let refused = owner.post("/webhook-endpoints", wish(&past)).await;
    refused.invalid("/expires_at", "too-small");
    let soon = world.clock.now() + chrono::Duration::minutes(1);
    let path = owner
        .post("/webhook-endpoints", wish(&soon.to_rfc3339()))
        .await
        .created()
        .path();
    owner
        .patch(&path, json!({ "expires_at": "-200000-01-01T00:00:00Z" }))
        .await
        .invalid("/expires_at", "too-small");
    owner
        .patch(&path, json!({ "expires_at": past }))
        .await
        .invalid("/expires_at", "too-small");
    owner.patch("/workspace", json!({ "name": "In time" })).await.ok();
    world.run_jobs().await;
    world.clock.advance(chrono::Duration::minutes(2));
    owner.patch("/workspace", json!({ "name": "Too late" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["In time"]);
    let ended = owner.get(&path).await.ok();
    assert_eq!(
        (&ended.body["enabled"], &ended.body["disabled_reason"]),
        (&json!(false), &json!("expired"))
    );
    // A form sends back what it was shown, beside what was changed in it.
    let shown = owner.get(&path).await.ok().body["expires_at"].clone();
    let form = json!({ "description": "Over.", "expires_at": shown });
    owner.patch(&path, form).await.ok();
    let enable = format!("{path}/enable");
    owner.act(&enable).await.refused("state-conflict");
    owner.patch(&path, json!({ "expires_at": null })).await.ok();
    owner.act(&enable).await.ok();
    // Nobody sends anything meanwhile, and it is told all the same.
    let later = world.clock.now() + chrono::Duration::minutes(1);
    owner.patch(&path, json!({ "expires_at": later })).await.ok();
    world.run_jobs().await;
    assert_eq!(owner.get(&path).await.ok().body["enabled"], true);
    world.clock.advance(chrono::Duration::minutes(2));
    world.run_jobs().await;
    let ended = owner.get(&path).await.ok();
    assert_eq!(
        (&ended.body["enabled"], &ended.body["disabled_reason"]),
        (&json!(false), &json!("expired"))
    );
}

#[actix_web::test]
async fn what_changes_nothing_is_told_to_nobody() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let end = (world.clock.now() + chrono::Duration::days(1)).to_rfc3339();
    let wish = json!({ "url": receiver.url, "events": ["*"], "description": "Ours", "expires_at": end });
    let made = owner.post("/webhook-endpoints", wish).await.created();
    let shown = made.body["expires_at"].clone();
    for same in [
        json!({}),
        json!({ "description": "Ours", "expires_at": shown, "events": ["*"] }),
    ] {
        let after = owner.patch(&made.path(), same).await.ok();
        assert_eq!(after.body["version"], made.body["version"]);
    }
    owner.patch(&made.path(), json!({ "description": "Theirs" })).await.ok();
    let told = world.audit();
    let told = told.iter().filter(|entry| entry.contains("webhook_endpoint.updated"));
    assert_eq!(told.count(), 1);
}

#[actix_web::test]
async fn a_repetition_is_answered_whatever_the_address_stands_for_by_now() {
    let (world, receiver) = (World::new().await, Receiver::new());
    // Another server of the deployment, to which the address is forbidden.
    let mut variables = world.variables().clone();
    variables.insert("GUILDHALL__HTTP__ALLOW_TARGETS".into(), "203.0.113.0/24".into());
    let config = Config::from_variables(Environment::Development, variables).expect("a sound configuration");
    let strict = Arc::new(Deployment::new(config, world.clock.clone()).expect("a sound configuration"));
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("bound"));
    let server = api::serve(strict.clone(), socket).expect("a server");
    let handle = server.handle();
    strict.readiness.booted();
    actix_web::rt::spawn(server);

    let owner = world.owner();
    let elsewhere = owner.at(&base);
    let wish = json!({ "url": receiver.url, "events": ["*"] });
    let first = owner
        .post("/webhook-endpoints", wish.clone())
        .header("idempotency-key", "once")
        .await
        .created();
    let again = elsewhere
        .post("/webhook-endpoints", wish.clone())
        .header("idempotency-key", "once")
        .await
        .created();
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.body, again.body);
    elsewhere
        .post("/webhook-endpoints", wish)
        .await
        .refused("target-not-allowed");
    drop(handle.stop(false));
}

#[actix_web::test]
async fn an_address_is_kept_in_its_one_spelling() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let shouted = receiver.url.replace("http://", "HTTP://").replace("/in", "/a/../in");
    let wish = json!({ "url": shouted, "events": ["workspace.updated"] });
    let made = owner.post("/webhook-endpoints", wish).await.created();
    assert_eq!(made.body["url"], receiver.url);
    let moved = json!({ "url": format!("{}/./two", receiver.url.replace("http://", "HTTP://")) });
    let moved = owner.patch(&made.path(), moved).await.ok();
    assert_eq!(moved.body["url"], format!("{}/two", receiver.url));
    let found = owner
        .get(&format!("/webhook-endpoints?url={}/x/../two", receiver.url))
        .await
        .ok();
    assert_eq!(found.body["data"].as_array().map(Vec::len), Some(1));
    // What is longer once it is written out is too long.
    let wide = format!("{}/{}", receiver.url, "é".repeat(1_000));
    owner
        .post("/webhook-endpoints", json!({ "url": wide }))
        .await
        .refused("target-not-allowed");
}

#[actix_web::test]
async fn an_event_that_is_named_twice_counts_once() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated", "run.*", "workspace.updated"] });
    let made = owner.post("/webhook-endpoints", wish).await.created();
    assert_eq!(made.body["events"], json!(["workspace.updated", "run.*"]));
    let change = json!({ "events": ["member.*", "workspace.updated", "member.*"] });
    let changed = owner.patch(&made.path(), change).await.ok();
    assert_eq!(changed.body["events"], json!(["member.*", "workspace.updated"]));
    owner.patch("/workspace", json!({ "name": "Once" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["Once"]);
}

#[actix_web::test]
async fn both_secrets_sign_while_one_is_replaced_and_then_the_new_one_alone() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    let made = owner.post("/webhook-endpoints", wish).await.created();
    let old = made.text_at("/secret");
    let rotated = owner
        .post(
            &format!("{}/secret/rotate", made.path()),
            json!({ "grace_seconds": 3600 }),
        )
        .await
        .ok();
    let new = rotated.text_at("/secret");
    for (name, hours) in [("During", 0), ("After", 2)] {
        world.clock.advance(chrono::Duration::hours(hours));
        owner.patch("/workspace", json!({ "name": name })).await.ok();
        world.run_jobs().await;
    }
    let got = receiver.got();
    let verified = |got: &super::Got| [&old, &new].map(|secret| super::verifies(got, secret));
    assert_eq!(got.len(), 2);
    assert_eq!((verified(&got[0]), verified(&got[1])), ([true, true], [false, true]));
    assert_eq!(deliveries(&world, "state = 'delivered'"), 2);
    let kept = format!(
        "SELECT count(*) FROM guildhall.webhook_secrets WHERE workspace_id = '{}'",
        world.home().uuid()
    );
    assert_eq!(world.count(&kept), 1, "what signs no more is not kept either");
}

#[actix_web::test]
async fn however_often_a_secret_is_replaced_five_sign() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    let made = owner.post("/webhook-endpoints", wish).await.created();
    let rotate = format!("{}/secret/rotate", made.path());
    let mut secrets = vec![made.text_at("/secret")];
    for _ in 0..7 {
        let rotated = owner.post(&rotate, json!({ "grace_seconds": 3600 })).await.ok();
        secrets.push(rotated.text_at("/secret"));
    }
    let kept = format!(
        "SELECT count(*) FROM guildhall.webhook_secrets WHERE workspace_id = '{}'",
        world.home().uuid()
    );
    assert_eq!(world.count(&kept), 5);
    owner.patch("/workspace", json!({ "name": "Signed" })).await.ok();
    world.run_jobs().await;
    let got = receiver.got();
    let signs: Vec<bool> = secrets.iter().map(|secret| super::verifies(&got[0], secret)).collect();
    assert_eq!(signs, [false, false, false, true, true, true, true, true]);
}
