//! Looking at a chain while it goes on: keys are withdrawn, and retention removes what is old.

use diesel::connection::SimpleConnection;
use guildhall::kernel::audit::Fault;

use super::{chain::verify, rename, rows, seal};
use crate::world::{World, patience::until};

/// Withdraws the key that signed the last head, and names it.
async fn withdraw(world: &World) -> String {
    let page = world.owner().get("/audit-checkpoints").await.ok();
    let kid = rows(&page)[0]["kid"].as_str().expect("text").to_owned();
    world
        .deployment
        .keys
        .revoke(kid.clone())
        .await
        .expect("it was withdrawn");
    kid
}

#[actix_web::test]
async fn heads_of_a_withdrawn_key_vouch_for_nothing_and_hide_nothing() {
    let world = World::new().await;
    let owner = world.owner();
    for n in 1..=3 {
        rename(&owner, &format!("Name {n}")).await;
    }
    seal(&world).await;
    let kid = withdraw(&world).await;
    rename(&owner, "Later").await;
    seal(&world).await;
    let held = verify(&world, world.home()).await;
    assert_eq!(
        (held.places, held.checkpoints, held.withdrawn, held.broken),
        (4, 1, 1, None),
        "another key signs at once"
    );
    let keys = world.anonymous().get("/.well-known/audit-keys.json").await.ok();
    assert!(!keys.text.contains(&kid), "it is listed no more");

    let home = world.home().uuid();
    let fourth = format!(
        "UPDATE guildhall.audit_log SET occurrences = occurrences {} WHERE id =
         (SELECT entry_id FROM guildhall.audit_seals WHERE workspace_id = '{home}' AND seq = 4)",
        "+ 1"
    );
    world.admin(&fourth);
    let broken = verify(&world, world.home()).await.broken.expect("it was altered");
    assert_eq!((broken.seq, broken.fault), (4, Fault::Altered));
    world.admin(&fourth.replace("+ 1", "- 1"));

    // The other key vouches for where retention cut, too.
    let before = world.clock.now().to_rfc3339();
    world.clock.advance(chrono::Duration::hours(2));
    rename(&owner, "Latest").await;
    seal(&world).await;
    let pruned = format!("SELECT guildhall.audit_prune('{home}', '{before}', 3)::bigint AS count");
    assert_eq!(world.count(&pruned), 3);
    let held = verify(&world, world.home()).await;
    assert_eq!(
        (held.places, held.checkpoints, held.withdrawn, held.broken),
        (3, 2, 1, None)
    );
}

#[actix_web::test]
async fn a_log_that_is_pruned_under_way_is_no_broken_one() {
    let world = World::new().await;
    let home = world.home().uuid();
    let now = world.clock.now().to_rfc3339();
    // More than are looked at together.
    world.admin(&format!(
        "WITH made AS (INSERT INTO guildhall.audit_log (workspace_id, id, action, actor_type, actor_id)
           SELECT '{home}', guildhall.uuid_at('{now}'::timestamptz - n * interval '1 second'), 'agent.created', 'system', NULL
             FROM generate_series(1, 1100) n RETURNING id)
         INSERT INTO guildhall.audit_pending (workspace_id, entry_id) SELECT '{home}', id FROM made"
    ));
    seal(&world).await;
    world.clock.advance(chrono::Duration::hours(2));
    seal(&world).await;
    rename(&world.owner(), "Later").await;
    seal(&world).await;

    let _held_up = world.meanwhile(
        "CREATE FUNCTION guildhall.hold_up(seq bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
           IF seq = 500 THEN PERFORM pg_advisory_xact_lock_shared(500); END IF; RETURN true; END $$;
         CREATE POLICY hold_up ON guildhall.audit_seals AS RESTRICTIVE FOR SELECT TO app_tenant USING (guildhall.hold_up(seq))",
        "DROP POLICY hold_up ON guildhall.audit_seals; DROP FUNCTION guildhall.hold_up(bigint)",
    );
    let mut retention = world.superuser();
    retention
        .batch_execute("SELECT pg_advisory_lock(500)")
        .expect("nobody has it");
    let pruning = async {
        until("the first thousand are being looked at", async || {
            world
                .count("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND usename = 'app_tenant'")
                > 0
        })
        .await;
        retention
            .batch_execute(&format!(
                "SELECT guildhall.audit_prune('{home}', '{now}', 2000); SELECT pg_advisory_unlock(500)"
            ))
            .expect("pruned");
    };
    let (held, ()) = futures_util::join!(verify(&world, world.home()), pruning);
    assert_eq!((held.places, held.broken), (2, None));
}
