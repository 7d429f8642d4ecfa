//! Keys that are replaced, and what is noted with a licence.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Licence, Shop};

/// The licence under a new key.
async fn rotated(shop: &Shop, licence: &Licence, body: Value) -> Licence {
    let made = shop.owner.post(&licence.verb("rotate-key"), body).await.ok();
    Licence {
        id: made.id(),
        key: made.text_at("/key"),
        body: made.body,
    }
}

#[actix_web::test]
async fn a_key_is_replaced_and_the_one_before_goes_on_for_a_while() {
    let shop = Shop::new().await;
    let first = shop.licence(json!({ "max_machines": 3 })).await;
    let before = shop.owner.get(&first.path()).await.ok().header("etag").to_owned();
    let second = rotated(&shop, &first, json!({ "overlap_seconds": 3_600 })).await;
    assert_ne!(second.key, first.key);
    let shown = shop.owner.get(&first.path()).await.ok();
    assert_ne!(shown.header("etag"), before);
    assert!(second.key.starts_with(&shown.text_at("/key_start")) && !shown.text.contains(&second.key));

    let new = shop.verdict(&second, json!({})).await;
    assert_eq!((&new["code"], super::notices(&new)), (&json!("valid"), vec![]));
    let old = shop.verdict(&first, json!({})).await;
    assert_eq!(
        (&old["code"], super::notices(&old)),
        (&json!("valid"), vec!["key_rotated"])
    );
    // Nobody may rely on it past the old key's end.
    assert_eq!(old["fresh_until"], old["notices"][0]["at"]);
    let machine = shop
        .software(&first.key)
        .post("/licenses/activate", json!({ "fingerprint": "a" }))
        .await
        .created()
        .id();
    shop.world.clock.advance(TimeDelta::minutes(61));
    let old = shop.verdict(&first, json!({})).await;
    assert_eq!((&old["code"], &old["license"]), (&json!("key_revoked"), &json!(null)));
    shop.software(&first.key)
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("license-unknown");
    shop.software(&second.key)
        .delete(&format!("/machines/{machine}"))
        .await
        .gone();
    assert_eq!(shop.events("license_key.rotated"), 1);
    assert!(
        shop.world
            .audit()
            .contains(&"license_key.rotated by api_key".to_owned())
    );
}

#[actix_web::test]
async fn one_key_is_current_and_at_most_one_overlaps() {
    let shop = Shop::new().await;
    let first = shop.licence(json!({})).await;
    let second = rotated(&shop, &first, json!({})).await;
    let third = rotated(&shop, &first, json!({})).await;
    for (licence, code) in [(&first, "key_revoked"), (&second, "valid"), (&third, "valid")] {
        assert_eq!(shop.verdict(licence, json!({})).await["code"], code);
    }
    let fourth = rotated(&shop, &first, json!({ "overlap_seconds": 0 })).await;
    for (licence, code) in [(&second, "key_revoked"), (&third, "key_revoked"), (&fourth, "valid")] {
        assert_eq!(shop.verdict(licence, json!({})).await["code"], code);
    }
    for (body, code) in [
        (json!({ "overlap_seconds": -1 }), "too-small"),
        (json!({ "overlap_seconds": 7_776_001 }), "too-large"),
    ] {
        shop.owner
            .post(&first.verb("rotate-key"), body)
            .await
            .invalid("/overlap_seconds", code);
    }
    shop.world
        .stranger()
        .post(&first.verb("rotate-key"), json!({}))
        .await
        .refused("not-found");
    shop.world
        .viewer()
        .post(&first.verb("rotate-key"), json!({}))
        .await
        .refused("forbidden");
    shop.owner.post(&first.verb("revoke"), json!({})).await.ok();
    shop.owner
        .post(&first.verb("rotate-key"), json!({}))
        .await
        .refused("state-conflict");
}

#[actix_web::test]
async fn what_is_noted_with_a_licence_changes_by_version() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({})).await;
    let licence = shop
        .issue(&policy, json!({ "name": "Ann's", "metadata": { "a": "1", "b": "2" } }))
        .await;
    shop.issue(&policy, json!({ "external_id": "taken" })).await;
    let tag = shop.owner.get(&licence.path()).await.ok().header("etag").to_owned();
    let change =
        json!({ "name": null, "metadata": { "a": null }, "public_metadata": { "tier": "gold" }, "external_id": "own" });
    let changed = shop
        .owner
        .patch(&licence.path(), change.clone())
        .header("if-match", &tag)
        .await
        .ok();
    assert_eq!(
        (&changed.body["name"], &changed.body["external_id"]),
        (&json!(null), &json!("own"))
    );
    assert_eq!(changed.body["metadata"], json!({ "b": "2" }));
    shop.owner
        .patch(&licence.path(), change.clone())
        .header("if-match", &tag)
        .await
        .refused("version-mismatch");
    shop.owner.patch(&licence.path(), change).await.ok();
    assert_eq!(shop.events("license.updated"), 1);
    let verdict = shop.verdict(&licence, json!({})).await;
    assert_eq!(verdict["license"]["public_metadata"], json!({ "tier": "gold" }));
    shop.owner
        .patch(&licence.path(), json!({ "external_id": "taken" }))
        .await
        .refused("external-id-taken");
    shop.owner
        .patch(&licence.path(), json!({ "expires_at": null }))
        .await
        .invalid("/expires_at", "unknown-field");
    shop.world
        .stranger()
        .patch(&licence.path(), json!({ "name": "Mine" }))
        .await
        .refused("not-found");
    shop.world
        .viewer()
        .patch(&licence.path(), json!({ "name": "Mine" }))
        .await
        .refused("forbidden");
}

#[actix_web::test]
async fn a_workspace_that_is_named_beside_a_key_is_the_keys_own() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 2 })).await;
    let home = shop.world.home().to_string();
    let slug = shop.owner.get("/workspace").await.ok().text_at("/slug");
    let named = |name: &str| shop.software(&licence.key).with("guildhall-workspace", name);
    for own in [&home, &slug] {
        let verdict = named(own).post("/licenses/validate", json!({})).await.ok();
        assert_eq!(verdict.body["code"], "valid", "{own}");
    }
    let machine = shop.activate(&licence, "m").await.created().id();
    let elsewhere = shop.world.elsewhere().to_string();
    for other in [&elsewhere, "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz", "nowhere-at-all"] {
        let software = named(other);
        software
            .post("/licenses/validate", json!({}))
            .await
            .refused("workspace-mismatch");
        let activation = json!({ "fingerprint": "n" });
        software
            .post("/licenses/activate", activation)
            .await
            .refused("workspace-mismatch");
        software
            .delete(&format!("/machines/{machine}"))
            .await
            .refused("workspace-mismatch");
    }
    assert_eq!(shop.places(&licence), (1, 1));
    // A key that leads nowhere leads nowhere, whatever is named.
    let unknown = shop
        .software("gld_test_lk_nobody")
        .with("guildhall-workspace", &elsewhere);
    unknown.get("/licenses/me").await.refused("license-unknown");
}
