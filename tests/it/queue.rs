//! The queue: who has a job, where it waits, and whether the counters know.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use diesel::PgConnection;
use futures_util::join;
use guildhall::kernel::{
    error::{Error, OVERLOADED},
    jobs::{self, JobContext, Lane, Runner},
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    database::{Database, PLATFORM, enter, number, run, text},
    world::{World, patience::found, until},
};

/// Two jobs.
const ONE: &str = "0e000000-0000-7000-8000-000000000001";
const TWO: &str = "0e000000-0000-7000-8000-000000000002";

/// Wants a job, in the transaction that is open.
fn push(conn: &mut PgConnection, lane: &str, job: &str, due: &str) {
    run(
        conn,
        &format!("SELECT job_push('{lane}', 'test.job', '{job}', '{job}', 5::smallint, {due}, 'sooner', 0)"),
    );
}

/// Leases everything that is ready, as a worker would.
fn lease(admin: &mut PgConnection) {
    run(
        admin,
        "WITH gone AS (DELETE FROM run_queue RETURNING *)
         INSERT INTO run_leases (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, worker_id, expires_at, started_at)
         SELECT job_id, lane, workspace_id, kind, group_id, priority, epoch + 1, recoveries, gen_random_uuid(), now() + interval '30 s', now()
           FROM gone;
         UPDATE workspace_slots SET running = running + ready, ready = 0",
    );
}

/// The counters that do not say what the tables hold.
const DRIFT: &str = "SELECT string_agg(format('%s of %s: %s ready of %s, %s running of %s', lane, workspace_id, ready, q.n, running, l.n), '; ')
   FROM workspace_slots s,
        LATERAL (SELECT count(*) AS n FROM run_queue q WHERE q.lane = s.lane AND q.workspace_id = s.workspace_id) q,
        LATERAL (SELECT count(*) AS n FROM run_leases l WHERE l.lane = s.lane AND l.workspace_id = s.workspace_id) l
  WHERE (ready, running) IS DISTINCT FROM (q.n, l.n)";

/// Waits until somebody waits for a lock.
fn until_blocked(admin: &mut PgConnection) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let look = || (number(admin, waiting) > 0).then_some(());
    found(Duration::from_secs(30), || "somebody waits".into(), look);
}

/// Pushes the job while the worker still holds it, who then commits.
fn push_meanwhile(admin: &mut PgConnection, worker: &mut PgConnection, mut writer: PgConnection) {
    let pushing = thread::spawn(move || {
        enter(&mut writer, PLATFORM);
        push(&mut writer, "deliveries", ONE, "NULL");
        run(&mut writer, "COMMIT");
    });
    until_blocked(admin);
    run(worker, "COMMIT");
    pushing.join().expect("pushed");
}

#[test]
fn a_job_that_changes_its_lane_while_it_is_pushed_is_counted_where_it_is() {
    let database = Database::migrated();
    let mut admin = database.admin();
    let (mut worker, mut writer) = (database.tenant(), database.tenant());
    enter(&mut writer, PLATFORM);
    push(&mut writer, "deliveries", ONE, "NULL");
    run(&mut writer, "COMMIT");
    lease(&mut admin);

    enter(&mut worker, PLATFORM);
    let moved = text(
        &mut worker,
        &format!("job_retry('{ONE}', 1, app_now() + interval '1 hour', 'deliveries_slow')"),
    );
    assert_eq!(moved.as_deref(), Some("true"));
    push_meanwhile(&mut admin, &mut worker, writer);

    assert_eq!(text(&mut admin, DRIFT), None, "a counter has drifted");
    let ready = "SELECT count(*) FROM run_queue q JOIN workspace_slots s USING (lane, workspace_id)
                  WHERE s.lane = 'deliveries_slow' AND s.ready = 1";
    assert_eq!(number(&mut admin, ready), 1, "nobody would find it");
}

#[test]
fn a_job_that_ends_while_it_is_pushed_comes_again_where_it_is_wanted() {
    let database = Database::migrated();
    let mut admin = database.admin();
    let (mut worker, mut writer) = (database.tenant(), database.tenant());
    enter(&mut writer, PLATFORM);
    push(&mut writer, "deliveries_slow", ONE, "NULL");
    run(&mut writer, "COMMIT");
    lease(&mut admin);
    enter(&mut worker, PLATFORM);
    assert_eq!(
        text(&mut worker, &format!("job_cancel('{ONE}')")).as_deref(),
        Some("(0,1)")
    );
    assert_eq!(
        text(&mut worker, &format!("job_finish('{ONE}', 1)")).as_deref(),
        Some("true")
    );
    push_meanwhile(&mut admin, &mut worker, writer);
    assert_eq!(text(&mut admin, DRIFT), None);
    let there = "SELECT count(*) FROM run_queue WHERE lane = 'deliveries'";
    assert_eq!(number(&mut admin, there), 1);
}

#[test]
fn whoever_moves_jobs_between_lanes_and_whoever_pushes_into_both_do_not_meet_crosswise() {
    let database = Database::migrated();
    let mut admin = database.admin();
    let (mut worker, mut writer) = (database.tenant(), database.tenant());
    enter(&mut writer, PLATFORM);
    push(&mut writer, "deliveries", ONE, "NULL");
    push(&mut writer, "deliveries_slow", TWO, "app_now() + interval '1 hour'");
    run(&mut writer, "COMMIT");
    lease(&mut admin);

    enter(&mut writer, PLATFORM);
    push(&mut writer, "deliveries_slow", TWO, "app_now() + interval '1 minute'");
    let moving = thread::spawn(move || {
        enter(&mut worker, PLATFORM);
        let moved = text(&mut worker, &format!("job_retry('{ONE}', 1, NULL, 'deliveries_slow')"));
        run(&mut worker, "COMMIT");
        moved
    });
    until_blocked(&mut admin);
    push(&mut writer, "deliveries", ONE, "NULL");
    run(&mut writer, "COMMIT");
    assert_eq!(moving.join().expect("moved").as_deref(), Some("true"));
    assert_eq!(text(&mut admin, DRIFT), None);
}

/// Wants a job of this kind in the home workspace.
pub(crate) fn want(world: &World, lane: &str, kind: &str, job: Uuid) {
    let home = world.home().uuid();
    world.admin(&format!(
        "BEGIN; SELECT set_config('app.workspace', '{home}', true);
         SELECT job_push('{lane}', '{kind}', '{job}', '{job}', 5::smallint, NULL, 'sooner', NULL); COMMIT"
    ));
}

/// Where a job is: `queue`, `timers`, `leases`.
fn places(world: &World, job: Uuid) -> Vec<&'static str> {
    let mut places = vec!["queue", "timers", "leases"];
    places.retain(|place| world.count(&format!("SELECT count(*) FROM run_{place} WHERE job_id = '{job}'")) > 0);
    places
}

#[actix_web::test]
async fn a_worker_that_lost_its_lease_changes_nothing_any_more() {
    let world = World::new().await;
    world.run_jobs().await;
    let job = Uuid::new_v4();
    want(&world, "system", "test.fenced", job);
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let rename = |name: &'static str, wait: Option<(Arc<Notify>, Arc<Notify>)>| {
        let mut runner = Runner::new(world.deployment.db.clone());
        runner.on("test.fenced", Lane::System, move |context: JobContext| {
            let wait = wait.clone();
            async move {
                if let Some((begun, go_on)) = wait {
                    begun.notify_one();
                    go_on.notified().await;
                }
                let job = context.job.clone();
                let ended = context.db.tenant(context.scope(), move |tx| {
                    use diesel::{ExpressionMethods, RunQueryDsl};
                    diesel::table! { workspaces (id) { id -> Uuid, name -> Text, } }
                    diesel::update(workspaces::table)
                        .set(workspaces::name.eq(name))
                        .execute(tx.conn())?;
                    jobs::finish(tx, &job)
                });
                let ended = ended.await;
                assert_eq!(ended.is_err(), name == "stale");
                ended
            }
        });
        runner
    };
    let (stale, fresh) = (
        rename("stale", Some((begun.clone(), go_on.clone()))),
        rename("fresh", None),
    );
    let overtaking = async {
        begun.notified().await;
        assert_eq!(fresh.turn().await.expect("a turn"), 0, "it is somebody's");
        fresh.expire_leases().await.expect("expired");
        assert_eq!(fresh.turn().await.expect("a turn"), 1);
        go_on.notify_one();
    };
    let (done, ()) = join!(stale.turn(), overtaking);
    assert_eq!(done.expect("a turn"), 1);
    assert_eq!(world.owner().get("/workspace").await.ok().body["name"], "fresh");
    assert!(places(&world, job).is_empty());
}

#[actix_web::test]
async fn a_job_that_breaks_is_tried_again_later_each_time_and_given_up_in_the_end() {
    let world = World::new().await;
    world.run_jobs().await;
    let job = Uuid::new_v4();
    let (tried, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut runner = Runner::new(world.deployment.db.clone());
    let (tries, ends) = (tried.clone(), given_up.clone());
    runner.on("test.broken", Lane::System, move |_| {
        tries.fetch_add(1, Ordering::SeqCst);
        async { Err(Error::Broken(std::io::Error::other("on purpose").into())) }
    });
    runner.when_given_up("test.broken", move |context| {
        ends.fetch_add(1, Ordering::SeqCst);
        async move {
            let job = context.job.clone();
            context
                .db
                .tenant(context.scope(), move |tx| jobs::finish(tx, &job))
                .await
        }
    });
    want(&world, "system", "test.broken", job);
    for round in 0..8 {
        runner.turn().await.expect("a turn");
        assert_eq!(runner.turn().await.expect("a turn"), 0, "not at once");
        world.clock.advance(chrono::Duration::seconds(2 << round));
    }
    assert_eq!((tried.load(Ordering::SeqCst), given_up.load(Ordering::SeqCst)), (6, 1));
    assert!(places(&world, job).is_empty());
}

#[actix_web::test]
async fn a_busy_database_is_not_held_against_a_job() {
    let world = World::new().await;
    world.run_jobs().await;
    let tried = Arc::new(AtomicUsize::new(0));
    let mut runner = Runner::new(world.deployment.db.clone());
    let tries = tried.clone();
    runner.on("test.busy", Lane::System, move |context: JobContext| {
        let n = tries.fetch_add(1, Ordering::SeqCst);
        async move {
            if n < 20 {
                return Err(OVERLOADED.into());
            }
            let job = context.job.clone();
            context
                .db
                .tenant(context.scope(), move |tx| jobs::finish(tx, &job))
                .await
        }
    });
    let job = Uuid::new_v4();
    want(&world, "system", "test.busy", job);
    while !places(&world, job).is_empty() {
        runner.turn().await.expect("a turn");
        world.clock.advance(chrono::Duration::seconds(2));
    }
    assert_eq!(tried.load(Ordering::SeqCst), 21);
}

#[actix_web::test]
async fn what_is_pushed_while_it_is_done_is_done_again_and_what_is_cancelled_is_not() {
    let world = World::new().await;
    world.run_jobs().await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut runner = Runner::new(world.deployment.db.clone());
    let (starts, ends) = (begun.clone(), go_on.clone());
    runner.on("test.again", Lane::System, move |context: JobContext| {
        let (starts, ends) = (starts.clone(), ends.clone());
        async move {
            starts.notify_one();
            ends.notified().await;
            let job = context.job.clone();
            context
                .db
                .tenant(context.scope(), move |tx| jobs::finish(tx, &job))
                .await
        }
    });
    let job = Uuid::new_v4();
    let home = world.home().uuid();
    let cancel =
        format!("BEGIN; SELECT set_config('app.workspace', '{home}', true); SELECT job_cancel('{job}'); COMMIT");
    want(&world, "system", "test.again", job);
    // Pushed; pushed and then cancelled; cancelled and then pushed.
    for (meanwhile, again) in [
        (vec!["push"], true),
        (vec!["push", "cancel"], false),
        (vec!["cancel", "push"], true),
    ] {
        if places(&world, job).is_empty() {
            want(&world, "system", "test.again", job);
        }
        let doing = async {
            begun.notified().await;
            for what in &meanwhile {
                match *what {
                    "push" => want(&world, "system", "test.again", job),
                    _ => world.admin(&cancel),
                }
            }
            go_on.notify_one();
        };
        let (done, ()) = join!(runner.turn(), doing);
        assert_eq!(done.expect("a turn"), 1);
        let left = if again { vec!["queue"] } else { vec![] };
        assert_eq!(places(&world, job), left, "{meanwhile:?}");
    }
    world.admin(&cancel);
}

#[actix_web::test]
async fn however_jobs_move_each_is_in_one_place_and_counted_there() {
    const JOBS: usize = 6;
    const PUSHES: usize = 100;
    let world = World::new().await;
    world.run_jobs().await;
    let ids: Vec<Uuid> = (0..JOBS).map(|_| Uuid::new_v4()).collect();
    let done = Arc::new(AtomicUsize::new(0));
    let broken: Arc<Mutex<Vec<String>>> = Arc::default();
    let runner = || {
        let mut runner = Runner::new(world.deployment.db.clone());
        for lane in [Lane::Deliveries, Lane::DeliveriesSlow] {
            let (done, broken) = (done.clone(), broken.clone());
            runner.on("test.mover", lane, move |context: JobContext| {
                let n = done.fetch_add(1, Ordering::SeqCst);
                let broken = broken.clone();
                async move {
                    let job = context.job.clone();
                    let moved = context.db.tenant(context.scope(), move |tx| match n % 3 {
                        0 => jobs::finish(tx, &job),
                        1 => jobs::retry_in(tx, &job, None, Lane::DeliveriesSlow),
                        _ => jobs::retry_in(tx, &job, None, Lane::Deliveries),
                    });
                    let moved = moved.await;
                    if let Err(error) = &moved {
                        broken.lock().expect("no panic").push(error.to_string());
                    }
                    moved
                }
            });
        }
        runner
    };
    let workers = [(); 2].map(|()| runner().start().expect("a worker"));
    let home = world.home().uuid();
    let pushers: Vec<_> = (0..2)
        .map(|pusher| {
            let (mut conn, ids) = (world.superuser(), ids.clone());
            thread::spawn(move || {
                for n in 0..PUSHES {
                    run(&mut conn, &format!("BEGIN; SELECT set_config('app.workspace', '{home}', true)"));
                    for (place, job) in ids.iter().enumerate() {
                        let lane = if (place + n + pusher) % 2 == 0 { "deliveries" } else { "deliveries_slow" };
                        run(
                            &mut conn,
                            &format!("SELECT job_push('{lane}', 'test.mover', '{job}', '{job}', 5::smallint, NULL, 'sooner', NULL)"),
                        );
                    }
                    run(&mut conn, "COMMIT");
                }
            })
        })
        .collect();
    for pusher in pushers {
        actix_web::rt::task::spawn_blocking(move || pusher.join())
            .await
            .expect("joined")
            .expect("every push went through");
    }
    until("all is done", || ids.iter().all(|id| places(&world, *id).is_empty())).await;
    for worker in workers {
        worker.drain(Duration::from_secs(10)).await;
    }
    assert_eq!(*broken.lock().expect("no panic"), Vec::<String>::new());
    assert_eq!(text(&mut world.superuser(), DRIFT), None, "a counter has drifted");
    assert!(done.load(Ordering::SeqCst) >= JOBS);
}
