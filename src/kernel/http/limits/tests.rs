mod keys;
mod together;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Ask, Home, Limits, Quota, Shown, Verdict, local::Local};
use crate::kernel::{
    config,
    id::WorkspaceId,
    redis::{
        Redis,
        testing::{PATIENCE, PrivateRedis},
    },
};

fn settings() -> config::Limits {
    config::Limits {
        enabled: true,
        factor: 1,
        anonymous_per_minute: 100,
        anonymous_burst: 50,
        ip_per_minute: 3_000,
        ip_burst: 600,
    }
}

fn home() -> Home {
    Home::workspace(WorkspaceId::from_uuid(Uuid::new_v4()))
}

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)))
}

/// A process of the deployment whose Redis this is.
async fn process(server: &PrivateRedis, prefix: &str) -> Limits {
    let redis = Redis::open(Some(&server.url()), prefix, PATIENCE).expect("readable");
    while redis.check().await != crate::kernel::redis::State::Up {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Limits::new(settings(), redis, 1)
}

fn alone(replicas: u32) -> Limits {
    Limits::new(settings(), Redis::off(), replicas)
}

/// How many may pass a bucket of strangers that was full when the asking began.
fn strangers_since(begun: Instant) -> std::ops::RangeInclusive<usize> {
    50..=56 + (begun.elapsed().as_secs_f64() * 100.0 / 60.0).ceil() as usize
}

/// How many of so many requests pass.
async fn passed(limits: &Limits, home: &Home, asks: &[Ask], requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(limits.check(home, asks).await.is_allowed());
    }
    passed
}

fn left(verdict: &Verdict, bucket: &str) -> u32 {
    let found = verdict.standings().iter().find(|standing| standing.bucket == bucket);
    found.expect("the bucket was asked").left
}

/// Slow enough that nothing comes back while a test runs.
const SLOW: Quota = Quota::per_hour(20);

#[actix_web::test]
async fn a_burst_passes_and_the_next_one_is_told_when_to_come_back() {
    for limits in both(1).await {
        let (home, ask) = (home(), [Ask::new("export", SLOW)]);
        let begun = Instant::now();
        assert_eq!(passed(&limits, &home, &ask, 30).await, 20);
        let refused = limits.check(&home, &ask).await;
        let wait = refused.refused().and_then(|standing| standing.wait).expect("refused");
        let whole = wait + begun.elapsed();
        assert!(
            whole >= Duration::from_secs(179) && wait <= Duration::from_secs(180),
            "{wait:?}"
        );
        assert_eq!(
            passed(&limits, &Home::address(address(1)), &ask, 1).await,
            1,
            "another home"
        );
    }
}

/// The limits of one process: with Redis where there is one, and without.
async fn both(replicas: u32) -> Vec<Limits> {
    thread_local! { static SERVER: Option<PrivateRedis> = PrivateRedis::start(); }
    let url = SERVER.with(|server| server.as_ref().map(PrivateRedis::url));
    let mut all = vec![alone(replicas)];
    if let Some(url) = url {
        let redis = Redis::open(Some(&url), "both", PATIENCE).expect("readable");
        while redis.check().await != crate::kernel::redis::State::Up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        all.push(Limits::new(settings(), redis, replicas));
    }
    all
}

#[actix_web::test]
async fn what_an_own_bucket_refused_is_given_back_to_the_address_as_far_as_one_program_goes() {
    for limits in both(1).await {
        let (home, address, begun) = (Home::address(address(9)), address(9), Instant::now());
        let mut arrived = Verdict::default();
        for asked in 0..100 {
            arrived = limits.arrive(address, Shown::Known).await.verdict;
            assert!(arrived.is_allowed(), "{asked}: {arrived:?}");
            limits.forgive(address, &arrived).await;
        }
        assert!(passed(&limits, &home, &[super::buckets::address(&settings())], 550).await == 550);
        // Whoever goes on is bounded by the address as everybody is.
        let mut came = 0;
        while limits.arrive(address, Shown::Known).await.verdict.is_allowed() {
            came += 1;
            limits.forgive(address, &arrived).await;
        }
        let back = (begun.elapsed().as_secs_f64() * 100.0).ceil() as usize;
        assert!(came <= 180 + back, "{came} in {:?}", begun.elapsed());
    }
}

#[actix_web::test]
async fn tokens_come_back_one_by_one() {
    for limits in both(1).await {
        let (home, ask) = (home(), [Ask::new("read", Quota::per_second(20).burst(2))]);
        assert_eq!(passed(&limits, &home, &ask, 2).await, 2);
        let begun = Instant::now();
        let mut came = 0;
        while begun.elapsed() < Duration::from_millis(1_000) {
            came += passed(&limits, &home, &ask, 1).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((10..=(20.0 * took) as usize + 3).contains(&came), "{came} in {took} s");
    }
}

#[actix_web::test]
async fn a_request_passes_all_its_buckets_or_takes_from_none() {
    let Some(server) = PrivateRedis::start() else { return };
    let limits = process(&server, "all-or-nothing").await;
    let home = home();
    let asks = [Ask::new("workspace", SLOW), Ask::new("execute", SLOW.burst(3))];
    assert_eq!(passed(&limits, &home, &asks, 10).await, 3);
    let workspace = limits.check(&home, &asks[..1]).await;
    assert_eq!(
        left(&workspace, "workspace"),
        20 - 3 - 1,
        "refused requests took from the other bucket"
    );
}

#[actix_web::test]
async fn what_costs_more_than_the_burst_needs_a_full_bucket_and_leaves_a_debt() {
    let Some(server) = PrivateRedis::start() else { return };
    let limits = process(&server, "debt").await;
    let (home, quota) = (home(), Quota::per_minute(60).burst(10));
    let batch = Ask {
        cost: 40,
        ..Ask::new("execute", quota)
    };
    assert!(limits.check(&home, &[batch]).await.is_allowed());
    let next = limits.check(&home, &[Ask::new("execute", quota)]).await;
    let wait = next.refused().and_then(|standing| standing.wait).expect("in debt");
    assert!(wait > Duration::from_secs(29), "30 tokens are owed: {wait:?}");
}

#[actix_web::test]
async fn a_busy_key_is_spent_from_the_purse_and_a_refusal_puts_everything_back() {
    let Some(mut server) = PrivateRedis::start() else {
        return;
    };
    let limits = process(&server, "purse").await;
    let (home, busy) = (home(), Ask::new("workspace", Quota::per_second(2_000)));
    let first = limits.check(&home, std::slice::from_ref(&busy)).await;
    assert_eq!(left(&first, "workspace"), 1_999);
    // The server forgets everything, so whatever passes now without a call is spent from the purse: 199 of a batch of 200.
    server.restart();
    let second = limits.check(&home, std::slice::from_ref(&busy)).await;
    assert_eq!(left(&second, "workspace"), 1_998);
    let closed = Ask::new("execute", SLOW.burst(1));
    for _ in 0..20 {
        let _one_passes = limits.check(&home, &[busy, closed]).await;
    }
    let after = left(&limits.check(&home, std::slice::from_ref(&busy)).await, "workspace");
    assert!(
        (1_950..=1_997).contains(&after),
        "twenty refusals took tokens: {after} left"
    );
}

#[actix_web::test]
async fn a_hanging_redis_costs_the_budget_until_the_breaker_opens_and_at_most_twice_the_limit_passes() {
    let Some(server) = PrivateRedis::start() else { return };
    let limits = process(&server, "hung").await;
    let (home, ask) = (home(), [Ask::new("workspace", SLOW)]);
    assert_eq!(passed(&limits, &home, &ask, 25).await, 20);
    server.hang();
    let mut passed_later = 0;
    let mut waits = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        passed_later += usize::from(limits.check(&home, &ask).await.is_allowed());
        waits.push(begun.elapsed());
    }
    assert_eq!(passed_later, 20, "fresh counters: twice the limit, no more");
    let waited = waits.iter().filter(|took| **took >= PATIENCE).count();
    assert!((1..=10).contains(&waited), "{waited} of 500 waited for it");
    server.resume();
}

#[actix_web::test]
async fn a_flushed_redis_forgets_but_never_breaks() {
    let Some(mut server) = PrivateRedis::start() else {
        return;
    };
    let limits = process(&server, "flushed").await;
    let (home, ask) = (home(), [Ask::new("workspace", SLOW)]);
    assert_eq!(passed(&limits, &home, &ask, 25).await, 20);
    server.restart();
    let after = passed(&limits, &home, &ask, 60).await;
    assert!(
        (20..=40).contains(&after),
        "{after}: its own fresh count, and the fallback's at most"
    );
}

#[actix_web::test]
async fn every_key_expires_by_itself() {
    let Some(server) = PrivateRedis::start() else { return };
    let redis = Redis::open(Some(&server.url()), "life", PATIENCE).expect("readable");
    let limits = process(&server, "life").await;
    let home = home();
    let asks = [
        Ask::new("export", Quota::every(1, Duration::from_secs(7 * 86_400))),
        Ask::new("read", Quota::per_second(5)),
    ];
    assert!(limits.check(&home, &asks).await.is_allowed());
    static LIVES: crate::kernel::redis::Script =
        crate::kernel::redis::Script::new("return {redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2])}");
    let keys = [home.key(&asks[0]).to_string(), home.key(&asks[1]).to_string()];
    let lives: Vec<i64> = redis.run(&LIVES, &[&keys[0], &keys[1]], &[0]).await.expect("up");
    assert!(lives[0] > 86_000_000 && lives[0] <= 86_400_000, "{lives:?}");
    assert!(lives[1] > 0 && lives[1] <= 200, "{lives:?}");
}

#[actix_web::test]
async fn a_good_credential_gets_its_token_back_and_a_bad_one_does_not() {
    let Some(server) = PrivateRedis::start() else { return };
    let limits = process(&server, "credentials").await;
    for _ in 0..60 {
        let arrival = limits.arrive(address(1), Shown::Unknown).await;
        assert!(arrival.verdict.is_allowed(), "good credentials are not strangers");
        let verdict = limits.settle(arrival, true).await;
        assert!(
            verdict
                .standings()
                .iter()
                .all(|standing| standing.bucket != "anonymous")
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (begun, mut looked_up) = (Instant::now(), 0);
    for _ in 0..80 {
        let arrival = limits.arrive(address(2), Shown::Unknown).await;
        looked_up += usize::from(arrival.verdict.is_allowed());
        limits.settle(arrival, false).await;
    }
    assert!(
        strangers_since(begun).contains(&looked_up),
        "{looked_up} guesses reached the database"
    );
    assert!(!limits.arrive(address(2), Shown::Nothing).await.verdict.is_allowed());
    assert!(limits.arrive(address(2), Shown::Known).await.verdict.is_allowed());
}

#[actix_web::test]
async fn alone_a_bad_credential_pays_when_it_proved_bad() {
    let limits = alone(1);
    for _ in 0..200 {
        let arrival = limits.arrive(address(1), Shown::Unknown).await;
        assert!(
            limits.settle(arrival, true).await.is_allowed(),
            "good credentials do not pay"
        );
    }
    let (begun, mut answered) = (Instant::now(), 0);
    for _ in 0..80 {
        let arrival = limits.arrive(address(2), Shown::Unknown).await;
        answered += usize::from(limits.settle(arrival, false).await.is_allowed());
    }
    assert!(strangers_since(begun).contains(&answered), "{answered}");
    assert!(!limits.arrive(address(2), Shown::Nothing).await.verdict.is_allowed());
}

#[actix_web::test]
async fn replicas_divide_the_limit_when_each_judges_alone() {
    let limits = alone(4);
    assert_eq!(passed(&limits, &home(), &[Ask::new("workspace", SLOW)], 30).await, 5);
    assert_eq!(
        passed(&limits, &home(), &[Ask::new("workspace", SLOW.burst(2))], 30).await,
        1,
        "never less than one"
    );
}

#[actix_web::test]
async fn switched_off_everything_passes_and_nothing_is_said() {
    let limits = Limits::new(
        config::Limits {
            enabled: false,
            ..settings()
        },
        Redis::off(),
        1,
    );
    let verdict = limits.check(&home(), &[Ask::new("export", SLOW.burst(1))]).await;
    assert!(verdict.is_allowed() && verdict.headers().next().is_none());
    assert!(
        limits
            .arrive(None, Shown::Unknown)
            .await
            .verdict
            .headers()
            .next()
            .is_none()
    );
}

#[actix_web::test]
async fn ten_thousand_neighbours_in_one_network_are_one_caller() {
    let limits = alone(1);
    let (begun, mut passed) = (Instant::now(), 0);
    for last in 0..10_000_u64 {
        let address = Ipv6Addr::from_bits((0x2001_0db8_0001_0002_u128 << 64) | u128::from(last));
        passed += usize::from(
            limits
                .arrive(Some(address.into()), Shown::Nothing)
                .await
                .verdict
                .is_allowed(),
        );
    }
    assert!(strangers_since(begun).contains(&passed), "{passed}");
}
