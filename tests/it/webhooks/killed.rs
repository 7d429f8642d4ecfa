//! Workers that die with calls under way.

use serde_json::json;

use super::{Receiver, deliveries, unmatched};
use crate::world::{Process, World, until};

#[actix_web::test]
async fn what_a_killed_worker_had_under_way_is_sent_once_more_and_nothing_is_lost() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    owner.post("/webhook-endpoints", wish).await.created();
    receiver.hold();
    for name in ["One", "Two", "Three"] {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
    }
    let worker = Process::worker(&world);
    until("a call is under way", || !receiver.got().is_empty()).await;
    owner.patch("/workspace", json!({ "name": "Four" })).await.ok();
    until("the others are matched", || unmatched(&world) == 0).await;
    let in_flight = || deliveries(&world, "state = 'in_flight'") as usize;
    until("every call is with the receiver", || {
        receiver.got().len() == in_flight()
    })
    .await;
    worker.kill();
    let under_way = receiver.got().len();
    receiver.release();
    // The half minute that a lease lasts is over.
    world.admin("UPDATE guildhall.run_leases SET expires_at = now() - interval '1 s'");

    let worker = Process::worker(&world);
    until("all have arrived", || deliveries(&world, "state = 'delivered'") == 4).await;
    worker.kill();
    let got = receiver.got();
    assert_eq!(got.len(), 4 + under_way, "only what was under way comes again");
    for (name, attempts) in ["One", "Two", "Three", "Four"].map(|name| {
        let of_it = got.iter().filter(|got| got.json()["data"]["name"] == name);
        (name, of_it.map(|got| got.header("webhook-attempt")).collect::<Vec<_>>())
    }) {
        assert!(
            ["1", "1 2"].contains(&attempts.join(" ").as_str()),
            "{name} was tried as {attempts:?}"
        );
    }
}
