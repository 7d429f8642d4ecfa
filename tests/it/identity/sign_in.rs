use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    OTHER, PASSWORD, Signed, browsers::cookie_of, is_over_within_a_second, login, mailed_token, noted, plain, renew,
    someone, try_login,
};
use crate::world::{
    Answer, Caller, World,
    patience::{alike_at_their_best, until},
};

/// Somebody at another address each time.
pub(super) fn from_anywhere(world: &World) -> Caller {
    let [a, b, c] = guildhall::kernel::crypto::random::<3>();
    world.anonymous().with("x-forwarded-for", &format!("10.{a}.{b}.{c}"))
}

async fn guess(caller: &Caller, identifier: &str, password: &str) -> Answer {
    caller
        .post("/auth/login", json!({ "identifier": identifier, "password": password }))
        .await
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_account_read_the_same_asvs_6_3_8() {
    let world = World::new().await;
    let known = someone(&world).await;
    let wrong = try_login(&world, &known.email, OTHER)
        .await
        .refused("invalid-credentials");
    for nobody in [&world.email("nobody"), "nobody", "no body"] {
        let unknown = try_login(&world, nobody, OTHER).await.refused("invalid-credentials");
        assert_eq!(plain(&wrong), plain(&unknown), "{nobody}");
    }
    let nothing = try_login(&world, "\u{202f}", OTHER).await;
    nothing.invalid("/identifier", "required");
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_account_take_as_long() {
    let world = World::new().await;
    let known = someone(&world).await;
    alike_at_their_best("a known account and an unknown one", Duration::ZERO, async |round| {
        world.clock.advance(chrono::Duration::hours(13));
        let nobody = world.email(&format!("nobody{round}"));
        let mut times = [Duration::ZERO; 2];
        for (time, email) in times.iter_mut().zip([&known.email, &nobody]) {
            let begun = Instant::now();
            guess(&from_anywhere(&world), email, OTHER)
                .await
                .refused("invalid-credentials");
            *time = begun.elapsed();
        }
        times
    })
    .await;
}

#[actix_web::test]
async fn a_wait_tells_nobody_whose_address_it_is_and_ends_with_a_new_password() {
    let world = World::new().await;
    let known = someone(&world).await;
    let session = login(&world, &known).await;
    let name = format!("u{}", &known.user.uuid().simple().to_string()[..12]);
    session.caller.patch("/me", json!({ "username": name })).await.ok();
    for identifier in [known.email.as_str(), &name] {
        for _ in 0..10 {
            guess(&from_anywhere(&world), identifier, OTHER)
                .await
                .refused("invalid-credentials");
        }
        let refused = guess(&from_anywhere(&world), identifier, PASSWORD).await;
        refused.refused("too-many-attempts");
    }
    let forgotten = json!({ "email": known.email });
    from_anywhere(&world)
        .post("/auth/password/forgot", forgotten)
        .await
        .accepted();
    let link = mailed_token(&world, &known.email, "password_reset");
    let new = json!({ "token": link, "password": OTHER });
    from_anywhere(&world).post("/auth/password/reset", new).await.gone();
    for identifier in [known.email.as_str(), &name] {
        guess(&from_anywhere(&world), identifier, OTHER).await.ok();
    }
}

#[actix_web::test]
async fn ten_wrong_passwords_in_a_row_cost_a_wait_known_or_not() {
    let world = World::new().await;
    let known = someone(&world).await;
    for email in [known.email.as_str(), &world.email("nobody")] {
        for _ in 0..10 {
            guess(&from_anywhere(&world), email, OTHER)
                .await
                .refused("invalid-credentials");
        }
        let refused = guess(&from_anywhere(&world), email, PASSWORD)
            .await
            .refused("too-many-attempts");
        assert_eq!(refused.header("retry-after"), "30", "{email}");
        // Trying meanwhile changes nothing.
        world.clock.advance(chrono::Duration::seconds(29));
        assert_eq!(
            guess(&from_anywhere(&world), email, OTHER)
                .await
                .refused("too-many-attempts")
                .header("retry-after"),
            "1"
        );
        world.clock.advance(chrono::Duration::seconds(1));
    }
    guess(&from_anywhere(&world), &known.email, OTHER)
        .await
        .refused("invalid-credentials");
    assert_eq!(
        guess(&from_anywhere(&world), &known.email, OTHER)
            .await
            .refused("too-many-attempts")
            .header("retry-after"),
        "60"
    );
    world.clock.advance(chrono::Duration::seconds(60));
    guess(&from_anywhere(&world), &known.email, PASSWORD).await.ok();
    // Success begins the count anew.
    for _ in 0..10 {
        guess(&from_anywhere(&world), &known.email, OTHER)
            .await
            .refused("invalid-credentials");
    }
}

#[actix_web::test]
async fn guesses_side_by_side_do_not_slip_through_together() {
    let world = World::new().await;
    let known = someone(&world).await;
    let callers: Vec<Caller> = (0..40).map(|_| from_anywhere(&world)).collect();
    let answers = super::together(callers.iter().map(|caller| guess(caller, &known.email, OTHER))).await;
    let judged = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((1..=10).contains(&judged), "{judged} guesses were judged");
}

#[actix_web::test]
async fn right_passwords_side_by_side_all_sign_in() {
    let world = World::new().await;
    let person = someone(&world).await;
    for _ in 0..6 {
        let callers: Vec<Caller> = (0..8).map(|_| from_anywhere(&world)).collect();
        for answer in super::together(callers.iter().map(|caller| guess(caller, &person.email, PASSWORD))).await {
            answer.ok();
        }
    }
}

#[actix_web::test]
async fn ten_passwords_a_minute_come_from_one_address() {
    let world = World::new().await;
    for n in 0..10 {
        try_login(&world, &world.email(&format!("nobody{n}")), OTHER)
            .await
            .refused("invalid-credentials");
    }
    let refused = try_login(&world, &world.email("nobody"), OTHER)
        .await
        .refused("too-many-attempts");
    let wait: i64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait));
    world.clock.advance(chrono::Duration::seconds(60));
    try_login(&world, &world.email("nobody"), OTHER)
        .await
        .refused("invalid-credentials");
}

#[actix_web::test]
async fn a_stranger_cannot_lock_an_owner_out_of_their_own_device() {
    let world = World::new().await;
    let person = someone(&world).await;
    let body = json!({ "identifier": person.email, "password": PASSWORD, "transport": "cookie" });
    let browser = from_anywhere(&world).with("origin", &world.base);
    let first = browser.post("/auth/login", body.clone()).await.ok();
    let device = cookie_of(&first, "__Host-gld_dv");
    for _ in 0..10 {
        guess(&from_anywhere(&world), &person.email, OTHER)
            .await
            .refused("invalid-credentials");
    }
    guess(&from_anywhere(&world), &person.email, PASSWORD)
        .await
        .refused("too-many-attempts");
    browser
        .with("cookie", &format!("__Host-gld_dv={device}"))
        .post("/auth/login", body)
        .await
        .ok();
}

#[actix_web::test]
async fn a_suspended_account_signs_in_no_more() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    world.admin(&format!(
        "UPDATE guildhall.users SET state = 'suspended' WHERE id = '{}'",
        person.user.uuid()
    ));
    try_login(&world, &person.email, PASSWORD)
        .await
        .refused("account-suspended");
    try_login(&world, &person.email, OTHER)
        .await
        .refused("invalid-credentials");
    is_over_within_a_second(&session.caller).await;
    renew(&world, &session.refresh).await.refused("session-revoked");
}

#[actix_web::test]
async fn what_a_session_is_worth_depends_on_being_remembered() {
    let world = World::new().await;
    let person = someone(&world).await;
    let short = json!({ "identifier": person.email, "password": PASSWORD });
    let short = Signed::of(&world, &world.anonymous().post("/auth/login", short).await.ok());
    let long = login(&world, &person).await;
    world.clock.advance(chrono::Duration::hours(12));
    renew(&world, &short.refresh).await.refused("session-expired");
    let mut token = renew(&world, &long.refresh).await.ok().text_at("/refresh_token");
    // Used every 13 days it lives on, but not beyond 30.
    for _ in 0..2 {
        world.clock.advance(chrono::Duration::days(13));
        token = renew(&world, &token).await.ok().text_at("/refresh_token");
    }
    world.clock.advance(chrono::Duration::days(4));
    renew(&world, &token).await.refused("session-expired");

    let idle = login(&world, &person).await;
    world.clock.advance(chrono::Duration::days(14));
    renew(&world, &idle.refresh).await.refused("session-expired");
}

#[actix_web::test]
async fn one_session_too_many_ends_the_one_that_was_not_used_for_longest() {
    let world = World::with(&[("AUTH__SESSIONS_PER_USER", "3")]).await;
    let person = someone(&world).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(login(&world, &person).await);
        world.clock.advance(chrono::Duration::seconds(61));
    }
    // The oldest is used, so the second is now the one.
    renew(&world, &sessions[0].refresh).await.ok();
    let fourth = login(&world, &person).await;
    let listed = fourth.caller.get("/me/sessions").await.ok();
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(3));
    renew(&world, &sessions[1].refresh).await.refused("session-revoked");
    renew(&world, &sessions[2].refresh).await.ok();
    let noted = fourth.caller.get("/me/security-events?kind=session.ended").await.ok();
    assert_eq!(noted.text_at("/data/0/session_id"), sessions[1].session);
    assert_eq!(noted.text_at("/data/0/detail/reason"), "evicted");
}

#[actix_web::test]
async fn the_owner_of_an_account_reads_of_wrong_passwords() {
    let world = World::new().await;
    let person = someone(&world).await;
    try_login(&world, &person.email, OTHER)
        .await
        .refused("invalid-credentials");
    let session = login(&world, &person).await;
    until("it is noted after the answer", async || {
        noted(&world, person.user, "sign_in.failed") > 0
    })
    .await;
    let events = session.caller.get("/me/security-events?kind=sign_in.failed").await.ok();
    assert_eq!(events.text_at("/data/0/ip"), world.address);
}
