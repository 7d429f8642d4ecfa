//! Money in, access out: the whole chain from a shopper's card to what a workspace may do, against a Stripe that is free to misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod busy;
mod buyers;
mod connection;
mod hanging;
mod meanwhile;
mod orders;
mod plans;
mod shop;
mod trouble;
mod underway;
mod waiting;

use chrono::Duration;
use guildhall::app::dev::stripe::{Order, Purchase, Schedule};
use serde_json::{Value, json};

use self::shop::{SECRET, Shop, agent, knock};

#[actix_web::test]
async fn a_payment_puts_a_workspace_on_a_plan_and_a_cancellation_takes_it_off() {
    let shop = Shop::open().await;
    let before = shop.bill().await;
    assert_eq!(before["plan"]["plan"], "free");
    assert!(before["stripe_customer"].as_str().unwrap().starts_with("cus_"));
    let owner = shop.world.owner();
    for n in 0..5 {
        owner.post("/agents", agent(n)).await.created();
    }
    let refused = owner.post("/agents", agent(5)).await.refused("plan-limit-reached");
    assert_eq!(refused.body["plan"], "free");
    assert_eq!(refused.body["next_plan"], "pro");
    assert_eq!(refused.body["upgrade_url"], format!("{}/api/v1/plans", shop.world.base));

    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!(
        (bill["plan"]["plan"].as_str(), bill["plan"]["access"].as_str()),
        (Some("pro"), Some("full"))
    );
    assert_eq!(bill["plan"]["entitlements"]["agents"], 100);
    assert_eq!(bill["plan"]["seats"], 10);
    assert_eq!(bill["plan"]["sources"][0]["via"], "payment");
    assert_eq!(bill["subscription"]["status"], "active");
    assert_eq!(bill["next_invoice"]["amount"], 2_900);
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    assert_eq!(
        shop.count("machines", &format!("external_id = '{}'", shop.world.home())),
        1
    );
    assert_eq!(shop.concurrent_steps(), 20);
    shop.one_more_agent(201).await;
    assert!(shop.world.audit().contains(&"plan.changed by system".to_owned()));

    shop.stub
        .call(
            "DELETE",
            &format!("subscriptions/{}", subscription["id"].as_str().unwrap()),
            "",
        )
        .unwrap();
    shop.settles().await;
    let after = shop.bill().await;
    assert_eq!(after["plan"]["plan"], "free");
    assert_eq!(after["subscription"]["status"], "canceled");
    assert_eq!(after["next_invoice"], Value::Null);
    assert_eq!(
        owner.get("/agents").await.ok().body["data"].as_array().unwrap().len(),
        6,
        "a smaller plan takes nothing away"
    );
    assert_eq!(shop.concurrent_steps(), 2);
    shop.one_more_agent(402).await;
    let told = shop
        .world
        .audit()
        .iter()
        .filter(|entry| *entry == "plan.changed by system")
        .count();
    assert_eq!(told, 2);
    assert!(
        shop.events()
            .iter()
            .all(|(_, state)| state == "done" || state == "ignored"),
        "{:?}",
        shop.events()
    );
}

#[actix_web::test]
async fn order_copies_and_losses_change_nothing() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    let schedule = Schedule {
        extra_copies: 3,
        order: Order::Reversed,
        ..Schedule::default()
    };
    shop.settles_by(&schedule).await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));

    // A month later nearly everything is lost; one event of the renewal is enough.
    shop.world.clock.advance(Duration::days(31) + Duration::hours(2));
    let only = Schedule {
        types: vec!["invoice.finalized".into()],
        ..Schedule::default()
    };
    shop.settles_by(&only).await;
    shop.stub.forget_deliveries();
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.plan().await, "pro");
}

#[actix_web::test]
async fn a_payload_is_never_applied() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let (id, customer) = (subscription["id"].clone(), subscription["customer"].clone());

    // Signed, and a lie from end to end: Stripe itself says otherwise.
    let lie = json!({ "object": "subscription", "id": id, "customer": customer, "status": "canceled", "ended_at": 1, "items": { "data": [] } });
    shop.sends("customer.subscription.deleted", lie).await;
    assert_eq!(shop.plan().await, "pro");
    let mut paid = subscription.clone();
    paid["items"]["data"][0]["price"]["lookup_key"] = json!("guildhall_business_year");
    paid["items"]["data"][0]["quantity"] = json!(500);
    shop.sends("customer.subscription.updated", paid).await;
    let bill = shop.bill().await;
    assert_eq!(
        (
            bill["plan"]["plan"].as_str(),
            bill["plan"]["entitlements"]["agents"].as_i64()
        ),
        (Some("pro"), Some(100))
    );
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("subscription_items", "quantity = 500"), 0);
}

#[actix_web::test]
async fn money_for_an_unknown_price_waits_until_the_price_is_known() {
    let shop = Shop::open().await;
    let form = "currency=usd&unit_amount=500&recurring[interval]=month&product_data[name]=Odd";
    let price = shop.stub.call("POST", "prices", form).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.buys(&price);
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(
        shop.count("orders", "state = 'held' AND held_because = 'unknown_price'"),
        1
    );
    assert!(shop.count("inbox_events", "state = 'parked'") > 0);
    assert_eq!(shop.count("licenses", "true"), 0);

    shop.stub
        .call("POST", &format!("prices/{price}"), "lookup_key=guildhall_pro_year")
        .unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(
        (
            shop.count("orders", "true"),
            shop.count("inbox_events", "state = 'parked'")
        ),
        (1, 0)
    );
}

#[actix_web::test]
async fn an_account_that_belongs_to_nobody_buys_nothing() {
    let shop = Shop::open().await;
    let stranger = Purchase {
        price: "guildhall_pro_month".into(),
        ..Purchase::default()
    };
    shop.stub.purchase(&stranger).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(
        (shop.count("licenses", "true"), shop.count("subscriptions", "true")),
        (0, 0)
    );
    assert!(shop.count("inbox_events", "state = 'parked' AND parked_on LIKE 'customer:cus_%'") > 0);
}
