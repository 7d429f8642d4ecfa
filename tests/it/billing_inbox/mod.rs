//! The inbox: what its door lets in, and how its lanes are handed out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod leases;

use std::sync::{Arc, Mutex};

use chrono::Duration;
use diesel::{QueryDsl, RunQueryDsl};
use guildhall::kernel::{
    access::Call,
    crypto::hmac,
    inbox::{self, Health, Lane, Settled, Worker},
};
use serde_json::{Value, json};

use crate::world::World;

const SECRET: &str = "whsec_one";

/// A world whose operator has a Stripe connection with these signing secrets.
async fn world(secrets: &str) -> World {
    let world = World::with(&[("STRIPE__WEBHOOK_SECRETS", secrets)]).await;
    // A database outlives its worlds, and the operator's connection is one of it.
    world.admin("DELETE FROM guildhall.inbox_events; DELETE FROM guildhall.inbox_lanes");
    let call = Call::internal("test", "test-request".into());
    inbox::ensure_platform(&world.deployment.db, &call, false)
        .await
        .unwrap();
    world
}

fn v1(secret: &str, at: i64, body: &str) -> String {
    hex::encode(hmac(secret.as_bytes(), format!("{at}.{body}").as_bytes()))
}

fn event(id: &str, kind: &str, object: Value) -> String {
    json!({ "id": id, "type": kind, "livemode": false, "created": 1_800_000_000, "data": { "object": object } })
        .to_string()
}

fn invoice(event_id: &str, customer: &str) -> String {
    event(
        event_id,
        "invoice.paid",
        json!({ "object": "invoice", "id": format!("in_{event_id}"), "customer": customer }),
    )
}

impl World {
    async fn sends(&self, body: &str) -> crate::world::Answer {
        let at = self.clock.now().timestamp();
        self.sends_signed(body, &format!("t={at},v1={}", v1(SECRET, at, body)))
            .await
    }

    async fn sends_signed(&self, body: &str, signature: &str) -> crate::world::Answer {
        let door = self.anonymous();
        door.act("/inbox/stripe/platform")
            .header("Stripe-Signature", signature)
            .raw("application/json", body.to_owned())
            .await
    }

    /// State and lane of every event, by its id at Stripe.
    fn inbox(&self) -> Vec<(String, String, String)> {
        diesel::table! {
            guildhall.inbox_events (event_id) {
                event_id -> Text,
                state -> Text,
                lane -> Text,
            }
        }
        inbox_events::table
            .order(inbox_events::event_id)
            .load(&mut self.superuser())
            .unwrap()
    }

    /// A worker that notes which lanes it is given and settles all events like this.
    fn worker(&self, outcome: impl Fn(&str) -> Settled + Send + Sync + 'static) -> (Worker, Arc<Mutex<Vec<Lane>>>) {
        let given = Arc::new(Mutex::new(Vec::new()));
        let (seen, db, outcome) = (given.clone(), self.deployment.db.clone(), Arc::new(outcome));
        let look = Arc::new(move |lane: Lane| {
            seen.lock().unwrap().push(lane.clone());
            let (db, outcome) = (db.clone(), outcome.clone());
            let work: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                db.tenant(lane.scope(), move |tx| {
                    assert!(inbox::begin(tx, &lane, &lane.events)?);
                    for event in &lane.events {
                        inbox::settle(tx, [event], &outcome(event.object_id.as_deref().unwrap()))?;
                    }
                    inbox::release(tx, &lane, &Health::Well)
                })
                .await
            });
            work
        });
        (Worker::new(self.deployment.db.clone(), look), given)
    }
}

#[actix_web::test]
async fn a_signed_event_is_stored_once_however_often_it_comes() {
    let world = world(SECRET).await;
    let body = invoice("evt_1", "cus_1");
    assert_eq!(world.sends(&body).await.ok().body, json!({ "outcome": "stored" }));
    assert_eq!(world.sends(&body).await.ok().body, json!({ "outcome": "known" }));
    let copies = (0..20).map(|_| world.sends(&body));
    for answer in futures_util::future::join_all(copies).await {
        assert_eq!(answer.ok().body["outcome"], "known");
    }
    assert_eq!(world.inbox(), [("evt_1".into(), "received".into(), "cus_1".into())]);
}

#[actix_web::test]
async fn what_stripe_did_not_sign_lately_is_refused_and_not_stored() {
    let world = world(SECRET).await;
    let (body, now) = (invoice("evt_1", "cus_1"), world.clock.now().timestamp());
    let good = v1(SECRET, now, &body);
    for signature in [
        String::new(),
        "nonsense".into(),
        format!("t={now}"),
        format!("t={now},v1={}", v1("whsec_other", now, &body)),
        format!("t={now},v0={good}"),
        format!("t={},v1={}", now - 301, v1(SECRET, now - 301, &body)),
        format!("t={},v1={}", now + 310, v1(SECRET, now + 310, &body)),
        format!("t={now},v1={}", v1(SECRET, now, &invoice("evt_2", "cus_1"))),
        format!("t={now},v1={}", v1("", now, &body)),
    ] {
        world.sends_signed(&body, &signature).await.refused("invalid-signature");
    }
    world
        .anonymous()
        .act("/inbox/stripe/platform")
        .raw("application/json", body.clone())
        .await
        .refused("invalid-signature");
    world
        .anonymous()
        .act("/inbox/stripe/platform")
        .await
        .refused("invalid-signature");
    assert!(world.inbox().is_empty());

    world
        .sends_signed(&body, &format!("t={now},v1={}", v1(SECRET, now, &body)))
        .await
        .ok();
    world.clock.advance(Duration::seconds(400));
    let stale = invoice("evt_3", "cus_1");
    world
        .sends_signed(&stale, &format!("t={now},v1={}", v1(SECRET, now, &stale)))
        .await
        .refused("invalid-signature");
}

#[actix_web::test]
async fn two_secrets_live_while_one_is_rolled() {
    let world = world("whsec_one, whsec_two").await;
    let now = world.clock.now().timestamp();
    for (secret, id) in [("whsec_one", "evt_1"), ("whsec_two", "evt_2")] {
        let body = invoice(id, "cus_1");
        world
            .sends_signed(&body, &format!("t={now},v1={}", v1(secret, now, &body)))
            .await
            .ok();
    }
    let body = invoice("evt_3", "cus_1");
    let both = format!(
        "t={now},v1={},v1={}",
        v1("whsec_gone", now, &body),
        v1("whsec_two", now, &body)
    );
    world.sends_signed(&body, &both).await.ok();
    assert_eq!(world.inbox().len(), 3);
}

#[actix_web::test]
async fn a_door_without_a_secret_or_a_connection_is_none() {
    let body = invoice("evt_1", "cus_1");
    let without = world("").await;
    let now = without.clock.now().timestamp();
    let empty = format!("t={now},v1={}", v1("", now, &body));
    without.sends_signed(&body, &empty).await.refused("not-found");

    let world = world(SECRET).await;
    for address in [
        "con_01jd8qv4x2fkr9s3m5n7p0t1wz",
        "nonsense",
        "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz",
    ] {
        let ask = world.anonymous().act(&format!("/inbox/stripe/{address}"));
        let signature = format!("t={now},v1={}", v1(SECRET, now, &body));
        ask.header("Stripe-Signature", &signature)
            .raw("application/json", body.clone())
            .await
            .refused("not-found");
    }
    world.admin("SET search_path = guildhall, public; UPDATE stripe_connections SET state = 'disconnected'");
    world.sends(&body).await.refused("not-found");
    assert!(world.inbox().is_empty());
}

#[actix_web::test]
async fn odd_bodies_get_their_answers() {
    let world = world(SECRET).await;
    for body in [
        "",
        "[]",
        "{}",
        "not json",
        r#"{"id":"evt_1"}"#,
        r#"{"id":"evt_1","type":"a\u0000b"}"#,
    ] {
        world.sends(body).await.refused("invalid-json");
    }
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(1_100_000));
    world.sends(&large).await.refused("body-too-large");
    let compressed = world
        .anonymous()
        .act("/inbox/stripe/platform")
        .header("content-encoding", "gzip");
    compressed
        .raw("application/json", "{}")
        .await
        .refused("unsupported-media-type");
    world
        .anonymous()
        .get("/inbox/stripe/platform")
        .await
        .refused("method-not-allowed");

    // A customer may be called anything: payloads are kept as bytes.
    let body = event(
        "evt_nul",
        "customer.updated",
        json!({ "object": "customer", "id": "cus_1", "name": "A\0B" }),
    );
    assert_eq!(world.sends(&body).await.ok().body["outcome"], "stored");
    let unknown = event(
        "evt_new",
        "payout.reconciled",
        json!({ "object": "payout", "id": "po_1" }),
    );
    world.sends(&unknown).await.ok();
    let live =
        json!({ "id": "evt_live", "type": "invoice.paid", "livemode": true, "data": { "object": { "id": "in_1" } } });
    assert_eq!(world.sends(&live.to_string()).await.ok().body["outcome"], "ignored");
    let states: Vec<(String, String)> = world.inbox().into_iter().map(|(id, state, _)| (id, state)).collect();
    assert_eq!(
        states,
        [
            ("evt_new".into(), "ignored".into()),
            ("evt_nul".into(), "received".into())
        ]
    );
}

#[actix_web::test]
async fn a_lane_is_handed_to_one_worker_with_all_that_waits_in_it() {
    let world = world(SECRET).await;
    for (id, customer) in [("evt_1", "cus_1"), ("evt_2", "cus_2"), ("evt_3", "cus_1")] {
        world.sends(&invoice(id, customer)).await.ok();
    }
    let (worker, given) = world.worker(|_| Settled::Done);
    while worker.once().await.unwrap() {}
    let lanes: Vec<(String, usize, i64)> = given
        .lock()
        .unwrap()
        .iter()
        .map(|lane| (lane.name.clone(), lane.events.len(), lane.epoch))
        .collect();
    assert_eq!(lanes, [("cus_1".into(), 2, 1), ("cus_2".into(), 1, 1)]);
    assert!(world.inbox().iter().all(|(_, state, _)| state == "done"));

    world.sends(&invoice("evt_4", "cus_1")).await.ok();
    assert!(worker.once().await.unwrap());
    assert_eq!(
        given.lock().unwrap().last().unwrap().epoch,
        2,
        "every lease has a higher epoch"
    );
}

#[actix_web::test]
async fn a_stalled_worker_changes_nothing_once_another_has_the_lane() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let stalled = Arc::new(Mutex::new(None));
    let keep = stalled.clone();
    let look = Arc::new(move |lane: Lane| {
        *keep.lock().unwrap() = Some(lane);
        let work: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async { Ok(()) });
        work
    });
    let db = world.deployment.db.clone();
    assert!(Worker::new(db.clone(), look).once().await.unwrap());
    let (worker, given) = world.worker(|_| Settled::Done);
    assert!(!worker.once().await.unwrap(), "the lease is still somebody's");
    world.admin("UPDATE guildhall.inbox_lanes SET lease_until = now() - interval '1 second'");
    assert!(worker.once().await.unwrap());
    assert_eq!(given.lock().unwrap()[0].epoch, 2);

    let lane = stalled.lock().unwrap().take().unwrap();
    let held = db.tenant(lane.scope(), move |tx| inbox::hold(tx, &lane)).await.unwrap();
    assert!(!held, "whatever it saw is stale");
}

#[actix_web::test]
async fn what_fails_is_looked_at_later_and_later_and_then_given_up() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let (worker, given) = world.worker(|_| Settled::Failed("it broke".into()));
    for wait in [10, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400] {
        assert!(worker.once().await.unwrap(), "before the wait of {wait} s");
        assert!(!worker.once().await.unwrap());
        world.clock.advance(Duration::seconds(wait - 1));
        assert!(!worker.once().await.unwrap(), "not before {wait} s");
        world.clock.advance(Duration::seconds(wait / 10 + 2));
    }
    assert!(worker.once().await.unwrap());
    assert_eq!(given.lock().unwrap().len(), 9);
    assert_eq!(world.inbox()[0].1, "dead");
    world.clock.advance(Duration::days(30));
    assert!(!worker.once().await.unwrap());
}

#[actix_web::test]
async fn what_is_parked_waits_for_what_it_is_parked_on() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    world.sends(&invoice("evt_2", "cus_2")).await.ok();
    let on = |object: &str| Settled::Parked(format!("price:{object}"));
    let (worker, given) = world.worker(on);
    while worker.once().await.unwrap() {}
    world.clock.advance(Duration::days(2));
    assert!(!worker.once().await.unwrap());

    let lane = given.lock().unwrap()[0].clone();
    let (db, scope) = (world.deployment.db.clone(), lane.scope());
    let freed = db
        .tenant(scope, move |tx| {
            inbox::park_no_longer(tx, lane.connection, "price:in_evt_1")
        })
        .await
        .unwrap();
    assert_eq!(freed, 1);
    assert!(worker.once().await.unwrap());
    assert!(!worker.once().await.unwrap());
    assert_eq!(given.lock().unwrap().last().unwrap().name, "cus_1");
}

#[actix_web::test]
async fn events_move_to_the_lane_in_which_they_belong() {
    let world = world(SECRET).await;
    let refund = event("evt_1", "refund.updated", json!({ "object": "refund", "id": "re_1" }));
    world.sends(&refund).await.ok();
    let db = world.deployment.db.clone();
    let look = Arc::new(move |lane: Lane| {
        let db = db.clone();
        let work: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            db.tenant(lane.scope(), move |tx| {
                inbox::move_to(tx, &lane, &lane.events, "cus_1")?;
                inbox::release(tx, &lane, &Health::Unknown)
            })
            .await
        });
        work
    });
    assert!(Worker::new(world.deployment.db.clone(), look).once().await.unwrap());
    let (worker, given) = world.worker(|_| Settled::Done);
    while worker.once().await.unwrap() {}
    let lane = given.lock().unwrap()[0].clone();
    assert_eq!((lane.name.as_str(), lane.events.len()), ("cus_1", 1));
}
