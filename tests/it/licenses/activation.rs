//! Machines: activated, known again, deactivated, and their signs of life.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Licence, Shop};

#[actix_web::test]
async fn machines_are_activated_up_to_the_limit_and_the_refusal_says_who_has_the_places() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 2 })).await;
    let body = json!({ "license_id": licence.id, "fingerprint": "a", "name": "Ann's laptop", "hostname": "ann", "platform": "linux",
                       "cores": 8, "memory_mb": 16_384, "disk_mb": 512_000, "external_id": "asset-1" });
    let made = shop.owner.post("/licenses/activate", body).await.created();
    assert_eq!(made.path(), format!("/api/v1/machines/{}", made.id()));
    assert_eq!(made.body["already_active"], false);
    assert_eq!(
        (&made.body["state"], &made.body["generation"]),
        (&json!("active"), &json!(1))
    );
    assert!(!made.text.contains("fingerprint_hash"));
    let shown = shop.owner.get(&format!("/machines/{}", made.id())).await.ok();
    assert_eq!(
        (&shown.body["name"], &shown.body["cores"], &shown.body["license_id"]),
        (&json!("Ann's laptop"), &json!(8), &json!(licence.id))
    );
    assert!(shop.show(&licence).await["activated_at"].is_string());

    shop.activate(&licence, "b").await.created();
    let refused = shop.activate(&licence, "c").await.refused("machine-limit-reached");
    assert_eq!((&refused.body["used"], &refused.body["max"]), (&json!(2), &json!(2)));
    assert_eq!(refused.body["machines"].as_array().map(Vec::len), Some(2));
    assert_eq!(refused.body["machines"][0]["id"], made.id());
    assert_eq!(shop.places(&licence), (2, 2));
    assert_eq!(shop.events("machine.activated"), 2);
    let audit = shop.world.audit();
    assert_eq!(
        audit
            .iter()
            .filter(|entry| *entry == "machine.activated by api_key")
            .count(),
        2
    );

    for (query, count) in [
        (format!("license_id={}", licence.id), 2),
        ("external_id=asset-1".into(), 1),
        ("state=active".into(), 2),
        ("state=deactivated".into(), 0),
    ] {
        let found = shop.owner.get(&format!("/machines?{query}")).await.ok();
        assert_eq!(found.body["data"].as_array().map(Vec::len), Some(count), "{query}");
    }
    shop.owner
        .get("/machines?state=lost")
        .await
        .refused("invalid-parameter");
}

#[actix_web::test]
async fn the_same_machine_again_takes_no_second_place() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let first = shop.activate(&licence, " a ").await.created();
    let again = shop.activate(&licence, "a").await.ok();
    assert_eq!((again.id(), &again.body["already_active"]), (first.id(), &json!(true)));
    assert_eq!(again.path(), "");
    let named = json!({ "license_id": licence.id, "fingerprint": "a", "name": "Ann's" });
    let told = shop.owner.post("/licenses/activate", named).await.ok();
    assert_eq!(
        (&told.body["name"], &told.body["generation"]),
        (&json!("Ann's"), &json!(1))
    );
    assert_eq!((shop.places(&licence), shop.events("machine.activated")), ((1, 1), 1));

    // The same request under the same key is answered as it was.
    let key = |name: &'static str| ("idempotency-key", name);
    let policy = shop.policy_as("two", json!({ "max_machines": 2 })).await;
    let other = shop.issue(&policy, json!({})).await;
    let body = json!({ "license_id": other.id, "fingerprint": "b" });
    let (name, value) = key("one");
    let made = shop
        .owner
        .post("/licenses/activate", body.clone())
        .header(name, value)
        .await
        .created();
    let kept = shop
        .owner
        .post("/licenses/activate", body)
        .header(name, value)
        .await
        .created();
    assert_eq!((kept.id(), &kept.body["already_active"]), (made.id(), &json!(false)));
    assert_eq!(shop.places(&other), (1, 1));
}

#[actix_web::test]
async fn a_deactivated_machine_frees_its_place_once() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let first = shop.activate(&licence, "a").await.created().id();
    shop.activate(&licence, "b").await.refused("machine-limit-reached");
    let path = format!("/machines/{first}");
    shop.owner.delete(&path).await.gone();
    shop.owner.delete(&path).await.refused("not-found");
    assert_eq!(shop.owner.get(&path).await.ok().body["state"], "deactivated");
    shop.activate(&licence, "b").await.created();
    shop.activate(&licence, "a").await.refused("machine-limit-reached");
    // One that comes back is another activation.
    let body = shop
        .owner
        .get(&format!("/machines?license_id={}&state=active", licence.id))
        .await
        .ok();
    shop.owner
        .delete(&format!("/machines/{}", body.text_at("/data/0/id")))
        .await
        .gone();
    assert_ne!(shop.activate(&licence, "a").await.created().id(), first);
    assert_eq!((shop.places(&licence), shop.events("machine.deactivated")), ((1, 1), 2));
}

#[actix_web::test]
async fn cores_memory_and_disk_are_taken_with_the_place_or_not_at_all() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "max_machines": null, "max_cores": 16, "max_memory_mb": 1_000 }))
        .await;
    let activate = async |fingerprint: &str, cores: i32, memory: i32| {
        let body = json!({ "license_id": licence.id, "fingerprint": fingerprint, "cores": cores, "memory_mb": memory });
        shop.owner.post("/licenses/activate", body).await
    };
    let first = activate("a", 12, 100).await.created().id();
    activate("b", 5, 100).await.refused("machine-limit-reached");
    activate("c", 4, 901).await.refused("machine-limit-reached");
    activate("d", 4, 900).await.created();
    let verdict = shop.verdict(&licence, json!({})).await;
    assert_eq!(
        (&verdict["limits"]["cores"], &verdict["limits"]["memory_mb"]),
        (
            &json!({ "used": 16, "max": 16 }),
            &json!({ "used": 1_000, "max": 1_000 })
        )
    );
    shop.owner.delete(&format!("/machines/{first}")).await.gone();
    activate("e", 12, 100).await.created();
}

#[actix_web::test]
async fn overage_lets_some_more_in_and_says_so() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "max_machines": 4, "overage_strategy": "allow_1_25x", "strict": true }))
        .await;
    for n in 0..5 {
        shop.activate(&licence, &format!("m{n}")).await.created();
    }
    shop.activate(&licence, "m5").await.refused("machine-limit-reached");
    let verdict = shop.verdict(&licence, json!({})).await;
    assert_eq!(
        (&verdict["code"], super::notices(&verdict)),
        (&json!("valid"), vec!["over_limit"])
    );
}

#[actix_web::test]
async fn a_fingerprint_may_have_to_be_the_only_one_beyond_its_licence() {
    let shop = Shop::new().await;
    let rules = |uniqueness: &str| json!({ "machine_uniqueness": uniqueness, "max_machines": 5 });
    for (uniqueness, taken) in [
        ("per_license", false),
        ("per_policy", true),
        ("per_product", true),
        ("per_workspace", true),
    ] {
        let policy = shop.policy_as(&uniqueness.replace('_', "-"), rules(uniqueness)).await;
        let (one, other) = (
            shop.issue(&policy, json!({})).await,
            shop.issue(&policy, json!({})).await,
        );
        let fingerprint = format!("machine of {uniqueness}");
        shop.activate(&one, &fingerprint).await.created();
        let second = shop.activate(&other, &fingerprint).await;
        if taken {
            second.refused("fingerprint-taken");
            assert_eq!(shop.places(&other), (0, 0), "{uniqueness}");
        } else {
            second.created();
        }
    }
}

#[actix_web::test]
async fn bad_machines_are_told_everything() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 5 })).await;
    let with = |more: Value| {
        let mut body = json!({ "license_id": licence.id, "fingerprint": "a" });
        super::merge(&mut body, more);
        shop.owner.post("/licenses/activate", body)
    };
    for (more, pointer, code) in [
        (json!({ "fingerprint": " \n" }), "/fingerprint", "required"),
        (json!({ "fingerprint": "x".repeat(4_097) }), "/fingerprint", "too-long"),
        (json!({ "fingerprint": "a\u{0}" }), "/fingerprint", "invalid-characters"),
        (json!({ "fingerprint": 7 }), "/fingerprint", "wrong-type"),
        (json!({ "name": "a\u{0}b" }), "/name", "invalid-characters"),
        (json!({ "hostname": "x".repeat(256) }), "/hostname", "too-long"),
        (json!({ "cores": 0 }), "/cores", "too-small"),
        (json!({ "memory_mb": 1_073_741_825 }), "/memory_mb", "too-large"),
        (json!({ "colour": "red" }), "/colour", "unknown-field"),
        (json!({ "license_id": null }), "/license_id", "required"),
        (
            json!({ "license_id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz" }),
            "/license_id",
            "not-found",
        ),
    ] {
        with(more).await.invalid(pointer, code);
    }
    for fingerprint in ["\u{1}", "🖥️🖥️", "x".repeat(4_096).as_str()] {
        with(json!({ "fingerprint": fingerprint })).await.created();
    }
    assert_eq!(shop.places(&licence), (3, 3));
}

fn due(answer: &Value) -> DateTime<Utc> {
    let due = answer["due_at"].as_str().or(answer["heartbeat_due_at"].as_str());
    due.expect("a time").parse().expect("a time")
}

async fn watched(shop: &Shop, more: Value) -> (Licence, String) {
    let mut rules = json!({ "heartbeat": "required", "heartbeat_basis": "from_creation", "heartbeat_ttl_seconds": 600, "max_machines": 1 });
    super::merge(&mut rules, more);
    let licence = shop.licence(rules).await;
    let machine = shop.activate(&licence, "a").await.created().id();
    (licence, format!("/machines/{machine}/heartbeat"))
}

#[actix_web::test]
async fn a_machine_that_gives_no_sign_of_life_loses_its_place() {
    let shop = Shop::new().await;
    let (licence, beat) = watched(&shop, json!({})).await;
    let generation = |n: i32| json!({ "generation": n });
    shop.world.clock.advance(TimeDelta::minutes(9));
    let heard = shop.owner.post(&beat, generation(1)).await.ok();
    assert!(due(&heard.body) > shop.world.clock.now() + TimeDelta::minutes(9));
    // One that hardly moves the time writes nothing.
    shop.world.clock.advance(TimeDelta::seconds(10));
    assert_eq!(shop.owner.post(&beat, generation(1)).await.ok().body, heard.body);
    shop.owner.post(&beat, generation(2)).await.refused("lease-lost");
    shop.owner
        .post(&beat, json!({ "generation": 0 }))
        .await
        .invalid("/generation", "too-small");
    // Overdue by less than clocks differ is not overdue.
    shop.world.clock.advance(TimeDelta::seconds(610));
    assert_eq!(
        shop.verdict(&licence, json!({ "fingerprint": "a" })).await["code"],
        "valid"
    );
    shop.activate(&licence, "b").await.refused("machine-limit-reached");
    shop.world.clock.advance(TimeDelta::seconds(25));
    assert_eq!(
        shop.verdict(&licence, json!({ "fingerprint": "a" })).await["code"],
        "machine_dead"
    );
    // Whoever wants the place gets it, without waiting for anybody to tidy up.
    shop.activate(&licence, "b").await.created();
    shop.owner.post(&beat, generation(1)).await.refused("lease-lost");
    assert_eq!((shop.places(&licence), shop.events("machine.deactivated")), ((1, 1), 1));
}

#[actix_web::test]
async fn a_late_sign_of_life_ends_the_activation_and_a_new_one_begins_a_generation() {
    let shop = Shop::new().await;
    let (licence, beat) = watched(&shop, json!({})).await;
    shop.world.clock.advance(TimeDelta::minutes(11));
    // Activated again before anybody noticed: the same place, a new generation.
    let again = shop.activate(&licence, "a").await.ok();
    assert_eq!(
        (&again.body["generation"], &again.body["already_active"]),
        (&json!(2), &json!(true))
    );
    shop.owner
        .post(&beat, json!({ "generation": 1 }))
        .await
        .refused("lease-lost");
    shop.owner.post(&beat, json!({ "generation": 2 })).await.ok();
    shop.world.clock.advance(TimeDelta::minutes(11));
    shop.owner
        .post(&beat, json!({ "generation": 2 }))
        .await
        .refused("lease-lost");
    assert_eq!(shop.places(&licence), (0, 0));
    shop.activate(&licence, "b").await.created();
}

#[actix_web::test]
async fn what_is_kept_dead_keeps_its_place_and_may_come_back_in_time() {
    let shop = Shop::new().await;
    let kept = json!({ "heartbeat_cull": "keep_dead", "heartbeat_resurrection": "revive_5m" });
    let (licence, beat) = watched(&shop, kept).await;
    shop.world.clock.advance(TimeDelta::minutes(12));
    assert_eq!(
        shop.verdict(&licence, json!({ "fingerprint": "a" })).await["code"],
        "machine_dead"
    );
    shop.activate(&licence, "b").await.refused("machine-limit-reached");
    let back = shop.owner.post(&beat, json!({ "generation": 1 })).await.ok();
    assert_eq!(back.body["generation"], 2);
    assert_eq!(
        shop.verdict(&licence, json!({ "fingerprint": "a" })).await["code"],
        "valid"
    );
    assert_eq!(
        (shop.events("machine.dead"), shop.events("machine.resurrected")),
        (1, 1)
    );
    shop.world.clock.advance(TimeDelta::minutes(16));
    shop.owner
        .post(&beat, json!({ "generation": 2 }))
        .await
        .refused("lease-lost");
    assert_eq!(shop.places(&licence), (1, 1));
    // The dead keep their places no longer, and neither does this one.
    let machines = format!(
        "SELECT count(*) FROM machines WHERE license_id = '{}' AND state = 'dead'",
        licence.uuid()
    );
    assert_eq!(shop.world.count(&machines), 1);
    let policy = shop.show(&licence).await["policy_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/policies/{policy}?apply=existing");
    let culled = json!({ "heartbeat_cull": "deactivate_dead", "heartbeat_resurrection": "no_revive" });
    shop.owner.patch(&path, culled).await.ok();
    shop.activate(&licence, "b").await.created();
    assert_eq!(shop.places(&licence), (1, 1));
}

#[actix_web::test]
async fn without_heartbeats_a_sign_of_life_asks_for_no_other() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let machine = shop.activate(&licence, "a").await.created().id();
    let beat = format!("/machines/{machine}/heartbeat");
    assert_eq!(
        shop.owner.post(&beat, json!({ "generation": 1 })).await.ok().body,
        json!({ "due_at": null, "generation": 1 })
    );
    shop.world.clock.advance(TimeDelta::days(400));
    assert_eq!(
        shop.verdict(&licence, json!({ "fingerprint": "a" })).await["code"],
        "valid"
    );
}

#[actix_web::test]
async fn machines_that_fall_silent_are_ended_though_nobody_wants_their_place() {
    let shop = Shop::new().await;
    let (culled, beat) = watched(&shop, json!({})).await;
    let (kept, _) = watched(&shop, json!({ "heartbeat_cull": "keep_dead", "code": "kept" })).await;
    shop.world.run_jobs().await;
    shop.world.clock.advance(TimeDelta::minutes(9));
    shop.owner.post(&beat, json!({ "generation": 1 })).await.ok();
    shop.world.clock.advance(TimeDelta::minutes(7));
    shop.world.run_jobs().await;
    assert_eq!(
        (shop.events("machine.deactivated"), shop.events("machine.dead")),
        (0, 1)
    );
    shop.world.clock.advance(TimeDelta::minutes(16));
    shop.world.run_jobs().await;
    assert_eq!(
        (shop.events("machine.deactivated"), shop.events("machine.dead")),
        (1, 1)
    );
    assert_eq!((shop.places(&culled), shop.places(&kept)), ((0, 0), (1, 1)));
    let sweeps = format!(
        "SELECT count(*) FROM run_queue WHERE kind = 'machines.sweep' AND workspace_id = '{}'",
        shop.world.home().uuid()
    );
    assert_eq!(shop.world.count(&sweeps), 0, "nothing is left to look after");
}
