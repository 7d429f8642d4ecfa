//! The front door: who came, how much they may ask for, which pages may call, and whether the process should be asked at all.

use std::{net::TcpListener, ops::RangeInclusive, time::Instant};

use diesel::connection::SimpleConnection;
use guildhall::app::admin;
use reqwest::Method;
use serde_json::json;

use crate::world::{Answer, Caller, World};

const APP: &str = "https://app.example.com";

async fn limited(more: &[(&str, &str)]) -> World {
    let mut settings = vec![("LIMITS__FACTOR", "1"), ("SERVER__TRUSTED_PROXIES", "127.0.0.0/8")];
    settings.extend_from_slice(more);
    World::with(&settings).await
}

/// The world without a credential, behind a proxy, at this address.
fn at(world: &World, address: &str) -> Caller {
    world.anonymous().with("x-forwarded-for", address)
}

/// How many may pass a bucket that was full when the asking began: what it held, what came back meanwhile, and a few.
fn passing(burst: usize, a_minute: usize, begun: Instant) -> RangeInclusive<usize> {
    let came_back = begun.elapsed().as_secs_f64() * a_minute as f64 / 60.0;
    burst..=burst + came_back.ceil() as usize + 8
}

/// How many of so many requests were not limited.
async fn passed(caller: &Caller, path: &str, requests: usize) -> (usize, Option<Answer>) {
    let (mut passed, mut refused) = (0, None);
    for _ in 0..requests {
        let answer = caller.get(path).await;
        match answer.status.as_u16() {
            429 => refused = Some(answer),
            _ => passed += 1,
        }
    }
    (passed, refused)
}

#[actix_web::test]
async fn every_answer_is_dressed() {
    let world = World::new().await;
    for answer in [
        world.owner().get("/workspace").await.ok(),
        world.anonymous().get("/workspace").await.refused("unauthenticated"),
        world.owner().get("/nothing").await.refused("route-not-found"),
        world.anonymous().get("/healthz").await.ok(),
    ] {
        for (name, value) in [
            ("guildhall-version", "2026-11-01"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("server", ""),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        assert!(answer.header("x-request-id").starts_with("req_"));
        assert!(!answer.header("cache-control").is_empty());
    }
}

#[actix_web::test]
async fn a_request_keeps_the_name_that_a_trusted_proxy_gave_it() {
    let trusting = limited(&[]).await;
    let named = |world: &World, id: &str| world.anonymous().get("/nothing").header("x-request-id", id);
    let kept = named(&trusting, "edge-7f3a21").await.refused("route-not-found");
    assert_eq!(kept.header("x-request-id"), "edge-7f3a21");
    for odd in ["short", "has space inside", "quote\"quote"] {
        assert!(
            named(&trusting, odd).await.header("x-request-id").starts_with("req_"),
            "{odd}"
        );
    }
    let alone = World::with(&[("SERVER__TRUSTED_PROXIES", "192.0.2.1/32")]).await;
    assert!(
        named(&alone, "edge-7f3a21")
            .await
            .header("x-request-id")
            .starts_with("req_")
    );
}

#[actix_web::test]
async fn strangers_are_limited_by_address_and_told_how() {
    let world = limited(&[]).await;
    let begun = Instant::now();
    let (passed_here, refused) = passed(&at(&world, "203.0.113.1"), "/workspace", 70).await;
    assert!(passing(50, 100, begun).contains(&passed_here), "{passed_here}");
    let refused = refused.expect("some were limited").refused("rate-limited");
    assert_eq!(
        (refused.text_at("/bucket").as_str(), &refused.body["limit"]),
        ("anonymous", &json!(100))
    );
    assert_eq!(refused.body["window_seconds"], 60);
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|after| after >= 1)
    );
    assert_eq!(
        refused.header("ratelimit-policy"),
        "\"anonymous\";q=100;w=60, \"ip\";q=3000;w=60"
    );
    assert!(refused.header("ratelimit").starts_with("\"anonymous\";r=0;t="));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let elsewhere = at(&world, "203.0.113.2")
        .get("/workspace")
        .await
        .refused("unauthenticated");
    assert_eq!(elsewhere.header("x-ratelimit-limit"), "100");
    at(&world, "203.0.113.1").get("/healthz").await.ok();
    let preflight = at(&world, "203.0.113.1").ask(Method::OPTIONS, "/workspace", None);
    let preflight = preflight
        .header("origin", APP)
        .header("access-control-request-method", "GET")
        .await;
    assert_eq!(preflight.status.as_u16(), 204, "preflights are never limited");
}

#[actix_web::test]
async fn a_made_up_address_does_not_help() {
    let world = limited(&[("SERVER__TRUSTED_PROXIES", "198.51.100.0/24")]).await;
    let (begun, mut reached) = (Instant::now(), 0);
    for made_up in 0..200 {
        let caller = at(&world, &format!("198.18.{}.{}", made_up / 250, made_up % 250));
        let caller = caller.with("forwarded", &format!("for=10.0.0.{made_up}"));
        reached += passed(&caller, "/workspace", 1).await.0;
    }
    assert!(
        passing(50, 100, begun).contains(&reached),
        "{reached}: all from one peer"
    );
}

#[actix_web::test]
async fn a_household_of_version_6_is_one_caller() {
    let world = limited(&[]).await;
    let (begun, mut reached) = (Instant::now(), 0);
    for host in 0..120 {
        let household = at(&world, &format!("2001:db8:7:7::{host:x}"));
        reached += passed(&household, "/workspace", 1).await.0;
    }
    assert!(passing(50, 100, begun).contains(&reached), "{reached}");
}

#[actix_web::test]
async fn a_known_key_is_limited_by_its_plan_and_not_as_a_stranger() {
    let world = limited(&[]).await;
    let owner = world.owner().with("x-forwarded-for", "203.0.113.3");
    let begun = Instant::now();
    let (passed_here, refused) = passed(&owner, "/workspace", 140).await;
    assert!(passing(120, 120, begun).contains(&passed_here), "{passed_here}");
    assert_eq!(
        refused.expect("limited").refused("rate-limited").text_at("/bucket"),
        "credential"
    );
    let other = world
        .owner()
        .with("x-forwarded-for", "203.0.113.3")
        .get("/workspace")
        .await
        .ok();
    let policy = other.header("ratelimit-policy").to_owned();
    assert!(
        policy.contains("\"workspace\";q=300;w=60") && !policy.contains("anonymous"),
        "{policy}"
    );
}

#[actix_web::test]
async fn a_bad_key_is_a_stranger_and_so_is_who_asks_for_another_version() {
    let world = limited(&[]).await;
    for caller in [
        at(&world, "203.0.113.4").bearer("gld_test_pk_nonsense"),
        at(&world, "203.0.113.5").with("guildhall-version", "2020-01-01"),
    ] {
        let begun = Instant::now();
        let (passed_here, refused) = passed(&caller, "/workspace", 70).await;
        assert!(passing(50, 100, begun).contains(&passed_here), "{passed_here}");
        assert_eq!(refused.expect("limited").text_at("/bucket"), "anonymous");
    }
}

#[actix_web::test]
async fn only_known_pages_may_send_cookies() {
    let world = World::with(&[("CORS__ORIGINS", APP)]).await;
    let read = async |origin: &str, path: &str| {
        let answer = world.owner().get(path).header("origin", origin).await;
        assert!(answer.header("vary").starts_with("Origin"), "{}", answer.header("vary"));
        let told = |name: &str| answer.header(name).to_owned();
        (
            told("access-control-allow-origin"),
            told("access-control-allow-credentials"),
        )
    };
    for own in [APP, world.base.as_str()] {
        assert_eq!(read(own, "/workspace").await, (own.to_owned(), "true".to_owned()));
    }
    for other in [
        "null",
        "https://app.example.com.evil.io",
        "http://app.example.com",
        "https://evil.io",
    ] {
        assert_eq!(
            read(other, "/workspace").await,
            (String::new(), String::new()),
            "{other}"
        );
        assert_eq!(
            read(other, "/openapi.json").await,
            ("*".to_owned(), String::new()),
            "{other}"
        );
    }
    let exposed = world.owner().get("/workspace").header("origin", APP).await;
    let exposed = exposed.header("access-control-expose-headers").to_ascii_lowercase();
    for name in [
        "ratelimit",
        "retry-after",
        "etag",
        "location",
        "x-request-id",
        "idempotency-replayed",
    ] {
        assert!(exposed.split(", ").any(|one| one == name), "{name}");
    }
}

#[actix_web::test]
async fn a_preflight_allows_each_documented_header() {
    let world = World::with(&[("CORS__ORIGINS", APP)]).await;
    for header in guildhall::kernel::http::headers::READ {
        let ask = world.anonymous().ask(Method::OPTIONS, "/workspace", None);
        let ask = ask
            .header("origin", APP)
            .header("access-control-request-method", "PATCH");
        let answer = ask.header("access-control-request-headers", header).await;
        assert_eq!(answer.status.as_u16(), 204);
        let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
        assert!(
            allowed.split(", ").any(|one| one == header.to_ascii_lowercase()),
            "{header}"
        );
        assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, PATCH");
        assert_eq!(answer.header("access-control-max-age"), "7200");
    }
    let stranger = world.anonymous().ask(Method::OPTIONS, "/workspace", None);
    let stranger = stranger
        .header("origin", "https://evil.io")
        .header("access-control-request-method", "GET")
        .await;
    assert_eq!(stranger.header("access-control-allow-origin"), "");
}

/// The admin listener of a world.
async fn admin_of(world: &World) -> Caller {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    actix_web::rt::spawn(admin::serve(world.deployment.clone(), socket).expect("a server"));
    Caller::new(reqwest::Client::new(), &base, None)
}

#[actix_web::test]
async fn metrics_and_details_are_on_the_admin_listener_only() {
    let world = World::new().await;
    world.owner().get("/workspace").await.ok();
    let admin = admin_of(&world).await;
    let metrics = admin.ask(Method::GET, "/metrics", None).await.ok().text;
    for line in [
        "guildhall_http_requests_total{code=\"\",operation=\"workspace_get\",status=\"2xx\"}",
        "guildhall_http_request_seconds_bucket{operation=\"workspace_get\"",
        "guildhall_gate_permits{class=\"interactive\"}",
        "guildhall_db_connections{pool=\"tenant\",state=\"idle\"}",
        "guildhall_db_up 1",
        "guildhall_build_info{",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let ids = [world.home().to_string(), world.home().uuid().to_string()];
    assert!(ids.iter().all(|id| !metrics.contains(id)), "no workspace in a label");
    let detailed = admin.get("/readyz?verbose").await.ok();
    assert_eq!(detailed.body["dependencies"]["database"], "up");
    world.owner().get("/readyz?verbose").await.refused("unknown-parameter");
    world.owner().get("/metrics").await.refused("route-not-found");
}

#[actix_web::test]
async fn events_that_nobody_signed_are_few_and_do_not_reach_the_database() {
    let secrets = ("STRIPE__WEBHOOK_SECRETS", "whsec_one");
    let world = limited(&[("LIMITS__IP_PER_MINUTE", "60"), ("LIMITS__IP_BURST", "6"), secrets]).await;
    let unknown = "/inbox/stripe/con_01jd8qv4x2fkr9s3m5n7p0t1wz";
    let door = at(&world, "203.0.113.40");
    let send = |path: &str| {
        door.act(path)
            .header("stripe-signature", "t=1,v1=00")
            .raw("application/json", "{}")
    };
    send(unknown).await.refused("not-found");
    let mut busy = world.superuser();
    busy.batch_execute("BEGIN; LOCK TABLE guildhall.stripe_connections IN ACCESS EXCLUSIVE MODE")
        .expect("the lock");
    send(unknown).await.refused("not-found");
    for _ in 0..3 {
        send("/inbox/stripe/platform").await.refused("invalid-signature");
    }
    let mut limited = 0;
    for _ in 0..20 {
        let answer = send("/inbox/stripe/platform").await;
        match answer.text_at("/code").as_str() {
            "rate-limited" => limited += i32::from(answer.refused("rate-limited").text_at("/bucket") == "ip"),
            code => assert_eq!(code, "invalid-signature"),
        }
    }
    assert!(limited >= 10, "{limited}");
}

#[actix_web::test]
async fn what_concerns_credentials_believes_no_memory() {
    let world = World::new().await;
    let asks = |method: &str, path: &str| {
        let method = method.parse().expect("a method");
        let found = world.deployment.operations.find(&method, &format!("/api/v1{path}"));
        found.unwrap_or_else(|| panic!("{path}")).is_sensitive()
    };
    for (method, path) in [
        ("POST", "/me/password"),
        ("POST", "/auth/step-up"),
        ("POST", "/me/sessions/revoke-others"),
        ("DELETE", "/me/sessions/ses_1"),
        ("PATCH", "/me"),
        ("POST", "/workspaces"),
        ("POST", "/api-keys"),
        ("DELETE", "/api-keys/key_1"),
        ("PATCH", "/members/mem_1"),
        ("POST", "/webhook-endpoints/whe_1/secret/reveal"),
    ] {
        assert!(asks(method, path), "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/me"),
        ("GET", "/agents"),
        ("POST", "/agents"),
        ("GET", "/api-keys"),
    ] {
        assert!(!asks(method, path), "{method} {path}");
    }
}
