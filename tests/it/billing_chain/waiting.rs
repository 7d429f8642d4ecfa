//! What waits for a price, what is looked at only in part, and what a catalogue loses.

use guildhall::app::dev::stripe::{Fault, Kind};
use serde_json::{Value, json};

use super::Shop;

fn refuses(path: &str, status: u16) -> Fault {
    Fault {
        path: path.to_owned(),
        method: "GET".into(),
        times: 10_000,
        kind: Kind::RefusedBefore(status),
    }
}

#[actix_web::test]
async fn of_two_unknown_prices_each_is_delivered_when_it_is_known() {
    let shop = Shop::open().await;
    let account = shop.bill().await["stripe_customer"].clone();
    let (one, other) = (shop.odd_price(), shop.odd_price());
    shop.card(&json!({ "customer": account }), "pm_card_visa");
    let form = format!(
        "customer={}&items[0][price]={one}&items[1][price]={other}",
        account.as_str().unwrap()
    );
    shop.stub.call("POST", "subscriptions", &form).unwrap();
    shop.settles().await;
    let held = "state = 'held' AND held_because = 'unknown_price'";
    assert_eq!((shop.plan().await.as_str(), shop.count("orders", held)), ("free", 2));
    // Only the first of them is what the events are parked on; here it is not known in which order they were seen.
    let parked = "SELECT count(*) AS count FROM guildhall.inbox_events WHERE parked_on =";
    let (waited_for, late) = match shop.world.count(&format!("{parked} 'price:{one}'")) {
        0 => (other, one),
        _ => (one, other),
    };
    let known = |price: &str| {
        let form = "lookup_key=guildhall_pro_year";
        shop.stub.call("POST", &format!("prices/{price}"), form).unwrap();
    };
    known(&late);
    shop.settles().await;
    assert_eq!((shop.plan().await.as_str(), shop.count("orders", held)), ("pro", 1));
    known(&waited_for);
    shop.settles().await;
    assert_eq!(shop.count("orders", held), 0);
    assert_eq!(shop.count("inbox_events", "state = 'parked'"), 0);
}

#[actix_web::test]
async fn whose_an_invoice_is_stays_known_when_its_subscription_does_not_answer() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.count("invoices", "subscription_id IS NOT NULL"), 1);
    let customer = subscription["customer"].as_str().unwrap();
    let listed = shop.stub.call("GET", "invoices", &format!("customer={customer}"));
    let invoice = listed.unwrap()["data"][0].clone();
    shop.stub.inject(refuses("subscriptions", 403));
    shop.sends("invoice.updated", invoice).await;
    assert_eq!(shop.count("inbox_events", "attempts = 1"), 1);
    assert_eq!(shop.count("invoices", "subscription_id IS NOT NULL"), 1);
}

#[actix_web::test]
async fn a_price_that_is_gone_is_sold_no_longer() {
    let shop = Shop::open().await;
    let gone = shop.price("guildhall_pro_month");
    let sold = |price: &str| {
        let price = format!("code = 'pro' AND prices @> '[{{\"amount\": {price}}}]'");
        shop.count("billing_plans", &price)
    };
    assert_eq!((sold("2900"), sold("29000")), (1, 1));
    shop.stub.inject(refuses(&format!("prices/{gone}"), 404));
    shop.sends("price.updated", json!({ "object": "price", "id": gone }))
        .await;
    assert_eq!((sold("2900"), sold("29000")), (0, 1));
}

#[actix_web::test]
async fn what_a_policy_is_called_changes_nobodys_plan() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    let staff = shop.staff();
    let pro = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    let projected = async |change: Value| {
        let home = shop.world.home().uuid();
        let read =
            format!("SELECT source_version AS count FROM guildhall.workspace_plans WHERE workspace_id = '{home}'");
        let before = shop.world.count(&read);
        let path = format!("/policies/{pro}?apply=existing");
        staff.patch(&path, change).await.ok();
        shop.settles().await;
        shop.world.count(&read) > before
    };
    assert!(projected(json!({ "grace_seconds": 7_200 })).await);
    assert!(!projected(json!({ "name": "Professional" })).await);
}

#[actix_web::test]
async fn what_was_read_later_stays_published() {
    let shop = Shop::open().await;
    let publishes = async |read: &str| {
        shop.world.admin(&format!(
            "UPDATE guildhall.billing_plans SET name = 'Read', published_at = now() {read} WHERE code = 'pro'"
        ));
        shop.world.deployment.prepare().await.unwrap();
        shop.world.run_jobs().await;
        shop.count("billing_plans", "code = 'pro' AND name = 'Read'")
    };
    assert_eq!(publishes("+ interval '1 hour'").await, 1);
    assert_eq!(publishes("- interval '1 hour'").await, 0);
}
