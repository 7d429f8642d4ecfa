//! What happens to an endpoint while a receiver has one of its calls.

use diesel::connection::SimpleConnection;
use futures_util::join;
use guildhall::app::worker;
use serde_json::{Value, json};

use super::{
    Receiver,
    backlog::{more_endpoints, more_events},
    deliveries, relay,
};
use crate::world::{Caller, Process, World, until};

/// An endpoint for every change of the workspace's name. Answers its path and its secret.
async fn endpoint(world: &World, receiver: &Receiver) -> (String, String) {
    world.run_jobs().await;
    let wish = json!({ "url": receiver.url, "events": ["workspace.updated"], "max_in_flight": 1 });
    let made = world.owner().post("/webhook-endpoints", wish).await.created();
    (made.path(), made.text_at("/secret"))
}

async fn rename(owner: &Caller, name: &str) {
    owner.patch("/workspace", json!({ "name": name })).await.ok();
}

/// The deliveries of changes of the name with their attempts, oldest first.
async fn log(owner: &Caller) -> Vec<Value> {
    let list = "/webhook-deliveries?event_type=workspace.updated&order=created_at";
    let list = owner.get(list).await.ok();
    let mut all = Vec::new();
    for delivery in list.body["data"].as_array().expect("a list") {
        let id = delivery["id"].as_str().expect("an id");
        all.push(owner.get(&format!("/webhook-deliveries/{id}")).await.ok().body);
    }
    all
}

/// What attempts were answered with.
fn answers(delivery: &Value) -> Vec<i64> {
    let attempts = delivery["attempts_log"].as_array().expect("a list");
    attempts
        .iter()
        .map(|one| one["http_status"].as_i64().unwrap_or(0))
        .collect()
}

/// Has a call made, something else done while the receiver has it, and the answer come.
async fn meanwhile(world: &World, receiver: &Receiver, done: impl AsyncFnOnce()) {
    receiver.hold();
    let sender = worker::runner(&world.deployment);
    let before = receiver.got().len();
    let doing = async {
        until("the receiver has the call", || receiver.got().len() == before + 1).await;
        done().await;
        receiver.release();
    };
    join!(async { sender.turn().await.expect("a turn") }, doing);
}

#[actix_web::test]
async fn a_change_or_a_new_secret_meanwhile_makes_no_second_copy() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let (path, old) = endpoint(&world, &receiver).await;
    let owner = world.owner();
    rename(&owner, "One").await;
    let mut new = String::new();
    meanwhile(&world, &receiver, async || {
        owner.patch(&path, json!({ "description": "Changed" })).await.ok();
        let rotate = format!("{path}/secret/rotate");
        let rotated = owner.post(&rotate, json!({ "grace_seconds": 0 })).await.ok();
        new = rotated.text_at("/secret");
    })
    .await;
    world.run_jobs().await;
    rename(&owner, "Two").await;
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["One", "Two"]);
    let signed = |place: usize, secret: &str| super::verifies(&receiver.got()[place], secret);
    assert!(signed(0, &old) && !signed(0, &new) && signed(1, &new) && !signed(1, &old));
    let log = log(&owner).await;
    assert_eq!((answers(&log[0]), answers(&log[1])), (vec![204], vec![204]));
}

/// Lets what became of the call that the receiver holds be refused once, by a lock that somebody else has.
async fn refused_once(world: &World, receiver: &Receiver, lock: &str) {
    let waits = || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = current_database() AND usename = 'app_tenant' AND wait_event_type = 'Lock'";
        world.count(waiting) > 0
    };
    until("the receiver has the call", || receiver.got().len() == 1).await;
    let mut other = world.superuser();
    other.batch_execute(&format!("BEGIN; {lock}")).expect("the lock");
    receiver.release();
    until("the record waits", waits).await;
    until("it was refused", || !waits()).await;
    other.batch_execute("ROLLBACK").expect("given back");
}

#[actix_web::test]
async fn what_arrived_is_written_down_when_the_database_has_no_time_at_first() {
    let (world, receiver) = (World::new().await, Receiver::new());
    endpoint(&world, &receiver).await;
    let owner = world.owner();
    rename(&owner, "One").await;
    receiver.hold();
    let sender = worker::runner(&world.deployment);
    let busy = refused_once(&world, &receiver, "SELECT FROM webhook_endpoints FOR UPDATE");
    join!(async { sender.turn().await.expect("a turn") }, busy);
    world.clock.advance(chrono::Duration::minutes(1));
    world.run_jobs().await;
    assert_eq!(receiver.names(), ["One"]);
    assert_eq!(answers(&log(&owner).await[0]), [204]);
}

#[actix_web::test]
async fn a_test_is_sent_once_though_the_database_has_no_time_at_first() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let (path, _) = endpoint(&world, &receiver).await;
    let owner = world.owner();
    receiver.hold();
    let busy = refused_once(&world, &receiver, "LOCK TABLE webhook_deliveries IN SHARE MODE");
    let ask = owner.post(&format!("{path}/test"), json!({ "event_type": "workspace.updated" }));
    let (told, ()) = join!(async { ask.await }, busy);
    assert_eq!(answers(&told.ok().body), [204]);
    assert_eq!(receiver.got().len(), 1);
}

#[actix_web::test]
async fn what_was_held_back_for_an_endpoint_that_is_off_is_skipped_whatever_the_others_were_answered() {
    let settings = [("LIMITS__FACTOR", "1"), ("REDIS__URL", "off")];
    let (world, receiver) = (World::with(&settings).await, Receiver::new());
    world.run_jobs().await;
    more_endpoints(&world, &receiver.url, 6);
    let home = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.webhook_endpoints SET rate_per_s = 1000, max_in_flight = 50, events = '{{workspace.updated}}';
         INSERT INTO guildhall.workspace_slots (lane, workspace_id, max_running, max_ready) VALUES ('deliveries', '{home}', 8, 1000)
         ON CONFLICT (lane, workspace_id) DO UPDATE SET max_running = 8"
    ));
    rename(&world.owner(), "Many").await;
    more_events(&world, 50);
    let relay = relay(&world);
    while relay.turn().await.expect("a turn") > 0 {}
    receiver.answers("410 Gone", 300);
    receiver.hold();
    let worker = worker::start(&world.deployment).expect("a worker");
    until("all of them are at it", || {
        deliveries(&world, "state = 'in_flight'") == 300
    })
    .await;
    world.admin(&format!(
        "UPDATE guildhall.webhook_endpoints SET enabled = false, disabled_reason = 'manual', disabled_at = now() WHERE workspace_id = '{home}'"
    ));
    // The host lets no more than half of them through before the others give up.
    until("some were let through", || receiver.got().len() > 100).await;
    receiver.release();
    until("nothing waits", || deliveries(&world, "finished_at IS NULL") == 0).await;
    assert!(deliveries(&world, "state = 'skipped' AND attempts_total = 0") > 0);
    worker.drain(std::time::Duration::from_secs(20)).await;
}

#[actix_web::test]
async fn what_is_under_way_when_an_endpoint_is_switched_off_ends_as_it_does() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let (path, _) = endpoint(&world, &receiver).await;
    let owner = world.owner();
    for (answer, state) in [
        ("204 No Content", "delivered"),
        ("500 Internal Server Error", "skipped"),
    ] {
        rename(&owner, &format!("{state} one")).await;
        rename(&owner, &format!("{state} two")).await;
        receiver.answers(answer, 1);
        meanwhile(&world, &receiver, async || {
            owner.post(&format!("{path}/disable"), json!({})).await.ok();
        })
        .await;
        world.run_jobs().await;
        let log = log(&owner).await;
        let [.., first, second] = log.as_slice() else {
            panic!("two deliveries: {log:?}")
        };
        assert_eq!(
            (&first["state"], &second["state"]),
            (&json!(state), &json!("skipped")),
            "{first}"
        );
        assert_eq!((answers(first).len(), answers(second).len()), (1, 0));
        owner.post(&format!("{path}/enable"), json!({})).await.ok();
    }
    assert_eq!(deliveries(&world, "finished_at IS NULL"), 0);
}

#[actix_web::test]
async fn what_is_under_way_when_an_endpoint_is_deleted_is_still_written_down() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let owner = world.owner();
    for (round, (answer, state)) in [("204 No Content", "delivered"), ("503 Busy", "cancelled")]
        .into_iter()
        .enumerate()
    {
        let (path, _) = endpoint(&world, &receiver).await;
        rename(&owner, &format!("{state} one")).await;
        rename(&owner, &format!("{state} two")).await;
        receiver.answers(answer, 1);
        meanwhile(&world, &receiver, async || {
            owner.delete(&path).await.gone();
        })
        .await;
        world.run_jobs().await;
        let log = log(&owner).await;
        let [first, second] = &log[round * 2..] else {
            panic!("two deliveries: {log:?}")
        };
        assert_eq!(
            (&first["state"], &second["state"]),
            (&json!(state), &json!("cancelled"))
        );
        assert_eq!((answers(first).len(), answers(second).len()), (1, 0));
    }
    assert_eq!(deliveries(&world, "finished_at IS NULL"), 0);
}

#[actix_web::test]
async fn what_a_dead_sender_had_under_way_ends_with_its_endpoint() {
    for (verb, state) in [("disable", "skipped"), ("delete", "cancelled")] {
        let (world, receiver) = (World::new().await, Receiver::new());
        let (path, _) = endpoint(&world, &receiver).await;
        let owner = world.owner();
        rename(&owner, "One").await;
        receiver.hold();
        let sender = Process::worker(&world);
        until("the receiver has the call", || receiver.got().len() == 1).await;
        sender.kill();
        match verb {
            "disable" => owner.post(&format!("{path}/disable"), json!({})).await.ok(),
            _ => owner.delete(&path).await.gone(),
        };
        assert_eq!(deliveries(&world, "state = 'in_flight'"), 1, "nobody knows how it ends");
        world.admin("UPDATE guildhall.run_leases SET expires_at = now() - interval '1 s'");
        let successor = Process::worker(&world);
        until("it has ended", || deliveries(&world, "finished_at IS NULL") == 0).await;
        successor.kill();
        assert_eq!(deliveries(&world, &format!("state = '{state}'")), 1);
        assert_eq!(receiver.got().len(), 1);
        receiver.release();
    }
}

#[actix_web::test]
async fn a_sender_that_slept_through_its_lease_changes_nothing() {
    let (world, receiver) = (World::new().await, Receiver::new());
    endpoint(&world, &receiver).await;
    let owner = world.owner();
    rename(&owner, "One").await;
    receiver.answers("500 Internal Server Error", 1);
    meanwhile(&world, &receiver, async || {
        // Its lease ran out, and another sender has been at work since.
        let here = format!("WHERE workspace_id = '{}'", world.home().uuid());
        world.admin(&format!(
            "UPDATE guildhall.run_leases SET epoch = epoch + 1 {here}; UPDATE guildhall.webhook_pumps SET epoch = epoch + 1 {here};
             UPDATE guildhall.webhook_deliveries SET state = 'delivered', epoch = epoch + 1, finished_at = now() {here}"
        ));
    })
    .await;
    let log = log(&owner).await;
    assert_eq!(log[0]["state"], "delivered");
    assert!(answers(&log[0]).is_empty(), "whoever lost the lease has nothing to say");
}

#[actix_web::test]
async fn a_new_address_gets_what_waits_and_the_old_one_nothing_more() {
    let (world, old, new) = (World::new().await, Receiver::new(), Receiver::new());
    let (path, _) = endpoint(&world, &old).await;
    let owner = world.owner();
    rename(&owner, "One").await;
    rename(&owner, "Two").await;
    old.answers("500 Internal Server Error", 1);
    meanwhile(&world, &old, async || {
        owner.patch(&path, json!({ "url": new.url })).await.ok();
    })
    .await;
    world.run_jobs().await;
    world.clock.advance(chrono::Duration::seconds(10));
    world.run_jobs().await;
    assert_eq!(
        (old.names(), new.names()),
        (vec!["One".into()], vec!["Two".into(), "One".into()])
    );
}
