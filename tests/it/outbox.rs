//! Events and their relay: what commits is handed over at least once, and nothing else is.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use diesel::{PgConnection, RunQueryDsl, connection::SimpleConnection, dsl::sql, sql_types::Bool};
use guildhall::kernel::{
    db::Tenant,
    error::{Error, OVERLOADED, Result},
    id::{EventId, JobId, UserId},
    jobs::{self, JobContext, Lane, Push, Runner},
    outbox::{self, Event, Relay},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::world::{World, until};

/// What events are about here.
#[derive(Serialize, ToSchema)]
pub struct Pet {
    name: &'static str,
}

guildhall::events! {
    /// A pet was named.
    pub PET_NAMED: Pet = "pet.named", group "pets", filterable [], audience [audit];
}

/// Events that a consumer saw, in its order.
type Seen = Arc<Mutex<Vec<EventId>>>;

/// A relay with one consumer that notes what it sees, and then does this.
fn relay(
    world: &World,
    then: impl Fn(&mut Tenant<'_>, &[Event]) -> Result<()> + Send + Sync + 'static,
) -> (Relay, Seen) {
    let mut relay = Relay::new(world.deployment.db.clone());
    let seen = Seen::default();
    let (notes, home) = (seen.clone(), world.home());
    relay.hand_to("test", move |tx, events| {
        // Worlds before this one may have left something behind.
        let own = events.iter().filter(|event| event.workspace_id == home);
        notes.lock().expect("no panic").extend(own.map(|event| event.id));
        then(tx, events)
    });
    (relay, seen)
}

fn seen(seen: &Seen) -> Vec<EventId> {
    seen.lock().expect("no panic").clone()
}

/// Makes so many events, and leaves them in the queue. Their ids, in order.
async fn events(world: &World, n: usize) -> Vec<EventId> {
    world.run_jobs().await;
    let owner = world.owner();
    for n in 0..n {
        owner
            .patch("/workspace", json!({ "name": format!("Name {n}") }))
            .await
            .ok();
    }
    queued(world)
}

/// The events of the home workspace that wait.
fn queued(world: &World) -> Vec<EventId> {
    use diesel::{ExpressionMethods, QueryDsl};
    diesel::table! { outbox_queue (event_id) { event_id -> Uuid, workspace_id -> Uuid, } }
    let ids: Vec<Uuid> = outbox_queue::table
        .filter(outbox_queue::workspace_id.eq(world.home().uuid()))
        .order(outbox_queue::event_id)
        .select(outbox_queue::event_id)
        .load(&mut world.superuser())
        .expect("the queue");
    ids.into_iter().map(EventId::from_uuid).collect()
}

/// Has whatever waits be due now.
fn hurry(admin: &mut PgConnection) {
    admin
        .batch_execute("UPDATE outbox_queue SET due_at = now() - interval '1 s' WHERE due_at > now()")
        .expect("hurried");
}

/// How many rows a table has of these events.
fn rows(world: &World, table: &str, column: &str, events: &[EventId]) -> i64 {
    let ids: Vec<String> = events.iter().map(|id| format!("'{}'", id.uuid())).collect();
    world.count(&format!(
        "SELECT count(*) FROM {table} WHERE {column} IN ({})",
        ids.join(", ")
    ))
}

#[actix_web::test]
async fn what_rolls_back_leaves_no_event_no_entry_and_no_job() {
    let world = World::new().await;
    world.run_jobs().await;
    let told: Arc<Mutex<Vec<EventId>>> = Arc::default();
    let wanted = Uuid::new_v4();
    let mut runner = Runner::new(world.deployment.db.clone());
    let tell = told.clone();
    runner.on("test.tell", Lane::System, move |context: JobContext| {
        let tell = tell.clone();
        async move {
            for fails in [true, false] {
                let (job, tell) = (context.job.clone(), tell.clone());
                let done = context
                    .db
                    .tenant(context.scope(), move |tx| {
                        let id = outbox::emit(
                            tx,
                            PET_NAMED
                                .of(UserId::from_uuid(wanted), &Pet { name: "Tim" })
                                .noting("name", Some("Tim")),
                        )?;
                        tell.lock().expect("no panic").push(id);
                        let next = Push::now(Lane::System, "test.next", JobId(wanted));
                        jobs::push(tx, next)?;
                        match fails {
                            true => Err(Error::Broken(std::io::Error::other("on purpose").into())),
                            false => jobs::finish(tx, &job),
                        }
                    })
                    .await;
                assert_eq!(done.is_err(), fails);
                if fails {
                    continue;
                }
                return done;
            }
            Ok(())
        }
    });
    let home = world.home().uuid();
    let job = Uuid::new_v4();
    world.admin(&format!(
        "BEGIN; SELECT set_config('app.workspace', '{home}', true);
         SELECT job_push('system', 'test.tell', '{job}', '{job}', 5::smallint, NULL, 'keep', NULL); COMMIT"
    ));
    assert_eq!(runner.turn().await.expect("a turn"), 1);
    let ids = told.lock().expect("no panic").clone();
    for (id, there) in ids.iter().zip([0, 1]) {
        assert_eq!(rows(&world, "outbox", "id", &[*id]), there);
        assert_eq!(rows(&world, "outbox_queue", "event_id", &[*id]), there);
    }
    assert!(EVENTS.iter().all(|event| event.audience.audit));
    let named = format!("SELECT count(*) FROM audit_log WHERE subject_id = '{wanted}'");
    let next = format!("SELECT count(*) FROM run_queue WHERE job_id = '{wanted}'");
    assert_eq!((world.count(&named), world.count(&next)), (1, 1));
    world.admin(&format!("DELETE FROM outbox_queue WHERE workspace_id = '{home}'"));
    world.admin(&format!(
        "DELETE FROM run_queue WHERE job_id = '{wanted}'; UPDATE workspace_slots SET ready = ready - 1 WHERE workspace_id = '{home}' AND lane = 'system'"
    ));
}

#[actix_web::test]
async fn events_that_a_dead_relay_had_come_again_when_its_lease_is_over() {
    let world = World::new().await;
    let ids = events(&world, 3).await;
    assert_eq!(ids.len(), 3);
    // Claimed, and never heard of again.
    world.admin(
        "UPDATE outbox_queue SET tries = 1, lease_token = gen_random_uuid(), lease_until = now() + interval '60 s'",
    );
    let (relay, got) = relay(&world, |_, _| Ok(()));
    assert_eq!(relay.turn().await.expect("a turn"), 0);
    world.admin("UPDATE outbox_queue SET lease_until = now() - interval '1 s'");
    assert_eq!(relay.turn().await.expect("a turn"), 3);
    assert_eq!(relay.turn().await.expect("a turn"), 0);
    assert_eq!(seen(&got), ids);
}

#[actix_web::test]
async fn a_relay_finishes_what_it_has_when_its_process_ends() {
    let world = World::new().await;
    world.run_jobs().await;
    // Of more workspaces than are served at once.
    let homes: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
    for home in &homes {
        world.admin(&format!(
            "WITH event AS (INSERT INTO guildhall.outbox (workspace_id, id, type, api_version, data, actor_type, actor_id) \
             VALUES ('{home}', guildhall.uuid_at(now()), 'test.happened', '2026-11-01', '{{}}', 'system', NULL) RETURNING id) \
             INSERT INTO guildhall.outbox_queue (workspace_id, event_id, due_at) SELECT '{home}', id, now() - interval '1 s' FROM event"
        ));
    }
    let (began, door) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::RwLock::new(())));
    let mut relay = Relay::new(world.deployment.db.clone());
    let (begins, waits) = (began.clone(), door.clone());
    relay.hand_to("test", move |_, _| {
        begins.fetch_add(1, SeqCst);
        drop(waits.blocking_read());
        Ok(())
    });
    let shut = door.write().await;
    let mut runner = Runner::new(world.deployment.db.clone());
    runner.relay(relay);
    let worker = runner.start().expect("a worker");
    until("the relay is at work", || began.load(SeqCst) > 0).await;
    let opening = async { drop(shut) };
    futures_util::future::join(worker.drain(Duration::from_secs(10)), opening).await;
    assert!(began.load(SeqCst) >= homes.len());
    assert_eq!(
        world.count("SELECT count(*) FROM outbox_queue WHERE lease_until > now()"),
        0
    );
}

#[actix_web::test]
async fn a_commit_that_is_lost_has_the_event_handed_over_once_more() {
    let world = World::new().await;
    let ids = events(&world, 1).await;
    let first = Mutex::new(true);
    let (relay, got) = relay(&world, move |tx, _| {
        if std::mem::take(&mut *first.lock().expect("no panic")) {
            let ended =
                diesel::select(sql::<Bool>("pg_terminate_backend(pg_backend_pid())")).get_result::<bool>(tx.conn());
            assert!(ended.is_err(), "the connection is still there");
        }
        Ok(())
    });
    let mut admin = world.superuser();
    while !queued(&world).is_empty() {
        relay.turn().await.expect("a turn");
        hurry(&mut admin);
    }
    assert_eq!(seen(&got), [ids[0], ids[0]]);
}

#[actix_web::test]
async fn a_relay_whose_lease_went_to_another_hands_over_nothing() {
    let world = World::new().await;
    let ids = events(&world, 2).await;
    let (late, calls) = (ids[1], Mutex::new(0));
    let admin = Mutex::new(world.superuser());
    let (relay, got) = relay(&world, move |_, _| {
        let mut calls = calls.lock().expect("no panic");
        *calls += 1;
        match *calls {
            // The batch fails, and they are tried one by one.
            1 => Err(Error::Broken(std::io::Error::other("on purpose").into())),
            2 => {
                let steal = format!(
                    "UPDATE outbox_queue SET lease_token = gen_random_uuid() WHERE event_id = '{}'",
                    late.uuid()
                );
                admin.lock().expect("no panic").batch_execute(&steal).expect("stolen");
                Ok(())
            }
            _ => Ok(()),
        }
    });
    relay.turn().await.expect("a turn");
    assert_eq!(seen(&got), [ids[0], ids[1], ids[0]]);
    assert_eq!(queued(&world), [late], "it is the other's");
    world.admin("UPDATE outbox_queue SET lease_until = now() - interval '1 s'");
    relay.turn().await.expect("a turn");
    assert_eq!(seen(&got).last(), Some(&late));
    assert!(queued(&world).is_empty());
}

#[actix_web::test]
async fn an_event_that_breaks_a_consumer_is_given_up_alone_after_ten_tries() {
    let world = World::new().await;
    let ids = events(&world, 3).await;
    let poison = ids[1];
    let (mut relay, got) = relay(&world, move |_, events| {
        match events.iter().any(|event| event.id == poison) {
            true => Err(Error::Broken(std::io::Error::other("on purpose").into())),
            false => Ok(()),
        }
    });
    let other = Seen::default();
    let notes = other.clone();
    relay.hand_to("other", move |_, events| {
        notes
            .lock()
            .expect("no panic")
            .extend(events.iter().map(|event| event.id));
        Ok(())
    });
    relay.turn().await.expect("a turn");
    assert_eq!(queued(&world), [poison], "the others went on");
    let mut admin = world.superuser();
    for _ in 0..9 {
        hurry(&mut admin);
        relay.turn().await.expect("a turn");
    }
    assert!(queued(&world).is_empty());
    let dead = format!(
        "SELECT count(*) FROM outbox_dead WHERE event_id = '{}' AND consumer = 'test' AND tries = 10",
        poison.uuid()
    );
    assert_eq!(world.count(&dead), 1);
    assert!(seen(&got).contains(&poison) && seen(&other).contains(&poison));
}

#[actix_web::test]
async fn a_consumer_that_is_always_busy_does_not_stop_the_others_for_ever() {
    let world = World::new().await;
    let ids = events(&world, 3).await;
    let heavy = ids[1];
    let (relay, got) = relay(&world, move |_, events| {
        match events.iter().any(|event| event.id == heavy) {
            true => Err(OVERLOADED.into()),
            false => Ok(()),
        }
    });
    let mut admin = world.superuser();
    for _ in 0..10 {
        hurry(&mut admin);
        relay.turn().await.expect("a turn");
    }
    assert_eq!(queued(&world), [heavy], "what is no trouble by itself has gone on");
    assert!([ids[0], ids[2]].iter().all(|id| seen(&got).contains(id)));
    // A database may be busy for an hour; then somebody must look.
    for _ in 0..200 {
        hurry(&mut admin);
        relay.turn().await.expect("a turn");
    }
    assert!(queued(&world).is_empty());
    assert_eq!(rows(&world, "outbox_dead", "event_id", &[heavy]), 1);
}
