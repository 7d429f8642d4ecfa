//! Issuing licences, and finding them again.

use serde_json::{Value, json};

use super::Shop;
use crate::world::World;

/// How many rows of a table hold a text, as text or as bytes.
fn holding(shop: &Shop, table: &str, text: &str) -> i64 {
    shop.world.count(&format!(
        "SELECT count(*) FROM {table} t
          WHERE to_jsonb(t)::text LIKE ANY (ARRAY['%{text}%', '%' || encode('{text}'::bytea, 'hex') || '%'])"
    ))
}

#[actix_web::test]
async fn an_instant_has_three_decimals_also_where_they_are_zeros() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let body = json!({ "policy_id": policy, "starts_at": "2030-01-01T00:00:00Z" });
    let made = shop.owner.post("/licenses", body).await.created();
    assert_eq!(made.text_at("/starts_at"), "2030-01-01T00:00:00.000Z");
}

#[actix_web::test]
async fn a_licence_is_issued_with_a_key_that_is_shown_once() {
    let shop = Shop::new().await;
    let policy = shop
        .policy(json!({ "term_count": 1, "term_unit": "month", "max_machines": 3 }))
        .await;
    let body = json!({ "policy_id": policy, "customer": { "email": "ann@example.com", "name": "Ann" }, "name": "Ann's",
                       "public_metadata": { "tier": "gold" }, "metadata": { "deal": "7" }, "external_id": "order-7" });
    let made = shop.owner.post("/licenses", body.clone()).await.created();
    assert_eq!(made.path(), format!("/api/v1/licenses/{}", made.id()));
    assert_eq!(
        (&made.body["status"], &made.body["issued_via"]),
        (&json!("active"), &json!("api"))
    );
    let key = made.text_at("/key");
    assert!(key.starts_with("gld_test_lk_"), "{key}");
    assert!(
        key.starts_with(made.body["key_start"].as_str().expect("a start")),
        "{key}"
    );
    assert!(made.body["expires_at"].is_string() && made.body["started_at"] == made.body["created_at"]);
    assert_eq!(made.body["terms"]["rules"]["max_machines"], 3);

    // Neither what shows it again, nor any table, holds the key.
    let shown = shop.owner.get(&format!("/licenses/{}", made.id())).await.ok();
    assert!(!shown.text.contains(&key) && shown.body["key"].is_null());
    assert_eq!(shown.header("etag"), made.header("etag"));
    shop.world.run_jobs().await;
    for table in [
        "licenses",
        "license_keys",
        "license_directory",
        "outbox",
        "audit_log",
        "idempotency_keys",
        "mails",
        "outbox_queue",
    ] {
        assert_eq!(holding(&shop, table, &key), 0, "{table}");
    }

    // The person became a customer, and is found by the address the next time.
    let customer = made.text_at("/customer_id");
    let again = shop
        .owner
        .post(
            "/licenses",
            json!({ "policy_id": policy, "customer": { "email": "Ann@Example.com" } }),
        )
        .await
        .created();
    assert_eq!(again.text_at("/customer_id"), customer);
    let by_id = shop
        .owner
        .post("/licenses", json!({ "policy_id": policy, "customer": customer }))
        .await
        .created();
    assert_eq!(by_id.text_at("/customer_id"), customer);
    shop.owner.post("/licenses", body).await.refused("external-id-taken");
    assert_eq!((shop.events("license.issued"), shop.events("customer.created")), (3, 1));
    assert_eq!(
        shop.world
            .audit()
            .iter()
            .filter(|entry| *entry == "license.issued by api_key")
            .count(),
        3
    );
}

#[actix_web::test]
async fn an_idempotency_key_issues_once_and_does_not_show_the_key_again() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let body = json!({ "policy_id": policy });
    let first = shop
        .owner
        .post("/licenses", body.clone())
        .header("idempotency-key", "a")
        .await
        .created();
    let key = first.text_at("/key");
    let again = shop.owner.post("/licenses", body).header("idempotency-key", "a").await;
    assert_eq!(again.status.as_u16(), 201, "{}", again.text);
    assert_eq!(again.id(), first.id());
    assert_eq!(again.text_at("/key"), key);
    assert_eq!(holding(&shop, "idempotency_keys", &key), 0, "the kept answer is sealed");
    assert_eq!(holding(&shop, &format!("(SELECT '{key}'::bytea AS kept)"), &key), 1);
    shop.owner
        .post("/licenses", json!({ "policy_id": policy, "name": "Other" }))
        .header("idempotency-key", "a")
        .await
        .refused("idempotency-key-reused");
    assert_eq!(shop.events("license.issued"), 1);
}

#[actix_web::test]
async fn what_cannot_be_issued_is_refused() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let with = |more: Value| {
        let mut body = json!({ "policy_id": policy });
        super::merge(&mut body, more);
        body
    };
    let nobody = "cst_01jd8qv4x2fkr9s3m5n7p0t1wz";
    for (more, pointer, code) in [
        (json!({ "customer": nobody }), "/customer", "not-found"),
        (
            json!({ "customer": { "email": "nobody" } }),
            "/customer/email",
            "invalid-format",
        ),
        (
            json!({ "overrides": { "max_machines": 0 } }),
            "/overrides/max_machines",
            "too-small",
        ),
        (
            json!({ "overrides": { "entitlements": { "sso": true } } }),
            "/overrides/entitlements/sso",
            "not-found",
        ),
        (
            json!({ "overrides": { "max_users": 1 } }),
            "/overrides/max_users",
            "unknown-field",
        ),
        (
            json!({ "public_metadata": { "a b": "c" } }),
            "/public_metadata/a b",
            "invalid-format",
        ),
        (
            json!({ "public_metadata": { "a": "x".repeat(500), "b": "x".repeat(500), "c": "x".repeat(500), "d": "x".repeat(500), "e": "x".repeat(50) } }),
            "/public_metadata",
            "too-large",
        ),
        (
            json!({ "external_id": "a\u{0}b" }),
            "/external_id",
            "invalid-characters",
        ),
        (json!({ "name": "x".repeat(101) }), "/name", "too-long"),
        (
            json!({ "policy_id": "pol_01jd8qv4x2fkr9s3m5n7p0t1wz" }),
            "/policy_id",
            "not-found",
        ),
    ] {
        shop.owner.post("/licenses", with(more)).await.invalid(pointer, code);
    }
    let path = format!("/policies/{policy}");
    shop.owner.act(&format!("{path}/archive")).await.ok();
    let refused = shop
        .owner
        .post("/licenses", with(json!({})))
        .await
        .refused("state-conflict");
    assert_eq!(refused.body["state"], "archived");
    for table in ["licenses", "license_keys", "license_directory"] {
        let home = shop.world.home().uuid();
        let made = format!("SELECT count(*) FROM {table} WHERE workspace_id = '{home}'");
        assert_eq!(shop.world.count(&made), 0, "{table}");
    }
}

#[actix_web::test]
async fn an_archived_product_issues_nothing_and_validates_on() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let licence = shop.issue(&policy, json!({})).await;
    shop.owner
        .act(&format!("/products/{}/archive", shop.product))
        .await
        .ok();
    shop.owner
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .refused("state-conflict");
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "valid");
}

#[actix_web::test]
async fn the_plans_limit_refuses_issuing_and_never_validation() {
    let shop = Shop::in_world(World::new().await).await;
    let policy = shop.policy(json!({})).await;
    let licence = shop.issue(&policy, json!({})).await;
    let home = shop.world.home().uuid();
    // As many as the free plan has, but for one.
    shop.world.admin(&format!(
        "UPDATE guildhall.entitlement_counters SET used = 99 WHERE workspace_id = '{home}' AND code = 'licenses'"
    ));
    let second = shop.issue(&policy, json!({})).await;
    let refused = shop
        .owner
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .refused("plan-limit-reached");
    assert_eq!(
        (&refused.body["entitlement"], &refused.body["limit"]),
        (&json!("licenses"), &json!(100))
    );
    assert_eq!(shop.verdict(&licence, json!({})).await["valid"], true);
    // One that is revoked makes room for another.
    shop.owner.post(&second.verb("revoke"), json!({})).await.ok();
    shop.issue(&policy, json!({})).await;
}

#[actix_web::test]
async fn more_machines_than_the_plan_has_are_activated_and_no_more_is_issued() {
    let world = World::new().await;
    let home = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET entitlements = jsonb_set(entitlements, '{{machines}}', '2') WHERE workspace_id = '{home}'"
    ));
    let shop = Shop::in_world(world).await;
    let policy = shop.policy(json!({ "max_machines": null })).await;
    let licence = shop.issue(&policy, json!({})).await;
    let passes = async || {
        shop.world.run_jobs().await;
        shop.world.clock.advance(chrono::Duration::seconds(61));
        shop.world.run_jobs().await;
    };
    for machine in ["one", "two"] {
        shop.activate(&licence, machine).await.created();
    }
    passes().await;
    shop.issue(&policy, json!({})).await;
    let third = shop.activate(&licence, "three").await.created();
    passes().await;
    let asked = shop.owner.post("/licenses", json!({ "policy_id": policy }));
    let refused = asked.await.refused("plan-limit-reached").body;
    assert_eq!(
        (&refused["entitlement"], &refused["limit"], &refused["used"]),
        (&json!("machines"), &json!(2), &json!(3))
    );
    shop.activate(&licence, "four").await.created();
    for machine in [
        third.text_at("/id"),
        shop.activate(&licence, "four").await.ok().text_at("/id"),
    ] {
        shop.owner.delete(&format!("/machines/{machine}")).await.gone();
    }
    passes().await;
    shop.issue(&policy, json!({})).await;
}

#[actix_web::test]
async fn licences_are_found_by_what_they_belong_to_and_in_pages() {
    let shop = Shop::new().await;
    let (one, other) = (
        shop.policy_as("one", json!({})).await,
        shop.policy_as("other", json!({ "term_count": 1, "term_unit": "day" }))
            .await,
    );
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(shop.issue(&one, json!({ "external_id": format!("x{n}") })).await.id);
    }
    let dated = shop
        .issue(&other, json!({ "customer": { "email": "ann@example.com" } }))
        .await;
    let customer = dated.body["customer_id"].as_str().expect("a customer").to_owned();
    let start = dated.body["key_start"].as_str().expect("a start").to_owned();
    let soon =
        (shop.world.clock.now() + chrono::TimeDelta::days(2)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    for query in [
        format!("policy_id={other}"),
        format!("customer_id={customer}"),
        format!("key_start={start}"),
        format!("expires_before={soon}"),
    ] {
        let found = shop.owner.get(&format!("/licenses?{query}")).await.ok();
        let found: Vec<&str> = found.body["data"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["id"].as_str())
            .collect();
        assert_eq!(found, [dated.id.as_str()], "{query}");
    }
    let found = shop.owner.get("/licenses?external_id=x3").await.ok();
    assert_eq!(found.text_at("/data/0/id"), ids[3]);
    let all = shop
        .owner
        .get(&format!("/licenses?product_id={}", shop.product))
        .await
        .ok();
    assert_eq!(all.body["data"].as_array().map(Vec::len), Some(6));

    let (mut walked, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop
            .owner
            .get(&format!("/licenses?policy_id={one}&order=created_at&limit=2{cursor}"))
            .await
            .ok();
        walked.extend(
            page.body["data"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["id"].as_str().map(str::to_owned)),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(walked, ids);
    shop.owner
        .get("/licenses?colour=red")
        .await
        .refused("unknown-parameter");
    shop.owner
        .get("/licenses?expires_before=soon")
        .await
        .refused("invalid-parameter");
}
