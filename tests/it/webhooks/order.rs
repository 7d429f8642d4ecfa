//! In which order events arrive, and how many.

use chrono::Duration;
use guildhall::app::worker;
use serde_json::json;

use super::{Receiver, deliveries};
use crate::world::World;

/// A world whose workspace has one endpoint, as wished.
async fn with_endpoint(receiver: &Receiver, wish: serde_json::Value) -> (World, String) {
    let world = World::new().await;
    world.run_jobs().await;
    let mut new = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    new.as_object_mut()
        .expect("an object")
        .extend(wish.as_object().expect("an object").clone());
    let path = world.owner().post("/webhook-endpoints", new).await.created().path();
    (world, path)
}

async fn rename(world: &World, names: &[&str]) {
    let owner = world.owner();
    for name in names {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
    }
}

/// Works until there is nothing to do now. Fails where there is always something.
async fn settle(world: &World) {
    let runner = worker::runner(&world.deployment);
    for _ in 0..20 {
        if runner.turn().await.expect("a turn") == 0 {
            return;
        }
    }
    panic!("the queue never comes to rest");
}

#[actix_web::test]
async fn while_the_first_of_a_line_is_retried_the_others_wait_and_nobody_spins() {
    let receiver = Receiver::new();
    let wish = json!({ "ordering": "head_of_line", "max_hold_seconds": 0 });
    let (world, _) = with_endpoint(&receiver, wish).await;
    receiver.answers("500 Internal Server Error", 2);
    rename(&world, &["One", "Two", "Three"]).await;
    settle(&world).await;
    assert_eq!(receiver.names(), ["One"]);
    world.clock.advance(Duration::seconds(10));
    settle(&world).await;
    assert_eq!(receiver.names(), ["One", "One"]);
    world.clock.advance(Duration::minutes(6));
    settle(&world).await;
    assert_eq!(receiver.names(), ["One", "One", "One", "Two", "Three"]);
    assert_eq!(deliveries(&world, "state = 'delivered'"), 3);
}

#[actix_web::test]
async fn a_line_is_held_for_as_long_as_was_said_by_each_that_fails() {
    let receiver = Receiver::new();
    let wish = json!({ "ordering": "head_of_line", "max_hold_seconds": 60 });
    let (world, _) = with_endpoint(&receiver, wish).await;
    receiver.answers("500 Internal Server Error", 3);
    rename(&world, &["One", "Two", "Three"]).await;
    settle(&world).await;
    world.clock.advance(Duration::seconds(10));
    settle(&world).await;
    assert_eq!(receiver.names(), ["One", "One"], "its next attempt is in five minutes");
    world.clock.advance(Duration::seconds(55));
    settle(&world).await;
    assert_eq!(
        receiver.names()[2..],
        ["Two"],
        "the minute of the first is over; the second fails too"
    );
    world.clock.advance(Duration::seconds(10));
    settle(&world).await;
    assert_eq!(receiver.names()[3..], ["Two", "Three"]);
    world.clock.advance(Duration::minutes(5));
    settle(&world).await;
    assert_eq!(receiver.names()[5..], ["One"]);
    assert_eq!(deliveries(&world, "state = 'delivered'"), 3);
}

#[actix_web::test]
async fn an_endpoint_that_wants_one_delivery_gets_one() {
    let receiver = Receiver::new();
    let (world, path) = with_endpoint(&receiver, json!({ "once": true })).await;
    receiver.answers("500 Internal Server Error", 1);
    rename(&world, &["One", "Two", "Three"]).await;
    settle(&world).await;
    let arrived = receiver.names().len() - 1;
    assert_eq!(arrived, 1, "{:?}", receiver.names());
    let ended = world.owner().get(&path).await.ok();
    assert_eq!(
        (&ended.body["enabled"], &ended.body["disabled_reason"]),
        (&json!(false), &json!("once"))
    );
    assert_eq!(deliveries(&world, "state = 'delivered'"), 1);
    assert_eq!(deliveries(&world, "state = 'skipped'"), 2);
}

#[actix_web::test]
async fn a_slow_endpoint_that_recovers_goes_on_at_once() {
    let receiver = Receiver::new();
    let (world, path) = with_endpoint(&receiver, json!({})).await;
    receiver.answers("500 Internal Server Error", 14);
    let names: Vec<String> = (0..14).map(|n| format!("Name {n}")).collect();
    rename(&world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for _ in 0..3 {
        settle(&world).await;
        world.clock.advance(Duration::seconds(1));
    }
    let tried = receiver.got().len();
    assert!(
        (10..14).contains(&tried),
        "the breaker opens after ten failures: {tried}"
    );
    // Two failures in a row, and it waits in the other lane.
    let lane = |lane: &str| {
        world.count(&format!(
            "SELECT count(*) FROM guildhall.run_timers WHERE lane = '{lane}' AND kind = 'webhook.pump' AND workspace_id = '{}'",
            world.home().uuid()
        ))
    };
    assert_eq!((lane("deliveries"), lane("deliveries_slow")), (0, 1));
    for _ in 0..40 {
        world.clock.advance(Duration::minutes(2));
        settle(&world).await;
    }
    assert_eq!(deliveries(&world, "state = 'delivered'"), 14);
    assert_eq!(world.owner().get(&path).await.ok().body["enabled"], true);
    // Nothing of the bad time is left: what is new leaves at once.
    let before = receiver.got().len();
    rename(&world, &["Fresh"]).await;
    settle(&world).await;
    assert_eq!(receiver.names()[before..], ["Fresh"]);
}
