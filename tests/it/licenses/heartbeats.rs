//! Signs of life: who gives none in time loses its place to whoever wants it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Licence, Shop};

fn due(answer: &Value) -> DateTime<Utc> {
    let due = answer["due_at"].as_str().or(answer["heartbeat_due_at"].as_str());
    due.expect("a time").parse().expect("a time")
}

/// A licence of a policy that asks for signs of life, with one machine, and where the machine gives them.
pub(super) async fn watched(shop: &Shop, more: Value) -> (Licence, String) {
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
