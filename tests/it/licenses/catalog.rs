//! What a workspace sells: products, entitlements, policies.

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use super::Shop;
use crate::world::World;

#[actix_web::test]
async fn a_product_begins_with_defaults_changes_by_version_and_is_archived() {
    let world = World::new().await;
    let owner = world.owner();
    let made = owner
        .post("/products", json!({ "code": "scribe", "name": "  Scribe " }))
        .await
        .created();
    assert_eq!(made.path(), format!("/api/v1/products/{}", made.id()));
    assert_eq!(made.body["name"], "Scribe");
    assert_eq!(
        (&made.body["version_scheme"], &made.body["environments"]),
        (&json!("semver"), &json!(["production"]))
    );
    let path = format!("/products/{}", made.id());
    let tag = made.header("etag").to_owned();
    assert_eq!(owner.get(&path).await.ok().header("etag"), tag);

    let change = json!({ "name": "Scribe 2", "metadata": { "team": "a" } });
    let changed = owner.patch(&path, change.clone()).header("if-match", &tag).await.ok();
    assert_eq!(changed.body["name"], "Scribe 2");
    owner
        .patch(&path, change.clone())
        .header("if-match", &tag)
        .await
        .refused("version-mismatch");
    // The same change again is none: neither a version nor an event.
    let again = owner.patch(&path, change).await.ok();
    assert_eq!(again.header("etag"), changed.header("etag"));
    owner
        .patch(&path, json!({ "code": "other" }))
        .await
        .invalid("/code", "immutable");

    owner
        .post("/products", json!({ "code": "scribe", "name": "Twin" }))
        .await
        .invalid("/code", "not-unique");
    let archived = owner.act(&format!("{path}/archive")).await.ok();
    assert!(archived.body["archived_at"].is_string());
    let twice = owner.act(&format!("{path}/archive")).await.ok();
    assert_eq!(twice.body["archived_at"], archived.body["archived_at"]);
    owner
        .post(
            "/policies",
            json!({ "product_id": made.id(), "code": "pro", "name": "Pro" }),
        )
        .await
        .refused("state-conflict");
    let audit = world.audit();
    for action in ["product.created", "product.updated", "product.archived"] {
        let entry = format!("{action} by api_key");
        assert_eq!(
            audit.iter().filter(|one| **one == entry).count(),
            1,
            "{action}: {audit:?}"
        );
    }
}

#[actix_web::test]
async fn bad_products_are_told_everything_at_once() {
    let world = World::new().await;
    let owner = world.owner();
    let refused = owner
        .post(
            "/products",
            json!({ "code": "9 lives", "name": "a\u{1}b", "url": "javascript:alert(1)", "environments": [] }),
        )
        .await
        .refused("validation-failed");
    for (pointer, code) in [
        ("/code", "invalid-format"),
        ("/url", "invalid-format"),
        ("/environments", "required"),
    ] {
        let found = refused.body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|error| error["pointer"] == pointer && error["code"] == code);
        assert!(found, "{pointer}: {}", refused.text);
    }
    owner
        .post("/products", json!({ "code": "a", "name": "A", "colour": "red" }))
        .await
        .invalid("/colour", "unknown-field");
    owner
        .post("/products", json!({ "code": "x".repeat(64), "name": "x".repeat(101) }))
        .await
        .invalid("/name", "too-long");
    assert_eq!(owner.get("/products").await.ok().body["data"], json!([]));
}

#[actix_web::test]
async fn what_a_policy_entitles_to_is_defined_first_and_has_values_that_fit() {
    let shop = Shop::new().await;
    let owner = &shop.owner;
    for definition in [
        json!({ "code": "sso", "name": "Single sign-on", "kind": "boolean", "value_type": "boolean" }),
        json!({ "code": "seats", "name": "Seats", "kind": "static", "value_type": "integer", "unit": "seat" }),
        json!({ "code": "region", "name": "Region", "kind": "static", "value_type": "select", "options": ["eu", "us"] }),
    ] {
        owner.post("/entitlements", definition).await.created();
    }
    owner
        .post("/entitlements", json!({ "code": "sso", "name": "Twin" }))
        .await
        .invalid("/code", "not-unique");
    owner
        .post(
            "/entitlements",
            json!({ "code": "odd", "name": "Odd", "kind": "static", "value_type": "boolean" }),
        )
        .await
        .invalid("/value_type", "conflicts-with");

    let policy = |entitlements: Value| json!({ "product_id": shop.product, "code": "pro", "name": "Pro", "entitlements": entitlements });
    for (entitlements, pointer, code) in [
        (json!({ "sso": 1 }), "/entitlements/sso", "wrong-type"),
        (json!({ "seats": -1 }), "/entitlements/seats", "wrong-type"),
        (json!({ "region": "mars" }), "/entitlements/region", "invalid-choice"),
        (json!({ "nothing": true }), "/entitlements/nothing", "not-found"),
    ] {
        owner
            .post("/policies", policy(entitlements))
            .await
            .invalid(pointer, code);
    }
    let all = json!({ "sso": true, "seats": null, "region": "eu" });
    let made = owner.post("/policies", policy(all.clone())).await.created();
    assert_eq!(made.body["entitlements"], all);

    // What is archived may stay where it is, and comes to nothing new.
    let found = owner.get("/entitlements?code=sso").await.ok();
    let sso = found.text_at("/data/0/id");
    owner.act(&format!("/entitlements/{sso}/archive")).await.ok();
    let path = format!("/policies/{}", made.id());
    owner.patch(&path, json!({ "name": "Pro 2" })).await.ok();
    owner
        .post(
            "/policies",
            json!({ "product_id": shop.product, "code": "new", "name": "New", "entitlements": { "sso": true } }),
        )
        .await
        .invalid("/entitlements/sso", "not-found");

    // So may a choice that there is no more.
    let found = owner.get("/entitlements?code=region").await.ok();
    let region = format!("/entitlements/{}", found.text_at("/data/0/id"));
    owner.patch(&region, json!({ "options": ["us"] })).await.ok();
    let kept = owner.patch(&path, json!({ "name": "Pro 3" })).await.ok();
    assert_eq!(kept.body["entitlements"], all);
    owner
        .patch(&path, json!({ "entitlements": { "region": "mars" } }))
        .await
        .invalid("/entitlements/region", "invalid-choice");
    owner
        .patch(&path, json!({ "entitlements": { "region": "us" } }))
        .await
        .ok();
    owner
        .patch(&path, json!({ "entitlements": { "region": "eu" } }))
        .await
        .invalid("/entitlements/region", "invalid-choice");
}

#[actix_web::test]
async fn a_policy_has_the_documented_defaults_and_refuses_what_cannot_be() {
    let shop = Shop::new().await;
    let owner = &shop.owner;
    let head = || json!({ "product_id": shop.product, "code": "pro", "name": "Pro" });
    let made = owner.post("/policies", head()).await.created();
    for (field, value) in [
        ("term_count", json!(null)),
        ("expiration_basis", json!("from_creation")),
        ("expiration_strategy", json!("restrict_access")),
        ("renewal_basis", json!("from_expiry")),
        ("grace_seconds", json!(0)),
        ("strict", json!(false)),
        ("floating", json!(false)),
        ("protected", json!(false)),
        ("max_machines", json!(1)),
        ("max_cores", json!(null)),
        ("overage_strategy", json!("no_overage")),
        ("machine_uniqueness", json!("per_license")),
        ("heartbeat", json!("none")),
        ("heartbeat_ttl_seconds", json!(600)),
        (
            "client_may",
            json!(["validate", "activate", "deactivate", "heartbeat", "check_in", "usage"]),
        ),
        ("validation_ttl_seconds", json!(86_400)),
        ("offline_grace_seconds", json!(1_209_600)),
        ("expiring_days", json!(3)),
    ] {
        assert_eq!(made.body[field], value, "{field}");
    }
    let term = |count: i32, unit: &str| json!({ "term_count": count, "term_unit": unit });
    for (change, pointer, code) in [
        (json!({ "term_count": 1 }), "/term_unit", "conflicts-with"),
        (term(101, "year"), "/term_count", "too-large"),
        (term(0, "day"), "/term_count", "too-small"),
        (json!({ "max_machines": 0 }), "/max_machines", "too-small"),
        (
            json!({ "max_machines": 4_294_967_296_i64 }),
            "/max_machines",
            "too-large",
        ),
        (
            json!({ "heartbeat_ttl_seconds": 59 }),
            "/heartbeat_ttl_seconds",
            "too-small",
        ),
        (json!({ "grace_seconds": 7_776_001 }), "/grace_seconds", "too-large"),
        (
            json!({ "heartbeat_resurrection": "always" }),
            "/heartbeat_resurrection",
            "conflicts-with",
        ),
        (
            json!({ "renewal_basis": "sometimes" }),
            "/renewal_basis",
            "invalid-choice",
        ),
        (
            json!({ "product_id": "prd_00000000000000000000000000" }),
            "/product_id",
            "required",
        ),
    ] {
        let mut body = head();
        super::merge(&mut body, json!({ "code": "odd" }));
        super::merge(&mut body, change);
        owner.post("/policies", body).await.invalid(pointer, code);
    }
    owner.post("/policies", head()).await.invalid("/code", "not-unique");
}

#[actix_web::test]
async fn a_change_of_a_policy_reaches_its_licences_each_with_what_differs_unless_only_new_ones_are_meant() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 2 })).await;
    let plain = shop.issue(&policy, json!({})).await;
    let own = shop.issue(&policy, json!({ "overrides": { "max_machines": 7 } })).await;
    let path = format!("/policies/{policy}");
    let most = async |licence| shop.show(licence).await["terms"]["rules"]["max_machines"].clone();

    shop.owner
        .patch(&format!("{path}?apply=new"), json!({ "max_machines": 3 }))
        .await
        .ok();
    assert_eq!((most(&plain).await, most(&own).await), (json!(2), json!(7)));
    // What changes nothing is no reason to follow, unless all are meant.
    let same = json!({ "name": "Renamed", "max_machines": 3 });
    let renamed = shop.owner.patch(&path, same.clone()).await.ok().body["version"].clone();
    assert_eq!(most(&plain).await, json!(2));
    let versions = async || {
        [
            shop.show(&plain).await["version"].clone(),
            shop.show(&own).await["version"].clone(),
        ]
    };
    let [_, untouched] = versions().await;
    let all = format!("{path}?apply=existing");
    assert_eq!(shop.owner.patch(&all, same).await.ok().body["version"], renamed);
    assert_eq!((most(&plain).await, most(&own).await), (json!(3), json!(7)));
    let followed = versions().await;
    assert_eq!(followed[1], untouched, "it had these terms");
    shop.owner.patch(&all, json!({})).await.ok();
    assert_eq!(versions().await, followed, "nobody is behind");
    let changed = shop
        .owner
        .patch(&path, json!({ "max_machines": 4, "max_cores": 8 }))
        .await
        .ok();
    assert_eq!((most(&plain).await, most(&own).await), (json!(4), json!(7)));
    let shown = shop.show(&own).await;
    assert_eq!(shown["terms"]["rules"]["max_cores"], 8);
    assert_eq!(shown["terms_version"], changed.body["version"]);
    shop.owner
        .patch(&format!("{path}?apply=perhaps"), json!({}))
        .await
        .refused("invalid-parameter");
    // The counters follow: the fifth machine is refused, not the third.
    for n in 0..4 {
        shop.activate(&plain, &format!("m{n}")).await.created();
    }
    shop.activate(&plain, "m5").await.refused("machine-limit-reached");
}

#[actix_web::test]
async fn where_more_than_a_thousand_follow_a_policy_it_changes_for_new_ones_alone() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 2 })).await;
    let first = shop.issue(&policy, json!({})).await.uuid();
    shop.world.admin(&format!(
        "SET app.reseller = 'none'; SET app.customer = 'none';
         INSERT INTO guildhall.licenses (workspace_id, id, product_id, policy_id, overrides, terms, terms_version, issued_via, created_by_type, created_by_id)
         SELECT workspace_id, gen_random_uuid(), product_id, policy_id, jsonb_build_object('max_cores', n), terms, terms_version, issued_via,
                created_by_type, created_by_id
           FROM guildhall.licenses, generate_series(1, 1000) n WHERE id = '{first}';
         INSERT INTO guildhall.license_counters (workspace_id, license_id, holder, machines_max)
         SELECT workspace_id, id, id, 2 FROM guildhall.licenses WHERE policy_id = (SELECT policy_id FROM guildhall.licenses WHERE id = '{first}') AND id <> '{first}'"
    ));
    let with = |machines: u32| {
        shop.world.count(&format!(
            "SELECT count(*) FROM guildhall.licenses f JOIN guildhall.licenses l USING (workspace_id, policy_id)
               JOIN guildhall.license_counters c ON c.license_id = l.id AND c.machines_max = {machines}
              WHERE f.id = '{first}' AND l.terms #> '{{rules,max_machines}}' = '{machines}'"
        ))
    };
    let path = format!("/policies/{policy}");
    let (all, new) = (format!("{path}?apply=existing"), format!("{path}?apply=new"));
    let three = json!({ "max_machines": 3 });
    shop.owner
        .patch(&path, three.clone())
        .await
        .refused("too-many-licenses");
    shop.owner.patch(&new, three).await.ok();
    shop.owner.patch(&all, json!({})).await.refused("too-many-licenses");
    shop.owner.patch(&path, json!({ "name": "Renamed" })).await.ok();
    assert_eq!((with(2), with(3)), (1_001, 0));
    shop.world.admin(&format!(
        "UPDATE guildhall.licenses SET state = 'revoked', revoked_at = now() WHERE id = '{first}'"
    ));
    shop.owner.patch(&all, json!({})).await.ok();
    assert_eq!((with(2), with(3)), (1, 1_000), "what is over stays as it was");

    let noted = |letters: u32| {
        let note = format!("jsonb_build_object('entitlements', jsonb_build_object('note', repeat('x', {letters})))");
        shop.world.admin(&format!(
            "UPDATE guildhall.licenses SET overrides = {note} WHERE state <> 'revoked' AND policy_id =
                (SELECT policy_id FROM guildhall.licenses WHERE id = '{first}')"
        ));
    };
    let four = json!({ "max_machines": 4 });
    noted(3_000);
    let refused = shop.owner.patch(&path, four.clone()).await.refused("too-many-licenses");
    assert_eq!(refused.body["limit_bytes"], 4 * 1024 * 1024);
    noted(1_000);
    shop.owner.patch(&path, four).await.ok();
    assert_eq!((with(2), with(4)), (1, 1_000));
}

#[actix_web::test]
async fn whoever_is_over_a_lowered_limit_keeps_validating_and_gets_nothing_new() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 3 })).await;
    let licence = shop.issue(&policy, json!({})).await;
    let mut machines = Vec::new();
    for n in 0..3 {
        machines.push(shop.activate(&licence, &format!("m{n}")).await.created().id());
    }
    let path = format!("/policies/{policy}");
    shop.owner.patch(&path, json!({ "max_machines": 2 })).await.ok();
    let verdict = shop.verdict(&licence, json!({ "fingerprint": "m2" })).await;
    assert_eq!(
        (&verdict["valid"], super::notices(&verdict)),
        (&json!(true), vec!["over_limit"])
    );
    shop.activate(&licence, "m3").await.refused("machine-limit-reached");
    shop.owner.delete(&format!("/machines/{}", machines[0])).await.gone();
    shop.activate(&licence, "m3").await.refused("machine-limit-reached");
    shop.owner.delete(&format!("/machines/{}", machines[1])).await.gone();
    shop.activate(&licence, "m3").await.created();
    let verdict = shop.verdict(&licence, json!({})).await;
    assert!(super::notices(&verdict).is_empty(), "{verdict}");
    assert_eq!(shop.places(&licence), (2, 2));
}

#[actix_web::test]
async fn one_product_waits_no_longer_for_a_lock_than_a_list_of_them() {
    let world = World::new().await;
    let owner = world.owner();
    let made = owner
        .post("/products", json!({ "code": "scribe", "name": "Scribe" }))
        .await;
    let path = made.created().path().replacen("/api/v1", "", 1);
    let mut other = world.superuser();
    other
        .batch_execute("BEGIN; LOCK TABLE guildhall.products IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    // Waited for to the end of its time, it would be `deadline-exceeded`.
    owner.get("/products").await.refused("overloaded");
    owner.get(&path).await.refused("overloaded");
    other.batch_execute("ROLLBACK").unwrap();
    owner.get(&path).await.ok();
}
