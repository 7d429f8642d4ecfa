//! The chain that seals the entries: every entry once, and whatever is done to the rows is found.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use guildhall::{
    app::worker,
    kernel::{
        audit::{self, Fault, Verdict},
        id::WorkspaceId,
    },
};
use serde_json::Value;

use super::{column, rename, rows, seal};
use crate::{identity::together, world::World};

pub(super) async fn verify(world: &World, workspace: WorkspaceId) -> Verdict {
    let (db, keys) = (&world.deployment.db, &world.deployment.keys);
    audit::verify(db, keys, workspace).await.expect("a verdict")
}

#[actix_web::test]
async fn two_workers_seal_every_entry_once_in_order_and_without_a_gap() {
    let world = World::new().await;
    let (owner, stranger) = (world.owner(), world.stranger());
    for batch in 0..3 {
        together((0..8).map(|n| {
            let owner = owner.clone();
            async move { rename(&owner, &format!("Name {batch} {n}")).await }
        }))
        .await;
        rename(&stranger, &format!("Other {batch}")).await;
        let workers = [(); 2].map(|()| worker::runner(&world.deployment));
        together([(); 3].map(|()| audit::sweep(world.deployment.db.clone()))).await;
        for _ in 0..3 {
            let turns = together(workers.iter().map(|worker| worker.turn())).await;
            assert!(turns.iter().all(Result::is_ok), "{turns:?}");
        }
    }
    seal(&world).await;
    seal(&world).await;
    for (workspace, entries) in [(world.home(), 24), (world.elsewhere(), 3)] {
        let verdict = verify(&world, workspace).await;
        assert_eq!((verdict.places, verdict.broken), (entries, None));
        let id = workspace.uuid();
        let count = |what: &str| {
            world.count(&format!(
                "SELECT {what} FROM guildhall.audit_seals WHERE workspace_id = '{id}'"
            ))
        };
        assert_eq!((count("count(*)"), count("max(seq) AS count")), (entries, entries));
        let waiting = format!("SELECT count(*) FROM guildhall.audit_pending WHERE workspace_id = '{id}'");
        assert_eq!(world.count(&waiting), 0);
    }
    let log = owner.get("/audit-entries?order=created_at&limit=100").await.ok();
    let places: Vec<i64> = rows(&log)
        .iter()
        .filter_map(|row| row["seal"]["seq"].as_i64())
        .collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!((places.len(), sorted.first(), sorted.last()), (24, Some(&1), Some(&24)));
    assert_eq!(rows(&log)[0]["seal"]["hash"].as_str().map(str::len), Some(64));
}

#[actix_web::test]
async fn heads_are_signed_at_first_and_then_hourly() {
    let world = World::new().await;
    let owner = world.owner();
    let heads = async || {
        seal(&world).await;
        let page = owner.get("/audit-checkpoints?order=created_at").await.ok();
        rows(&page)
            .iter()
            .filter_map(|row| row["seq"].as_i64())
            .collect::<Vec<_>>()
    };
    rename(&owner, "One").await;
    assert_eq!(heads().await, [1]);
    rename(&owner, "Two").await;
    rename(&owner, "Three").await;
    assert_eq!(heads().await, [1]);
    // Nobody writes any more: it is signed all the same.
    world.clock.advance(chrono::Duration::minutes(61));
    assert_eq!(heads().await, [1, 3]);
    world.clock.advance(chrono::Duration::minutes(61));
    assert_eq!(heads().await, [1, 3]);
    let verdict = verify(&world, world.home()).await;
    assert_eq!((verdict.places, verdict.checkpoints, verdict.broken), (3, 2, None));
}

#[actix_web::test]
async fn anybody_can_see_that_a_head_was_signed_here() {
    let world = World::new().await;
    let owner = world.owner();
    rename(&owner, "One").await;
    seal(&world).await;
    let page = owner.get("/audit-checkpoints").await.ok();
    let head = &rows(&page)[0];
    let keys = world.anonymous().get("/.well-known/audit-keys.json").await.ok();
    assert_eq!(keys.header("cache-control"), "public, max-age=600");
    let listed = keys.body["keys"].as_array().expect("keys");
    let key = listed.iter().find(|key| key["kid"] == head["kid"]).expect("the key");
    let read = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().expect("text")).expect("base64url");
    let statement = |seq: i64| {
        let (workspace, hash) = (world.home(), head["hash"].as_str().expect("text"));
        format!("guildhall-audit-checkpoint-v1\n{workspace}\n{seq}\n{hash}")
    };
    let signed = |seq: i64| {
        let key = UnparsedPublicKey::new(&ED25519, read(&key["x"]));
        key.verify(statement(seq).as_bytes(), &read(&head["signature"])).is_ok()
    };
    assert!(signed(1) && !signed(2));
    let tokens = world.anonymous().get("/.well-known/jwks.json").await.ok();
    assert!(
        !tokens.text.contains(head["kid"].as_str().expect("text")),
        "it signs no tokens"
    );
}

#[actix_web::test]
async fn whatever_is_done_to_the_rows_is_found_at_its_place() {
    let world = World::new().await;
    let owner = world.owner();
    for n in 1..=6 {
        rename(&owner, &format!("Name {n}")).await;
        seal(&world).await;
    }
    let home = world.home().uuid();
    let at = |seq: i64| {
        format!("(SELECT entry_id FROM guildhall.audit_seals WHERE workspace_id = '{home}' AND seq = {seq})")
    };
    let mine = format!("workspace_id = '{home}'");
    let log = "UPDATE guildhall.audit_log SET";
    let kept = "CREATE TABLE IF NOT EXISTS guildhall.kept_log AS SELECT * FROM guildhall.audit_log; \
                CREATE TABLE IF NOT EXISTS guildhall.kept_seals AS SELECT * FROM guildhall.audit_seals; \
                CREATE TABLE IF NOT EXISTS guildhall.kept_personal AS SELECT * FROM guildhall.audit_personal; \
                CREATE TABLE IF NOT EXISTS guildhall.kept_heads AS SELECT * FROM guildhall.audit_checkpoints";
    let back = format!(
        "DELETE FROM guildhall.audit_log WHERE {mine}; INSERT INTO guildhall.audit_log SELECT * FROM guildhall.kept_log WHERE {mine}; \
         DELETE FROM guildhall.audit_seals WHERE {mine}; INSERT INTO guildhall.audit_seals SELECT * FROM guildhall.kept_seals WHERE {mine}; \
         DELETE FROM guildhall.audit_personal WHERE {mine}; INSERT INTO guildhall.audit_personal SELECT * FROM guildhall.kept_personal WHERE {mine}; \
         DELETE FROM guildhall.audit_checkpoints WHERE {mine}; INSERT INTO guildhall.audit_checkpoints SELECT * FROM guildhall.kept_heads WHERE {mine}"
    );
    world.admin(kept);
    for (what, expected) in [
        (
            format!("{log} changes = '{{}}' WHERE {mine} AND id = {}", at(3)),
            Some((3, Fault::Altered)),
        ),
        (
            format!("{log} actor_id = NULL WHERE {mine} AND id = {}", at(1)),
            Some((1, Fault::Altered)),
        ),
        (
            format!(
                "{log} created_at = created_at + interval '1 microsecond' WHERE {mine} AND id = {}",
                at(6)
            ),
            Some((6, Fault::Altered)),
        ),
        (
            format!("DELETE FROM guildhall.audit_log WHERE {mine} AND id = {}", at(4)),
            Some((4, Fault::Missing)),
        ),
        (
            format!("DELETE FROM guildhall.audit_seals WHERE {mine} AND seq = 2"),
            Some((2, Fault::Gap)),
        ),
        (
            format!("DELETE FROM guildhall.audit_seals WHERE {mine} AND seq = 6"),
            Some((6, Fault::Unsealed)),
        ),
        (
            format!(
                "DELETE FROM guildhall.audit_log WHERE {mine} AND id = {}; DELETE FROM guildhall.audit_seals WHERE {mine} AND seq <= 6",
                at(1)
            ),
            Some((1, Fault::Truncated)),
        ),
        (
            format!(
                "UPDATE guildhall.audit_seals SET seq = -seq WHERE {mine} AND seq IN (3, 4); \
                     UPDATE guildhall.audit_seals SET seq = 7 + seq WHERE {mine} AND seq < 0"
            ),
            Some((3, Fault::Altered)),
        ),
        (
            format!(
                "UPDATE guildhall.audit_seals SET hash = set_byte(hash, 31, get_byte(hash, 31) # 1) WHERE {mine} AND seq = 5"
            ),
            Some((5, Fault::Altered)),
        ),
        (
            format!(
                "UPDATE guildhall.audit_personal SET ip = '198.51.100.1' WHERE {mine} AND entry_id = {}",
                at(2)
            ),
            Some((2, Fault::PersonalAltered)),
        ),
        (
            format!(
                "UPDATE guildhall.audit_checkpoints SET signature = set_byte(signature, 0, get_byte(signature, 0) # 1) WHERE {mine}"
            ),
            Some((1, Fault::CheckpointWrong)),
        ),
        (
            format!(
                "INSERT INTO guildhall.audit_log (workspace_id, id, action, actor_type, actor_id) VALUES ('{home}', gen_random_uuid(), 'agent.created', 'system', NULL)"
            ),
            Some((7, Fault::Unsealed)),
        ),
        // A person who is erased leaves the chain whole.
        (format!("DELETE FROM guildhall.audit_personal WHERE {mine}"), None),
    ] {
        world.admin(&what);
        let broken = verify(&world, world.home()).await.broken;
        assert_eq!(broken.map(|broken| (broken.seq, broken.fault)), expected, "{what}");
        world.admin(&back);
        assert_eq!(verify(&world, world.home()).await.broken, None, "after {what}");
    }
    world.admin("DROP TABLE guildhall.kept_log, guildhall.kept_seals, guildhall.kept_personal, guildhall.kept_heads");
}

#[actix_web::test]
async fn what_is_pruned_behind_a_signed_head_leaves_a_chain_that_holds() {
    let world = World::new().await;
    let owner = world.owner();
    for n in 1..=3 {
        rename(&owner, &format!("Name {n}")).await;
    }
    seal(&world).await;
    world.clock.advance(chrono::Duration::hours(2));
    rename(&owner, "Later").await;
    seal(&world).await;
    let prune = |batch: i32| {
        let (home, before) = (world.home().uuid(), world.clock.now() - chrono::Duration::hours(1));
        let before = before.to_rfc3339();
        world.count(&format!(
            "SELECT guildhall.audit_prune('{home}', '{before}', {batch})::bigint AS count"
        ))
    };
    assert_eq!(prune(100), 3);
    assert_eq!(
        column(&owner.get("/audit-entries").await.ok(), "/changes/name/1"),
        ["Later"]
    );
    let verdict = verify(&world, world.home()).await;
    assert_eq!((verdict.places, verdict.broken), (2, None));
    assert_eq!(prune(100), 0, "nothing else is old enough");

    // Again, and in the smallest steps.
    for n in 1..=3 {
        world.clock.advance(chrono::Duration::hours(2));
        rename(&owner, &format!("Latest {n}")).await;
        seal(&world).await;
    }
    for _ in 0..3 {
        assert_eq!(prune(1), 1);
        assert_eq!(verify(&world, world.home()).await.broken, None);
    }
    assert_eq!(prune(1), 0);
    assert_eq!(verify(&world, world.home()).await.places, 2);
}

#[actix_web::test]
async fn what_is_older_than_the_plan_keeps_is_removed_once_a_day() {
    let world = World::new().await;
    world.admin("DELETE FROM guildhall.run_timers WHERE kind = 'audit.prune'");
    let (owner, stranger) = (world.owner(), world.stranger());
    rename(&owner, "Old").await;
    rename(&stranger, "Unpaid").await;
    seal(&world).await;
    let prune = async || {
        audit::retention(world.deployment.db.clone()).await.unwrap();
        world.run_jobs().await;
    };
    let kept = |workspace: WorkspaceId| {
        let whose = workspace.uuid();
        world.count(&format!(
            "SELECT count(*) FROM audit_log WHERE workspace_id = '{whose}'"
        ))
    };
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET entitlements = jsonb_set(entitlements, '{{audit_days}}', '3'), audit_days = 3
         WHERE workspace_id IN ('{home}', '{elsewhere}');
         UPDATE guildhall.workspace_plans SET access = 'read_only' WHERE workspace_id = '{elsewhere}'",
        home = world.home().uuid(),
        elsewhere = world.elsewhere().uuid()
    ));
    world.clock.advance(chrono::Duration::days(2));
    prune().await;
    assert_eq!(kept(world.home()), 1);
    world.clock.advance(chrono::Duration::days(2));
    rename(&owner, "New").await;
    seal(&world).await;
    prune().await;
    assert_eq!(
        column(&owner.get("/audit-entries").await.ok(), "/changes/name/1"),
        ["New"]
    );
    assert_eq!(verify(&world, world.home()).await.broken, None);
    assert_eq!(kept(world.elsewhere()), 1, "nothing is taken away from who owes");
}

#[actix_web::test]
async fn a_smaller_plan_takes_nothing_of_the_log_away_before_a_season_is_over() {
    let world = World::new().await;
    world.admin("DELETE FROM guildhall.run_timers WHERE kind = 'audit.prune'");
    rename(&world.owner(), "Old").await;
    seal(&world).await;
    let home = world.home().uuid();
    let plan_keeps = async |days: &str| {
        world.admin(&format!(
            "UPDATE guildhall.workspace_plans SET entitlements = jsonb_set(entitlements, '{{audit_days}}', '{days}')
             WHERE workspace_id = '{home}'"
        ));
        audit::retention(world.deployment.db.clone()).await.unwrap();
        world.run_jobs().await;
        world.count(&format!("SELECT count(*) FROM audit_log WHERE workspace_id = '{home}'"))
    };
    let later = |days| world.clock.advance(chrono::Duration::days(days));
    assert_eq!(plan_keeps("2555").await, 1);
    later(200);
    assert_eq!(plan_keeps("2555").await, 1);
    later(1);
    assert_eq!(plan_keeps("90").await, 1, "a day after the downgrade");
    later(88);
    assert_eq!(plan_keeps("90").await, 1);
    // Who is on the larger plan again has all of it again, and another season if that ends.
    later(1);
    assert_eq!(plan_keeps("2555").await, 1);
    later(1);
    assert_eq!(plan_keeps("90").await, 1);
    later(50);
    assert_eq!(plan_keeps("1").await, 1, "a smaller one yet");
    later(39);
    assert_eq!(plan_keeps("1").await, 1);
    later(1);
    assert_eq!(
        plan_keeps("1").await,
        0,
        "older than the first of the smaller plans kept"
    );
}

#[actix_web::test]
async fn a_payment_that_was_late_keeps_nothing_for_another_season() {
    let world = World::new().await;
    world.admin("DELETE FROM guildhall.run_timers WHERE kind = 'audit.prune'");
    rename(&world.owner(), "Old").await;
    seal(&world).await;
    let home = world.home().uuid();
    let kept = async |access: &str| {
        world.admin(&format!(
            "UPDATE guildhall.workspace_plans SET access = '{access}' WHERE workspace_id = '{home}'"
        ));
        audit::retention(world.deployment.db.clone()).await.unwrap();
        world.run_jobs().await;
        world.count(&format!("SELECT count(*) FROM audit_log WHERE workspace_id = '{home}'"))
    };
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET entitlements = jsonb_set(entitlements, '{{audit_days}}', '3'), audit_days = 3
         WHERE workspace_id = '{home}'"
    ));
    world.clock.advance(chrono::Duration::days(2));
    assert_eq!(kept("full").await, 1);
    world.clock.advance(chrono::Duration::days(2));
    assert_eq!(kept("read_only").await, 1, "nothing is taken away from who owes");
    world.clock.advance(chrono::Duration::days(1));
    assert_eq!(kept("full").await, 0, "who has paid is where they were");
}
