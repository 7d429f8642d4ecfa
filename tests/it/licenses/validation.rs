//! Validation as the customer's software and the vendor's server ask for it, and the signature under the answer.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use guildhall::kernel::crypto;
use serde_json::{Value, json};

use super::Shop;
use crate::world::{Caller, patience::until};

/// What is under the signature, if it is one of these keys' over this text.
pub(super) fn open(signed: &str, jwks: &Value) -> Option<Value> {
    let (message, signature) = signed.rsplit_once('.')?;
    let [tag, kid, payload] = message.split('.').collect::<Vec<_>>().try_into().ok()?;
    let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == kid)?;
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str()?).ok()?.try_into().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if tag != "gldv1" || !crypto::verify(&public, message.as_bytes(), &signature) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

async fn published(caller: &Caller, workspace: impl std::fmt::Display) -> Value {
    caller
        .get(&format!("/.well-known/license-keys/{workspace}.json"))
        .await
        .ok()
        .body
}

#[actix_web::test]
async fn the_answer_is_signed_with_a_key_that_the_workspace_publishes() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 3 })).await;
    let scope = json!({ "product": shop.product });
    let answer = shop
        .software(&licence.key)
        .post(
            "/licenses/validate",
            json!({ "nonce": "0123456789abcdef", "scope": scope }),
        )
        .await
        .ok();
    let jwks = published(&shop.world.anonymous(), shop.world.home()).await;
    let signed = answer.text_at("/signed");
    let read = open(&signed, &jwks).expect("a signature of the workspace's");
    assert_eq!(read["ws"], shop.world.home().to_string());
    assert_eq!((&read["lic"], &read["prd"]), (&json!(licence.id), &json!(shop.product)));
    assert_eq!((&read["valid"], &read["code"]), (&json!(true), &json!("valid")));
    assert_eq!((&read["nonce"], &read["scope"]), (&json!("0123456789abcdef"), &scope));
    assert_eq!(read["limits"]["machines"], json!({ "used": 0, "max": 3 }));
    assert_eq!(read["key"], hex::encode(crypto::sha256(licence.key.as_bytes())));
    assert_eq!(answer.body["nonce"], "0123456789abcdef");
    let seconds = |field: &str| {
        answer
            .text_at(field)
            .parse::<DateTime<Utc>>()
            .expect("a time")
            .timestamp()
    };
    assert_eq!(read["iat"], seconds("/checked_at"));
    assert_eq!(read["fresh"], seconds("/checked_at") + 86_400);
    assert_eq!(read["grace"], seconds("/checked_at") + 86_400 + 1_209_600);

    // No byte of it can be another one, and no other workspace's keys open it.
    for place in 0..signed.len() {
        let mut bytes = signed.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("ASCII");
        assert!(open(&forged, &jwks).is_none(), "byte {place}");
    }
    let stranger = shop.world.stranger();
    let product = stranger
        .post("/products", json!({ "code": "p", "name": "P" }))
        .await
        .created()
        .id();
    let policy = stranger
        .post("/policies", json!({ "product_id": product, "code": "p", "name": "P" }))
        .await
        .created()
        .id();
    stranger
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .created();
    let theirs = published(&shop.world.anonymous(), shop.world.elsewhere()).await;
    assert!(open(&signed, &theirs).is_none());
    assert!(!jwks.to_string().contains("\"d\""), "no private half");
}

#[actix_web::test]
async fn a_refusal_is_signed_too_and_may_not_be_relied_on() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    shop.owner.post(&licence.verb("revoke"), json!({})).await.ok();
    let verdict = shop.verdict(&licence, json!({})).await;
    let jwks = published(&shop.world.anonymous(), shop.world.home()).await;
    let read = open(verdict["signed"].as_str().expect("signed"), &jwks).expect("a signature");
    assert_eq!(
        (&read["valid"], &read["code"], &read["reasons"]),
        (&json!(false), &json!("revoked"), &json!(["revoked"]))
    );
    assert_eq!((&read["fresh"], &read["grace"]), (&read["iat"], &read["iat"]));
}

#[actix_web::test]
async fn keys_are_published_of_workspaces_that_sign_and_of_no_other() {
    let shop = Shop::new().await;
    let anonymous = shop.world.anonymous();
    for name in [
        format!("{}.json", shop.world.elsewhere()),
        "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz.json".to_owned(),
        shop.world.home().to_string(),
        "x.json".to_owned(),
        "%00.json".to_owned(),
    ] {
        anonymous
            .get(&format!("/.well-known/license-keys/{name}"))
            .await
            .refused("not-found");
    }
}

#[actix_web::test]
async fn the_vendor_asks_by_key_or_by_id() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let ask = |body: Value| shop.owner.post("/licenses/validate", body);
    for body in [json!({ "key": licence.key }), json!({ "license_id": licence.id })] {
        let verdict = ask(body).await.ok().body;
        assert_eq!(
            (&verdict["code"], &verdict["license"]["id"]),
            (&json!("valid"), &json!(licence.id))
        );
    }
    for body in [
        json!({ "key": "gld_test_lk_nonsense" }),
        json!({ "key": "anything at all" }),
        json!({ "license_id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz" }),
    ] {
        let verdict = ask(body).await.ok().body;
        super::sound(&verdict);
        assert_eq!(
            (&verdict["code"], &verdict["license"]),
            (&json!("not_found"), &json!(null))
        );
    }
    ask(json!({})).await.invalid("/license_id", "required");
    ask(json!({ "key": licence.key, "license_id": licence.id }))
        .await
        .invalid("/license_id", "conflicts-with");
    // Another workspace's licence is as unknown as one that there is not.
    for body in [json!({ "key": licence.key }), json!({ "license_id": licence.id })] {
        let verdict = shop.world.stranger().post("/licenses/validate", body).await.ok().body;
        assert_eq!(
            (&verdict["code"], &verdict["license"]),
            (&json!("not_found"), &json!(null))
        );
    }
    let viewer = shop
        .world
        .viewer()
        .post("/licenses/validate", json!({ "license_id": licence.id }))
        .await;
    viewer.refused("forbidden");
    let machines_only = shop.world.api_key(["machines:read"]);
    machines_only
        .post("/licenses/validate", json!({ "license_id": licence.id }))
        .await
        .refused("scope-missing");
    shop.world
        .anonymous()
        .post("/licenses/validate", json!({ "key": licence.key }))
        .await
        .refused("unauthenticated");
}

#[actix_web::test]
async fn only_a_malformed_question_is_refused() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let software = shop.software(&licence.key);
    let ask = |body: Value| software.post("/licenses/validate", body);
    for (body, pointer, code) in [
        (json!({ "nonce": "1234567" }), "/nonce", "too-short"),
        (json!({ "nonce": "x".repeat(129) }), "/nonce", "too-long"),
        (json!({ "nonce": "12345678\u{0}" }), "/nonce", "invalid-characters"),
        (json!({ "colour": 1 }), "/colour", "unknown-field"),
        (json!({ "scope": { "colour": 1 } }), "/scope/colour", "unknown-field"),
        (
            json!({ "scope": { "fingerprint": "x".repeat(4_097) } }),
            "/scope/fingerprint",
            "too-long",
        ),
        (
            json!({ "scope": { "fingerprint": "a\u{0}" } }),
            "/scope/fingerprint",
            "invalid-characters",
        ),
        (
            json!({ "scope": { "entitlements": vec!["a"; 101] } }),
            "/scope/entitlements",
            "too-many",
        ),
        (
            json!({ "scope": { "entitlements": [""] } }),
            "/scope/entitlements/0",
            "required",
        ),
        (json!({ "license_id": licence.id }), "/license_id", "conflicts-with"),
        (json!({ "key": licence.key }), "/license_id", "conflicts-with"),
    ] {
        ask(body).await.invalid(pointer, code);
    }
    let raw = |body: String| software.act("/licenses/validate").raw("application/json", body);
    raw("{".into()).await.refused("invalid-json");
    raw(format!("{{\"nonce\":\"{}\"}}", "x".repeat(70_000)))
        .await
        .refused("body-too-large");
    // A fingerprint may hold whatever a computer says of itself.
    for fingerprint in ["\u{1}", "🖥️", "a\u{7f}b", &"é".repeat(2_048), "\n"] {
        let verdict = ask(json!({ "scope": { "fingerprint": fingerprint } })).await.ok().body;
        super::sound(&verdict);
        assert!(
            ["no_machine", "fingerprint_scope_empty"].contains(&verdict["code"].as_str().expect("a code")),
            "{verdict}"
        );
    }
    // A licence that asks for itself has nothing more to say.
    let bare = software.act("/licenses/validate").await.ok().body;
    assert_eq!(bare["code"], "valid", "{bare}");
}

#[actix_web::test]
async fn no_key_with_a_flipped_character_leads_anywhere_and_nothing_tells_how_wrong_it_is() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let verdict_of = async |key: &str| {
        let software = shop.software(key);
        let verdict = software
            .post("/licenses/validate", json!({ "nonce": "12345678" }))
            .await
            .ok()
            .body;
        software
            .post("/licenses/activate", json!({ "fingerprint": "m" }))
            .await
            .refused("license-unknown");
        verdict
    };
    let mut seen = Vec::new();
    for place in 0..licence.key.len() {
        let mut bytes = licence.key.clone().into_bytes();
        bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
        let flipped = String::from_utf8(bytes).expect("ASCII");
        if place > 3 {
            let mut verdict = verdict_of(&flipped).await;
            super::sound(&verdict);
            for time in ["checked_at", "fresh_until", "grace_until"] {
                verdict[time].take();
            }
            seen.push(verdict);
        }
    }
    // A well-formed key that nobody was given is answered alike.
    let unknown = guildhall::kernel::secret::Token::mint(
        guildhall::kernel::secret::TokenKind::LicenseKey,
        guildhall::kernel::config::KeyMode::Test,
    );
    let mut verdict = verdict_of(unknown.expose()).await;
    for time in ["checked_at", "fresh_until", "grace_until"] {
        verdict[time].take();
    }
    seen.push(verdict);
    assert_eq!(seen[0]["code"], "not_found");
    assert_eq!((&seen[0]["license"], &seen[0]["signed"]), (&json!(null), &json!(null)));
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "valid");
}

#[actix_web::test]
async fn when_a_licence_was_last_asked_about_is_known_to_the_quarter_of_an_hour() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    assert_eq!(shop.show(&licence).await["last_validated_at"], json!(null));
    let before = shop.owner.get(&licence.path()).await.ok().header("etag").to_owned();
    shop.verdict(&licence, json!({})).await;
    let first = shop.show(&licence).await["last_validated_at"].clone();
    assert!(first.is_string());
    shop.world.clock.advance(TimeDelta::minutes(10));
    shop.verdict(&licence, json!({})).await;
    assert_eq!(shop.show(&licence).await["last_validated_at"], first);
    shop.world.clock.advance(TimeDelta::minutes(6));
    shop.verdict(&licence, json!({})).await;
    assert_ne!(shop.show(&licence).await["last_validated_at"], first);
    // It is no change of the licence.
    assert_eq!(shop.owner.get(&licence.path()).await.ok().header("etag"), before);
    shop.world.clock.advance(TimeDelta::days(91));
    assert_eq!(shop.show(&licence).await["status"], "inactive");
}

#[actix_web::test]
async fn a_vendor_that_is_barred_for_abuse_gets_no_verdicts() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let home = shop.world.home().uuid();
    shop.world.admin(&format!(
        "UPDATE guildhall.workspaces SET state = 'suspended', suspend_reason = 'abuse' WHERE id = '{home}'"
    ));
    let software = shop.software(&licence.key);
    software
        .post("/licenses/validate", json!({}))
        .await
        .refused("workspace-suspended");
    software.get("/licenses/me").await.refused("workspace-suspended");
}

#[actix_web::test]
async fn a_verdict_does_not_wait_for_the_note_that_it_was_asked_for() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let mut other = shop.world.superuser();
    let id = licence.uuid();
    let lock = format!("BEGIN; SELECT 1 FROM guildhall.licenses WHERE id = '{id}' FOR UPDATE");
    other.batch_execute(&lock).expect("a lock");
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "valid");
    assert_eq!(shop.show(&licence).await["last_validated_at"], json!(null));
    other.batch_execute("ROLLBACK").expect("an end");
    until("it is noted", async || {
        shop.verdict(&licence, json!({})).await;
        shop.show(&licence).await["last_validated_at"] != json!(null)
    })
    .await;
}

#[actix_web::test]
async fn of_two_first_validations_both_answer_with_the_term_that_has_begun() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 1, "term_unit": "month", "expiration_basis": "from_first_validation" });
    let licence = shop.licence(rules).await;
    let mut other = shop.world.superuser();
    let id = licence.uuid();
    let lock = format!("BEGIN; SELECT 1 FROM guildhall.licenses WHERE id = '{id}' FOR UPDATE");
    other.batch_execute(&lock).expect("a lock");
    let opening = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND usename = 'app_tenant' AND wait_event_type = 'Lock'";
        until("both wait for the licence", async || shop.world.count(waiting) == 2).await;
        other.batch_execute("ROLLBACK").expect("an end");
    };
    // Who waits for longer than a lock is waited for asks again.
    let ask = async || loop {
        let software = shop.software(&licence.key);
        let answer = software.post("/licenses/validate", json!({})).await;
        if answer.status != 503 {
            return answer.ok().body;
        }
    };
    let (one, two, ()) = futures_util::join!(ask(), ask(), opening);
    let ends = shop.show(&licence).await["expires_at"].clone();
    assert_ne!(ends, json!(null));
    for verdict in [&one, &two] {
        assert_eq!(
            (&verdict["code"], &verdict["license"]["expires_at"]),
            (&json!("valid"), &ends)
        );
    }
}
