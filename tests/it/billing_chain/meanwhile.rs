//! What staff does to a licence or a policy in the very moment in which a payment is applied.

use diesel::connection::SimpleConnection;
use serde_json::json;

use super::Shop;
use crate::world::{
    gate::{Gate, insist},
    patience::until,
};

#[actix_web::test]
async fn what_is_paid_for_while_a_policy_changes_is_by_what_it_becomes() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let pro = staff.get("/policies?code=pro").await.ok().body["data"][0].clone();
    shop.buys("guildhall_pro_month");
    let gate = Gate::on_insert(&shop.world, "licenses");
    let pays = async { shop.settles().await };
    let edits = async {
        let path = format!("/policies/{}", pro["id"].as_str().unwrap());
        insist(|| staff.patch(&path, json!({ "grace_seconds": 7_200 })))
            .await
            .ok();
    };
    gate.meet(pays, edits, "SELECT \"policies\".").await;
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    let license = staff.get("/licenses").await.ok().body["data"][0].clone();
    let pro = staff.get("/policies?code=pro").await.ok().body["data"][0].clone();
    assert_eq!(license["terms"]["rules"]["grace_seconds"], 7_200);
    assert_eq!(license["terms_version"], pro["version"]);
}

#[actix_web::test]
async fn a_hold_that_is_placed_while_the_price_changes_stands() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let license = staff.get("/licenses").await.ok().text_at("/data/0/id");
    shop.changes(&subscription, "guildhall_business_month");
    let gate = Gate::on_insert(&shop.world, "license_holds");
    let suspends = async {
        let path = format!("/licenses/{license}/suspend");
        insist(|| staff.post(&path, json!({ "reason": "abuse" }))).await.ok();
    };
    let follows = async { shop.settles().await };
    gate.meet(suspends, follows, "SELECT \"licenses\".").await;
    shop.settles().await;
    assert_eq!(shop.count("license_holds", "reason = 'abuse'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 0);
    assert_eq!(shop.plan().await, "free", "the hold stands");
}

#[actix_web::test]
async fn who_edits_a_policy_and_what_is_paid_for_take_it_and_its_licences_in_the_same_order() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let pro = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    // The renewal has the licence already, and may want the policy, too.
    shop.world
        .clock
        .advance(chrono::Duration::days(31) + chrono::Duration::hours(2));
    let gate = Gate::on_insert(&shop.world, "license_renewals");
    let renews = async { shop.settles().await };
    let edits = async {
        let path = format!("/policies/{pro}?apply=existing");
        insist(|| staff.patch(&path, json!({ "grace_seconds": 7_200 })))
            .await
            .ok();
    };
    gate.meet(renews, edits, "SELECT \"policies\".").await;
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
    let license = staff.get("/licenses").await.ok().body["data"][0].clone();
    assert_eq!(license["terms"]["rules"]["grace_seconds"], 7_200);
}

#[actix_web::test]
async fn who_waits_for_somebody_else_in_vain_did_nothing_wrong() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles_on("pro").await;
    shop.changes(&subscription, "guildhall_business_month");
    let mut other = shop.world.superuser();
    other
        .batch_execute("BEGIN; SELECT 1 FROM guildhall.licenses FOR UPDATE")
        .unwrap();
    shop.settles().await;
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(shop.plan().await, "pro");
    assert!(shop.count("inbox_events", "state = 'received'") > 0);
    assert_eq!(shop.count("inbox_events", "attempts > 0"), 0);
    // However often it was put off meanwhile.
    shop.passes(chrono::Duration::minutes(6)).await;
    shop.settles_on("business").await;
}

#[actix_web::test]
async fn an_account_that_is_bound_while_its_events_are_parked_wakes_them() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.stub
        .deliver(&guildhall::app::dev::stripe::Schedule::default())
        .await;
    // As it is when a worker was killed between opening the account and noting which it is.
    shop.world
        .admin("UPDATE guildhall.billing_customers SET stripe_customer_id = NULL");
    let gate = Gate::on_update(&shop.world, "inbox_events", "NEW.state = 'parked'");
    let parks = shop.world.run_jobs();
    let binds = async {
        shop.announce(shop.world.home());
        shop.world.run_jobs().await;
    };
    gate.meet(parks, binds, "INSERT INTO \"inbox_lanes\"").await;
    until("it is looked at", async || {
        shop.world.clock.advance(chrono::Duration::seconds(61));
        shop.world.run_jobs().await;
        shop.plan().await == "pro"
    })
    .await;
    assert_eq!(shop.count("inbox_events", "state = 'parked'"), 0);
}
