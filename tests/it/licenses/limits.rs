//! How often software may ask: by its licence, so that nobody's software is kept waiting by another's.

use guildhall::kernel::{
    config::KeyMode,
    secret::{Token, TokenKind},
};
use serde_json::json;

use super::Shop;
use crate::world::{Answer, Caller, World};

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
