//! To whom a workspace sells, and who may look on.

use serde_json::json;

use super::Shop;
use crate::world::World;

#[actix_web::test]
async fn customers_are_one_by_address_and_by_the_vendors_own_key() {
    let world = World::new().await;
    let owner = world.owner();
    let ann = json!({ "email": "ann@example.com", "name": "Ann", "external_id": "crm-1" });
    let made = owner.post("/customers", ann.clone()).await.created();
    assert_eq!(
        (&made.body["locale"], &made.body["reseller_id"]),
        (&json!("en"), &json!(null))
    );
    owner
        .post("/customers", json!({ "email": "ANN@example.com" }))
        .await
        .invalid("/email", "not-unique");
    owner
        .post(
            "/customers",
            json!({ "email": "bob@example.com", "external_id": "crm-1" }),
        )
        .await
        .refused("external-id-taken");
    for bad in [
        "nobody",
        "a@b",
        "a b@example.com",
        "@example.com",
        "ann@example.com\u{7}",
    ] {
        owner
            .post("/customers", json!({ "email": bad }))
            .await
            .invalid("/email", "invalid-format");
    }
    for bad in ["e", "english", "EN", "en-", "en_GB"] {
        owner
            .post("/customers", json!({ "email": "bea@example.com", "locale": bad }))
            .await
            .invalid("/locale", "invalid-format");
    }
    let path = format!("/customers/{}", made.id());
    let cleared = owner
        .patch(&path, json!({ "name": null, "company": "Example" }))
        .await
        .ok();
    assert_eq!(
        (&cleared.body["name"], &cleared.body["company"]),
        (&json!(null), &json!("Example"))
    );
    for query in ["email=ann@example.com", "external_id=crm-1"] {
        let found = owner.get(&format!("/customers?{query}")).await.ok();
        assert_eq!(found.text_at("/data/0/id"), made.id(), "{query}");
    }
    assert_eq!(
        owner.get("/customers?email=nobody@example.com").await.ok().body["data"],
        json!([])
    );
    owner.get("/customers?name=Ann").await.refused("unknown-parameter");
}

#[actix_web::test]
async fn what_is_another_workspaces_is_not_found_and_a_viewer_only_looks() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let machine = shop.activate(&licence, "m").await.created().id();
    let customer = shop
        .owner
        .post("/customers", json!({ "name": "Ann" }))
        .await
        .created()
        .id();
    let policy = shop.show(&licence).await["policy_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let stranger = shop.world.stranger();
    let viewer = shop.world.viewer();
    for path in [
        format!("/products/{}", shop.product),
        format!("/policies/{policy}"),
        format!("/customers/{customer}"),
        licence.path(),
        format!("/machines/{machine}"),
    ] {
        stranger.get(&path).await.refused("not-found");
        viewer.get(&path).await.ok();
        if !path.starts_with("/licenses") && !path.starts_with("/machines") {
            stranger
                .patch(&path, json!({ "name": "Mine" }))
                .await
                .refused("not-found");
            viewer
                .patch(&path, json!({ "name": "Mine" }))
                .await
                .refused("forbidden");
        }
    }
    for (path, body) in [
        (licence.verb("suspend"), json!({})),
        (licence.verb("reinstate"), json!({})),
        (licence.verb("revoke"), json!({})),
        (licence.verb("renew"), json!({ "periods": 1 })),
        (format!("/machines/{machine}/heartbeat"), json!({ "generation": 1 })),
    ] {
        stranger.post(&path, body.clone()).await.refused("not-found");
        viewer.post(&path, body).await.refused("forbidden");
    }
    stranger
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("not-found");
    viewer
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("forbidden");
    viewer
        .post("/products", json!({ "code": "mine", "name": "Mine" }))
        .await
        .refused("forbidden");
    viewer
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .refused("forbidden");
    stranger
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .invalid("/policy_id", "not-found");
    stranger
        .post(
            "/policies",
            json!({ "product_id": shop.product, "code": "p", "name": "P" }),
        )
        .await
        .invalid("/product_id", "not-found");
    stranger
        .post(
            "/licenses/activate",
            json!({ "license_id": licence.id, "fingerprint": "m" }),
        )
        .await
        .invalid("/license_id", "not-found");
    for list in [
        "products",
        "policies",
        "customers",
        "licenses",
        "machines",
        "entitlements",
    ] {
        assert_eq!(
            stranger.get(&format!("/{list}")).await.ok().body["data"],
            json!([]),
            "{list}"
        );
    }
    assert_eq!(shop.show(&licence).await["status"], "active");
}

#[actix_web::test]
async fn a_person_for_whom_two_buy_at_once_is_one_customer() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let body = json!({ "policy_id": policy, "customer": { "email": "ann@example.com", "name": "Ann" } });
    let asks = (0..10).map(|_| async { shop.owner.post("/licenses", body.clone()).await.created() });
    let made = futures_util::future::join_all(asks).await;
    let customer = made[0].text_at("/customer_id");
    assert!(made.iter().all(|one| one.text_at("/customer_id") == customer));
    assert_eq!(shop.events("customer.created"), 1);
}
