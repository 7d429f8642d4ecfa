//! What the customer's software may with its key, and what it may not.

use serde_json::json;

use super::Shop;

#[actix_web::test]
async fn software_activates_beats_and_deactivates_on_its_own_licence() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "max_machines": 2, "heartbeat": "optional" }))
        .await;
    let software = shop.software(&licence.key);
    let made = software
        .post("/licenses/activate", json!({ "fingerprint": "a", "name": "Mine" }))
        .await
        .created();
    assert_eq!(made.body["license_id"], licence.id);
    let path = format!("/machines/{}", made.id());
    let heard = software
        .post(&format!("{path}/heartbeat"), json!({ "generation": 1 }))
        .await
        .ok();
    assert!(heard.body["due_at"].is_string());
    let verdict = shop.verdict(&licence, json!({ "fingerprint": "a" })).await;
    assert_eq!(
        (&verdict["code"], &verdict["machine"]["id"]),
        (&json!("valid"), &json!(made.id()))
    );
    software.delete(&path).await.gone();
    software.delete(&path).await.refused("not-found");
    let audit = shop.world.audit();
    for action in ["machine.activated", "machine.deactivated"] {
        assert!(audit.contains(&format!("{action} by license")), "{action}: {audit:?}");
    }
}

#[actix_web::test]
async fn a_key_names_its_own_licence_and_reaches_no_other() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 2 })).await;
    let (own, other) = (
        shop.issue(&policy, json!({})).await,
        shop.issue(&policy, json!({})).await,
    );
    let machine = shop.activate(&other, "theirs").await.created().id();
    let software = shop.software(&own.key);
    software
        .post(
            "/licenses/activate",
            json!({ "license_id": other.id, "fingerprint": "a" }),
        )
        .await
        .invalid("/license_id", "conflicts-with");
    software
        .post(
            "/licenses/activate",
            json!({ "license_id": own.id, "fingerprint": "a" }),
        )
        .await
        .invalid("/license_id", "conflicts-with");
    software
        .post("/licenses/activate", json!({ "fingerprint": "a", "external_id": "x" }))
        .await
        .invalid("/external_id", "conflicts-with");
    software
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("not-found");
    software
        .post(&format!("/machines/{machine}/heartbeat"), json!({ "generation": 1 }))
        .await
        .refused("not-found");
    assert_eq!(shop.places(&other), (1, 1));
    // A key opens the operations of licences and nothing else.
    for path in [
        "/licenses",
        "/machines",
        "/products",
        "/customers",
        "/me",
        "/audit-entries",
        "/api-keys",
    ] {
        let answer = software.get(path).await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{path}: {}", answer.text);
        assert!(answer.body["code"].is_string());
    }
    software.get(&own.path()).await.refused("forbidden");
    software
        .post(&own.verb("renew"), json!({ "periods": 120 }))
        .await
        .refused("forbidden");
    software
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .refused("forbidden");
    // Nor does it open anything as a bearer of it.
    let bearer = shop.world.anonymous().bearer(&own.key);
    bearer.get("/licenses/me").await.refused("invalid-api-key");
}

#[actix_web::test]
async fn the_software_sees_its_licence_without_asking_anything() {
    let shop = Shop::new().await;
    let policy = shop
        .policy(json!({ "term_count": 1, "term_unit": "year", "max_machines": 2 }))
        .await;
    let licence = shop
        .issue(
            &policy,
            json!({ "public_metadata": { "tier": "gold" }, "metadata": { "deal": "7" } }),
        )
        .await;
    let answer = shop.software(&licence.key).get("/licenses/me").await.ok();
    super::sound(&answer.body);
    assert_eq!(
        (&answer.body["valid"], &answer.body["license"]["id"]),
        (&json!(true), &json!(licence.id))
    );
    assert_eq!(answer.body["license"]["public_metadata"], json!({ "tier": "gold" }));
    assert!(!answer.text.contains("deal"), "{}", answer.text);
    assert_eq!(
        (&answer.body["scope"], &answer.body["nonce"]),
        (&json!({}), &json!(null))
    );
    let keys = format!("/.well-known/license-keys/{}.json", shop.world.home());
    let jwks = shop.world.anonymous().get(&keys).await.ok().body;
    let read = super::validation::open(&answer.text_at("/signed"), &jwks).expect("a signature");
    assert_eq!(read["lic"], licence.id);
    assert_eq!(shop.show(&licence).await["last_validated_at"], json!(null));

    shop.owner
        .post(&licence.verb("suspend"), json!({ "reason": "abuse" }))
        .await
        .ok();
    let suspended = shop.software(&licence.key).get("/licenses/me").await.ok();
    assert_eq!(suspended.body["code"], "suspended");
    shop.software("gld_test_lk_nonsense")
        .get("/licenses/me")
        .await
        .refused("license-unknown");
    shop.owner.get("/licenses/me").await.refused("license-unknown");
    shop.world
        .anonymous()
        .get("/licenses/me")
        .await
        .refused("unauthenticated");
}

#[actix_web::test]
async fn the_policy_says_what_software_may_do() {
    let shop = Shop::new().await;
    let policy = shop
        .policy_as("look", json!({ "client_may": ["validate"], "max_machines": 2 }))
        .await;
    let looking = shop.issue(&policy, json!({})).await;
    let machine = shop.activate(&looking, "a").await.created().id();
    let software = shop.software(&looking.key);
    assert_eq!(shop.verdict(&looking, json!({})).await["code"], "valid");
    software
        .post("/licenses/activate", json!({ "fingerprint": "b" }))
        .await
        .refused("client-not-allowed");
    software
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("client-not-allowed");
    software
        .post(&format!("/machines/{machine}/heartbeat"), json!({ "generation": 1 }))
        .await
        .refused("client-not-allowed");

    let policy = shop
        .policy_as("closed", json!({ "authentication_strategy": "none" }))
        .await;
    let closed = shop.issue(&policy, json!({})).await;
    let software = shop.software(&closed.key);
    software
        .post("/licenses/validate", json!({}))
        .await
        .refused("client-not-allowed");
    software.get("/licenses/me").await.refused("client-not-allowed");
    let asked = shop
        .owner
        .post("/licenses/validate", json!({ "key": closed.key }))
        .await
        .ok();
    assert_eq!(asked.body["code"], "valid");

    let policy = shop.policy_as("protected", json!({ "protected": true })).await;
    let protected = shop.issue(&policy, json!({})).await;
    shop.software(&protected.key)
        .post("/licenses/activate", json!({ "fingerprint": "b" }))
        .await
        .refused("activation-protected");
    shop.activate(&protected, "b").await.created();
}

#[actix_web::test]
async fn a_suspended_licence_activates_nothing_and_lets_go() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 2 })).await;
    let software = shop.software(&licence.key);
    let machine = software
        .post("/licenses/activate", json!({ "fingerprint": "a" }))
        .await
        .created()
        .id();
    shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    let refused = software
        .post("/licenses/activate", json!({ "fingerprint": "b" }))
        .await
        .refused("license-not-usable");
    assert_eq!(refused.body["reason"], "suspended");
    software
        .post("/licenses/activate", json!({ "fingerprint": "a" }))
        .await
        .refused("license-not-usable");
    software.delete(&format!("/machines/{machine}")).await.gone();
    assert_eq!(shop.places(&licence), (0, 0));
}

#[actix_web::test]
async fn what_software_may_not_do_takes_no_room_from_what_people_may_not() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let software = shop.software(&licence.key);
    let renewal = json!({ "periods": 120 });
    software
        .post(&licence.verb("renew"), renewal)
        .await
        .refused("forbidden");
    let product = json!({ "name": "P", "code": "p" });
    shop.world
        .viewer()
        .post("/products", product)
        .await
        .refused("forbidden");
    shop.world.deployment.refusals.flush().await;
    let owner = shop.world.owner();
    let kept = owner.get("/audit-entries?outcome=refused").await.ok();
    let told: Vec<_> = kept.body["data"].as_array().expect("a list").iter().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["action"], "products_create");
}
