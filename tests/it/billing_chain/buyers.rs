//! What buyers see: the plans that there are, and their own bill.

use serde_json::{Value, json};

use super::Shop;
use crate::identity::{login, someone};

#[actix_web::test]
async fn plans_are_public_and_bills_are_not() {
    let shop = Shop::open().await;
    let plans = shop.world.anonymous().get("/plans").await.ok();
    assert_eq!(plans.header("cache-control"), "public, max-age=60");
    let codes: Vec<&str> = plans.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plan| plan["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["free", "pro", "business", "enterprise"]);
    let pro = &plans.body["data"][1];
    assert_eq!(pro["entitlements"]["agents"], 100);
    assert_eq!(pro["entitlements"]["model_spend_micros_per_month"], Value::Null);
    let amounts: Vec<i64> = pro["prices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|price| price["amount"].as_i64().unwrap())
        .collect();
    assert_eq!(amounts, [2_900, 29_000]);

    shop.world.anonymous().get("/billing").await.refused("unauthenticated");
    shop.world.viewer().get("/billing").await.refused("forbidden");
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    let stranger = shop.world.stranger().get("/billing").await.ok().body;
    assert_eq!(
        (stranger["plan"]["plan"].as_str(), &stranger["subscription"]),
        (Some("free"), &Value::Null)
    );
}

#[actix_web::test]
async fn a_new_workspace_is_a_customer_of_the_operator_and_buys_like_any_other() {
    let shop = Shop::open().await;
    let founder = login(&shop.world, &someone(&shop.world).await).await.caller;
    let made = founder.post("/workspaces", json!({ "name": "Fresh" })).await.created();
    let inside = founder.with("guildhall-workspace", &made.id());
    let new = inside.get("/billing").await.ok().body;
    assert_eq!(new["plan"]["plan"], "free");
    assert_eq!(
        (&new["plan"]["seats"], &new["plan"]["entitlements"]["seats"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(new["stripe_customer"], Value::Null, "nobody has been told yet");

    shop.world.run_jobs().await;
    let known = inside.get("/billing").await.ok().body;
    assert!(known["customer_id"].as_str().unwrap().starts_with("cst_"));
    assert!(known["stripe_customer"].as_str().unwrap().starts_with("cus_"));
    shop.buys_for(&made.id(), "guildhall_business_month", "pm_card_visa");
    shop.settles().await;
    assert_eq!(inside.get("/billing").await.ok().text_at("/plan/plan"), "business");
    assert_eq!(shop.plan().await, "free", "each pays for itself");
}
