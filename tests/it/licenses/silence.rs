//! Machines that fall silent, though nobody wants their place: the sweep that ends them, and what does not keep it from the next.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Licence, Shop, heartbeats::watched};

/// How many sweeps of the home workspace wait, are due later, or are being done.
fn sweeps(shop: &Shop) -> i64 {
    jobs(shop, "machines.sweep")
}

fn jobs(shop: &Shop, kind: &str) -> i64 {
    let home = shop.world.home().uuid();
    shop.world.count(&format!(
        "SELECT count(*) FROM (SELECT workspace_id, kind FROM run_queue UNION ALL SELECT workspace_id, kind FROM run_timers \
         UNION ALL SELECT workspace_id, kind FROM run_leases) jobs WHERE kind = '{kind}' AND workspace_id = '{home}'"
    ))
}

/// How many machines the workspace has by what its plan was told last.
fn counted(shop: &Shop) -> i64 {
    let home = shop.world.home().uuid();
    shop.world.count(&format!(
        "SELECT used::bigint AS count FROM entitlement_counters WHERE code = 'machines' AND workspace_id = '{home}'"
    ))
}

/// The vendor changes the policy of a licence, for those to come alone or for all (`existing`).
async fn rules(shop: &Shop, licence: &Licence, apply: &str, change: Value) {
    let policy = licence.body["policy_id"].as_str().expect("an id");
    let path = format!("/policies/{policy}?apply={apply}");
    shop.owner.patch(&path, change).await.ok();
}

/// Time goes by, and the jobs that came due are done.
async fn after(shop: &Shop, time: TimeDelta) {
    shop.world.run_jobs().await;
    shop.world.clock.advance(time);
    shop.world.run_jobs().await;
}

/// Machines of a licence in this state.
fn machines(shop: &Shop, licence: &Licence, state: &str) -> i64 {
    let id = licence.uuid();
    shop.world.count(&format!(
        "SELECT count(*) FROM machines WHERE license_id = '{id}' AND state = '{state}'"
    ))
}

fn set_home(shop: &Shop, state: &str) {
    let home = shop.world.home().uuid();
    shop.world
        .admin(&format!("UPDATE guildhall.workspaces SET {state} WHERE id = '{home}'"));
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
    assert_eq!(sweeps(&shop), 0, "nothing is left to look after");
}

#[actix_web::test]
async fn who_falls_silent_is_found_in_time_whenever_it_began_to_be_watched() {
    let shop = Shop::new().await;
    let plain = shop.licence(json!({ "code": "plain" })).await;
    shop.activate(&plain, "a").await.created();
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!(sweeps(&shop), 0, "nobody is to give signs of life");

    watched(&shop, json!({ "code": "from-creation" })).await;
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.events("machine.deactivated"), sweeps(&shop)), (1, 0));

    // One is watched from its first sign of life on, long after it was activated.
    let (_, beat) = watched(
        &shop,
        json!({ "code": "first-ping", "heartbeat_basis": "from_first_ping" }),
    )
    .await;
    after(&shop, TimeDelta::hours(3)).await;
    assert_eq!((shop.events("machine.deactivated"), sweeps(&shop)), (1, 0));
    shop.owner.post(&beat, json!({ "generation": 1 })).await.ok();
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.events("machine.deactivated"), sweeps(&shop)), (2, 0));

    // One that was dead is activated again.
    let (kept, _) = watched(&shop, json!({ "code": "kept", "heartbeat_cull": "keep_dead" })).await;
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.events("machine.dead"), sweeps(&shop)), (1, 0));
    shop.activate(&kept, "a").await.ok();
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.events("machine.dead"), sweeps(&shop)), (2, 0));
    assert_eq!(shop.events("machine.resurrected"), 1);
}

#[actix_web::test]
async fn what_a_barred_vendor_has_is_looked_at_again_once_it_is_reinstated() {
    let shop = Shop::new().await;
    let (licence, _) = watched(&shop, json!({})).await;
    set_home(&shop, "state = 'suspended', suspend_reason = 'abuse'");
    for _ in 0..8 {
        after(&shop, TimeDelta::minutes(16)).await;
        assert_eq!((machines(&shop, &licence, "active"), sweeps(&shop)), (1, 1));
    }
    set_home(&shop, "state = 'active', suspend_reason = NULL");
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.places(&licence), sweeps(&shop)), ((0, 0), 0));
}

#[actix_web::test]
async fn a_licence_whose_machines_cannot_be_ended_keeps_nobody_elses() {
    let shop = Shop::new().await;
    let (broken, _) = watched(&shop, json!({ "code": "broken" })).await;
    shop.world.clock.advance(TimeDelta::seconds(1));
    let (sound, _) = watched(&shop, json!({ "code": "sound" })).await;
    assert!(broken.uuid() < sound.uuid(), "it is the first to be looked at");
    shop.world.admin(&format!(
        "DELETE FROM guildhall.license_counters WHERE license_id = '{}'",
        broken.uuid()
    ));
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.places(&sound), machines(&shop, &broken, "active")), ((0, 0), 1));
    assert_eq!(sweeps(&shop), 1, "there is something left to look after");
}

#[actix_web::test]
async fn a_sweep_that_was_given_up_is_tried_again_the_next_day() {
    let shop = Shop::new().await;
    let (licence, _) = watched(&shop, json!({})).await;
    shop.world.run_jobs().await;
    shop.world
        .admin("UPDATE guildhall.run_timers SET recoveries = 6 WHERE kind = 'machines.sweep'");
    after(&shop, TimeDelta::hours(1)).await;
    assert_eq!((machines(&shop, &licence, "active"), sweeps(&shop)), (1, 1));
    after(&shop, TimeDelta::days(1)).await;
    assert_eq!((shop.places(&licence), sweeps(&shop)), ((0, 0), 0));
}

#[actix_web::test]
async fn a_policy_that_asks_for_no_signs_of_life_any_more_waits_for_none() {
    let shop = Shop::new().await;
    let (licence, beat) = watched(&shop, json!({})).await;
    rules(&shop, &licence, "existing", json!({ "heartbeat": "none" })).await;
    shop.world.clock.advance(TimeDelta::minutes(12));
    let asked = json!({ "fingerprint": "a" });
    assert_eq!(shop.verdict(&licence, asked.clone()).await["code"], "valid");
    let heard = shop.owner.post(&beat, json!({ "generation": 1 })).await.ok();
    assert_eq!(heard.body, json!({ "due_at": null, "generation": 1 }));
    assert_eq!(shop.activate(&licence, "a").await.ok().body["generation"], 1);
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((machines(&shop, &licence, "active"), sweeps(&shop)), (1, 0));
    // Asked for again, they begin anew.
    rules(&shop, &licence, "existing", json!({ "heartbeat": "required" })).await;
    assert_eq!(shop.verdict(&licence, asked).await["code"], "heartbeat_not_started");
    shop.owner.post(&beat, json!({ "generation": 1 })).await.ok();
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.places(&licence), sweeps(&shop)), ((0, 0), 0));
}

/// What a policy says from now on whose licences kept the dead.
fn let_go() -> Value {
    json!({ "heartbeat_cull": "deactivate_dead" })
}

#[actix_web::test]
async fn the_dead_give_their_places_back_once_their_policy_keeps_them_no_longer() {
    let shop = Shop::new().await;
    let keep = |code: &str| json!({ "code": code, "heartbeat_cull": "keep_dead" });
    let (freed, _) = watched(&shop, keep("freed")).await;
    let (kept, _) = watched(&shop, keep("kept")).await;
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!(
        (machines(&shop, &freed, "dead"), machines(&shop, &kept, "dead")),
        (1, 1)
    );
    assert_eq!((counted(&shop), sweeps(&shop)), (2, 0), "nobody looks at them any more");

    rules(&shop, &freed, "existing", let_go()).await;
    // Those to come are to give their places up; this one has its own terms still.
    rules(&shop, &kept, "new", let_go()).await;
    after(&shop, TimeDelta::minutes(15)).await;
    assert_eq!((shop.places(&freed), shop.places(&kept)), ((0, 0), (1, 1)));
    assert_eq!((machines(&shop, &kept, "dead"), counted(&shop)), (1, 1));
    assert_eq!(
        (shop.events("machine.deactivated"), jobs(&shop, "machines.reap")),
        (1, 0)
    );

    // Its terms follow what the policy said before, with whatever else changes.
    rules(&shop, &kept, "existing", json!({ "max_machines": 2 })).await;
    after(&shop, TimeDelta::minutes(15)).await;
    assert_eq!((shop.places(&kept), counted(&shop)), ((0, 0), 0));
    assert_eq!(
        (shop.events("machine.deactivated"), jobs(&shop, "machines.reap")),
        (2, 0)
    );
}

#[actix_web::test]
async fn who_is_declared_dead_while_the_policy_is_changed_gives_its_place_back() {
    let shop = Shop::new().await;
    let (licence, _) = watched(&shop, json!({ "heartbeat_cull": "keep_dead" })).await;
    shop.world.run_jobs().await;
    // The sweep has read the old terms; the new ones are there before it has declared anybody dead, and whoever follows the change has gone.
    let _changed = shop.world.meanwhile(
        "CREATE FUNCTION guildhall.overtake() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           UPDATE guildhall.licenses SET terms = jsonb_set(terms, '{rules,heartbeat_cull}', '\"deactivate_dead\"') WHERE id = NEW.license_id;
           RETURN NEW; END $$;
         CREATE TRIGGER overtake BEFORE UPDATE ON guildhall.machines FOR EACH ROW WHEN (NEW.state = 'dead') EXECUTE FUNCTION guildhall.overtake()",
        "DROP TRIGGER overtake ON guildhall.machines; DROP FUNCTION guildhall.overtake",
    );
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!(
        (shop.events("machine.dead"), shop.events("machine.deactivated")),
        (1, 1)
    );
    after(&shop, TimeDelta::minutes(2)).await;
    assert_eq!((shop.places(&licence), counted(&shop)), ((0, 0), 0));
    assert_eq!((sweeps(&shop), jobs(&shop, "machines.reap")), (0, 0));
}

#[actix_web::test]
async fn the_dead_of_a_barred_vendor_give_their_places_back_once_it_is_reinstated() {
    let shop = Shop::new().await;
    let (licence, _) = watched(&shop, json!({ "heartbeat_cull": "keep_dead" })).await;
    after(&shop, TimeDelta::minutes(16)).await;
    rules(&shop, &licence, "existing", let_go()).await;
    set_home(&shop, "state = 'suspended', suspend_reason = 'abuse'");
    for _ in 0..8 {
        after(&shop, TimeDelta::minutes(16)).await;
        assert_eq!((shop.places(&licence), jobs(&shop, "machines.reap")), ((1, 1), 1));
    }
    set_home(&shop, "state = 'active', suspend_reason = NULL");
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.places(&licence), jobs(&shop, "machines.reap")), ((0, 0), 0));
}

#[actix_web::test]
async fn many_machines_that_fall_silent_at_once_are_ended_in_several_transactions() {
    let shop = Shop::new().await;
    let (culled, _) = watched(&shop, json!({ "code": "culled", "max_machines": null })).await;
    let keep = json!({ "code": "kept", "max_machines": null, "heartbeat_cull": "keep_dead" });
    let (kept, _) = watched(&shop, keep).await;
    // Many more of each, like the one that it has.
    for licence in [&culled, &kept] {
        let id = licence.uuid();
        shop.world.admin(&format!(
            "SET search_path = guildhall, public; SET app.reseller = 'none'; SET app.customer = 'none'; \
             INSERT INTO machines (workspace_id, id, license_id, fingerprint_hash, fingerprint_start, uniqueness_scope, heartbeat_due_at) \
             SELECT workspace_id, gen_random_uuid(), license_id, sha256(n::text::bytea), 'x', uniqueness_scope, heartbeat_due_at \
             FROM machines, generate_series(1, 500) n WHERE license_id = '{id}'; \
             UPDATE license_counters SET machines = 501 WHERE license_id = '{id}'"
        ));
    }
    after(&shop, TimeDelta::minutes(16)).await;
    assert_eq!((shop.places(&culled), shop.places(&kept)), ((0, 0), (501, 501)));
    assert_eq!(
        (shop.events("machine.deactivated"), shop.events("machine.dead")),
        (501, 501)
    );
    for licence in [&culled, &kept] {
        let id = licence.uuid();
        let transactions = format!("SELECT count(DISTINCT xmin::text) FROM machines WHERE license_id = '{id}'");
        assert_eq!(shop.world.count(&transactions), 2);
    }
}
