//! A limit is exact, whoever comes at the same time.

use std::{future::IntoFuture, time::Duration};

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use super::{Licence, Shop};
use crate::world::{
    Answer, Caller,
    patience::{until, within},
};

/// Asks until there is an answer that is none of the server's being busy.
async fn insist(caller: Caller, path: String, body: Option<Value>) -> Answer {
    let mut last = None;
    within(
        Duration::from_secs(60),
        "an answer of somebody who has time",
        async || {
            let answer = match &body {
                Some(body) => caller.post(&path, body.clone()).await,
                None => caller.delete(&path).await,
            };
            !matches!(last.insert(answer).status.as_u16(), 429 | 503)
        },
    )
    .await;
    last.expect("it was asked")
}

/// How many callers have to stand before the counter together before one of them gets any further.
const TOGETHER: i64 = 3;

/// How many wait inside the database.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND usename = 'app_tenant' AND wait_event_type = 'Lock'";

/// All of these at once: the licence's counter is held until several of them wait for it inside the database, each in its own transaction.
async fn at_once(
    shop: &Shop,
    licence: &Licence,
    asks: impl IntoIterator<Item = (Caller, String, Option<Value>)>,
) -> Vec<Answer> {
    let mut barrier = shop.world.superuser();
    let hold = format!(
        "BEGIN; SELECT FROM license_counters WHERE license_id = '{}' FOR UPDATE",
        licence.uuid()
    );
    barrier.batch_execute(&hold).expect("nobody else holds it");
    let opening = async {
        until("several wait for the counter", async || {
            shop.world.count(WAITING) >= TOGETHER
        })
        .await;
        barrier.batch_execute("COMMIT").expect("given back");
    };
    let running = asks.into_iter().map(|(caller, path, body)| insist(caller, path, body));
    futures_util::join!(futures_util::future::join_all(running), opening).0
}

fn activation(shop: &Shop, licence: &Licence, fingerprint: String) -> (Caller, String, Option<Value>) {
    let body = json!({ "license_id": licence.id, "fingerprint": fingerprint });
    (shop.owner.clone(), "/licenses/activate".into(), Some(body))
}

fn statuses(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status.as_u16() == status).count()
}

#[actix_web::test]
async fn as_many_as_the_limit_says_get_a_place_and_not_one_more() {
    let shop = Shop::new().await;
    for limit in [1, 5, 50] {
        let policy = shop
            .policy_as(&format!("up-to-{limit}"), json!({ "max_machines": limit }))
            .await;
        let licence = shop.issue(&policy, json!({})).await;
        let answers = at_once(
            &shop,
            &licence,
            (0..60).map(|n| activation(&shop, &licence, format!("m{n}"))),
        )
        .await;
        assert_eq!(statuses(&answers, 201), limit, "limit {limit}");
        assert_eq!(statuses(&answers, 409), 60 - limit, "limit {limit}");
        let most = i64::try_from(limit).expect("small");
        assert_eq!(shop.places(&licence), (most, most));
        for answer in answers.into_iter().filter(|answer| answer.status.as_u16() == 409) {
            let refused = answer.refused("machine-limit-reached");
            assert_eq!(refused.body["used"], limit);
        }
    }
}

#[actix_web::test]
async fn who_waited_while_the_limit_was_lowered_is_told_the_new_one() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 5 })).await;
    shop.activate(&licence, "first").await.created();
    let id = licence.uuid();
    let mut lowering = shop.world.superuser();
    lowering
        .batch_execute(&format!(
            "BEGIN; UPDATE license_counters SET machines_max = 1 WHERE license_id = '{id}';
             UPDATE licenses SET terms = jsonb_set(terms, '{{rules,max_machines}}', '1') WHERE id = '{id}'"
        ))
        .expect("nobody else holds them");
    let (owner, path, body) = activation(&shop, &licence, "second".into());
    let waiting = async {
        until("it waits for the counter", async || shop.world.count(WAITING) > 0).await;
        lowering.batch_execute("COMMIT").expect("lowered");
    };
    let (refused, ()) = futures_util::join!(owner.post(&path, body.unwrap_or_default()).into_future(), waiting);
    let refused = refused.refused("machine-limit-reached");
    assert_eq!(refused.body["detail"], "1 of 1 machines are in use.");
    assert_eq!((&refused.body["used"], &refused.body["max"]), (&json!(1), &json!(1)));
}

#[actix_web::test]
async fn software_with_the_key_finds_the_same_limit() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 5 })).await;
    let software = shop.software(&licence.key);
    let asks = (0..50).map(|n| {
        let body = json!({ "fingerprint": format!("m{n}") });
        (software.clone(), "/licenses/activate".to_owned(), Some(body))
    });
    let answers = at_once(&shop, &licence, asks).await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 409)), (5, 45));
    assert_eq!(shop.places(&licence), (5, 5));
}

#[actix_web::test]
async fn places_that_are_given_up_meanwhile_are_taken_again_and_none_is_lost() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 5 })).await;
    let mut asks = Vec::new();
    for n in 0..5 {
        let machine = shop.activate(&licence, &format!("old{n}")).await.created().id();
        // Twice each: one of the two frees the place.
        for _ in 0..2 {
            asks.push((shop.owner.clone(), format!("/machines/{machine}"), None));
        }
    }
    for n in 0..50 {
        asks.insert(n % asks.len(), activation(&shop, &licence, format!("new{n}")));
    }
    let answers = at_once(&shop, &licence, asks).await;
    assert_eq!((statuses(&answers, 204), statuses(&answers, 404)), (5, 5));
    let taken = statuses(&answers, 201);
    assert!(taken <= 5, "{taken}");
    let now = i64::try_from(taken).expect("small");
    assert_eq!(shop.places(&licence), (now, now));
    // What is left is there for whoever wants it; where nothing is, nobody waits for the counter.
    if taken < 5 {
        let answers = at_once(
            &shop,
            &licence,
            (0..20).map(|n| activation(&shop, &licence, format!("late{n}"))),
        )
        .await;
        assert_eq!(statuses(&answers, 201), 5 - taken);
    }
    assert_eq!(shop.places(&licence), (5, 5));
}

#[actix_web::test]
async fn twins_take_one_place_even_if_it_is_the_last() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 2 })).await;
    shop.activate(&licence, "other").await.created();
    let answers = at_once(
        &shop,
        &licence,
        (0..30).map(|_| activation(&shop, &licence, "twin".into())),
    )
    .await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 200)), (1, 29));
    let id = answers[0].id();
    assert!(answers.iter().all(|answer| answer.id() == id));
    assert_eq!((shop.places(&licence), shop.events("machine.activated")), ((2, 2), 2));
}

#[actix_web::test]
async fn a_revocation_leaves_no_machine_behind_whoever_activates_meanwhile() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 50 })).await;
    for _ in 0..3 {
        let licence = shop.issue(&policy, json!({})).await;
        let mut asks: Vec<_> = (0..20).map(|n| activation(&shop, &licence, format!("m{n}"))).collect();
        asks.insert(8, (shop.owner.clone(), licence.verb("revoke"), Some(json!({}))));
        let answers = at_once(&shop, &licence, asks).await;
        assert_eq!(statuses(&answers, 200), 1);
        assert_eq!(statuses(&answers, 201) + statuses(&answers, 409), 20);
        assert_eq!(shop.places(&licence), (0, 0));
        assert_eq!(shop.verdict(&licence, json!({})).await["code"], "revoked");
    }
}

#[actix_web::test]
async fn overdue_machines_make_room_once_for_all_who_wait() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "max_machines": 3, "heartbeat": "required", "heartbeat_basis": "from_creation" }))
        .await;
    for n in 0..3 {
        shop.activate(&licence, &format!("old{n}")).await.created();
    }
    shop.world.clock.advance(chrono::TimeDelta::minutes(11));
    let answers = at_once(
        &shop,
        &licence,
        (0..40).map(|n| activation(&shop, &licence, format!("new{n}"))),
    )
    .await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 409)), (3, 37));
    assert_eq!((shop.places(&licence), shop.events("machine.deactivated")), ((3, 3), 3));
}

#[actix_web::test]
async fn machines_that_grow_together_get_what_there_is_and_not_one_core_more() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({ "max_machines": 20, "max_cores": 28 })).await;
    let ask = |n: usize, cores: i32| {
        let body = json!({ "license_id": licence.id, "fingerprint": format!("m{n}"), "cores": cores });
        (shop.owner.clone(), "/licenses/activate".to_owned(), Some(body))
    };
    let mut ids = Vec::new();
    for n in 0..20 {
        let (caller, path, body) = ask(n, 1);
        ids.push(caller.post(&path, body.expect("one")).await.created().id());
    }
    // Some go meanwhile: each gives back what it has just then, whichever comes first.
    let gone = ids[..4]
        .iter()
        .map(|id| (shop.owner.clone(), format!("/machines/{id}"), None));
    let answers = at_once(&shop, &licence, (0..20).map(|n| ask(n, 3)).chain(gone)).await;
    assert_eq!(statuses(&answers[20..], 204), 4);
    let cores = |of: &str| {
        let id = licence.uuid();
        shop.world.count(&format!(
            "SELECT sum(cores)::bigint AS count FROM {of} WHERE license_id = '{id}'"
        ))
    };
    let counted = cores("license_counters");
    assert_eq!(
        cores("(SELECT * FROM machines WHERE state <> 'deactivated') living"),
        counted
    );
    assert!(counted <= 28, "{counted} of 28 cores");
    let (grown, refused) = (statuses(&answers[..20], 200), statuses(&answers[..20], 409));
    assert!(grown > 0 && refused > 0, "{grown} grown, {refused} refused");
    assert_eq!(grown + refused + statuses(&answers[..20], 201), 20);
}
