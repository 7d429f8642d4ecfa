//! A Stripe that takes calls and does not answer.

use std::time::Duration;

use guildhall::{
    app::{
        dev::stripe::{Fault, Kind, Schedule},
        worker,
    },
    kernel::id::WorkspaceId,
};
use serde_json::json;

use super::Shop;
use crate::world::{patience, until};

#[actix_web::test]
async fn calls_that_hang_keep_no_plan_from_changing() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    shop.stub.inject(Fault {
        path: "customers".into(),
        method: "POST".into(),
        times: 8,
        kind: Kind::Slow(60_000),
    });
    for _ in 0..5 {
        shop.announce(WorkspaceId::new(shop.world.clock.now()));
    }
    let worker = worker::start(&shop.world.deployment).unwrap();
    let hangs = "kind = 'store.customer'";
    until("as much as may hang does", || shop.count("run_leases", hangs) == 4).await;

    let staff = shop.staff();
    let license = staff.get("/licenses").await.ok().text_at("/data/0/id");
    let path = format!("/licenses/{license}/suspend");
    staff.post(&path, json!({ "reason": "abuse" })).await.ok();
    patience::until("the plan is suspended", async || shop.plan().await == "free").await;
    assert_eq!(shop.count("run_leases", hangs), 4, "they hang still");
    worker.drain(Duration::ZERO).await;
    shop.world.admin(
        "DELETE FROM guildhall.run_queue WHERE kind = 'store.customer';
         UPDATE guildhall.workspace_slots s SET ready = (SELECT count(*) FROM guildhall.run_queue q
          WHERE q.lane = s.lane AND q.workspace_id = s.workspace_id)",
    );
}

#[actix_web::test]
async fn what_was_looked_at_when_its_worker_ended_is_looked_at_by_the_next() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.stub.deliver(&Schedule::default()).await;
    shop.stub.inject(Fault {
        path: "subscriptions".into(),
        method: "GET".into(),
        times: 100,
        kind: Kind::Slow(60_000),
    });
    // What other lanes have is looked at first: some of it belongs to this one, and comes into it without being looked at.
    let own = format!("lane = '{}'", subscription["customer"].as_str().unwrap());
    let (hangs, elsewhere) = (
        format!("looking AND {own}"),
        format!("state = 'received' AND NOT ({own})"),
    );
    let looking = async || {
        until("it is looked at, and nothing else waits", || {
            shop.count("inbox_events", &hangs) > 0 && shop.count("inbox_events", &elsewhere) == 0
        })
        .await;
    };
    // One that is told to end gives back what it has, and it counts for nothing.
    let worker = worker::start(&shop.world.deployment).unwrap();
    looking().await;
    worker.drain(Duration::ZERO).await;
    assert_eq!(shop.count("inbox_lanes", "lease_token IS NOT NULL"), 0);
    assert_eq!(shop.count("inbox_events", "looking OR attempts > 0"), 0);
    // One that is killed leaves its lease, and what it looked at counts and waits.
    let worker = worker::start(&shop.world.deployment).unwrap();
    looking().await;
    worker.kill();
    shop.stub.heal();
    let lanes =
        "UPDATE guildhall.inbox_lanes SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL";
    shop.world.admin(lanes);
    let other = worker::runner(&shop.world.deployment);
    other.expire_leases().await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "free");
    assert!(shop.count("inbox_events", "attempts = 1 AND last_error LIKE '%lost'") > 0);
    shop.passes(chrono::Duration::seconds(12)).await;
    assert_eq!(shop.plan().await, "pro");
}
