//! Which verdicts there are, and that each is true.

use serde_json::{Value, json};

use super::{Licence, Shop, codes, reasons, sound};
use crate::world::patience::until;

/// The code of the verdict, which is sound.
async fn code(shop: &Shop, licence: &Licence, scope: Value) -> String {
    let verdict = shop.verdict(licence, scope).await;
    sound(&verdict);
    verdict["code"].as_str().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn what_is_asked_of_product_policy_and_entitlements_is_answered() {
    let shop = Shop::new().await;
    shop.owner
        .post("/entitlements", json!({ "code": "sso", "name": "SSO" }))
        .await
        .created();
    shop.owner
        .post(
            "/entitlements",
            json!({ "code": "seats", "name": "Seats", "kind": "static", "value_type": "integer" }),
        )
        .await
        .created();
    let policy = shop
        .policy(json!({ "entitlements": { "sso": true, "seats": 0 } }))
        .await;
    let licence = shop.issue(&policy, json!({})).await;
    let seated = shop
        .issue(
            &policy,
            json!({ "overrides": { "entitlements": { "seats": 50, "sso": false } } }),
        )
        .await;
    let other = "prd_01jd8qv4x2fkr9s3m5n7p0t1wz";
    let other_policy = "pol_01jd8qv4x2fkr9s3m5n7p0t1wz";
    for (scope, expected) in [
        (
            json!({ "product": shop.product, "policy": policy, "entitlements": ["sso"] }),
            "valid",
        ),
        (json!({ "product": other }), "product_scope_mismatch"),
        (json!({ "policy": other_policy }), "policy_scope_mismatch"),
        (json!({ "entitlements": [] }), "entitlements_scope_empty"),
        (json!({ "entitlements": ["seats"] }), "entitlements_missing"),
        (json!({ "entitlements": ["sso", "nothing"] }), "entitlements_missing"),
    ] {
        assert_eq!(code(&shop, &licence, scope.clone()).await, expected, "{scope}");
    }
    assert_eq!(
        code(&shop, &seated, json!({ "entitlements": ["seats"] })).await,
        "valid"
    );
    assert_eq!(
        code(&shop, &seated, json!({ "entitlements": ["sso"] })).await,
        "entitlements_missing"
    );
    let verdict = shop.verdict(&seated, json!({})).await;
    assert_eq!(verdict["entitlements"], json!({ "sso": false, "seats": 50 }));
    // All that is wrong is said, the first is the code.
    let all = shop
        .verdict(
            &licence,
            json!({ "product": other, "policy": other_policy, "entitlements": ["x"], "fingerprint": "m" }),
        )
        .await;
    assert_eq!(
        reasons(&all),
        [
            "product_scope_mismatch",
            "policy_scope_mismatch",
            "entitlements_missing",
            "no_machine"
        ]
    );
    // The software reads what was put there for it, and nothing of the vendor's.
    assert!(all["license"].get("metadata").is_none() && all["license"].get("customer_id").is_none());
}

#[actix_web::test]
async fn a_policy_may_want_to_be_asked_about_things() {
    let shop = Shop::new().await;
    for (scope, expected) in [
        ("product", "product_scope_required"),
        ("policy", "policy_scope_required"),
        ("machine", "machine_scope_required"),
        ("fingerprint", "fingerprint_scope_required"),
        ("entitlements", "entitlements_scope_empty"),
    ] {
        let policy = shop.policy_as(scope, json!({ "require_scopes": [scope] })).await;
        let licence = shop.issue(&policy, json!({})).await;
        assert_eq!(code(&shop, &licence, json!({})).await, expected);
    }
}

#[actix_web::test]
async fn a_machine_is_known_by_its_fingerprint_or_its_id() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 3 })).await;
    let licence = shop.issue(&policy, json!({})).await;
    let floating = shop.policy_as("floating", json!({ "floating": true })).await;
    let floating = shop.issue(&floating, json!({})).await;
    assert_eq!(code(&shop, &licence, json!({ "fingerprint": "a" })).await, "no_machine");
    assert_eq!(
        code(&shop, &floating, json!({ "fingerprint": "a" })).await,
        "no_machines"
    );
    let one = shop.activate(&licence, "é-a").await.created().id();
    let other = shop.activate(&licence, "b").await.created().id();
    let elsewhere = shop.activate(&floating, "é-a").await.created().id();
    for (scope, expected) in [
        (json!({}), "valid"),
        // White space and the Unicode form do not count, letters do.
        (json!({ "fingerprint": "  e\u{301}-a\n" }), "valid"),
        (json!({ "fingerprint": "É-A" }), "fingerprint_scope_mismatch"),
        (json!({ "fingerprint": "  " }), "fingerprint_scope_empty"),
        (json!({ "machine": one }), "valid"),
        (json!({ "machine": one, "fingerprint": "é-a" }), "valid"),
        (
            json!({ "machine": other, "fingerprint": "é-a" }),
            "fingerprint_scope_mismatch",
        ),
        (json!({ "machine": elsewhere }), "machine_scope_mismatch"),
        (
            json!({ "machine": "mch_01jd8qv4x2fkr9s3m5n7p0t1wz" }),
            "machine_scope_mismatch",
        ),
    ] {
        assert_eq!(code(&shop, &licence, scope.clone()).await, expected, "{scope}");
    }
    let verdict = shop.verdict(&licence, json!({ "fingerprint": "b" })).await;
    assert_eq!(
        (&verdict["machine"]["id"], &verdict["machine"]["generation"]),
        (&json!(other), &json!(1))
    );
    assert_eq!(verdict["limits"]["machines"], json!({ "used": 2, "max": 3 }));
    shop.owner.delete(&format!("/machines/{other}")).await.gone();
    assert_eq!(
        code(&shop, &licence, json!({ "fingerprint": "b" })).await,
        "fingerprint_scope_mismatch"
    );
    assert_eq!(
        code(&shop, &licence, json!({ "machine": other })).await,
        "machine_scope_mismatch"
    );
}

#[actix_web::test]
async fn strict_limits_bind_at_every_validation() {
    let shop = Shop::new().await;
    let policy = shop
        .policy(json!({ "strict": true, "max_machines": 2, "max_cores": 16 }))
        .await;
    let licence = shop.issue(&policy, json!({})).await;
    for n in 0..2 {
        let body = json!({ "license_id": licence.id, "fingerprint": format!("m{n}"), "cores": 8 });
        shop.owner.post("/licenses/activate", body).await.created();
    }
    assert_eq!(code(&shop, &licence, json!({ "fingerprint": "m0" })).await, "valid");
    let stranger = shop.verdict(&licence, json!({ "fingerprint": "m9" })).await;
    assert_eq!(reasons(&stranger), ["fingerprint_scope_mismatch", "too_many_machines"]);
    shop.owner
        .patch(
            &format!("/policies/{policy}"),
            json!({ "max_machines": 1, "max_cores": 15 }),
        )
        .await
        .ok();
    let over = shop.verdict(&licence, json!({ "fingerprint": "m0" })).await;
    assert_eq!(codes(&over, "reasons"), ["too_many_machines", "too_many_cores"]);
    let reason = &over["reasons"][0];
    assert_eq!(
        (&reason["limit"], &reason["used"], &reason["max"], &reason["next"]),
        (&json!("machines"), &json!(2), &json!(1), &json!("deactivate_machine"))
    );
}

#[actix_web::test]
async fn a_banned_customers_licences_are_not_valid() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let licence = shop
        .issue(&policy, json!({ "customer": { "email": "ann@example.com" } }))
        .await;
    assert_eq!(code(&shop, &licence, json!({})).await, "valid");
    let home = shop.world.home().uuid();
    shop.world.admin(&format!(
        "UPDATE guildhall.customers SET banned_at = now() WHERE workspace_id = '{home}'"
    ));
    assert_eq!(code(&shop, &licence, json!({})).await, "customer_banned");
    shop.activate(&licence, "m").await.refused("license-not-usable");
}

#[actix_web::test]
async fn nobody_may_rely_on_a_verdict_past_the_licences_end() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "term_count": 2, "term_unit": "hour", "trial": true }))
        .await;
    let verdict = shop.verdict(&licence, json!({})).await;
    let end = &licence.body["expires_at"];
    assert_eq!((&verdict["fresh_until"], &verdict["grace_until"]), (end, end));
    assert_eq!(codes(&verdict, "notices"), ["expiring", "trial"]);
}

#[actix_web::test]
async fn a_vendor_who_did_not_pay_sells_nothing_and_their_customers_go_on() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 2 })).await;
    let home = shop.world.home().uuid();
    shop.world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET access = 'read_only' WHERE workspace_id = '{home}'"
    ));
    let issue = json!({ "policy_id": licence.body["policy_id"] });
    until("the debt is known", async || {
        shop.owner.post("/licenses", issue.clone()).await.status == 402
    })
    .await;
    assert_eq!(shop.verdict(&licence, json!({})).await["valid"], true);
    let machine = json!({ "fingerprint": "a computer" });
    shop.software(&licence.key)
        .post("/licenses/activate", machine)
        .await
        .created();
}
