//! Bodies: slow ones, large ones, ones that are not what they say, and ones that cannot be kept.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    identity::{login, someone},
    world::{Wire, World, patience::at_its_best},
};

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
        wire.trickle("1\r\n \r\n", Duration::from_millis(900), 40).await;
        (wire.answer().await, begun.elapsed())
    };
    let ((silent, first), (trickling, second)) = futures_util::join!(silent, trickling);
    silent.refused("request-timeout");
    trickling.refused("request-timeout");
    assert!(silent.closes().await && trickling.closes().await);
    assert!((3..9).contains(&first.as_secs()), "{first:?}");
    assert!((10..30).contains(&second.as_secs()), "{second:?}");
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
    // A body is waited for three seconds at the least.
    at_its_best(Duration::from_secs(2), "an answer without the body", async || {
        let mut wire = Wire::to(&world.base).await;
        wire.send(patch(
            "nonsense",
            &format!("{JSON}transfer-encoding: chunked\r\n"),
            "1\r\n{\r\n",
        ))
        .await;
        let answer = wire.answer().await;
        answer.refused("token-invalid");
        assert!(answer.closes().await);
    })
    .await;
}

#[actix_web::test]
async fn a_list_is_taken_for_no_object() {
    let world = World::new().await;
    let (anybody, owner) = (world.anonymous(), world.owner());
    let address = world.email("list");
    let list = json!([address, "correct horse battery staple 9", null, null, null, null, null]);
    let refused = anybody.post("/auth/register", list).await.invalid("", "wrong-type");
    assert_eq!(refused.body["errors"][0]["detail"], "Expected an object.");
    anybody
        .post("/auth/register", json!("text"))
        .await
        .invalid("", "wrong-type");
    owner
        .patch("/workspace", json!(["Mine", null]))
        .await
        .invalid("", "wrong-type");
    owner
        .patch("/customers/cst_1", json!([]))
        .await
        .invalid("", "wrong-type");
    let policy = "pol_00000000000000000000000000";
    for (customer, pointer, code, detail) in [
        (
            json!(["ann@example.com", null]),
            "/customer",
            "wrong-type",
            "Expected a customer's id, or an object with an email.",
        ),
        (
            json!({ "email": "ann@example.com", "external_id": "7" }),
            "/customer/external_id",
            "unknown-field",
            "There is no such field.",
        ),
        (
            json!({ "name": "Ann" }),
            "/customer/email",
            "required",
            "This field is required.",
        ),
        (
            json!("cst_1"),
            "/customer",
            "not-found",
            "There is nothing with this id: cst_ and 26 characters would be one.",
        ),
    ] {
        let license = json!({ "policy_id": policy, "customer": customer });
        let refused = owner.post("/licenses", license).await.invalid(pointer, code);
        let said = refused.body["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(said.starts_with(detail), "{}", refused.text);
    }
}

#[actix_web::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let world = World::new().await;
    let refused = world.anonymous().post("/auth/register", json!({})).await;
    let refused = refused.invalid("/email", "required").invalid("/password", "required");
    assert_eq!(refused.body["detail"], "2 fields need attention.");
    let agent = json!({ "framework": "abacus", "name": 7, "slug": [], "tail": 1 });
    let refused = world.owner().post("/agents", agent).await;
    refused
        .invalid("/framework", "invalid-choice")
        .invalid("/name", "wrong-type")
        .invalid("/slug", "wrong-type")
        .invalid("/tail", "unknown-field");
    let product = world
        .owner()
        .patch("/products/prd_1", json!({ "name": 7, "code": 7 }))
        .await;
    product.invalid("/name", "wrong-type").invalid("/code", "immutable");
}

#[actix_web::test]
async fn null_clears_only_what_can_be_empty() {
    let world = World::new().await;
    let owner = world.owner();
    for path in [
        "/products/prd_1",
        "/policies/pol_1",
        "/customers/cus_1",
        "/agents/agt_1",
        "/workspace",
    ] {
        owner.patch(path, json!(null)).await.invalid("", "wrong-type");
    }
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let session = login(&world, &person).await;
    for (path, field) in [
        ("/me", "display_name"),
        ("/me", "time_zone"),
        ("/me/preferences", "theme"),
    ] {
        let refused = session.caller.patch(path, json!({ field: null })).await;
        refused.invalid(&format!("/{field}"), "wrong-type");
    }
    session
        .caller
        .patch("/me", json!({ "time_zone": "Mars/Phobos" }))
        .await
        .invalid("/time_zone", "invalid-format");
    session
        .caller
        .patch(
            "/me",
            json!({ "time_zone": "America/Argentina/Ushuaia", "username": null }),
        )
        .await
        .ok();
    owner
        .patch("/workspace", json!({ "name": null }))
        .await
        .invalid("/name", "wrong-type");
    session
        .caller
        .patch("/api-keys/key_1", json!({ "ip_allowlist": null }))
        .await
        .invalid("/ip_allowlist", "wrong-type");
    owner
        .patch("/webhook-endpoints/whe_1", json!({ "events": null }))
        .await
        .invalid("/events", "wrong-type");
    owner
        .patch("/agents/agt_1", json!({ "config": null }))
        .await
        .invalid("/config", "wrong-type");
}

#[actix_web::test]
async fn where_every_field_may_be_absent_the_body_may_be_too() {
    let world = World::new().await;
    let owner = world.owner();
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["*"] });
    let endpoint = owner.post("/webhook-endpoints", hook).await.created();
    let rotate = format!("{}/secret/rotate", endpoint.path());
    owner
        .act(&rotate)
        .header("if-match", "\"99\"")
        .await
        .refused("version-mismatch");
    owner.act(&rotate).await.ok();
    owner.act("/runs/run_1/cancel").await.refused("not-found");
    owner.act("/products").await.refused("unsupported-media-type");
    let document = world.anonymous().get("/openapi.json").await.ok().body;
    let needed = |path: &str| document["paths"][path]["post"]["requestBody"]["required"].clone();
    assert_eq!(needed("/api/v1/runs/{id}/cancel"), false);
    assert_eq!(needed("/api/v1/products"), true);
}
