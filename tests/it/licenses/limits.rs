//! How often software may ask: by its licence, so that nobody's software is kept waiting by another's.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guildhall::kernel::{
    config::KeyMode,
    secret::{Token, TokenKind},
};
use serde_json::json;

use super::Shop;
use crate::world::{Answer, Caller, World, patience::within};

/// A shop where the limits are as they are in production.
async fn shop() -> Shop {
    Shop::in_world(World::with(&[("LIMITS__FACTOR", "1")]).await).await
}

async fn ask(software: &Caller) -> Answer {
    software.post("/licenses/validate", json!({})).await
}

/// Asks until it is refused. Answers how often it was not.
async fn exhaust(software: &Caller, bucket: &str) -> usize {
    for asked in 0..500 {
        let answer = ask(software).await;
        if answer.status == 429 {
            assert_eq!(answer.refused("rate-limited").body["bucket"], bucket);
            return asked;
        }
        answer.ok();
    }
    panic!("nothing was refused");
}

#[actix_web::test]
async fn one_licence_takes_nothing_from_others_nor_from_the_vendor() {
    let shop = shop().await;
    let policy = shop.policy(json!({})).await;
    let (one, two) = (
        shop.issue(&policy, json!({})).await,
        shop.issue(&policy, json!({})).await,
    );
    let (one, two) = (shop.software(&one.key), shop.software(&two.key));
    assert!(exhaust(&one, "public").await >= 30);
    ask(&two).await.ok();
    // The same licence elsewhere, as a person who carries a laptop from one network to another.
    ask(&one.clone().with("x-forwarded-for", "198.51.100.7")).await.ok();
    shop.owner.get("/licenses").await.ok();
}

#[actix_web::test]
async fn whoever_names_another_workspace_is_counted_as_their_licence() {
    let shop = shop().await;
    let licence = shop.licence(json!({})).await;
    let lost = shop
        .software(&licence.key)
        .with("guildhall-workspace", "nowhere-at-all");
    let mut asked = 0;
    let refused = loop {
        let answer = ask(&lost).await;
        if answer.status == 429 {
            break answer;
        }
        answer.refused("workspace-mismatch");
        asked += 1;
        assert!(asked < 500, "nothing was refused");
    };
    assert_eq!(refused.refused("rate-limited").body["bucket"], "public");
    assert!(asked >= 30);
}

#[actix_web::test]
async fn a_dead_key_is_counted_as_its_licence() {
    let shop = shop().await;
    let policy = shop.policy(json!({})).await;
    let (dead, live) = (
        shop.issue(&policy, json!({})).await,
        shop.issue(&policy, json!({})).await,
    );
    shop.owner.act(&format!("/licenses/{}/revoke", dead.id)).await.ok();
    assert!(exhaust(&shop.software(&dead.key), "public").await >= 30);
    ask(&shop.software(&live.key)).await.ok();
    shop.owner.get("/licenses").await.ok();
}

#[actix_web::test]
async fn whoever_guesses_keys_is_refused_and_those_beside_them_are_not() {
    let shop = shop().await;
    let licence = shop.licence(json!({})).await;
    let guess = || shop.software(Token::mint(TokenKind::LicenseKey, KeyMode::Test).expose());
    for _ in 0..20 {
        assert_eq!(ask(&guess()).await.ok().body["code"], "not_found");
    }
    let mut refused = ask(&guess()).await;
    for _ in 0..20 {
        if refused.status == 429 {
            break;
        }
        refused = ask(&guess()).await;
    }
    assert_eq!(refused.refused("rate-limited").body["bucket"], "unknown-license");
    ask(&shop.software("gld_test_lk_nonsense"))
        .await
        .refused("rate-limited");
    ask(&shop.software(&licence.key)).await.ok();
    let elsewhere = guess().with("x-forwarded-for", "198.51.100.7");
    assert_eq!(ask(&elsewhere).await.ok().body["code"], "not_found");
}

#[actix_web::test]
async fn an_old_key_takes_no_activation_from_who_has_the_new_one() {
    let shop = shop().await;
    let licence = shop.licence(json!({ "max_machines": 3 })).await;
    let rotated = shop.owner.post(&licence.verb("rotate-key"), json!({})).await.ok();
    let activate = async |key: &str, from: usize, fingerprint: &str| {
        let software = shop
            .software(key)
            .with("x-forwarded-for", &format!("198.51.100.{from}"));
        let body = json!({ "fingerprint": fingerprint });
        software.post("/licenses/activate", body).await
    };
    let mut exhausted = false;
    for asked in 0..1_000 {
        let answer = activate(&licence.key, asked / 20, "thief").await;
        exhausted = answer.body["bucket"] == "activation";
        if exhausted {
            break;
        }
    }
    assert!(exhausted, "nothing was refused");
    activate(&rotated.text_at("/key"), 200, "holder").await.created();
}

#[actix_web::test]
async fn one_program_in_a_loop_keeps_nobody_waiting_behind_its_address() {
    // The address has more than the licence, which gets ten a second, and less than what is refused here in the end.
    let (burst, a_second) = (100, 15);
    let slow = [
        ("LIMITS__FACTOR", "1"),
        ("LIMITS__IP_BURST", &burst.to_string()),
        ("LIMITS__IP_PER_MINUTE", &(a_second * 60).to_string()),
    ];
    let shop = Shop::in_world(World::with(&slow).await).await;
    let policy = shop.policy(json!({})).await;
    let (one, two) = (
        shop.issue(&policy, json!({})).await,
        shop.issue(&policy, json!({})).await,
    );
    let one = shop.software(&one.key);
    let (begun, mut refused) = (Instant::now(), 0);
    within(
        Duration::from_secs(60),
        "more is refused than the address has",
        async || {
            for answer in join_all((0..4).map(|_| ask(&one))).await {
                if answer.status == 429 {
                    assert_eq!(answer.refused("rate-limited").body["bucket"], "public");
                    refused += 1;
                }
            }
            refused > burst + a_second * (begun.elapsed().as_secs() + 1)
        },
    )
    .await;
    ask(&shop.software(&two.key)).await.ok();
    shop.owner.get("/licenses").await.ok();
}
