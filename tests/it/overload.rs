//! Too much at once: whoever is refused is refused at the door, and whoever was let in is served.

use std::{
    future::IntoFuture,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::connection::SimpleConnection;
use futures_util::{
    future::{Either, select},
    poll,
};
use guildhall::kernel::{access::Class, gate::Place, metrics};
use serde_json::json;

use crate::{
    identity::together,
    world::{Answer, Caller, Wire, World, patience::until},
};

/// The world without a credential, at one of many addresses.
fn at(world: &World, n: usize) -> Caller {
    world
        .anonymous()
        .with("x-forwarded-for", &format!("198.18.{}.{}", n / 256, n % 256))
}

async fn sign_in(world: &World, n: usize) -> Answer {
    let guess = json!({ "identifier": world.email(&format!("nobody{n}")), "password": "a fine long password" });
    at(world, n).post("/auth/login", guess).await
}

#[track_caller]
fn is_told_to_come_back(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.text_at("/code"), "overloaded");
    assert_eq!(answer.text_at("/reason"), "line", "{}", answer.text);
    assert_eq!(answer.text_at("/outcome"), "none");
    assert_eq!(answer.body["status"], 503);
    assert_eq!(answer.text_at("/request_id"), answer.header("x-request-id"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.text_at("/type").ends_with("/problems/overloaded"));
    let after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=3).contains(&after), "{after}");
}

#[actix_web::test]
async fn whoever_is_let_in_to_sign_in_is_answered_however_many_others_are_refused() {
    let world = World::new().await;
    let count = || world.count("SELECT count(*) FROM guildhall.credential_throttles WHERE bucket = 'login_account'");
    let before = count();
    let answers = together((0..200).map(|n| sign_in(&world, n))).await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status != 503);
    for answer in &answered {
        assert_eq!(answer.text_at("/code"), "invalid-credentials");
    }
    refused.iter().for_each(is_told_to_come_back);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    assert!(answered.len() >= 9 * cores, "{} were let in", answered.len());
    assert!(!refused.is_empty(), "two hundred at once are too many");
    // Every guess that was counted was also judged: nobody was refused in the middle.
    assert_eq!((count() - before) as usize, answered.len());
    // And nothing is left of it: the next one is served.
    assert_eq!(sign_in(&world, 1_000).await.text_at("/code"), "invalid-credentials");
}

#[actix_web::test]
async fn a_sign_in_flood_leaves_other_work_alone() {
    let world = World::new().await;
    let owner = world.owner();
    let flood = together((0..100).map(|n| sign_in(&world, n)));
    let work = async {
        for _ in 0..10 {
            owner.get("/workspace").await.ok();
        }
    };
    futures_util::join!(flood, work);
}

#[actix_web::test]
async fn one_workspace_that_asks_for_everything_leaves_others_their_room() {
    let world = World::new().await;
    let (owner, other) = (world.owner(), world.stranger());
    let product = owner.post("/products", json!({ "code": "one", "name": "One" })).await;
    let path = format!("/products/{}", product.created().id());
    let mut busy = world.superuser();
    let home = world.home().uuid();
    busy.batch_execute(&format!(
        "BEGIN; SELECT FROM guildhall.products WHERE workspace_id = '{home}' FOR UPDATE"
    ))
    .expect("the lock");
    let refused = || metrics::GATE_SHED.with_label_values(&["interactive", "share"]).get();
    let before = refused();
    let counted = || metrics::RATE_LIMITED.with_label_values(&["concurrency"]).get();
    let counted_before = counted();
    let change = || owner.patch(&path, json!({ "name": "Other" })).into_future();
    let flood = together((0..40).map(|_| change()));
    let work = async {
        until("some are refused", async || refused() > before).await;
        // One after the other they take nothing of what all have who are behind their address.
        let left = async || {
            let answer = change().await;
            assert_eq!(answer.text_at("/bucket"), "concurrency");
            let limit = answer.header("ratelimit").strip_prefix("\"ip\";r=").map(str::to_owned);
            let left = limit
                .as_deref()
                .and_then(|limit| limit.split(';').next()?.parse::<u32>().ok());
            left.expect("what is left of the address's")
        };
        let first = left().await;
        for _ in 0..4 {
            assert!(left().await >= first);
        }
        let free = async { busy.batch_execute("ROLLBACK").expect("free again") };
        let (answer, ()) = futures_util::join!(other.get("/customers").into_future(), free);
        answer.ok();
    };
    let (flood, ()) = futures_util::join!(flood, work);
    let too_many: Vec<_> = flood.iter().filter(|answer| answer.status == 429).collect();
    assert!(!too_many.is_empty(), "forty at once are too many");
    assert!(counted() >= counted_before + too_many.len() as u64);
    for answer in too_many {
        assert_eq!(answer.text_at("/bucket"), "concurrency");
        assert!(["1", "2", "3"].contains(&answer.header("retry-after")));
    }
}

#[actix_web::test]
async fn whoever_is_refused_by_its_share_leaves_at_the_pace_of_all_who_are_refused() {
    let world = World::new().await;
    let (owner, other) = (world.owner(), world.stranger());
    // Both are known: what is compared is not how long it takes to find out who they are.
    owner.get("/customers").await.ok();
    other.get("/customers").await.ok();
    let gate = world.deployment.db.gate();
    let take = || gate.admit(Class::Interactive).expect("there is room");
    let mine = |place: &Arc<Place>| place.belong_to(world.home()).is_ok();
    let _held: Vec<_> = std::iter::repeat_with(take).take_while(mine).collect();
    // As many stand on the porch as may: who comes now stands there for nearly a second.
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    for _ in 0..2_000 * cores {
        assert!(poll!(pin!(gate.wait_on_the_porch())).is_pending());
    }
    let refused = pin!(owner.get("/customers").into_future());
    let served = pin!(async {
        for _ in 0..5 {
            other.get("/customers").await.ok();
        }
    });
    match select(refused, served).await {
        Either::Left((answer, _)) => panic!("refused before others were served: {}", answer.text),
        Either::Right(((), refused)) => assert_eq!(refused.await.text_at("/bucket"), "concurrency"),
    }
}

#[actix_web::test]
async fn slow_bodies_do_not_fill_the_room() {
    let world = World::new().await;
    let head =
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut slow = Vec::new();
    for _ in 0..20 * cores {
        let mut wire = Wire::to(&world.base).await;
        wire.send(head).await;
        slow.push(wire);
    }
    // They keep their places for a tenth of a second at most.
    let begun = Instant::now();
    loop {
        let asked = begun.elapsed();
        let answer = sign_in(&world, 1).await;
        if answer.status == 401 {
            break;
        }
        is_told_to_come_back(&answer);
        assert!(asked < Duration::from_secs(2), "still no room after {asked:?}");
    }
}
