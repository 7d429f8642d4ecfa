//! Much at once: many endpoints, many events, much that waits.

use futures_util::join;
use guildhall::app::worker;
use serde_json::json;

use super::{Receiver, deliveries, relay, unmatched};
use crate::world::{Caller, World, until};

/// Makes so many more endpoints that want everything.
pub(super) fn more_endpoints(world: &World, url: &str, n: usize) {
    let home = world.home().uuid();
    world.admin(&format!(
        "INSERT INTO guildhall.webhook_endpoints (workspace_id, id, reseller_id, url, events, events_hash, filter_hash, api_version,
                                                  created_by_type, created_by_id)
         SELECT '{home}', gen_random_uuid(), NULL, '{url}', '{{*}}', '', '', '2026-11-01', 'system', NULL FROM generate_series(1, {n});
         INSERT INTO guildhall.webhook_pumps (workspace_id, endpoint_id, reseller_id)
         SELECT workspace_id, id, NULL FROM guildhall.webhook_endpoints e WHERE workspace_id = '{home}'
            AND NOT EXISTS (SELECT FROM guildhall.webhook_pumps p WHERE p.endpoint_id = e.id)"
    ));
}

/// Copies of the one event that waits to be matched, so that there are `n`.
pub(super) fn more_events(world: &World, n: usize) {
    let home = world.home().uuid();
    world.admin(&format!(
        "INSERT INTO guildhall.outbox (workspace_id, id, type, api_version, actor_type, actor_id, subject_id, data, created_at)
         SELECT workspace_id, (left(id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, type, api_version, actor_type, actor_id, subject_id,
                data, created_at
           FROM guildhall.outbox o, generate_series(1, {n} - 1) n
          WHERE workspace_id = '{home}' AND EXISTS (SELECT FROM guildhall.outbox_queue q WHERE q.event_id = o.id);
         INSERT INTO guildhall.outbox_queue (workspace_id, event_id)
         SELECT workspace_id, id FROM guildhall.outbox o WHERE workspace_id = '{home}' AND type = 'workspace.updated'
         ON CONFLICT DO NOTHING"
    ));
}

/// Gives an endpoint so many deliveries of one event that wait, due after so many seconds.
pub(super) fn more_deliveries(world: &World, n: usize, seconds: i64) {
    let home = world.home().uuid();
    world.admin(&format!(
        "INSERT INTO guildhall.webhook_deliveries (workspace_id, id, reseller_id, endpoint_id, event_id, event_type, next_attempt_at,
                                                   created_at)
         SELECT e.workspace_id, (left(o.id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, NULL, e.id, o.id, o.type,
                o.created_at + interval '{seconds} s', o.created_at
           FROM guildhall.webhook_endpoints e, guildhall.outbox o, generate_series(1, {n}) n
          WHERE e.workspace_id = '{home}' AND o.workspace_id = '{home}' AND o.type = 'workspace.updated'"
    ));
}

#[actix_web::test]
async fn a_batch_of_events_for_many_endpoints_is_matched_whole() {
    let (world, receiver) = (World::new().await, Receiver::new());
    world.run_jobs().await;
    more_endpoints(&world, &receiver.url, 25);
    let owner = world.owner();
    owner.patch("/workspace", json!({ "name": "Many" })).await.ok();
    more_events(&world, 500);
    assert_eq!(unmatched(&world), 500);
    let relay = relay(&world);
    while relay.turn().await.expect("a turn") > 0 {}
    assert_eq!((unmatched(&world), deliveries(&world, "true")), (0, 12_500));
    // Nor has the next world in this database to send them.
    world.admin("TRUNCATE guildhall.webhook_deliveries");
}

/// What the tables of deliveries were read, in rows and index entries, by connections that have ended.
fn read(world: &World) -> i64 {
    world.admin(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'app\\_%'",
    );
    world.count(
        "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint AS count FROM pg_stat_user_tables WHERE relname LIKE 'webhook_deliveries%'",
    ) + world.count(
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint AS count FROM pg_stat_user_indexes WHERE relname LIKE 'webhook_deliveries%'",
    )
}

/// Uses connections until none is left that was ended.
async fn reconnect(world: &World, caller: &Caller) {
    let runner = worker::runner(&world.deployment);
    let mut sound = 0;
    while sound < 5 {
        let answered = caller.get("/webhook-endpoints").await.status == 200;
        let worked = runner.turn().await.is_ok();
        sound = if answered && worked { sound + 1 } else { 0 };
    }
}

#[actix_web::test]
async fn what_waits_until_tomorrow_costs_nothing_today() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    owner.patch("/workspace", json!({ "name": "Old" })).await.ok();
    world.run_jobs().await;
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    owner.post("/webhook-endpoints", wish).await.created();
    more_deliveries(&world, 40_000, 86_400);
    world.admin("ANALYZE guildhall.webhook_deliveries");
    let before = read(&world);
    reconnect(&world, &owner).await;
    for name in ["One", "Two"] {
        owner.patch("/workspace", json!({ "name": name })).await.ok();
        world.run_jobs().await;
    }
    assert_eq!(receiver.names(), ["One", "Two"]);
    let rows = read(&world) - before;
    assert!(rows < 1_000, "two deliveries read {rows} rows");
    // The next world in this database may well live tomorrow.
    world.admin("TRUNCATE guildhall.webhook_deliveries");
}

/// Has a change of a delivery take as long as on a machine that has much else to do.
fn slow_writes(world: &World) {
    world.admin(
        "CREATE FUNCTION guildhall.slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.0005); RETURN NEW; END';
         CREATE TRIGGER slowly BEFORE UPDATE ON guildhall.webhook_deliveries FOR EACH ROW EXECUTE FUNCTION guildhall.slowly();
         GRANT EXECUTE ON FUNCTION guildhall.slowly() TO app_tenant",
    );
}

#[actix_web::test]
async fn an_endpoint_with_a_long_backlog_can_be_disabled_recovered_and_deleted() {
    const BACKLOG: usize = 4_000;
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    owner.patch("/workspace", json!({ "name": "Old" })).await.ok();
    world.run_jobs().await;
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"] });
    let path = owner.post("/webhook-endpoints", wish).await.created().path();
    more_deliveries(&world, BACKLOG, 86_400);
    slow_writes(&world);
    let backlog = BACKLOG as i64;

    // Switched off and on again before anybody has seen to what waits.
    owner.post(&format!("{path}/disable"), json!({})).await.ok();
    owner.post(&format!("{path}/enable"), json!({})).await.ok();
    owner.patch("/workspace", json!({ "name": "New" })).await.ok();
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["New"]);
    assert_eq!(deliveries(&world, "state = 'skipped'"), backlog);

    let since = world.clock.now() - chrono::Duration::hours(1);
    owner
        .post(&format!("{path}/enable"), json!({ "recover_since": since }))
        .await
        .ok();
    // What is sent of it is not the matter here.
    receiver.hold();
    world.admin("UPDATE guildhall.webhook_endpoints SET max_in_flight = 1, rate_per_s = 1");
    let runner = worker::runner(&world.deployment);
    let sending = async {
        while runner.turn().await.expect("a turn") > 0 && deliveries(&world, "state = 'skipped'") > 0 {}
        receiver.release();
    };
    let releasing = until("all are open again", || {
        let open = deliveries(&world, "finished_at IS NULL") == backlog;
        if open {
            receiver.release();
        }
        open
    });
    join!(sending, releasing);

    owner.delete(&path).await.gone();
    world.run_jobs().await;
    assert_eq!(deliveries(&world, "finished_at IS NULL"), 0);
    assert!(deliveries(&world, "state = 'cancelled'") >= backlog - 10);
    world.admin("DROP FUNCTION guildhall.slowly() CASCADE");
}
