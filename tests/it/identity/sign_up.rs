use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{OTHER, PASSWORD, mailed_token, mails, plain, someone, together, try_login};
use crate::world::{Answer, World, gate::Gate, patience::alike_at_their_best};

async fn register(world: &World, email: &str, password: &str) -> Answer {
    // Three an hour from one address.
    world.clock.advance(chrono::Duration::minutes(21));
    let body = json!({ "email": email, "password": password, "display_name": "Ann" });
    world.anonymous().post("/auth/register", body).await
}

async fn verify(world: &World, body: serde_json::Value) -> Answer {
    world.anonymous().post("/auth/email/verify", body).await
}

#[actix_web::test]
async fn a_stranger_proves_an_address_and_becomes_a_person() {
    let world = World::new().await;
    let (domain, typed) = (
        world.email("").replace('@', ""),
        world.email("Ann").replace("example", "Example"),
    );
    let ann = format!("Ann@{domain}");
    let pending = register(&world, &format!(" {} ", typed), PASSWORD).await.accepted();
    try_login(&world, &world.email("ann"), PASSWORD)
        .await
        .refused("invalid-credentials");

    let token = mailed_token(&world, &ann, "verify_email");
    let proof = json!({ "token": token, "client_token": pending.text_at("/client_token") });
    let verified = verify(&world, proof.clone()).await.ok();
    assert_eq!(
        verified.body,
        json!({ "status": "verified", "email": ann, "username": null })
    );
    verify(&world, proof).await.refused("one-time-token-invalid");

    let signed_in = try_login(&world, &format!("ANN@{domain}"), PASSWORD).await.ok();
    assert_eq!(signed_in.text_at("/user/display_name"), "Ann");
    assert!(signed_in.body["user"]["email_verified_at"].is_string());
}

/// Where the page of a mailed link sends what the person says. Its script takes the address out of the form, where the browser has
/// undone the escapes; in a script nobody undoes them.
fn posts_to(page: &str) -> String {
    let (markup, script) = page.split_once("<script").expect("a script");
    assert!(
        !script.contains("&#") && script.contains("post(form.dataset.action"),
        "{script}"
    );
    let (_, action) = markup.split_once("data-action=\"").expect("an address");
    action.split('"').next().unwrap_or_default().replace("&#x2f;", "/")
}

#[actix_web::test]
async fn who_merely_follows_a_link_never_activates_a_password_that_somebody_else_chose() {
    let world = World::new().await;
    let attackers = "the attacker knows this";
    let pending = register(&world, &world.email("victim"), attackers).await.accepted();
    let token = mailed_token(&world, &world.email("victim"), "verify_email");

    // The victim opens the link: a page, and nothing else.
    let page = world.anonymous().get("/auth/verify").await.ok();
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(posts_to(&page.text), "/api/v1/auth/email/verify");
    let reset = world.anonymous().get("/auth/reset").await.ok();
    assert_eq!(posts_to(&reset.text), "/api/v1/auth/password/reset");
    try_login(&world, &world.email("victim"), attackers)
        .await
        .refused("invalid-credentials");
    // The token alone proves nothing, and neither does a client token that is not the registration's.
    verify(&world, json!({ "token": token }))
        .await
        .invalid("/client_token", "required");
    let another = register(&world, &world.email("victim"), PASSWORD).await.accepted();
    verify(
        &world,
        json!({ "token": token, "client_token": another.text_at("/client_token") }),
    )
    .await
    .refused("one-time-token-invalid");

    verify(&world, json!({ "token": token, "password": OTHER })).await.ok();
    try_login(&world, &world.email("victim"), attackers)
        .await
        .refused("invalid-credentials");
    try_login(&world, &world.email("victim"), OTHER).await.ok();
    // The attacker's own half is worth nothing without the mail.
    verify(
        &world,
        json!({ "token": pending.text_at("/client_token"), "client_token": pending.text_at("/client_token") }),
    )
    .await
    .refused("one-time-token-invalid");
}

#[actix_web::test]
async fn the_first_proof_of_an_address_ends_the_other_registrations() {
    let world = World::new().await;
    let first = register(&world, &world.email("ann"), PASSWORD).await.accepted();
    let first_token = mailed_token(&world, &world.email("ann"), "verify_email");
    let second = register(&world, &world.email("ann"), OTHER).await.accepted();
    let second_token = mailed_token(&world, &world.email("ann"), "verify_email");

    verify(
        &world,
        json!({ "token": second_token, "client_token": second.text_at("/client_token") }),
    )
    .await
    .ok();
    verify(
        &world,
        json!({ "token": first_token, "client_token": first.text_at("/client_token") }),
    )
    .await
    .refused("one-time-token-invalid");
    try_login(&world, &world.email("ann"), PASSWORD)
        .await
        .refused("invalid-credentials");
    try_login(&world, &world.email("ann"), OTHER).await.ok();
}

#[actix_web::test]
async fn of_many_proofs_at_once_one_counts() {
    let world = World::new().await;
    let pending = register(&world, &world.email("ann"), PASSWORD).await.accepted();
    let token = mailed_token(&world, &world.email("ann"), "verify_email");
    let proof = json!({ "token": token, "client_token": pending.text_at("/client_token") });
    let answers = together((0..12).map(|_| verify(&world, proof.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 401, 503].contains(&answer.status.as_u16()))
    );
    assert!(
        answers.iter().any(|answer| answer.status == 401),
        "most learn that they lost"
    );
    verify(&world, proof).await.refused("one-time-token-invalid");
}

#[actix_web::test]
async fn a_proof_works_for_a_day_and_the_next_mail_replaces_it() {
    let world = World::new().await;
    let pending = register(&world, &world.email("ann"), PASSWORD).await.accepted();
    let client = pending.text_at("/client_token");
    let first = mailed_token(&world, &world.email("ann"), "verify_email");
    let again = json!({ "email": &world.email("ann") });

    // Within a minute, no second mail leaves, and the answer does not say so.
    world
        .anonymous()
        .post("/auth/email/resend", again.clone())
        .await
        .accepted();
    assert_eq!(mails(&world, &world.email("ann")).len(), 1);
    world.clock.advance(chrono::Duration::seconds(61));
    world
        .anonymous()
        .post("/auth/email/resend", again.clone())
        .await
        .accepted();
    let second = mailed_token(&world, &world.email("ann"), "verify_email");
    assert_ne!(first, second);
    verify(&world, json!({ "token": first, "client_token": client }))
        .await
        .refused("one-time-token-invalid");

    world.clock.advance(chrono::Duration::hours(24));
    verify(&world, json!({ "token": second, "client_token": client }))
        .await
        .refused("one-time-token-invalid");
    world.anonymous().post("/auth/email/resend", again).await.accepted();
    assert_eq!(
        mails(&world, &world.email("ann")).len(),
        2,
        "what has expired is not mailed again"
    );
}

#[actix_web::test]
async fn a_link_is_not_mailed_for_what_is_being_proved() {
    let world = World::new().await;
    let ann = world.email("ann");
    let pending = register(&world, &ann, PASSWORD).await.accepted();
    let proof = json!({ "token": mailed_token(&world, &ann, "verify_email"), "client_token": pending.text_at("/client_token") });
    world.clock.advance(chrono::Duration::seconds(61));
    let gate = Gate::on_delete(&world, "pending_registrations");
    let proves = async {
        verify(&world, proof).await.ok();
    };
    let asks = async {
        let again = json!({ "email": ann });
        world.anonymous().post("/auth/email/resend", again).await.accepted();
    };
    gate.meet(proves, asks, "UPDATE \"pending_registrations\"").await;
    let sent = mails(&world, &ann);
    assert_eq!(
        sent.iter().filter(|(name, _)| name == "verify_email").count(),
        1,
        "{sent:?}"
    );
}

#[actix_web::test]
async fn a_mail_that_does_not_leave_takes_nothing_from_the_one_that_did() {
    let world = World::new().await;
    let pending = register(&world, &world.email("ann"), PASSWORD).await.accepted();
    let token = mailed_token(&world, &world.email("ann"), "verify_email");
    for _ in 0..2 {
        let again = json!({ "email": world.email("ann") });
        world.anonymous().post("/auth/email/resend", again).await.accepted();
    }
    assert_eq!(mails(&world, &world.email("ann")).len(), 1);
    let proof = json!({ "token": token, "client_token": pending.text_at("/client_token") });
    verify(&world, proof).await.ok();
}

#[actix_web::test]
async fn registering_says_nothing_of_whether_an_address_is_known_asvs_6_3_8() {
    let world = World::new().await;
    let known = someone(&world).await;
    let (one, other) = (
        register(&world, &known.email, OTHER).await.accepted(),
        register(&world, &world.email("new"), OTHER).await.accepted(),
    );
    assert_eq!(plain(&one), plain(&other));
    assert_eq!(one.text_at("/client_token").len(), other.text_at("/client_token").len());
    let names = |answer: &Answer| {
        answer
            .headers
            .keys()
            .map(|name| name.to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&one), names(&other));

    assert_eq!(mails(&world, &known.email)[0].0, "account_exists");
    assert_eq!(mails(&world, &world.email("new"))[0].0, "verify_email");
    try_login(&world, &known.email, OTHER)
        .await
        .refused("invalid-credentials");
    try_login(&world, &known.email, PASSWORD).await.ok();
}

#[actix_web::test]
async fn forgetting_and_resending_take_as_long_for_unknown_addresses() {
    let world = World::new().await;
    let account = someone(&world).await.email;
    let pending = world.email("pending");
    register(&world, &pending, PASSWORD).await.accepted();
    for (path, known, template) in [
        ("/auth/password/forgot", account, "password_reset"),
        ("/auth/email/resend", pending, "verify_email"),
    ] {
        let left = |world: &World| {
            let mails = mails(world, &known);
            mails.iter().filter(|(name, _)| name == template).count()
        };
        let before = left(&world);
        let mut rounds = 0;
        let floor = Duration::from_millis(150);
        alike_at_their_best(path, floor, async |round| {
            rounds = round;
            world.clock.advance(chrono::Duration::minutes(15));
            let nobody = world.email(&format!("nobody{round}"));
            let mut times = [Duration::ZERO; 2];
            for (time, email) in times.iter_mut().zip([&known, &nobody]) {
                let begun = Instant::now();
                let answer = world.anonymous().post(path, json!({ "email": email })).await.accepted();
                *time = begun.elapsed();
                assert!(answer.text.is_empty());
                assert!(*time >= floor, "{path}: {time:?}");
            }
            times
        })
        .await;
        assert_eq!(left(&world) - before, rounds, "{path}: the longer way was gone");
    }
}

#[actix_web::test]
async fn a_refused_password_says_why() {
    let world = World::new().await;
    for (password, code) in [
        ("short", "too-short"),
        ("passwordpassword", "invalid-choice"),
        ("qwertyuiopasdfgh", "invalid-choice"),
        ("annelise.long@1990", "conflicts-with"),
    ] {
        register(&world, &world.email("annelise.long"), password)
            .await
            .invalid("/password", code);
    }
    let long = "é7".repeat(65);
    register(&world, &world.email("annelise.long"), &long)
        .await
        .invalid("/password", "too-long");
    for email in ["ann", "ann@a.example\r\nBcc: eve@evil.example", "ann@localhost", ""] {
        register(&world, email, PASSWORD)
            .await
            .invalid("/email", "invalid-format");
    }
}

#[actix_web::test]
async fn three_registrations_an_hour_come_from_one_address() {
    let default = include_str!("../../../config/default.toml");
    assert!(
        default.contains("sign_ups_per_hour = 3\n"),
        "unless a deployment says otherwise"
    );
    let world = World::with(&[("AUTH__SIGN_UPS_PER_HOUR", "3")]).await;
    let body = |n: usize| json!({ "email": world.email(&format!("ann{n}")), "password": PASSWORD });
    for n in 0..3 {
        world.anonymous().post("/auth/register", body(n)).await.accepted();
    }
    let refused = world
        .anonymous()
        .post("/auth/register", body(3))
        .await
        .refused("too-many-attempts");
    let wait: i64 = refused.header("retry-after").parse().expect("seconds");
    assert!((3_590..=3_600).contains(&wait), "{wait}");
    world.clock.advance(chrono::Duration::seconds(wait));
    world.anonymous().post("/auth/register", body(3)).await.accepted();
}

#[actix_web::test]
async fn a_public_name_belongs_to_one_person() {
    let world = World::new().await;
    let named = |email: &str| json!({ "email": email, "password": PASSWORD, "username": "ann_1" });
    let pending = world
        .anonymous()
        .post("/auth/register", named(&world.email("ann")))
        .await
        .accepted();
    let token = mailed_token(&world, &world.email("ann"), "verify_email");
    let late = world
        .anonymous()
        .post("/auth/register", named(&world.email("late")))
        .await
        .accepted();
    let verified = verify(
        &world,
        json!({ "token": token, "client_token": pending.text_at("/client_token") }),
    )
    .await;
    let token = mailed_token(&world, &world.email("late"), "verify_email");
    let proof = json!({ "token": token, "client_token": late.text_at("/client_token") });
    assert_eq!(verify(&world, proof).await.ok().body["username"], Value::Null);

    world
        .anonymous()
        .post("/auth/register", named(&world.email("eve")))
        .await
        .refused("username-taken");
    let verified = verified.ok();
    assert_eq!(verified.text_at("/username"), "ann_1");
    let answer = try_login(&world, "ann_1", PASSWORD).await.ok();
    assert_eq!(answer.text_at("/user/username"), "ann_1");
    let reserved = json!({ "email": &world.email("eve"), "password": PASSWORD, "username": "admin" });
    world
        .anonymous()
        .post("/auth/register", reserved)
        .await
        .invalid("/username", "not-unique");
}

#[actix_web::test]
async fn a_closed_house_takes_nobody_in() {
    let world = World::with(&[("AUTH__SIGN_UP", "closed")]).await;
    register(&world, &world.email("ann"), PASSWORD)
        .await
        .refused("sign-up-closed");
    drop(world);
    let world = World::with(&[("AUTH__SIGN_UP", "invite_only")]).await;
    register(&world, &world.email("ann"), PASSWORD)
        .await
        .refused("sign-up-closed");
}
