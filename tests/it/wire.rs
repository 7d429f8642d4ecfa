//! The wire: what the server answers to what is malformed or unexpected, and to handlers that misbehave.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use guildhall::app::api;
use serde_json::json;

use crate::world::{Caller, Wire, World};

#[actix_web::test]
async fn an_unknown_address_is_a_problem_and_never_a_page() {
    let world = World::new().await;
    let owner = world.owner();
    for path in [
        "/nothing",
        "/workspace/",
        "/WORKSPACE",
        "/workspace//",
        "/%00",
        "/%ff",
        "/workspace%2f",
        "/%57orkspace",
        "/..%2f..%2fetc/passwd",
    ] {
        owner.get(path).await.refused("route-not-found");
    }
    // Needless escapes are no other address (RFC 3986, 6.2.2.2).
    owner.get("/%77orkspac%65").await.ok();
    owner.get("/%2e%2e/workspace").await.refused("route-not-found");
    owner.get("/api/v2/workspace").await.refused("route-not-found");
    owner.get("/healthz/").await.refused("route-not-found");
    owner.get("/metrics").await.refused("route-not-found");
}

#[actix_web::test]
async fn nothing_has_a_name_with_u_0000() {
    let world = World::new().await;
    let owner = world.owner();
    let config = json!({ "model": "sandbox", "prompt": "a" });
    let agent = json!({ "name": "Echo", "framework": "openai", "config": config });
    let label = format!("{}/labels/a%00b", owner.post("/agents", agent).await.created().path());
    for (path, code) in [
        (label.as_str(), "not-found"),
        ("/event-types/%00", "not-found"),
        ("/inbox/stripe/%00", "method-not-allowed"),
    ] {
        owner.get(path).await.refused(code);
    }
    owner.delete(&label).await.refused("not-found");
    owner.put(&label, json!({ "number": 1 })).await.refused("not-found");
    world.anonymous().get(&label).await.refused("unauthenticated");
}

#[actix_web::test]
async fn a_method_that_is_not_there_is_told_which_are() {
    let world = World::new().await;
    for method in ["DELETE", "PUT", "OPTIONS", "TRACE", "BREW"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = world
            .owner()
            .ask(method, "/workspace", None)
            .await
            .refused("method-not-allowed");
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "GET, HEAD, PATCH")
        );
    }
}

#[actix_web::test]
async fn head_is_get_without_its_body() {
    let world = World::new().await;
    let owner = world.owner();
    let get = owner.get("/workspace").await.ok();
    let head = owner.ask(reqwest::Method::HEAD, "/workspace", None).await.ok();
    assert_eq!((head.header("etag"), head.text.as_str()), (get.header("etag"), ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    world.anonymous().ask(reqwest::Method::HEAD, "/nothing", None).await;
}

#[actix_web::test]
async fn what_is_no_http_is_refused_and_closed() {
    let world = World::new().await;
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|at| format!("x-{at}: y\r\n")).collect();
    for (bytes, status) in [
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_owned(), 400),
        (
            "POST /x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            400,
        ),
        ("POST /x HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), 400),
        (format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
        (
            format!(
                "GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
                "x".repeat(200_000)
            ),
            431,
        ),
    ] {
        let raw = Wire::exchange(&world.base, &bytes).await;
        assert_eq!(raw.status, status, "{:.60}", bytes);
        assert!(!raw.body.contains('<'), "{}", raw.body);
    }
    world.anonymous().get("/healthz").await.ok();
}

#[actix_web::test]
async fn a_slow_head_is_not_waited_for() {
    let world = World::new().await;
    let (begun, mut wire) = (Instant::now(), Wire::to(&world.base).await);
    wire.send("GET /healthz HTTP/1.1\r\n").await;
    let raw = wire.answer().await;
    assert!(matches!(raw.status, 0 | 408), "{}", raw.head);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(raw.closes().await);
}

#[actix_web::test]
async fn a_query_that_nobody_documented_is_refused_after_the_caller_is_known() {
    let world = World::new().await;
    let answer = world
        .owner()
        .get("/workspace?expnad=members")
        .await
        .refused("unknown-parameter");
    assert_eq!(
        (answer.status.as_u16(), answer.text_at("/errors/0/pointer").as_str()),
        (400, "query/expnad")
    );
    world.anonymous().get("/workspace?x=1").await.refused("unauthenticated");
    world
        .api_key(["members:read"])
        .get("/workspace?x=1")
        .await
        .refused("scope-missing");
    world
        .owner()
        .get("/workspace?limit=1")
        .await
        .refused("unknown-parameter");
    world.owner().get("/workspace?").await.ok();
    world.owner().get("/nothing?x=1").await.refused("route-not-found");
}

/// A second server of the same deployment, with handlers that misbehave.
async fn rogues(world: &World) -> String {
    async fn panics() -> HttpResponse {
        panic!("on purpose")
    }
    async fn panics_while_blocking() -> Result<HttpResponse, actix_web::Error> {
        web::block(|| panic!("on purpose, in a thread")).await?;
        Ok(HttpResponse::Ok().finish())
    }
    async fn sleeps() -> HttpResponse {
        std::future::pending().await
    }
    async fn breaks_off() -> HttpResponse {
        let chunks = futures_util::stream::iter(0..3).map(|at| match at {
            2 => panic!("on purpose, in a stream"),
            _ => Ok::<_, actix_web::Error>(web::Bytes::from_static(b"some")),
        });
        HttpResponse::Ok().streaming(chunks)
    }
    use futures_util::StreamExt;
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    let server = api::serve_with(world.deployment.clone(), socket, |config| {
        config
            .route("/dev/panics", web::get().to(panics))
            .route("/dev/blocks", web::get().to(panics_while_blocking))
            .route("/dev/sleeps", web::get().to(sleeps))
            .route("/dev/sleeps", web::post().to(sleeps))
            .route("/dev/breaks-off", web::get().to(breaks_off));
    });
    actix_web::rt::spawn(server.expect("a server"));
    base
}

#[actix_web::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    let world = World::new().await;
    let base = rogues(&world).await;
    for path in ["/dev/panics", "/dev/blocks"] {
        let raw = Wire::exchange(&base, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        raw.refused("internal");
        assert!(raw.status == 500 && !raw.body.contains("purpose"), "{}", raw.body);
    }
    let raw = Wire::exchange(&base, "GET /dev/breaks-off HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        !raw.body.ends_with("0\r\n\r\n"),
        "half an answer must not look whole: {}",
        raw.body
    );
    for _ in 0..4 {
        let raw = Wire::exchange(&base, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(raw.status, 200);
    }
}

#[actix_web::test]
async fn a_handler_that_takes_too_long_is_answered_for() {
    let world = World::new().await;
    let base = rogues(&world).await;
    let begun = Instant::now();
    let ask = |method: &str| format!("{method} /dev/sleeps HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let (get, post) = futures_util::join!(Wire::exchange(&base, ask("GET")), Wire::exchange(&base, ask("POST")));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for (raw, outcome) in [(get, "none"), (post, "unknown")] {
        raw.refused("deadline-exceeded");
        assert!(
            raw.head.contains("retry-after: ") && raw.body.contains(&format!(r#""outcome":"{outcome}""#)),
            "{}",
            raw.body
        );
    }
}

#[actix_web::test]
async fn a_version_that_there_is_not_is_refused() {
    let world = World::new().await;
    let asked = |version: &str| world.owner().get("/workspace").header("guildhall-version", version);
    asked("2026-11-01").await.ok();
    for version in ["2020-01-01", "foo", ""] {
        asked(version).await.refused("unknown-api-version");
    }
    for second in ["2026-11-01", "2020-01-01"] {
        let twice = asked("2026-11-01").header("guildhall-version", second).await;
        let pointer = twice.refused("invalid-header").text_at("/errors/0/pointer");
        assert_eq!(pointer, "header/Guildhall-Version");
    }
}

#[actix_web::test]
async fn a_request_names_one_workspace() {
    let world = World::new().await;
    let home = world.home().to_string();
    let twice = |caller: Caller| {
        let ask = caller.get("/workspace").header("guildhall-workspace", &home);
        ask.header("guildhall-workspace", &home)
    };
    let refused = twice(world.owner()).await.refused("invalid-header");
    assert_eq!(
        (refused.status.as_u16(), refused.text_at("/errors/0/pointer").as_str()),
        (400, "header/Guildhall-Workspace")
    );
    twice(world.anonymous()).await.refused("unauthenticated");
    world
        .owner()
        .get("/workspace")
        .header("guildhall-workspace", &home)
        .await
        .ok();
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn whoever_takes_nothing_of_its_answer_keeps_no_connection() {
    let world = World::new().await;
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    let served = socket.try_clone().expect("the same socket");
    let server = api::serve(world.deployment.clone(), socket).expect("a server");
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let served = socket2::SockRef::from(&served);
    assert_eq!(served.tcp_user_timeout().expect("an option"), Some(api::STALLED));
    // The same with less patience: connections get theirs from the socket that takes them.
    let patience = Duration::from_secs(1);
    served.set_tcp_user_timeout(Some(patience)).expect("an option");

    // Far more than all buffers on the way hold, and nobody who reads it.
    let ask = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stalled = Wire::to(&base).await;
    assert!(stalled.send(ask.repeat(100)).await);
    let begun = Instant::now();
    crate::world::patience::until("whoever reads nothing is hung up on", async || !stalled.send("x").await).await;
    assert!(begun.elapsed() >= patience, "{:?}", begun.elapsed());
    // Beside them, whoever reads is answered.
    let other = Wire::exchange(&base, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(other.status, 200);
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_question_that_is_no_text_is_refused_and_never_read_as_another() {
    let world = World::new().await;
    let owner = world.owner();
    for (query, name) in [
        ("metadata%5Bt%5D=%ff", "metadata[t]"),
        ("metadata%5Bt%5D=a%C3", "metadata[t]"),
        ("order=%C0%AF", "order"),
        ("%fe=1", ""),
        ("metadata%5Bt%5D=%zz", "metadata[t]"),
        ("metadata%5Bt%5D=100%", "metadata[t]"),
        ("metadata%5Bt%5D=%2", "metadata[t]"),
        ("limit%=1", ""),
    ] {
        let refused = owner.get(&format!("/customers?limit=1&{query}")).await;
        let refused = refused.refused("invalid-parameter");
        assert_eq!(refused.text_at("/errors/0/pointer"), format!("query/{name}"));
        assert_eq!(refused.text_at("/errors/0/code"), "invalid-characters");
    }
    for query in [
        "metadata%5Bt%5D=%C3%A4",
        "metadata%5Bt%5D=100%25",
        "metadata%5Bt%5D=%25zz",
        "metadata%5Bt%5D=%EF%BF%BD",
    ] {
        owner.get(&format!("/customers?{query}")).await.ok();
    }
}

#[actix_web::test]
async fn a_page_has_its_methods_too() {
    let world = World::new().await;
    for path in ["/auth/verify", "/auth/reset", "/docs", "/docs/"] {
        let page = world.anonymous().get(path).await;
        assert!(page.status.is_success() || page.status.is_redirection(), "{path}");
        for method in [reqwest::Method::POST, reqwest::Method::DELETE] {
            let answer = world.anonymous().ask(method, path, None).await;
            assert_eq!(
                answer.refused("method-not-allowed").header("allow"),
                "GET, HEAD",
                "{path}"
            );
        }
    }
}

#[actix_web::test]
async fn the_document_is_sent_once_to_whoever_has_it() {
    let world = World::new().await;
    for path in ["/openapi.json", "/openapi-3.0.json"] {
        let first = world.anonymous().get(path).await.ok();
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{tag}");
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = world.anonymous().get(path).header("if-none-match", &known).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), tag);
        }
        let other = world.anonymous().get(path).header("if-none-match", "\"x\"").await;
        assert_eq!(other.ok().text, first.text);
    }
}
