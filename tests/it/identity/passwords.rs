use serde_json::json;

use super::{OTHER, PASSWORD, login, mailed_token, mails, renew, someone, together, try_login};
use crate::world::{Answer, World, gate::Gate};

async fn forgot(world: &World, email: &str) {
    world.clock.advance(chrono::Duration::seconds(61));
    world
        .anonymous()
        .post("/auth/password/forgot", json!({ "email": email }))
        .await
        .accepted();
}

async fn reset(world: &World, token: &str, password: &str) -> Answer {
    world
        .anonymous()
        .post("/auth/password/reset", json!({ "token": token, "password": password }))
        .await
}

#[actix_web::test]
async fn a_forgotten_password_is_replaced_by_a_mailed_link_once() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    forgot(&world, &person.email).await;
    let token = mailed_token(&world, &person.email, "password_reset");

    let answer = reset(&world, &token, OTHER).await.gone();
    assert!(
        answer.headers.get("set-cookie").is_none() && answer.text.is_empty(),
        "it signs nobody in"
    );
    session.caller.get("/me").await.refused("session-revoked");
    renew(&world, &session.refresh).await.refused("session-revoked");
    reset(&world, &token, "a third one for good measure")
        .await
        .refused("one-time-token-invalid");
    try_login(&world, &person.email, PASSWORD)
        .await
        .refused("invalid-credentials");
    try_login(&world, &person.email, OTHER).await.ok();
    let templates: Vec<String> = mails(&world, &person.email)
        .into_iter()
        .map(|(template, _)| template)
        .collect();
    assert_eq!(templates, ["password_reset", "password_changed"]);
}

#[actix_web::test]
async fn of_many_resets_at_once_one_counts() {
    let world = World::new().await;
    let person = someone(&world).await;
    forgot(&world, &person.email).await;
    let token = mailed_token(&world, &person.email, "password_reset");
    let passwords: Vec<String> = (0..10).map(|n| format!("number {n} of many lamps")).collect();
    let answers = together(passwords.iter().map(|password| reset(&world, &token, password))).await;
    let won: Vec<usize> = (0..10).filter(|n| answers[*n].status == 204).collect();
    assert_eq!(won.len(), 1);
    try_login(&world, &person.email, &passwords[won[0]]).await.ok();
}

#[actix_web::test]
async fn a_link_lives_for_half_an_hour_and_the_next_replaces_it() {
    let world = World::new().await;
    let person = someone(&world).await;
    forgot(&world, &person.email).await;
    let first = mailed_token(&world, &person.email, "password_reset");
    forgot(&world, &person.email).await;
    let second = mailed_token(&world, &person.email, "password_reset");
    reset(&world, &first, OTHER).await.refused("one-time-token-invalid");
    world.clock.advance(chrono::Duration::minutes(30));
    reset(&world, &second, OTHER).await.refused("one-time-token-invalid");
    try_login(&world, &person.email, PASSWORD).await.ok();
}

#[actix_web::test]
async fn asking_too_often_takes_nothing_from_the_link_that_was_mailed() {
    let world = World::new().await;
    let person = someone(&world).await;
    forgot(&world, &person.email).await;
    let link = mailed_token(&world, &person.email, "password_reset");
    let again = json!({ "email": person.email });
    world.anonymous().post("/auth/password/forgot", again).await.accepted();
    assert_eq!(mails(&world, &person.email).len(), 1, "one a minute");
    reset(&world, &link, OTHER).await.gone();
}

#[actix_web::test]
async fn a_token_of_one_kind_is_never_taken_for_another() {
    let world = World::new().await;
    let person = someone(&world).await;
    let body = json!({ "email": &world.email("new"), "password": PASSWORD });
    let pending = world.anonymous().post("/auth/register", body).await.accepted();
    let proof = mailed_token(&world, &world.email("new"), "verify_email");
    forgot(&world, &person.email).await;
    let link = mailed_token(&world, &person.email, "password_reset");
    let session = login(&world, &person).await;

    for token in [
        proof.as_str(),
        &pending.text_at("/client_token"),
        &session.refresh,
        &session.access,
        "",
        "nonsense",
    ] {
        let refused = reset(&world, token, OTHER).await;
        assert!(
            ["one-time-token-invalid", "validation-failed"].contains(&refused.text_at("/code").as_str()),
            "{}",
            refused.text
        );
    }
    let wrong = json!({ "token": link, "client_token": pending.text_at("/client_token") });
    world
        .anonymous()
        .post("/auth/email/verify", wrong)
        .await
        .refused("one-time-token-invalid");
    world
        .anonymous()
        .bearer(&link)
        .get("/me")
        .await
        .refused("invalid-api-key");
    world
        .anonymous()
        .bearer(&session.refresh)
        .get("/me")
        .await
        .refused("invalid-api-key");
    reset(&world, &link, OTHER).await.gone();
}

#[actix_web::test]
async fn mails_that_somebody_asks_for_are_few() {
    let world = World::new().await;
    let person = someone(&world).await;
    for _ in 0..3 {
        world
            .anonymous()
            .post("/auth/password/forgot", json!({ "email": person.email }))
            .await
            .accepted();
    }
    assert_eq!(mails(&world, &person.email).len(), 1, "one a minute");
    for _ in 0..9 {
        forgot(&world, &person.email).await;
    }
    assert_eq!(mails(&world, &person.email).len(), 5, "five an hour");
}

#[actix_web::test]
async fn a_mail_that_does_not_leave_is_counted_nowhere() {
    let world = World::with(&[("AUTH__MAILS_PER_HOUR", "3")]).await;
    let people = [
        someone(&world).await,
        someone(&world).await,
        someone(&world).await,
        someone(&world).await,
    ];
    let asks = async |place: usize, from: &str| {
        let body = json!({ "email": people[place].email });
        let caller = world.anonymous().with("x-forwarded-for", from);
        caller.post("/auth/password/forgot", body).await.accepted();
        mails(&world, &people[place].email).len()
    };
    let (office, home) = ("198.51.100.7", "203.0.113.9");
    for _ in 0..6 {
        assert_eq!(asks(0, office).await, 1, "one a minute");
    }
    assert_eq!(asks(1, office).await, 1, "what one mailbox was refused is not missing");
    assert_eq!(asks(2, office).await, 1);
    assert_eq!(asks(3, office).await, 0, "three an hour from one address");
    assert_eq!(
        asks(3, home).await,
        1,
        "what the address was refused is not the mailbox's"
    );
}

#[actix_web::test]
async fn changing_the_password_takes_the_present_one_and_ends_the_other_sessions() {
    let world = World::new().await;
    let person = someone(&world).await;
    let (here, there) = (login(&world, &person).await, login(&world, &person).await);
    forgot(&world, &person.email).await;
    let link = mailed_token(&world, &person.email, "password_reset");
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });

    here.caller
        .post("/me/password", change(OTHER, "a third one for good measure"))
        .await
        .invalid("/current_password", "invalid-choice");
    here.caller
        .post("/me/password", change(PASSWORD, PASSWORD))
        .await
        .invalid("/new_password", "conflicts-with");
    // As often as it takes: only wrong present ones are guesses.
    for _ in 0..7 {
        let refused = here
            .caller
            .post("/me/password", change(PASSWORD, "passwordpassword"))
            .await;
        refused.invalid("/new_password", "invalid-choice");
    }
    here.caller.post("/me/password", change(PASSWORD, OTHER)).await.gone();

    there.caller.get("/me").await.refused("session-revoked");
    renew(&world, &there.refresh).await.refused("session-revoked");
    here.caller.get("/me").await.ok();
    renew(&world, &here.refresh).await.ok();
    reset(&world, &link, "a third one for good measure")
        .await
        .refused("one-time-token-invalid");
    try_login(&world, &person.email, PASSWORD)
        .await
        .refused("invalid-credentials");
    try_login(&world, &person.email, OTHER).await.ok();
    assert_eq!(
        mails(&world, &person.email)
            .last()
            .map(|(template, _)| template.as_str()),
        Some("password_changed")
    );
}

#[actix_web::test]
async fn the_present_password_cannot_be_guessed_from_a_stolen_session() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let change = |current: &str| json!({ "current_password": current, "new_password": OTHER });
    for n in 0..5 {
        session
            .caller
            .post("/me/password", change(&format!("guess number {n}")))
            .await
            .invalid("/current_password", "invalid-choice");
    }
    session
        .caller
        .post("/me/password", change(PASSWORD))
        .await
        .refused("too-many-attempts");
}

#[actix_web::test]
async fn nothing_that_signs_somebody_in_is_stored_as_it_is() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    forgot(&world, &person.email).await;
    let link = mailed_token(&world, &person.email, "password_reset");
    let body = json!({ "email": &world.email("new"), "password": PASSWORD });
    let pending = world.anonymous().post("/auth/register", body).await.accepted();
    let secrets = [
        PASSWORD,
        &session.access,
        &session.refresh,
        &link,
        &pending.text_at("/client_token"),
    ]
    .map(str::to_owned);

    let tables = [
        "users",
        "sessions",
        "one_time_tokens",
        "pending_registrations",
        "mails",
        "security_events",
        "signing_keys",
        "outbox",
    ];
    for table in tables {
        for secret in &secrets {
            let found = world.count(&format!(
                "SELECT count(*) FROM guildhall.{table} t WHERE strpos(t::text, '{secret}') > 0"
            ));
            assert_eq!(found, 0, "{table}");
        }
    }
    assert!(
        world.count("SELECT count(*) FROM guildhall.users t WHERE strpos(t::text, '$argon2id$') > 0") > 0,
        "the search finds what is there"
    );
}

#[actix_web::test]
async fn a_change_of_the_password_keeps_nobody_from_signing_out() {
    let world = World::new().await;
    let person = someone(&world).await;
    let (here, there) = (login(&world, &person).await, login(&world, &person).await);
    let gate = Gate::on_update(&world, "users", "NEW.password_hash <> OLD.password_hash");
    let new = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let change = async {
        here.caller.post("/me/password", new).await.gone();
    };
    let leave = async {
        there.caller.act("/auth/logout").await.gone();
    };
    gate.meet(change, leave, "nothing waits").await;
}
