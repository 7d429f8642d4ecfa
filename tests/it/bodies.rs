//! Bodies: slow ones, large ones, ones that are not what they say, and ones that cannot be kept.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{Wire, World};

const JSON: &str = "content-type: application/json\r\n";

fn patch(key: &str, headers: &str, body: &str) -> String {
    format!("PATCH /api/v1/workspace HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{headers}\r\n{body}")
}

#[actix_web::test]
async fn a_slow_body_is_told_so_and_closed() {
    let world = World::new().await;
    let owner = world.owner();
    let key = owner.credential();
    let silent = async {
        let (begun, mut wire) = (Instant::now(), Wire::to(&world.base).await);
        wire.send(patch(key, &format!("{JSON}content-length: 100\r\n"), "{"))
            .await;
        (wire.answer().await, begun.elapsed())
    };
    let trickling = async {
        let (begun, mut wire) = (Instant::now(), Wire::to(&world.base).await);
        wire.send(patch(key, &format!("{JSON}transfer-encoding: chunked\r\n"), ""))
            .await;
        wire.trickle("1\r\n \r\n", Duration::from_millis(900), 14).await;
        (wire.answer().await, begun.elapsed())
    };
    let ((silent, first), (trickling, second)) = futures_util::join!(silent, trickling);
    silent.refused("request-timeout");
    trickling.refused("request-timeout");
    assert!(silent.closes().await && trickling.closes().await);
    assert!((3..6).contains(&first.as_secs()), "{first:?}");
    assert!((10..16).contains(&second.as_secs()), "{second:?}");
}

#[actix_web::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let world = World::new().await;
    let owner = world.owner();
    let mut wire = Wire::to(&world.base).await;
    wire.send(patch(
        owner.credential(),
        &format!("{JSON}content-length: 30\r\n"),
        r#"{"name":"Half"#,
    ))
    .await;
    wire.break_off().await;
    assert_eq!(owner.get("/workspace").await.ok().text_at("/name"), "home");
}

#[actix_web::test]
async fn a_body_that_is_too_large_is_refused_before_it_arrives() {
    let world = World::new().await;
    let owner = world.owner();
    let announced = Wire::exchange(
        &world.base,
        patch(owner.credential(), &format!("{JSON}content-length: 300000\r\n"), ""),
    )
    .await;
    announced.refused("body-too-large");
    assert!(
        announced.status == 413 && announced.head.contains("connection: close"),
        "{}",
        announced.head
    );
    assert!(announced.closes().await);

    let mut chunked = Wire::to(&world.base).await;
    chunked
        .send(patch(
            owner.credential(),
            &format!("{JSON}transfer-encoding: chunked\r\n"),
            "",
        ))
        .await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
    for _ in 0..5 {
        chunked.send(&chunk).await;
    }
    chunked.answer().await.refused("body-too-large");
}

#[actix_web::test]
async fn only_plain_json_is_read() {
    let world = World::new().await;
    let owner = world.owner();
    let body = r#"{"name":"New"}"#;
    let patch = |media: &str| owner.ask(reqwest::Method::PATCH, "/workspace", None).raw(media, body);
    for media in [
        "text/plain",
        "application/xml",
        "application/json; charset=latin1",
        "multipart/form-data; boundary=x",
        "json",
    ] {
        patch(media).await.refused("unsupported-media-type");
    }
    for media in [
        "application/json",
        "application/merge-patch+json",
        "application/json; charset=UTF-8",
        "APPLICATION/JSON",
    ] {
        patch(media).await.ok();
    }
    for coding in ["gzip", "br", "deflate", "gzip, identity"] {
        patch("application/json")
            .header("content-encoding", coding)
            .await
            .refused("unsupported-media-type");
    }
    let bare = Wire::exchange(
        &world.base,
        self::patch(owner.credential(), "content-length: 14\r\n", body),
    )
    .await;
    bare.refused("unsupported-media-type");
}

#[actix_web::test]
async fn a_document_that_cannot_be_kept_says_where() {
    let world = World::new().await;
    let owner = world.owner();
    let patch = |body: &str| {
        owner
            .ask(reqwest::Method::PATCH, "/workspace", None)
            .raw("application/json", body.to_owned())
    };
    for body in [
        "",
        "{",
        "[1,]",
        "nul",
        "{\"name\":\"\u{1}\"}",
        "{}{}",
        "{\"name\": NaN}",
        "\u{feff}{}",
    ] {
        patch(body).await.refused("invalid-json");
    }
    for depth in [70, 200, 50_000] {
        patch(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)))
            .await
            .refused("invalid-json");
    }
    let invalid = owner
        .ask(reqwest::Method::PATCH, "/workspace", None)
        .raw("application/json", vec![b'"', 0xff, b'"']);
    invalid.await.refused("invalid-json");
    patch(r#"{"name":"a\u0000b"}"#)
        .await
        .invalid("/name", "invalid-characters");
    patch(r#"{"a\u0000b":1}"#)
        .await
        .invalid("/a\u{fffd}b", "invalid-characters");
    patch(&json!({ "name": vec![0; 1_001] }).to_string())
        .await
        .invalid("/name", "too-many");
    patch(r#"{"name":"New","nmae":"x"}"#)
        .await
        .invalid("/nmae", "unknown-field");
    patch(r#"{"name":7}"#).await.invalid("/name", "wrong-type");
    assert_eq!(owner.get("/workspace").await.ok().text_at("/name"), "home");
}

#[actix_web::test]
async fn nobody_waits_for_a_body_that_nobody_reads() {
    let world = World::new().await;
    let (begun, mut wire) = (Instant::now(), Wire::to(&world.base).await);
    wire.send(patch(
        "nonsense",
        &format!("{JSON}transfer-encoding: chunked\r\n"),
        "1\r\n{\r\n",
    ))
    .await;
    let answer = wire.answer().await;
    answer.refused("token-invalid");
    assert!(answer.closes().await);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
