use std::time::{Duration, Instant};

use deadpool_redis::redis::{Value, cmd};

use super::{
    Hint, Redis, Script, State, Unavailable,
    testing::{PATIENCE, PrivateRedis},
};

/// Asks until it answers.
async fn settled<T, F: Future<Output = Result<T, Unavailable>>>(ask: impl Fn() -> F) -> T {
    for _ in 0..200 {
        if let Ok(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("Redis never answered");
}

/// What a request has for an answer.
const BUDGET: Duration = Duration::from_millis(25);

async fn heard(listener: &mut super::Listener) -> Hint {
    tokio::time::timeout(Duration::from_secs(10), listener.next())
        .await
        .expect("a hint in time")
}

#[actix_web::test]
async fn without_redis_every_call_says_so_at_once_and_hints_stay_in_the_process() {
    let redis = Redis::off();
    assert_eq!(redis.get::<String>("key").await, Err(Unavailable));
    assert_eq!((redis.state(), redis.check().await), (State::Off, State::Off));
    let mut listener = redis.listen("wake:steps");
    redis.hint("wake:steps", "now");
    assert_eq!(heard(&mut listener).await, Hint::Said("now".into()));
}

#[actix_web::test]
async fn an_unreadable_address_is_named_by_its_key() {
    let refused = Redis::open(Some("localhost:6379"), "test", PATIENCE)
        .err()
        .expect("no scheme");
    assert!(format!("{refused:#}").contains("REDIS_URL"));
}

#[actix_web::test]
async fn nobody_at_the_address_costs_next_to_nothing() {
    let redis = Redis::open(Some("redis://127.0.0.1:1/0"), "test", PATIENCE).expect("readable");
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(redis.get::<String>("key").await, Err(Unavailable));
    }
    assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(redis.state(), State::Down);
}

#[actix_web::test]
async fn every_key_has_the_prefix_and_a_life_of_a_day_at_most() {
    let Some(server) = PrivateRedis::start() else { return };
    let redis = Redis::open(Some(&server.url()), "world-7", PATIENCE).expect("readable");
    settled(|| redis.set("name", "value", Duration::from_secs(7 * 86_400))).await;
    assert_eq!(settled(|| redis.get::<String>("name")).await.as_deref(), Some("value"));
    assert_eq!(settled(|| redis.get::<u64>("name")).await, None, "unreadable is a miss");
    let life = settled(|| redis.ask::<i64>("test", |_| cmd("PTTL").arg("world-7:name").take())).await;
    assert!((86_300_000..=86_400_000).contains(&life), "{life}");
    settled(|| redis.delete("name")).await;
    assert_eq!(settled(|| redis.get::<String>("name")).await, None);
}

#[actix_web::test]
async fn a_script_is_sent_once_and_again_after_the_server_forgot_it() {
    static SCRIPT: Script = Script::new("return {redis.call('PTTL', KEYS[1]), ARGV[1]}");
    let Some(mut server) = PrivateRedis::start() else {
        return;
    };
    let redis = Redis::open(Some(&server.url()), "test", PATIENCE).expect("readable");
    let ask = || redis.run::<(i64, String)>(&SCRIPT, &["absent"], &["seven"]);
    assert_eq!(settled(ask).await, (-2, "seven".into()));
    server.restart();
    assert_eq!(settled(ask).await, (-2, "seven".into()));
}

#[actix_web::test]
async fn a_hanging_server_costs_the_budget_three_times_and_then_nothing() {
    let Some(server) = PrivateRedis::start() else { return };
    let redis = Redis::open(Some(&server.url()), "test", BUDGET).expect("readable");
    settled(|| redis.ask::<Value>("test", |_| cmd("PING"))).await;
    server.hang();
    let mut waits = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(redis.get::<String>("key").await, Err(Unavailable));
        waits.push(begun.elapsed());
    }
    let opened = Instant::now();
    let shortest = waits.into_iter().min().expect("three");
    assert!((BUDGET..8 * BUDGET).contains(&shortest), "{shortest:?} at best");
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(redis.get::<String>("key").await, Err(Unavailable));
    }
    assert!(begun.elapsed() < 100 * BUDGET, "{:?}", begun.elapsed());
    assert_eq!((redis.state(), redis.check().await), (State::Down, State::Down));
    server.resume();
    settled(|| redis.ask::<Value>("test", |_| cmd("PING"))).await;
    assert!(
        opened.elapsed() > Duration::from_millis(4_900),
        "the rest was not kept: {:?}",
        opened.elapsed()
    );
    assert_eq!(redis.state(), State::Up);
}

#[actix_web::test]
async fn a_hint_reaches_other_processes_of_the_deployment_and_no_other_deployment() {
    let Some(server) = PrivateRedis::start() else { return };
    let open = |prefix| Redis::open(Some(&server.url()), prefix, PATIENCE).expect("readable");
    let (here, there, elsewhere) = (open("one"), open("one"), open("two"));
    let (mut own, mut other, mut foreign) = (
        here.listen("revoked"),
        there.listen("revoked"),
        elsewhere.listen("revoked"),
    );
    for listener in [&mut own, &mut other, &mut foreign] {
        assert_eq!(heard(listener).await, Hint::Missed, "the subscription has begun");
    }
    here.hint("revoked", "ses_1");
    assert_eq!(heard(&mut own).await, Hint::Said("ses_1".into()));
    assert_eq!(heard(&mut other).await, Hint::Said("ses_1".into()));
    let more = tokio::time::timeout(Duration::from_millis(200), async {
        tokio::select! { hint = own.next() => hint, hint = foreign.next() => hint }
    });
    assert!(more.await.is_err(), "told twice, or told to strangers");
}

#[actix_web::test]
async fn a_broken_subscription_is_said_and_made_again() {
    let Some(mut server) = PrivateRedis::start() else {
        return;
    };
    let open = || Redis::open(Some(&server.url()), "one", PATIENCE).expect("readable");
    let (here, there) = (open(), open());
    let mut listener = there.listen("wake");
    assert_eq!(heard(&mut listener).await, Hint::Missed);
    server.restart();
    assert_eq!(heard(&mut listener).await, Hint::Missed, "the connection broke");
    assert_eq!(heard(&mut listener).await, Hint::Missed, "it was made again");
    settled(|| here.ask::<Value>("test", |_| cmd("PING"))).await;
    here.hint("wake", "again");
    assert_eq!(heard(&mut listener).await, Hint::Said("again".into()));
}
