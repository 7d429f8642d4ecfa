//! The connection to Stripe: what it cannot find, what that says of it, and what is made up for once it works.

use chrono::Duration;
use guildhall::app::{
    dev::stripe::{Fault, Kind},
    worker,
};
use serde_json::json;

use super::Shop;

/// Stripe's events are looked at, and Stripe knows nothing of what they are about.
async fn looked_at_with_a_wrong_key(shop: &Shop) {
    shop.stub.inject(Fault {
        path: String::new(),
        method: "GET".into(),
        times: 10_000,
        kind: Kind::RefusedBefore(404),
    });
    shop.settles().await;
}

#[actix_web::test]
async fn a_draft_that_was_deleted_before_anybody_looked_is_no_trouble() {
    let shop = Shop::open().await;
    let account = shop.bill().await["stripe_customer"].clone();
    let draft = json!({ "object": "invoice", "id": "in_gone", "customer": account, "status": "draft" });
    shop.sends("invoice.created", draft.clone()).await;
    shop.sends("invoice.updated", draft.clone()).await;
    shop.sends("invoice.deleted", draft).await;
    assert_eq!(
        shop.count("inbox_events", "object_id = 'in_gone' AND state = 'done'"),
        3
    );
    assert_eq!(shop.count("stripe_connections", "state = 'degraded'"), 0);
}

#[actix_web::test]
async fn what_a_wrong_key_could_not_find_is_looked_at_again_once_the_key_is_right() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    looked_at_with_a_wrong_key(&shop).await;
    assert_eq!(shop.plan().await, "free");
    assert!(shop.count("inbox_events", "state = 'parked' AND parked_on = 'account'") > 0);
    assert_eq!(shop.count("stripe_connections", "state = 'degraded'"), 1);

    // The key is configuration: who mends it starts again.
    shop.stub.heal();
    shop.world.deployment.prepare().await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("inbox_events", "state = 'parked'"), 0);
    assert_eq!(shop.count("stripe_connections", "state = 'active'"), 1);
}

#[actix_web::test]
async fn what_a_worker_with_a_wrong_key_could_not_find_is_looked_at_again_within_the_hour() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    looked_at_with_a_wrong_key(&shop).await;
    let parked = || shop.count("inbox_events", "state = 'parked' AND parked_on = 'account'");
    let waiting = parked();
    assert!(waiting > 0);

    // It ended, after those with the right key had begun: what asks is what every worker asks for by itself.
    shop.stub.heal();
    let reconcile = async || {
        worker::runner(&shop.world.deployment).chores().await.unwrap();
        shop.world.run_jobs().await;
    };
    shop.world.clock.advance(Duration::minutes(50));
    reconcile().await;
    assert_eq!((parked(), shop.plan().await), (waiting, "free".into()));
    shop.world.clock.advance(Duration::minutes(11));
    reconcile().await;
    assert_eq!((parked(), shop.plan().await), (0, "pro".into()));

    // What is a week old is asked for no more by itself.
    shop.world.admin(
        "UPDATE guildhall.inbox_events SET state = 'parked', parked_on = 'account' WHERE event_id = (SELECT min(event_id) FROM guildhall.inbox_events)",
    );
    shop.world.clock.advance(Duration::days(7));
    reconcile().await;
    assert_eq!(parked(), 1);
}

#[actix_web::test]
async fn who_was_there_before_stripe_was_has_an_account_after_the_next_start() {
    let shop = Shop::open().await;
    let account = shop.bill().await["stripe_customer"].clone();
    shop.world
        .admin("UPDATE guildhall.billing_customers SET stripe_customer_id = NULL");
    shop.world.deployment.prepare().await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.bill().await["stripe_customer"], account);
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
}

#[actix_web::test]
async fn who_was_deleted_at_stripe_has_another_account_to_buy_with() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    let account = format!("customers/{}", subscription["customer"].as_str().unwrap());
    assert_eq!(shop.bill().await["stripe_customer"], subscription["customer"]);
    shop.stub.call("DELETE", &account, "").unwrap();
    shop.settles().await;
    let own = shop.bill().await["stripe_customer"].clone();
    assert!(own.is_string() && own != subscription["customer"], "{own}");
    assert_eq!(shop.count("subscriptions", "ended_at IS NULL"), 0);
    let accounts = |so: &str| shop.count("billing_customers", &format!("stripe_customer_id IS NOT NULL AND {so}"));
    assert_eq!(
        (accounts("deleted_at IS NOT NULL"), accounts("deleted_at IS NULL")),
        (1, 1)
    );
    // What is told of the old one again changes nothing of the new one.
    let gone = json!({ "object": "customer", "id": subscription["customer"] });
    shop.sends("customer.deleted", gone).await;
    assert_eq!(
        (accounts("deleted_at IS NOT NULL"), accounts("deleted_at IS NULL")),
        (1, 1)
    );

    let other = shop.buys("guildhall_business_month");
    assert_eq!(other["customer"], own);
    shop.settles().await;
    assert_eq!(shop.bill().await["stripe_customer"], own);
    assert_eq!(shop.plan().await, "business");
    assert_eq!(shop.count("inbox_events", "state = 'parked'"), 0);
}

#[actix_web::test]
async fn what_never_came_in_is_asked_for() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.stub.forget_deliveries();
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "free");
    // As it is asked every ten minutes, and at every start.
    shop.world.clock.advance(Duration::minutes(10));
    shop.world.deployment.prepare().await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "pro");
    let known = shop.count("inbox_events", "event_id LIKE 'evt_%'");

    // Again, and nothing is there twice.
    shop.world.clock.advance(Duration::minutes(10));
    shop.world.deployment.prepare().await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.count("inbox_events", "event_id LIKE 'evt_%'"), known);
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));
}
