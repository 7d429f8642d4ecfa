//! What happens to a licence: suspended, reinstated, renewed, revoked, expired.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Licence, Shop};

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

async fn expires_at(shop: &Shop, licence: &Licence) -> DateTime<Utc> {
    instant(&shop.show(licence).await["expires_at"])
}

#[actix_web::test]
async fn a_licence_is_suspended_as_long_as_one_hold_is_left() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let suspended = shop
        .owner
        .post(&licence.verb("suspend"), json!({ "note": "Asked." }))
        .await
        .ok();
    let hold = &suspended.body["holds"][0];
    assert_eq!(suspended.body["status"], "suspended");
    assert_eq!(
        (&hold["reason"], &hold["ref"], &hold["note"], &hold["placed_at"]),
        (
            &json!("manual"),
            &json!(null),
            &json!("Asked."),
            &suspended.body["updated_at"]
        )
    );
    let noted = shop.owner.get("/audit-entries?action=license.suspended").await.ok();
    assert_eq!(noted.body["data"][0]["changes"]["note"], json!([null, "Asked."]));
    let verdict = shop.verdict(&licence, json!({})).await;
    assert_eq!(verdict["code"], "suspended");
    assert!(
        verdict["reasons"][0]["detail"]
            .as_str()
            .is_some_and(|text| text.contains("manual"))
    );

    // The same hold again changes nothing; another one is another.
    let again = shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    assert_eq!(again.header("etag"), suspended.header("etag"));
    let twice = shop
        .owner
        .post(&licence.verb("suspend"), json!({ "reason": "abuse" }))
        .await
        .ok();
    assert_ne!(twice.header("etag"), suspended.header("etag"));
    let lifted = shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
    assert_eq!(
        (&lifted.body["status"], &lifted.body["holds"][0]["reason"]),
        (&json!("suspended"), &json!("abuse"))
    );
    // A hold that is not there is lifted already.
    shop.owner
        .post(
            &licence.verb("reinstate"),
            json!({ "reason": "dispute", "ref": "dp_1" }),
        )
        .await
        .ok();
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "suspended");
    let live = shop
        .owner
        .post(&licence.verb("reinstate"), json!({ "reason": "abuse" }))
        .await
        .ok();
    assert_eq!(
        (&live.body["status"], &live.body["holds"]),
        (&json!("active"), &json!([]))
    );
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "valid");
    assert_eq!(
        (shop.events("license.suspended"), shop.events("license.reinstated")),
        (2, 2)
    );

    shop.owner
        .post(&licence.verb("suspend"), json!({ "reason": "payment" }))
        .await
        .invalid("/reason", "invalid-choice");
    shop.owner
        .post(&licence.verb("suspend"), json!({ "note": "x".repeat(501) }))
        .await
        .invalid("/note", "too-long");
    let tag = live.header("etag").to_owned();
    shop.owner
        .post(&licence.verb("suspend"), json!({}))
        .header("if-match", "\"0\"")
        .await
        .refused("version-mismatch");
    shop.owner
        .post(&licence.verb("suspend"), json!({}))
        .header("if-match", &tag)
        .await
        .ok();
}

#[actix_web::test]
async fn a_revoked_licence_is_over_for_good_with_its_key_and_machines() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "term_count": 1, "term_unit": "day", "max_machines": 2 }))
        .await;
    let machine = shop.activate(&licence, "m").await.created().id();
    shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    let revoked = shop
        .owner
        .post(&licence.verb("revoke"), json!({ "note": "Refunded." }))
        .await
        .ok();
    assert_eq!(
        (&revoked.body["status"], &revoked.body["holds"]),
        (&json!("revoked"), &json!([]))
    );
    assert!(revoked.body["revoked_at"].is_string());
    let verdict = shop.verdict(&licence, json!({ "fingerprint": "m" })).await;
    assert_eq!(
        (&verdict["code"], super::reasons(&verdict)),
        (&json!("revoked"), vec!["revoked"])
    );
    // A dead key teaches a stranger nothing; the vendor is shown what it was.
    assert_eq!((&verdict["license"], &verdict["limits"]), (&json!(null), &json!(null)));
    let asked = json!({ "license_id": licence.id });
    let vendors = shop.owner.post("/licenses/validate", asked).await.ok().body;
    assert_eq!(
        (&vendors["code"], &vendors["license"]["id"]),
        (&json!("revoked"), &json!(licence.id))
    );
    let gone = shop.owner.get(&format!("/machines/{machine}")).await.ok();
    assert_eq!(gone.body["state"], "deactivated");
    assert_eq!(gone.body["heartbeat_due_at"], json!(null));
    assert_eq!(shop.events("machine.deactivated"), 1);
    assert_eq!(shop.places(&licence), (0, 0));
    let noted = shop.owner.get("/audit-entries?action=license.revoked").await.ok();
    assert_eq!(noted.body["data"][0]["changes"]["note"], json!([null, "Refunded."]));
    for (verb, body) in [
        ("suspend", json!({})),
        ("reinstate", json!({})),
        ("renew", json!({ "periods": 1 })),
    ] {
        let refused = shop
            .owner
            .post(&licence.verb(verb), body)
            .await
            .refused("state-conflict");
        assert_eq!(refused.body["state"], "revoked", "{verb}");
    }
    let refused = shop.activate(&licence, "m").await.refused("license-not-usable");
    assert_eq!(refused.body["reason"], "revoked");
    let software = shop.software(&licence.key);
    software
        .post("/licenses/activate", json!({ "fingerprint": "m" }))
        .await
        .refused("license-unknown");
    software
        .delete(&format!("/machines/{machine}"))
        .await
        .refused("license-unknown");
    // Revoking again changes nothing.
    let again = shop.owner.post(&licence.verb("revoke"), json!({})).await.ok();
    assert_eq!(again.header("etag"), revoked.header("etag"));
    assert_eq!(shop.events("license.revoked"), 1);
}

#[actix_web::test]
async fn a_licence_expires_after_its_term_and_its_grace() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "term_count": 10, "term_unit": "day", "grace_seconds": 86_400, "max_machines": 2 }))
        .await;
    let state = async || {
        let verdict = shop.verdict(&licence, json!({})).await;
        super::sound(&verdict);
        let notices: Vec<String> = super::notices(&verdict).into_iter().map(str::to_owned).collect();
        (
            verdict["code"].as_str().unwrap_or_default().to_owned(),
            notices,
            shop.show(&licence).await["status"].clone(),
        )
    };
    assert_eq!(state().await, ("valid".into(), vec![], json!("active")));
    shop.world.clock.advance(TimeDelta::days(8));
    assert_eq!(
        state().await,
        ("valid".into(), vec!["expiring".into()], json!("expiring"))
    );
    shop.world.clock.advance(TimeDelta::hours(49));
    assert_eq!(
        state().await,
        ("valid".into(), vec!["in_grace".into()], json!("in_grace"))
    );
    shop.world.clock.advance(TimeDelta::days(1));
    assert_eq!(state().await, ("expired".into(), vec![], json!("expired")));
    let refused = shop.activate(&licence, "m").await.refused("license-not-usable");
    assert_eq!(refused.body["reason"], "expired");
    shop.owner
        .post(&licence.verb("renew"), json!({ "periods": 1 }))
        .await
        .ok();
    assert_eq!(state().await.0, "valid");
}

#[actix_web::test]
async fn an_expired_key_may_what_its_policy_says() {
    let shop = Shop::new().await;
    let term = |strategy: &str| json!({ "term_count": 1, "term_unit": "day", "expiration_strategy": strategy, "max_machines": 2 });
    let mut licences = Vec::new();
    for strategy in ["restrict_access", "revoke_access", "allow_access"] {
        let policy = shop.policy_as(&strategy.replace('_', "-"), term(strategy)).await;
        let licence = shop.issue(&policy, json!({})).await;
        let machine = shop.activate(&licence, "m").await.created().id();
        licences.push((strategy, licence, machine));
    }
    shop.world.clock.advance(TimeDelta::days(2));
    for (strategy, licence, machine) in licences {
        let verdict = shop.verdict(&licence, json!({})).await;
        let software = shop.software(&licence.key);
        let gone = software.delete(&format!("/machines/{machine}")).await;
        match strategy {
            "restrict_access" => {
                assert_eq!(verdict["code"], "expired");
                gone.gone();
            }
            "revoke_access" => {
                assert_eq!(verdict["code"], "expired");
                gone.refused("license-expired");
            }
            _ => {
                assert_eq!(
                    (&verdict["code"], super::notices(&verdict)),
                    (&json!("valid"), vec!["expired"])
                );
                gone.gone();
            }
        }
    }
}

#[actix_web::test]
async fn a_renewal_counts_once_by_its_ref_and_in_any_order() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "term_count": 1, "term_unit": "month" })).await;
    let begun = instant(&shop.show(&licence).await["started_at"]);
    let months = |n| begun.checked_add_months(chrono::Months::new(n)).expect("a date");
    assert_eq!(expires_at(&shop, &licence).await, months(1));
    for _ in 0..2 {
        shop.owner
            .post(&licence.verb("renew"), json!({ "periods": 1, "ref": "invoice-1" }))
            .await
            .ok();
    }
    let once = expires_at(&shop, &licence).await;
    assert!(once > months(1) && once <= months(2), "{once}");
    // Until a date: the later one counts, whichever came first.
    let until = |n: u32| json!({ "until": months(n), "ref": format!("order-{n}") });
    shop.owner.post(&licence.verb("renew"), until(8)).await.ok();
    shop.owner.post(&licence.verb("renew"), until(5)).await.ok();
    assert_eq!(expires_at(&shop, &licence).await, months(8));
    // Without a ref each is another one; beyond that date once there are enough of them.
    for periods in [1, 9] {
        shop.owner
            .post(&licence.verb("renew"), json!({ "periods": periods }))
            .await
            .ok();
    }
    let all = expires_at(&shop, &licence).await;
    assert!(all > months(11) && all <= months(12), "{all}");
    assert_eq!(shop.events("license.renewed"), 5);
    assert_eq!(
        shop.world
            .audit()
            .iter()
            .filter(|entry| *entry == "license.renewed by api_key")
            .count(),
        5
    );
    for (body, pointer, code) in [
        (json!({}), "/periods", "required"),
        (json!({ "periods": 1, "until": months(9) }), "/until", "conflicts-with"),
        (json!({ "periods": 0 }), "/periods", "too-small"),
        (json!({ "periods": 121 }), "/periods", "too-large"),
        (json!({ "periods": 1, "ref": "a\nb" }), "/ref", "invalid-characters"),
    ] {
        shop.owner
            .post(&licence.verb("renew"), body)
            .await
            .invalid(pointer, code);
    }
}

#[actix_web::test]
async fn what_never_expires_cannot_be_renewed() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    assert_eq!(shop.show(&licence).await["expires_at"], json!(null));
    let refused = shop
        .owner
        .post(&licence.verb("renew"), json!({ "periods": 1 }))
        .await
        .refused("state-conflict");
    assert_eq!(refused.body["state"], "perpetual");
}

#[actix_web::test]
async fn a_term_begins_with_what_the_policy_says_and_once() {
    let shop = Shop::new().await;
    let term =
        |basis: &str| json!({ "term_count": 1, "term_unit": "year", "expiration_basis": basis, "max_machines": 5 });
    let by_use = shop.policy_as("by-use", term("from_first_validation")).await;
    let by_use = shop.issue(&by_use, json!({})).await;
    let by_machine = shop.policy_as("by-machine", term("from_first_activation")).await;
    let by_machine = shop.issue(&by_machine, json!({})).await;
    for licence in [&by_use, &by_machine] {
        assert_eq!(licence.body["expires_at"], json!(null));
        let refused = shop
            .owner
            .post(&licence.verb("renew"), json!({ "periods": 1 }))
            .await
            .refused("state-conflict");
        assert_eq!(refused.body["state"], "not_started");
    }
    shop.world.clock.advance(TimeDelta::days(3));
    // To look is no first use.
    shop.software(&by_use.key).get("/licenses/me").await.ok();
    assert_eq!(shop.show(&by_use).await["started_at"], json!(null));
    let verdict = shop.verdict(&by_use, json!({})).await;
    assert!(verdict["license"]["expires_at"].is_string(), "{verdict}");
    shop.verdict(&by_machine, json!({})).await;
    assert_eq!(shop.show(&by_machine).await["started_at"], json!(null));
    shop.activate(&by_machine, "m1").await.created();

    let (first, second) = (expires_at(&shop, &by_use).await, expires_at(&shop, &by_machine).await);
    shop.world.clock.advance(TimeDelta::days(1));
    shop.verdict(&by_use, json!({})).await;
    shop.activate(&by_machine, "m2").await.created();
    assert_eq!(expires_at(&shop, &by_use).await, first);
    assert_eq!(expires_at(&shop, &by_machine).await, second);
}

#[actix_web::test]
async fn a_licence_that_starts_later_is_not_valid_before() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "term_count": 1, "term_unit": "week" })).await;
    let start = shop.world.clock.now() + TimeDelta::days(2);
    let licence = shop.issue(&policy, json!({ "starts_at": start })).await;
    assert_eq!(instant(&licence.body["expires_at"]), start + TimeDelta::weeks(1));
    let verdict = shop.verdict(&licence, json!({})).await;
    assert_eq!(
        (&verdict["code"], instant(&verdict["reasons"][0]["retry_at"])),
        (&json!("not_started"), start)
    );
    shop.activate(&licence, "m").await.refused("license-not-usable");
    shop.world.clock.advance(TimeDelta::hours(49));
    assert_eq!(shop.verdict(&licence, json!({})).await["code"], "valid");
}

#[actix_web::test]
async fn a_suspension_may_stop_the_clock() {
    let shop = Shop::new().await;
    let rules = |suspended: &str| json!({ "term_count": 30, "term_unit": "day", "suspended_time": suspended });
    let stopping = shop.policy_as("stopping", rules("stops_clock")).await;
    let running = shop.policy_as("running", rules("runs")).await;
    for (policy, days) in [(stopping, 5), (running, 0)] {
        let licence = shop.issue(&policy, json!({})).await;
        let before = expires_at(&shop, &licence).await;
        shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
        shop.world.clock.advance(TimeDelta::days(5));
        shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
        let moved = expires_at(&shop, &licence).await - before;
        assert!(
            moved >= TimeDelta::days(days) && moved < TimeDelta::days(days) + TimeDelta::minutes(1),
            "{moved}"
        );
    }
}
