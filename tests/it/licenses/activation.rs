//! Machines: activated, known again, deactivated.

use serde_json::{Value, json};

use super::Shop;

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
    let short = ["limit", "used", "max"].map(|member| refused.body[member].clone());
    assert_eq!(short, [json!("machines"), json!(2), json!(2)]);
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
    for _ in 0..2 {
        let told = shop.owner.post("/licenses/activate", named.clone()).await.ok();
        assert_eq!(
            (&told.body["name"], &told.body["generation"]),
            (&json!("Ann's"), &json!(1))
        );
    }
    assert_eq!(shop.events("machine.updated"), 1, "its name was told, once");
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
    let tag = shop.owner.get(&path).await.ok().header("etag").to_owned();
    let stale = shop.owner.delete(&path).header("if-match", "\"0\"").await;
    stale.refused("version-mismatch");
    shop.owner.delete(&path).header("if-match", &tag).await.gone();
    shop.owner.delete(&path).await.refused("not-found");
    // Whoever did not hear the answer asks again as before.
    let again = shop.owner.delete(&path).header("if-match", &tag).await;
    again.refused("not-found");
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
    let refused = activate("b", 5, 100).await.refused("machine-limit-reached");
    let short = ["limit", "used", "max"].map(|member| refused.body[member].clone());
    assert_eq!(short, [json!("cores"), json!(12), json!(16)]);
    let refused = activate("c", 4, 901).await.refused("machine-limit-reached");
    assert_eq!(
        refused.body["detail"],
        "100 of 1000 MiB of memory are in use; 901 more would be needed."
    );
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
    let refused = shop.activate(&licence, "m5").await.refused("machine-limit-reached");
    assert_eq!(
        refused.body["detail"],
        "5 of 4 machines are in use; the overage ends at 5."
    );
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

#[actix_web::test]
async fn a_machine_that_grew_takes_as_much_more_of_the_limits_as_there_is() {
    let shop = Shop::new().await;
    let rules = json!({ "max_machines": 3, "max_cores": 6, "max_memory_mb": 1_000 });
    let licence = shop.licence(rules).await;
    let ask = |fingerprint: &str, more: Value| {
        let mut body = json!({ "license_id": licence.id, "fingerprint": fingerprint });
        super::merge(&mut body, more);
        shop.owner.post("/licenses/activate", body)
    };
    let made = ask("a", json!({ "cores": 2, "memory_mb": 400 })).await.created();
    ask("b", json!({ "cores": 1 })).await.created();
    let taken = |what: &str| {
        let id = licence.uuid();
        let counted = format!("SELECT {what}::bigint AS count FROM license_counters WHERE license_id = '{id}'");
        shop.world.count(&counted)
    };

    let more = json!({ "cores": 5, "memory_mb": 100, "disk_mb": 7, "external_id": "asset-1" });
    let grown = ask("a", more.clone()).await.ok();
    for (field, value) in more.as_object().into_iter().flatten() {
        assert_eq!(&grown.body[field], value, "{field}");
    }
    assert_eq!(
        (taken("machines"), taken("cores"), taken("memory_mb"), taken("disk_mb")),
        (2, 6, 100, 7)
    );
    assert_eq!(shop.events("machine.updated"), 1);
    let log = shop.owner.get("/audit-entries?action=machine.updated").await.ok();
    let changes = &log.body["data"][0]["changes"];
    assert_eq!(
        (&changes["cores"], &changes["external_id"]),
        (&json!([2, 5]), &json!("[changed]"))
    );
    // The same again, and what says nothing of it, change nothing.
    for same in [more, json!({})] {
        let same = ask("a", same).await.ok();
        assert_eq!(same.body["version"], grown.body["version"]);
    }
    // More than there is takes nothing at all, whoever asks.
    for (fingerprint, more) in [
        ("a", json!({ "cores": 6, "memory_mb": 50 })),
        ("b", json!({ "cores": 2, "name": "Larger" })),
    ] {
        let refused = ask(fingerprint, more).await.refused("machine-limit-reached");
        assert_eq!(
            refused.body["detail"],
            "6 of 6 cores are in use; 1 more would be needed."
        );
    }
    let software = shop.software(&licence.key);
    let body = json!({ "fingerprint": "b", "cores": 2 });
    software
        .post("/licenses/activate", body)
        .await
        .refused("machine-limit-reached");
    assert_eq!((taken("cores"), taken("memory_mb")), (6, 100));
    // What shrinks leaves room, and what goes gives back what it had last.
    ask("a", json!({ "cores": 3 })).await.ok();
    ask("b", json!({ "cores": 3 })).await.ok();
    shop.owner.delete(&format!("/machines/{}", made.id())).await.gone();
    assert_eq!(
        (taken("machines"), taken("cores"), taken("memory_mb"), taken("disk_mb")),
        (1, 3, 0, 0)
    );
}
