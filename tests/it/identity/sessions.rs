use serde_json::json;

use super::{PASSWORD, Signed, is_over_within_a_second, login, renew, someone};
use crate::world::World;

#[actix_web::test]
async fn a_person_sees_where_they_are_signed_in() {
    let world = World::new().await;
    let person = someone(&world).await;
    let body = json!({ "identifier": person.email, "password": PASSWORD });
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    world
        .anonymous()
        .with("user-agent", agent)
        .post("/auth/login", body)
        .await
        .ok();
    world.clock.advance(chrono::Duration::seconds(5));
    let here = login(&world, &person).await;

    let listed = here.caller.get("/me/sessions").await.ok();
    assert_eq!(listed.text_at("/data/0/id"), here.session);
    for list in ["/me/sessions", "/me/workspaces", "/workspaces"] {
        let body = here.caller.get(list).await.ok().body;
        assert!(
            body["next_cursor"].is_null() && body["has_more"] == false,
            "{list}: {body}"
        );
        assert!(
            body.as_object().is_some_and(|body| body.contains_key("next_cursor")),
            "{list}"
        );
    }
    assert_eq!(listed.body["data"][0]["current"], true);
    assert_eq!(listed.text_at("/data/1/device"), "Firefox on Linux");
    assert_eq!(listed.body["data"][1]["current"], false);
    assert_eq!(listed.text_at("/data/1/ip"), world.address);
    assert!(!listed.text.contains("gld_"));
}

#[actix_web::test]
async fn an_ended_session_is_over_at_once() {
    let world = World::new().await;
    let person = someone(&world).await;
    let (one, two) = (login(&world, &person).await, login(&world, &person).await);
    one.caller.get("/me").await.ok();

    two.caller.delete(&format!("/me/sessions/{}", one.session)).await.gone();
    one.caller.get("/me").await.refused("session-revoked");
    renew(&world, &one.refresh).await.refused("session-revoked");
    two.caller
        .delete(&format!("/me/sessions/{}", one.session))
        .await
        .refused("not-found");
    two.caller.get("/me").await.ok();
}

#[actix_web::test]
async fn nobody_ends_the_sessions_of_others() {
    let world = World::new().await;
    let (one, other) = (
        login(&world, &someone(&world).await).await,
        login(&world, &someone(&world).await).await,
    );
    other
        .caller
        .delete(&format!("/me/sessions/{}", one.session))
        .await
        .refused("not-found");
    for id in [
        "ses_",
        "nonsense",
        "usr_01jd8qv4x2fkr9s3m5n7p0t1wz",
        "ses_01jd8qv4x2fkr9s3m5n7p0t1wz",
    ] {
        other
            .caller
            .delete(&format!("/me/sessions/{id}"))
            .await
            .refused("not-found");
    }
    other.caller.act("/me/sessions/revoke-others").await.ok();
    one.caller.get("/me").await.ok();
}

#[actix_web::test]
async fn ending_the_others_leaves_this_one() {
    let world = World::new().await;
    let person = someone(&world).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(login(&world, &person).await);
    }
    let here = sessions.remove(1);
    let ended = here.caller.act("/me/sessions/revoke-others").await.ok();
    assert_eq!(ended.body, json!({ "ended": 3 }));
    for other in sessions {
        other.caller.get("/me").await.refused("session-revoked");
    }
    here.caller.get("/me").await.ok();
    renew(&world, &here.refresh).await.ok();
}

#[actix_web::test]
async fn signing_out_ends_the_session_by_either_token() {
    let world = World::new().await;
    let person = someone(&world).await;
    let (one, two) = (login(&world, &person).await, login(&world, &person).await);
    one.caller.act("/auth/logout").await.gone();
    one.caller.get("/me").await.refused("session-revoked");
    renew(&world, &one.refresh).await.refused("session-revoked");

    // The access token has expired; the refresh token still says which session it is.
    world.clock.advance(chrono::Duration::minutes(20));
    two.caller.act("/auth/logout").await.refused("token-expired");
    world
        .anonymous()
        .post("/auth/logout", json!({ "refresh_token": two.refresh }))
        .await
        .gone();
    renew(&world, &two.refresh).await.refused("session-revoked");
    world.anonymous().act("/auth/logout").await.refused("unauthenticated");
    world
        .anonymous()
        .post("/auth/logout", json!({ "refresh_token": "nonsense" }))
        .await
        .gone();
}

#[actix_web::test]
async fn what_another_process_ends_is_over_here_within_a_second() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    session.caller.get("/me").await.ok();
    world.admin("UPDATE guildhall.sessions SET revoked_at = now(), revoke_reason = 'elsewhere'");
    is_over_within_a_second(&session.caller).await;
}

#[actix_web::test]
async fn what_needs_a_recent_sign_in_asks_for_a_step_up() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let session = login(&world, &person).await;
    let key = json!({ "name": "one", "expires_in_days": 30 });
    session.caller.post("/api-keys", key.clone()).await.created();

    world.clock.advance(chrono::Duration::minutes(16));
    let later = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    let refused = later
        .caller
        .post("/api-keys", key.clone())
        .await
        .refused("step-up-required");
    assert_eq!(
        (refused.status.as_u16(), &refused.body["methods"]),
        (403, &json!(["password"]))
    );

    later
        .caller
        .post("/auth/step-up", json!({ "password": "not this one at all" }))
        .await
        .refused("invalid-credentials");
    later
        .caller
        .post("/api-keys", key.clone())
        .await
        .refused("step-up-required");
    later
        .caller
        .post("/auth/step-up", json!({ "password": PASSWORD }))
        .await
        .ok();
    later.caller.post("/api-keys", key.clone()).await.created();

    world.clock.advance(chrono::Duration::minutes(9));
    for _ in 0..5 {
        later
            .caller
            .post("/auth/step-up", json!({ "password": "not this one at all" }))
            .await
            .refused("invalid-credentials");
    }
    later
        .caller
        .post("/auth/step-up", json!({ "password": PASSWORD }))
        .await
        .refused("too-many-attempts");
}

#[actix_web::test]
async fn a_key_is_no_session() {
    let world = World::new().await;
    let owner = world.owner();
    owner.get("/me").await.ok();
    owner.get("/me/sessions").await.refused("session-required");
    owner
        .act("/me/sessions/revoke-others")
        .await
        .refused("session-required");
    owner
        .patch("/me", json!({ "display_name": "Eve" }))
        .await
        .refused("session-required");
    owner
        .post("/auth/step-up", json!({ "password": PASSWORD }))
        .await
        .refused("session-required");
    owner.act("/auth/logout").await.refused("session-required");
    let change = json!({ "current_password": PASSWORD, "new_password": "another one entirely" });
    owner.post("/me/password", change).await.refused("session-required");
    // Whatever is sent along.
    for path in [
        "/me/password",
        "/auth/step-up",
        "/workspaces",
        "/me/password?verbose=1",
        "/api-keys?verbose=1",
    ] {
        owner.post(path, json!({})).await.refused("session-required");
    }
}

#[actix_web::test]
async fn a_visitor_is_nobody_and_no_refusal() {
    let world = World::new().await;
    assert_eq!(
        world.anonymous().get("/auth/session").await.ok().body,
        json!({ "user": null })
    );
    assert_eq!(
        world
            .anonymous()
            .bearer("nonsense")
            .get("/auth/session")
            .await
            .ok()
            .body,
        json!({ "user": null })
    );
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    assert_eq!(
        session.caller.get("/auth/session").await.ok().text_at("/user/email"),
        person.email
    );
}
