//! `guildhall worker`, and what `guildhall serve` says, as whoever runs them sees it.

use std::{
    fs::{self, File},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use guildhall::kernel::{
    error::OVERLOADED,
    jobs::{self, JobContext, Lane, Runner},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    queue::want,
    world::{
        Wire, World,
        patience::{until, within},
        process::{Process, command},
    },
};

/// What the admin listener says, as soon as it says it.
async fn answer(port: u16, path: &str, wanted: u16) -> String {
    let mut text = String::new();
    within(Duration::from_secs(60), path, async || {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.ok();
        let Some(answer) = answer.filter(|answer| answer.status() == wanted) else {
            return false;
        };
        text = answer.text().await.expect("text");
        true
    })
    .await;
    text
}

#[actix_web::test]
async fn a_worker_tells_how_it_is_and_ends_when_asked() {
    let world = World::new().await;
    // Of a month for which no partition is made.
    world.admin(&format!(
        "INSERT INTO guildhall.outbox (workspace_id, id, type, api_version, data, actor_type, actor_id) \
         VALUES ('{}', guildhall.uuid_at('2001-01-01'), 'test.happened', '2026-11-01', '{{}}', 'system', NULL)",
        world.home().uuid()
    ));
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let mut worker = command(&world, "worker");
    worker.env("GUILDHALL__WORKER__ADMIN_PORT", port.to_string());
    let mut worker = Process::quiet(worker);
    let ready = answer(port, "/readyz", 200).await;
    assert!(ready.contains("\"database\":\"up\""), "{ready}");
    let metrics = answer(port, "/metrics", 200).await;
    assert!(metrics.contains("guildhall_build_info{"), "{metrics}");
    let strays = |table: &str| {
        let begins = format!("guildhall_stray_rows{{table=\"{table}\"}} ");
        let rows = metrics.lines().find_map(|line| line.strip_prefix(begins.as_str()));
        rows.and_then(|rows| rows.parse::<i64>().ok())
    };
    assert!(strays("outbox") > Some(0), "{metrics}");
    assert_eq!(strays("webhook_attempts"), Some(0), "{metrics}");

    worker.terminate();
    assert_eq!(worker.code(Duration::from_secs(60)), Some(0));
}

#[actix_web::test]
async fn nobody_fills_the_log_with_what_is_no_http() {
    let world = World::new().await;
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let [port, admin] = [(); 2].map(|()| free().expect("a port").port());
    let path = std::env::temp_dir().join(format!("guildhall-it-{}-log", std::process::id()));
    let mut server = command(&world, "serve");
    server
        .env("GUILDHALL__SERVER__PORT", port.to_string())
        .env("GUILDHALL__SERVER__ADMIN_PORT", admin.to_string())
        .env("GUILDHALL__LOG__LEVEL", "info")
        .stderr(File::create(&path).expect("a log"));
    let mut server = Process::quiet(server);
    answer(port, "/readyz", 200).await;
    let base = format!("http://127.0.0.1:{port}");
    for _ in 0..20 {
        for bytes in ["GET\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(Wire::exchange(&base, bytes).await.status, 400);
        }
    }
    server.terminate();
    let code = server.code(Duration::from_secs(60));
    let said = fs::read_to_string(&path).expect("text");
    fs::remove_file(&path).expect("removed");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing is in flight any more"), "it does log: {said}");
    assert!(
        !said.contains("stream error") && !said.contains("parse error"),
        "{said}"
    );
}

/// A runner whose jobs of the kind `test.long` end when a door is opened to them.
fn with_long_jobs(world: &World) -> (Runner, Arc<Semaphore>) {
    let doors = Arc::new(Semaphore::new(0));
    let mut runner = Runner::new(world.deployment.db.clone());
    let open = doors.clone();
    runner.on("test.long", Lane::System, move |context: JobContext| {
        let open = open.clone();
        async move {
            open.acquire().await.expect("it is never closed").forget();
            let job = context.job.clone();
            let ended = context.db.tenant(context.scope(), move |tx| jobs::finish(tx, &job));
            ended.await
        }
    });
    (runner, doors)
}

#[actix_web::test]
async fn a_worker_does_no_more_at_once_after_the_database_failed_it() {
    let world = World::new().await;
    world.run_jobs().await;
    let (mut runner, doors) = with_long_jobs(&world);
    runner.at_once(Lane::System, 3);
    let long = |count: usize| (0..count).for_each(|_| want(&world, "system", "test.long", Uuid::new_v4()));
    let at_work = || world.count("SELECT count(*) FROM run_leases WHERE kind = 'test.long'");
    let worker = runner.start().expect("a worker");
    long(2);
    until("two are at work", async || at_work() == 2).await;
    let failing = world.meanwhile(
        "CREATE SEQUENCE guildhall.failed;
         CREATE FUNCTION guildhall.fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
           BEGIN PERFORM nextval('guildhall.failed'); RAISE EXCEPTION 'on purpose'; END $$;
         CREATE TRIGGER fail BEFORE DELETE ON guildhall.run_queue FOR EACH ROW EXECUTE FUNCTION guildhall.fail()",
        "DROP TRIGGER fail ON guildhall.run_queue; DROP FUNCTION guildhall.fail; DROP SEQUENCE guildhall.failed",
    );
    long(5);
    until("claiming has failed", async || {
        world.count("SELECT count(*) FROM failed WHERE is_called") > 0
    })
    .await;
    drop(failing);
    until("it goes on", async || at_work() > 2).await;
    assert_eq!(at_work(), 3);
    doors.add_permits(7);
    until("all are done", async || {
        at_work() == 0 && world.count("SELECT count(*) FROM run_queue") == 0
    })
    .await;
    worker.drain(Duration::from_secs(10)).await;
}

#[actix_web::test]
async fn a_lease_that_could_not_be_given_up_runs_out_beside_others_that_are_kept() {
    let world = World::new().await;
    world.run_jobs().await;
    let (mut runner, doors) = with_long_jobs(&world);
    runner.on("test.busy", Lane::System, |_| async { Err(OVERLOADED.into()) });
    let _kept = world.meanwhile(
        "CREATE FUNCTION guildhall.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'on purpose'; END $$;
         CREATE TRIGGER fail BEFORE DELETE ON guildhall.run_leases FOR EACH ROW WHEN (OLD.kind = 'test.busy') EXECUTE FUNCTION guildhall.fail()",
        "DROP TRIGGER fail ON guildhall.run_leases; DROP FUNCTION guildhall.fail",
    );
    want(&world, "system", "test.long", Uuid::new_v4());
    want(&world, "system", "test.busy", Uuid::new_v4());
    let worker = runner.start().expect("a worker");
    let until_when = |kind: &str| {
        world.count(&format!(
            "SELECT coalesce(extract(epoch FROM max(expires_at)), 0)::bigint AS count FROM run_leases WHERE kind = '{kind}'"
        ))
    };
    until("both are leased", async || {
        until_when("test.long") > 0 && until_when("test.busy") > 0
    })
    .await;
    let (long, busy) = (until_when("test.long"), until_when("test.busy"));
    within(Duration::from_secs(60), "the one is kept", async || {
        until_when("test.long") > long
    })
    .await;
    assert_eq!(until_when("test.busy"), busy, "the other runs out");
    doors.add_permits(1);
    until("the one is done", async || until_when("test.long") == 0).await;
    worker.drain(Duration::from_secs(10)).await;
}
