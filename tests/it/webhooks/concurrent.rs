//! What happens to webhooks at the same time.

use std::{collections::BTreeMap, future::IntoFuture, time::Duration};

use diesel::connection::SimpleConnection;
use futures_util::join;
use guildhall::app::worker;
use serde_json::json;

use super::{Receiver, deliveries, relay, unmatched};
use crate::world::{World, until};

/// How many of the product's statements wait for a lock.
pub fn waiting(world: &World) -> i64 {
    world.count(
        "SELECT count(*) FROM pg_stat_activity \
          WHERE datname = current_database() AND usename = 'app_tenant' AND wait_event_type = 'Lock'",
    )
}

#[actix_web::test]
async fn new_events_and_results_that_meet_do_not_stop_each_other() {
    let (world, receiver) = (World::new().await, Receiver::new());
    world.run_jobs().await;
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    owner.post("/webhook-endpoints", wish).await.created();
    owner.patch("/workspace", json!({ "name": "One" })).await.ok();
    receiver.hold();
    let sender = worker::runner(&world.deployment);
    let matching = async {
        until("the first is with the receiver", || receiver.got().len() == 1).await;
        owner.patch("/workspace", json!({ "name": "Two" })).await.ok();
        // Both transactions come as far as the table that both write, each with what it locked until then.
        let mut barrier = world.superuser();
        barrier
            .batch_execute("BEGIN; LOCK TABLE webhook_deliveries IN SHARE MODE")
            .expect("the table's lock");
        receiver.release();
        let relay = relay(&world);
        let meeting = async {
            until("both are at the barrier", || waiting(&world) == 2).await;
            barrier.batch_execute("ROLLBACK").expect("the barrier opens");
        };
        join!(async { relay.turn().await.expect("a turn") }, meeting);
        assert_eq!(unmatched(&world), 0, "the events were put back");
    };
    join!(async { sender.turn().await.expect("a turn") }, matching);
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["One", "Two"]);
    assert_eq!(deliveries(&world, "state = 'delivered' AND attempts_total = 1"), 2);
}

#[actix_web::test]
async fn an_event_is_matched_while_a_sender_is_at_work() {
    let (world, receiver) = (World::new().await, Receiver::new());
    world.run_jobs().await;
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    owner.post("/webhook-endpoints", wish).await.created();
    owner.patch("/workspace", json!({ "name": "Now" })).await.ok();
    // However long a sender is busy with its own row.
    let mut sender = world.superuser();
    sender
        .batch_execute("BEGIN; SELECT FROM webhook_pumps FOR UPDATE")
        .expect("the row's lock");
    relay(&world).turn().await.expect("a turn");
    assert_eq!((unmatched(&world), deliveries(&world, "state = 'pending'")), (0, 1));
    sender.batch_execute("ROLLBACK").expect("given back");
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["Now"]);
}

#[actix_web::test]
async fn an_endpoint_changes_before_or_after_events_are_matched_with_it() {
    for change in ["disable", "patch"] {
        let (world, receiver) = (World::new().await, Receiver::new());
        world.run_jobs().await;
        let owner = world.owner();
        let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
        let path = owner.post("/webhook-endpoints", wish).await.created().path();
        owner.patch("/workspace", json!({ "name": "Now" })).await.ok();
        let mut barrier = world.superuser();
        barrier
            .batch_execute("BEGIN; LOCK TABLE webhook_deliveries IN SHARE MODE")
            .expect("the table's lock");
        let relay = relay(&world);
        let meanwhile = async {
            until("the event is being matched", || waiting(&world) == 1).await;
            let opening = async {
                until("the change waits for that", || waiting(&world) == 2).await;
                barrier.batch_execute("ROLLBACK").expect("the barrier opens");
            };
            let asked = match change {
                "disable" => owner.post(&format!("{path}/disable"), json!({})),
                _ => owner.patch(&path, json!({ "events": ["agent.*"] })),
            };
            join!(asked.into_future(), opening).0.ok();
        };
        join!(async { relay.turn().await.expect("a turn") }, meanwhile);
        world.run_jobs().await;
        let sent = usize::from(change == "patch");
        assert_eq!(receiver.got().len(), sent, "what was matched before {change}");
        assert_eq!(deliveries(&world, "state = 'skipped'"), 1 - sent as i64, "{change}");
        assert_eq!(deliveries(&world, "finished_at IS NULL"), 0, "{change}");
    }
}

#[actix_web::test]
async fn under_traffic_every_endpoint_gets_every_event_once() {
    const EVENTS: usize = 60;
    let (world, receiver) = (World::new().await, Receiver::that_takes(Duration::from_millis(20)));
    let owner = world.owner();
    for n in 1..=3 {
        let wish = json!({ "url": format!("{}/{n}", receiver.url), "events": ["workspace.updated"] });
        owner.post("/webhook-endpoints", wish).await.created();
    }
    world.admin("UPDATE guildhall.webhook_endpoints SET rate_per_s = 1000");
    let workers = [(); 2].map(|()| worker::start(&world.deployment).expect("a worker"));
    for n in 0..EVENTS {
        owner
            .patch("/workspace", json!({ "name": format!("Name {n}") }))
            .await
            .ok();
    }
    until("everything has arrived", || receiver.got().len() >= 3 * EVENTS).await;
    for worker in workers {
        worker.drain(Duration::from_secs(20)).await;
    }
    let mut copies: BTreeMap<(String, String), usize> = BTreeMap::new();
    for got in receiver.got() {
        *copies
            .entry((got.path().to_owned(), got.header("webhook-id")))
            .or_default() += 1;
    }
    assert_eq!(copies.len(), 3 * EVENTS);
    assert_eq!(copies.values().filter(|copies| **copies > 1).count(), 0, "sent twice");
    assert_eq!(deliveries(&world, "attempts_total <> 1 OR state <> 'delivered'"), 0);
}

#[actix_web::test]
async fn an_endpoint_that_is_disabled_while_it_is_called_gets_nothing_after_that() {
    let (world, receiver) = (World::new().await, Receiver::new());
    world.run_jobs().await;
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"], "max_in_flight": 1 });
    let path = owner.post("/webhook-endpoints", wish).await.created().path();
    for name in ["One", "Two"] {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
    }
    receiver.hold();
    let sender = worker::runner(&world.deployment);
    let switching = async {
        until("the first is with the receiver", || receiver.got().len() == 1).await;
        owner.post(&format!("{path}/disable"), json!({})).await.ok();
        receiver.release();
    };
    join!(async { sender.turn().await.expect("a turn") }, switching);
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["One"]);
    assert_eq!(deliveries(&world, "state = 'delivered'"), 1, "what arrived has arrived");
    assert_eq!(deliveries(&world, "state = 'skipped'"), 1);
    assert_eq!(deliveries(&world, "finished_at IS NULL"), 0);
}
