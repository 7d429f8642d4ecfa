//! What works without Redis, or with one that hangs, forgets or dies: everything. And what the caller is told without PostgreSQL.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use guildhall::{
    app::{
        api,
        boot::Deployment,
        dev::{Home, redis::Redis},
    },
    kernel::secret::Secret,
};
use serde_json::json;

use crate::{
    identity::{login, someone},
    world::{
        Answer, Caller, World,
        patience::{at_its_best, until},
    },
};

/// A Redis of the test's own, that it may mistreat.
struct Victim {
    redis: Redis,
    process: String,
}

impl Victim {
    /// `None` where there is none to start, or `REDIS` is `off`.
    fn start() -> Option<Victim> {
        let redis = Redis::start(&Home::find().expect("a place for our files")).expect("it starts where it is")?;
        let told = say(&redis, "INFO server");
        let process = told.split("process_id:").nth(1)?.split('\r').next()?.to_owned();
        Some(Victim { redis, process })
    }

    /// A world that uses it, with as much patience as is usual.
    async fn world(&self, settings: &[(&str, &str)]) -> World {
        let url = self.redis.url();
        let own = [("REDIS__URL", url.expose().as_str()), ("REDIS__TIMEOUT_MS", "25")];
        World::with(&[&own, settings].concat()).await
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process]).status();
        assert!(sent.expect("kill is there").success());
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // A stopped process could not end.
        self.signal("-CONT");
    }
}

fn say(redis: &Redis, command: &str) -> String {
    let url = url::Url::parse(redis.url().expose()).expect("a URL");
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    let words = format!("AUTH {}\r\n{command}\r\n", url.password().unwrap_or_default());
    stream.write_all(words.as_bytes()).expect("it reads");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let (mut all, mut chunk) = (String::new(), [0; 8_192]);
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        all += &String::from_utf8_lossy(&chunk[..read]);
    }
    all
}

/// Waits until readiness says so. A check is believed for two seconds, and a broken connection is tried again after five.
async fn comes_to_be(world: &World, status: &str) {
    until(&format!("{status} says readiness"), async || {
        world.anonymous().get("/readyz").await.ok().text_at("/status") == status
    })
    .await;
}

/// Reads, writes, a repeated effect, credentials good and bad, documents: what every deployment does all day.
async fn a_day(world: &World) {
    let owner = world.owner();
    owner.get("/workspace").await.ok();
    owner.patch("/workspace", json!({ "name": "Renamed" })).await.ok();
    assert_eq!(owner.get("/workspace").await.ok().text_at("/name"), "Renamed");
    owner.get("/members?limit=1").await.ok();
    world
        .viewer()
        .patch("/workspace", json!({ "name": "No" }))
        .await
        .refused("forbidden");
    world.stranger().get("/workspace").await.ok();
    world.anonymous().get("/workspace").await.refused("unauthenticated");
    owner
        .bearer("gld_test_pk_nonsense")
        .get("/workspace")
        .await
        .refused("invalid-api-key");
    world.anonymous().get("/openapi.json").await.ok();
    world
        .anonymous()
        .get("/problems/rate-limited")
        .header("accept", "application/json")
        .await
        .ok();
    world.run_jobs().await;
}

/// How many of so many requests of somebody unknown passed.
async fn passed(caller: &Caller, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(caller.get("/workspace").await.status.as_u16() != 429);
    }
    passed
}

#[actix_web::test]
async fn without_redis_everything_works_and_readiness_says_degraded() {
    for url in ["off", "redis://127.0.0.1:1/0"] {
        let world = World::with(&[("REDIS__URL", url)]).await;
        a_day(&world).await;
        comes_to_be(&world, "degraded").await;
    }
}

#[actix_web::test]
async fn without_redis_limits_hold_in_the_process() {
    for (replicas, at_once) in [("1", 50), ("5", 10)] {
        let world = World::with(&[
            ("REDIS__URL", "off"),
            ("LIMITS__FACTOR", "1"),
            ("SERVER__REPLICAS", replicas),
        ])
        .await;
        let begun = Instant::now();
        let passed = passed(&world.anonymous(), at_once + 30).await;
        // A hundred come back in a minute for one process, a fifth of them for each of five.
        let came_back = (begun.elapsed().as_secs_f64() * at_once as f64 / 30.0).ceil() as usize;
        assert!(
            (at_once..=at_once + came_back).contains(&passed),
            "{passed} of {at_once} and {came_back} that came back"
        );
    }
}

#[actix_web::test]
async fn a_redis_that_hangs_costs_nobody_more_than_a_moment() {
    let Some(victim) = Victim::start() else { return };
    let world = victim.world(&[]).await;
    let owner = world.owner();
    let waits = async |requests: usize| {
        let mut waits = Vec::new();
        for _ in 0..requests {
            let begun = Instant::now();
            owner.get("/workspace").await.ok();
            waits.push(begun.elapsed());
        }
        waits
    };
    let middle = |mut waits: Vec<Duration>| {
        waits.sort();
        waits[waits.len() / 2]
    };
    comes_to_be(&world, "ready").await;
    let usual = middle(waits(200).await);
    victim.signal("-STOP");
    // The first few find out, and each waits for two answers at most; nobody does after them.
    let found_out = waits(2).await.into_iter().min().expect("two");
    assert!(
        found_out < usual + Duration::from_millis(250),
        "{usual:?} became {found_out:?} at best"
    );
    until("the usual request is as usual", async || {
        middle(waits(100).await) <= usual + Duration::from_millis(30)
    })
    .await;
    a_day(&world).await;
    comes_to_be(&world, "degraded").await;
    victim.signal("-CONT");
    comes_to_be(&world, "ready").await;
}

#[actix_web::test]
async fn while_redis_hangs_at_most_twice_the_limit_passes() {
    let Some(victim) = Victim::start() else { return };
    let limited = [("LIMITS__FACTOR", "1"), ("SERVER__TRUSTED_PROXIES", "127.0.0.0/8")];
    let world = victim.world(&limited).await;
    let somebody = world.anonymous().with("x-forwarded-for", "203.0.113.9");
    let begun = Instant::now();
    let first = passed(&somebody, 70).await;
    victim.signal("-STOP");
    let second = passed(&somebody, 70).await;
    let came_back = (begun.elapsed().as_secs_f64() * 100.0 / 60.0).ceil() as usize;
    assert!(
        first >= 50 && first + second <= 100 + 2 * came_back,
        "{first} and {second}, {came_back} came back"
    );
}

#[actix_web::test]
async fn a_redis_that_forgets_loses_nothing_that_matters() {
    let Some(victim) = Victim::start() else { return };
    let world = victim.world(&[]).await;
    let owner = world.owner();
    let make = || {
        owner
            .post(
                "/agents",
                json!({ "name": "Once", "framework": "openai", "config": { "model": "sandbox", "prompt": "Once" } }),
            )
            .header("idempotency-key", "only-once")
    };
    let made = make().await.created().id();
    for _ in 0..10 {
        assert!(say(&victim.redis, "FLUSHALL").contains("+OK"));
        a_day(&world).await;
    }
    let again = make().await.created();
    assert_eq!((again.id(), again.header("idempotency-replayed")), (made, "true"));
}

#[actix_web::test]
async fn a_redis_that_dies_is_not_missed() {
    let Some(victim) = Victim::start() else { return };
    let world = victim.world(&[]).await;
    a_day(&world).await;
    victim.signal("-KILL");
    a_day(&world).await;
    comes_to_be(&world, "degraded").await;
    std::mem::forget(victim);
}

/// Another process of the same deployment: a server with memories of its own.
async fn another_process(world: &World) -> Caller {
    let deployment = Deployment::new(world.deployment.config.clone(), world.clock.clone()).expect("sound");
    deployment.readiness.booted();
    serving(Arc::new(deployment))
}

/// A server of this deployment in which nothing happens but answers.
pub(crate) fn serving(deployment: Arc<Deployment>) -> Caller {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    actix_web::rt::spawn(api::serve(deployment, socket).expect("a server"));
    Caller::new(reqwest::Client::new(), &base, None)
}

/// Worlds with Redis, where there is one, and without.
async fn with_and_without_redis() -> [World; 2] {
    [World::new().await, World::with(&[("REDIS__URL", "off")]).await]
}

/// Asks until it is refused so. What a process believes of a credential is a second old at most; the rest of the time is the asking's.
async fn bites(what: &str, code: &str, ask: impl AsyncFn() -> Answer) {
    let changed = Instant::now();
    loop {
        let asked = changed.elapsed();
        let answer = ask().await;
        if !answer.status.is_success() {
            answer.refused(code);
            return;
        }
        assert!(
            asked < Duration::from_millis(1_050),
            "{what} still counts after {asked:?}"
        );
    }
}

#[actix_web::test]
async fn a_demotion_in_one_process_bites_in_the_others_within_a_second() {
    for world in with_and_without_redis().await {
        let (owner, admin) = (world.owner(), world.member("admin"));
        let there = another_process(&world).await.bearer(admin.credential());
        there.patch("/workspace", json!({ "name": "Before" })).await.ok();
        let id = admin.get("/members?role=admin").await.ok().text_at("/data/0/id");
        let demotion = json!({ "role": "viewer" });
        owner.patch(&format!("/members/{id}"), demotion).await.ok();
        let rename = json!({ "name": "After" });
        admin.patch("/workspace", rename.clone()).await.refused("forbidden");
        bites("the role", "forbidden", async || {
            there.patch("/workspace", rename.clone()).await
        })
        .await;
    }
}

#[actix_web::test]
async fn what_is_revoked_in_one_process_is_refused_in_the_others_within_a_second() {
    for world in with_and_without_redis().await {
        let person = someone(&world).await;
        world.join(world.home(), person.user, "admin");
        let elsewhere = another_process(&world).await;
        let session = login(&world, &person).await;
        let new = json!({ "name": "Robot", "permissions": ["workspace:read"] });
        let made = session.caller.post("/api-keys", new).await.created();
        let key = made.text_at("/secret");

        let (with_key, with_token) = (elsewhere.bearer(&key), elsewhere.bearer(&session.access));
        with_key.get("/workspace").await.ok();
        with_token.get("/workspace").await.ok();
        session.caller.delete(&made.path()).await.gone();
        let here = world.anonymous().bearer(&key);
        here.get("/workspace").await.refused("api-key-revoked");
        bites("the key", "api-key-revoked", async || with_key.get("/workspace").await).await;

        with_token.get("/workspace").await.ok();
        session.caller.act("/auth/logout").await.gone();
        session.caller.get("/workspace").await.refused("session-revoked");
        bites("the session", "session-revoked", async || {
            with_token.get("/workspace").await
        })
        .await;
    }
}

#[actix_web::test]
async fn without_a_database_callers_are_told_to_come_back_and_never_that_they_are_nobody() {
    let world = World::new().await;
    let owner = world.owner();
    let mut config = world.deployment.config.clone();
    let nowhere = || {
        Some(Secret::new(
            "postgres://app_tenant:x@127.0.0.1:1/guildhall?connect_timeout=1".to_owned(),
        ))
    };
    (config.database.tenant_url, config.database.kernel_url) = (nowhere(), nowhere());
    let deployment = Arc::new(Deployment::new(config, world.clock.clone()).expect("sound"));
    let there = serving(deployment.clone());
    let known = there.bearer(owner.credential());
    for path in ["/workspace", "/plans", "/.well-known/jwks.json"] {
        let refused = known.get(path).await.refused("starting");
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    }
    there.get("/healthz").await.ok();
    assert_eq!(there.get("/readyz").await.status, 503);
    deployment.readiness.booted();
    let known = there.bearer(owner.credential());
    for ask in [
        known.get("/workspace"),
        known.patch("/workspace", json!({ "name": "New" })),
    ] {
        let answer = ask.await.refused("database-unavailable");
        assert_eq!((answer.status.as_u16(), &answer.body["outcome"]), (503, &json!("none")));
        assert!(
            answer
                .header("retry-after")
                .parse::<u64>()
                .is_ok_and(|after| (1..=3).contains(&after))
        );
    }
    let token = login(&world, &someone(&world).await).await.access;
    let signed_in = there.bearer(&token);
    for _ in 0..3 {
        for path in ["/me", "/auth/session"] {
            signed_in.get(path).await.refused("database-unavailable");
        }
    }
    there.get("/workspace").await.refused("unauthenticated");
    there.get("/healthz").await.ok();
    assert_eq!(there.get("/readyz").await.ok().body, json!({ "status": "degraded" }));
    there.get("/openapi.json").await.ok();
    there
        .get("/problems/database-unavailable")
        .header("accept", "application/json")
        .await
        .ok();
    there.get("/nothing").await.refused("route-not-found");
    // What is everybody's looks nobody up: that would take a second here.
    for path in ["/healthz", "/problems", "/openapi.json"] {
        at_its_best(Duration::from_millis(500), path, async || {
            known.get(path).await.ok();
        })
        .await;
    }
}
