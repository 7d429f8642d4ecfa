//! How fast events are sent, and who waits for whom.

use std::time::{Duration, Instant};

use guildhall::app::worker;
use serde_json::json;

use super::{
    Receiver,
    backlog::{more_deliveries, more_endpoints, more_events},
    deliveries, relay,
};
use crate::world::{World, until};

#[actix_web::test]
async fn ten_a_second_are_ten_a_second_however_many_workers_there_are() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    owner.patch("/workspace", json!({ "name": "Old" })).await.ok();
    world.run_jobs().await;
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"], "rate_per_s": 10, "max_in_flight": 50 });
    owner.post("/webhook-endpoints", wish).await.created();
    more_deliveries(&world, 34, 0);
    owner.patch("/workspace", json!({ "name": "Last" })).await.ok();
    let begun = Instant::now();
    let workers = [(); 2].map(|()| worker::start(&world.deployment).expect("a worker"));
    until("all have arrived", || {
        // Ten at once, then one every tenth of a second.
        let got = receiver.got().len();
        let most = 11 + (begun.elapsed().as_millis() / 100) as usize;
        assert!(got <= most, "{got} after {:?}", begun.elapsed());
        got == 35
    })
    .await;
    assert!(begun.elapsed() > Duration::from_millis(2_400), "{:?}", begun.elapsed());
    for worker in workers {
        worker.drain(Duration::from_secs(20)).await;
    }
    assert_eq!(receiver.got().len(), 35);
}

#[actix_web::test]
async fn one_host_gets_no_more_than_its_share_and_what_waits_for_it_uses_no_attempt() {
    const EVENTS: usize = 80;
    const ALL: usize = 5 * EVENTS;
    // Alone, this process counts exactly; a Redis that is slow for a moment would hand it a second share.
    let settings = [("LIMITS__FACTOR", "1"), ("REDIS__URL", "off")];
    let (world, receiver) = (World::with(&settings).await, Receiver::new());
    world.run_jobs().await;
    more_endpoints(&world, &receiver.url, 5);
    let home = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.webhook_endpoints SET rate_per_s = 1000, max_in_flight = 50;
         INSERT INTO guildhall.workspace_slots (lane, workspace_id, max_running, max_ready) VALUES ('deliveries', '{home}', 8, 1000)
         ON CONFLICT (lane, workspace_id) DO UPDATE SET max_running = 8"
    ));
    world.owner().patch("/workspace", json!({ "name": "Many" })).await.ok();
    more_events(&world, EVENTS);
    let relay = relay(&world);
    while relay.turn().await.expect("a turn") > 0 {}
    assert_eq!(deliveries(&world, "state = 'pending'"), ALL as i64);
    let begun = Instant::now();
    let worker = worker::start(&world.deployment).expect("a worker");
    until("all have arrived", || {
        // What was put back is due after a moment of the world's clock.
        world.clock.advance(chrono::Duration::milliseconds(50));
        // Half of what the host may get: fifty at once, then fifty a second.
        let got = receiver.got().len();
        let most = 51 + (begun.elapsed().as_millis() / 20) as usize;
        assert!(got <= most, "{got} after {:?}", begun.elapsed());
        got >= ALL
    })
    .await;
    worker.drain(Duration::from_secs(20)).await;
    assert_eq!(receiver.got().len(), ALL);
    assert_eq!(
        deliveries(&world, "state <> 'delivered' OR attempts_total <> 1 OR attempts <> 1"),
        0
    );
}

#[actix_web::test]
async fn a_fresh_event_does_not_wait_behind_one_that_is_retried_later() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    owner.post("/webhook-endpoints", wish).await.created();
    receiver.answers("500 Internal Server Error", 1);
    for name in ["One", "Two"] {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
        world.run_jobs().await;
    }
    assert_eq!(receiver.names(), ["One", "Two"]);
    world.clock.advance(chrono::Duration::seconds(10));
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["One", "Two", "One"]);
}

#[actix_web::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let (world, hanging, healthy) = (World::new().await, Receiver::new(), Receiver::new());
    let owner = world.owner();
    for receiver in [&hanging, &healthy] {
        let wish = json!({ "url": receiver.url, "events": ["workspace.updated"], "max_in_flight": 1 });
        owner.post("/webhook-endpoints", wish).await.created();
    }
    hanging.hold();
    let worker = worker::start(&world.deployment).expect("a worker");
    for name in ["One", "Two", "Three"] {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
    }
    until("the healthy one has them all", || healthy.got().len() == 3).await;
    assert_eq!(hanging.got().len(), 1);
    hanging.release();
    until("the other one has them, too", || hanging.got().len() == 3).await;
    worker.drain(Duration::from_secs(20)).await;
    assert_eq!((healthy.names().len(), hanging.names().len()), (3, 3));
}
