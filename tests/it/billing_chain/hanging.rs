//! A Stripe that takes calls and does not answer.

use std::time::Duration;

use guildhall::{
    app::{
        dev::stripe::{Fault, Kind},
        worker,
    },
    kernel::id::WorkspaceId,
};
use serde_json::json;

use super::Shop;
use crate::world::{patience::within, until};

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
    within(Duration::from_secs(15), "the plan is suspended", async || {
        shop.plan().await == "free"
    })
    .await;
    assert_eq!(shop.count("run_leases", hangs), 4, "they hang still");
    worker.drain(Duration::ZERO).await;
    shop.world.admin(
        "DELETE FROM guildhall.run_queue WHERE kind = 'store.customer';
         UPDATE guildhall.workspace_slots SET ready = 0 WHERE lane IN ('slow', 'system')",
    );
}
