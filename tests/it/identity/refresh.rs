//! Every row of the case table.

use diesel::connection::SimpleConnection;
use guildhall::kernel::{
    config::KeyMode,
    secret::{Token, TokenKind},
};

use super::{Signed, login, mails, noted, renew, someone, together};
use crate::world::World;

fn seconds(world: &World, seconds: i64) {
    world.clock.advance(chrono::Duration::seconds(seconds));
}

/// Writes down which sessions were used, as the server does every second.
async fn seen(world: &World) {
    world.deployment.doorkeeper.write_sightings().await;
}

#[actix_web::test]
async fn what_is_no_token_or_was_altered_is_invalid() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let other = login(&world, &someone(&world).await).await;
    let bytes = Token::parse(&session.refresh)
        .and_then(|token| token.bytes::<37>())
        .expect("a refresh token");
    let others = Token::parse(&other.refresh)
        .and_then(|token| token.bytes::<37>())
        .expect("a refresh token");
    let again = |bytes: &[u8]| {
        Token::of_bytes(TokenKind::Refresh, KeyMode::Test, bytes)
            .expose()
            .to_owned()
    };
    assert_eq!(again(&bytes), session.refresh);

    let mut forged = vec![
        String::new(),
        "gld_test_rt_".into(),
        session.refresh.to_lowercase(),
        session.refresh.replace("test", "live"),
    ];
    for place in 0..37 {
        let mut altered = bytes;
        altered[place] ^= 1;
        forged.push(again(&altered));
    }
    // One session's name under the other's proof.
    forged.push(again(&[&bytes[..21], &others[21..]].concat()));
    forged.push(Token::mint(TokenKind::OneTime, KeyMode::Test).expose().to_owned());
    for (n, token) in forged.iter().enumerate() {
        if n % 25 == 24 {
            seconds(&world, 301);
        }
        renew(&world, token).await.refused("refresh-token-invalid");
    }
    renew(&world, &session.refresh).await.ok();
}

#[actix_web::test]
async fn the_present_generation_gives_the_next() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let mut token = session.refresh.clone();
    for _ in 0..5 {
        let next = Signed::of(&world, &renew(&world, &token).await.ok());
        assert!(next.refresh != token && next.session == session.session);
        next.caller.get("/me").await.ok();
        token = next.refresh;
        seconds(&world, 20);
    }
}

#[actix_web::test]
async fn the_predecessor_gives_the_same_successor_for_ten_seconds() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let first = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    seconds(&world, 9);
    let second = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    assert_eq!(first.refresh, second.refresh);
    assert_ne!(first.access, second.access);
    first.caller.get("/me").await.ok();
    second.caller.get("/me").await.ok();
}

#[actix_web::test]
async fn a_lost_answer_is_made_good_within_five_minutes() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    let lost = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    seconds(&world, 200);
    let recovered = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    assert_ne!(recovered.refresh, lost.refresh, "the lost generation is skipped");
    assert_eq!(noted(&world, person.user, "session.refresh_recovered"), 1);
    recovered.caller.get("/me").await.ok();
    seen(&world).await;
    seconds(&world, 20);
    // Whoever has the lost answer after all shows an old generation now.
    renew(&world, &lost.refresh).await.refused("refresh-token-reused");
    recovered.caller.get("/me").await.refused("session-revoked");
}

#[actix_web::test]
async fn whoever_recovers_does_so_together_and_again() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    renew(&world, &session.refresh).await.ok();
    seconds(&world, 12);
    let tabs = together((0..4).map(|_| renew(&world, &session.refresh))).await;
    let mut successors: Vec<String> = tabs
        .into_iter()
        .map(|tab| Signed::of(&world, &tab.ok()).refresh)
        .collect();
    successors.dedup();
    assert_eq!(successors.len(), 1, "one answer for all tabs");
    // That one is lost as well.
    seconds(&world, 12);
    let last = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    assert_eq!(noted(&world, person.user, "session.refresh_recovered"), 2);
    last.caller.get("/me").await.ok();
    renew(&world, &last.refresh).await.ok();
    // The present one was given for its own predecessor: the token of before is an old one.
    renew(&world, &session.refresh).await.refused("refresh-token-reused");
}

#[actix_web::test]
async fn after_five_minutes_nothing_is_made_good() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    renew(&world, &session.refresh).await.ok();
    seconds(&world, 301);
    renew(&world, &session.refresh).await.refused("refresh-token-reused");
}

#[actix_web::test]
async fn a_stolen_predecessor_ends_both_chains_at_once() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    let next = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    next.caller.get("/me").await.ok();
    seen(&world).await;
    seconds(&world, 11);

    renew(&world, &session.refresh).await.refused("refresh-token-reused");
    next.caller.get("/me").await.refused("session-revoked");
    renew(&world, &next.refresh).await.refused("session-revoked");
    assert_eq!(noted(&world, person.user, "session.reuse_detected"), 1);
    let mailed: Vec<String> = mails(&world, &person.email)
        .into_iter()
        .map(|(template, _)| template)
        .collect();
    assert_eq!(mailed, ["session_reused"]);
    renew(&world, &session.refresh).await.refused("session-revoked");
    assert_eq!(mails(&world, &person.email).len(), 1, "one mail for one theft");
}

#[actix_web::test]
async fn an_older_generation_is_reuse_even_at_once() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let next = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    renew(&world, &next.refresh).await.ok();
    renew(&world, &session.refresh).await.refused("refresh-token-reused");
}

#[actix_web::test]
async fn a_generation_that_was_never_given_out_is_invalid_and_ends_nothing() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    let next = Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    // As if the database were restored from before the refresh.
    world.admin("UPDATE guildhall.sessions SET refresh_counter = 0");
    renew(&world, &next.refresh).await.refused("refresh-token-invalid");
    renew(&world, &session.refresh).await.ok();
}

#[actix_web::test]
async fn trouble_with_the_database_logs_nobody_out() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let mut blocker = world.superuser();
    blocker
        .batch_execute("BEGIN; SELECT FROM guildhall.sessions FOR UPDATE")
        .expect("a lock");
    let busy = renew(&world, &session.refresh).await.refused("overloaded");
    assert_eq!(busy.status, 503);
    assert!(!busy.header("retry-after").is_empty());
    blocker.batch_execute("ROLLBACK").expect("no lock");
    renew(&world, &session.refresh).await.ok();
}

#[actix_web::test]
async fn thirty_refreshes_of_one_session_in_five_minutes_are_enough() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let mut token = session.refresh;
    for _ in 0..30 {
        token = renew(&world, &token).await.ok().text_at("/refresh_token");
    }
    renew(&world, &token).await.refused("too-many-attempts");
    seconds(&world, 301);
    renew(&world, &token).await.ok();
}

#[actix_web::test]
async fn of_racing_refreshes_one_chain_lives_and_every_tab_stays_in() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let mut token = session.refresh;
    for tabs in [2, 3, 5, 8, 13] {
        seconds(&world, 310);
        let answers = together((0..tabs).map(|_| renew(&world, &token))).await;
        let mut successors: Vec<String> = Vec::new();
        for answer in answers {
            // A busy server says so, and the tab tries again.
            if answer.status == 503 {
                continue;
            }
            let next = Signed::of(&world, &answer.ok());
            next.caller.get("/me").await.ok();
            successors.push(next.refresh);
        }
        successors.dedup();
        assert_eq!(successors.len(), 1, "{tabs} tabs");
        token = successors.remove(0);
    }
    renew(&world, &token).await.ok();
}
