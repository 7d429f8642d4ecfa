//! What a look says of its connection, how long a lane is somebody's, and how long anything is kept.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use chrono::Duration;
use guildhall::kernel::inbox::{self, Health, Lane, Settled, Worker};

use super::{SECRET, invoice, world};
use crate::world::World;

#[actix_web::test]
async fn a_connection_is_in_trouble_as_long_as_one_of_its_lanes_is() {
    let world = world(SECRET).await;
    let looks = |trouble: Option<&'static str>| {
        let db = world.deployment.db.clone();
        let look = Arc::new(move |lane: Lane| {
            let db = db.clone();
            let health = match trouble {
                Some(of) if of == lane.name => Health::Trouble("the key may not read invoices".into()),
                _ => Health::Well,
            };
            let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                db.tenant(lane.scope(), move |tx| {
                    assert!(inbox::hold(tx, &lane)?);
                    inbox::settle(tx, &lane.events, &Settled::Done)?;
                    inbox::release(tx, &lane, &health)
                })
                .await
            });
            work
        });
        Worker::new(world.deployment.db.clone(), look)
    };
    let state = || world.count("SELECT count(*) FROM stripe_connections WHERE state = 'degraded'");
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    assert!(looks(Some("cus_1")).once().await.unwrap());
    assert_eq!(state(), 1);
    world.sends(&invoice("evt_2", "cus_2")).await.ok();
    assert!(looks(None).once().await.unwrap());
    assert_eq!(state(), 1, "another customer's lane says nothing about this one");
    world.sends(&invoice("evt_3", "cus_1")).await.ok();
    assert!(looks(None).once().await.unwrap());
    assert_eq!(state(), 0);
}

#[actix_web::test]
async fn a_lease_lasts_as_long_as_the_look_and_a_lost_one_ends_it() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let gate = Arc::new(tokio::sync::Notify::new());
    let (db, opened) = (world.deployment.db.clone(), gate.clone());
    let held = Arc::new(Mutex::new(Vec::new()));
    let seen = held.clone();
    let look = Arc::new(move |lane: Lane| {
        let (db, opened, seen) = (db.clone(), opened.clone(), seen.clone());
        let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            opened.notified().await;
            db.tenant(lane.scope(), move |tx| {
                let ours = inbox::hold(tx, &lane)?;
                seen.lock().unwrap().push(ours);
                if ours {
                    inbox::settle(tx, &lane.events, &Settled::Done)?;
                    inbox::release(tx, &lane, &Health::Well)?;
                }
                Ok(())
            })
            .await
        });
        work
    });
    let beat = std::time::Duration::from_millis(20);
    let slow = Worker::new(world.deployment.db.clone(), look).beating(beat);
    let (other, given) = world.worker(|_| Settled::Done);

    // The lease is about to run out, and is renewed; nobody else gets the lane.
    let looking = slow.once();
    let watching = async {
        let leased = "SELECT count(*) FROM inbox_lanes WHERE lease_until > now() + interval '30 seconds'";
        until(|| world.count(leased) == 1).await;
        world.admin("UPDATE guildhall.inbox_lanes SET lease_until = now() + interval '10 seconds'");
        until(|| world.count(leased) == 1).await;
        assert!(!other.once().await.unwrap());
        gate.notify_one();
    };
    let (looked, ()) = futures_util::future::join(looking, watching).await;
    assert!(looked.unwrap());
    assert_eq!(
        (held.lock().unwrap().as_slice(), world.inbox()[0].1.as_str()),
        (&[true][..], "done")
    );

    // Whoever lost the lease stops looking, though nobody opens the gate.
    world.sends(&invoice("evt_2", "cus_1")).await.ok();
    let taking = async {
        until(|| world.count("SELECT count(*) FROM inbox_lanes WHERE lease_token IS NOT NULL") == 1).await;
        world.admin("UPDATE guildhall.inbox_lanes SET lease_token = gen_random_uuid(), lease_until = now() - interval '1 second'");
    };
    let (looked, ()) = futures_util::future::join(slow.once(), taking).await;
    assert!(looked.unwrap());
    assert_eq!(held.lock().unwrap().len(), 1);
    assert!(other.once().await.unwrap());
    assert_eq!(given.lock().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_lease_that_cannot_be_renewed_for_as_long_as_it_lasts_is_lost_and_counts() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let beat = std::time::Duration::from_millis(20);
    let cut_off = hangs(&world).beating(beat);
    let cut = async {
        until(|| world.count("SELECT count(*) FROM inbox_events WHERE looking") == 1).await;
        world.meanwhile(
            "REVOKE SELECT ON guildhall.inbox_lanes FROM app_kernel",
            "GRANT SELECT ON guildhall.inbox_lanes TO app_kernel",
        )
    };
    let (looked, cut) = futures_util::future::join(cut_off.once(), cut).await;
    drop(cut);
    assert!(looked.unwrap());
    world.admin("UPDATE guildhall.inbox_lanes SET lease_until = now() - interval '1 second'");
    let (other, given) = world.worker(|_| Settled::Done);
    assert!(other.once().await.unwrap());
    assert!(given.lock().unwrap()[0].was_lost(), "nobody said what came of it");
}

#[actix_web::test]
async fn who_is_told_to_stop_gives_the_lane_back_and_nothing_is_counted() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let (tell, told) = tokio::sync::watch::channel(false);
    let stops = async {
        until(|| world.count("SELECT count(*) FROM inbox_events WHERE looking") == 1).await;
        tell.send_replace(true);
    };
    futures_util::future::join(hangs(&world).run(told), stops).await;
    let untouched = "SELECT count(*) FROM inbox_events WHERE attempts = 0 AND NOT looking";
    assert_eq!(world.count(untouched), 1);
    let (other, given) = world.worker(|_| Settled::Done);
    assert!(other.once().await.unwrap(), "nobody has it any more");
    assert!(!given.lock().unwrap()[0].was_lost());
}

#[actix_web::test]
async fn looks_that_lose_their_workers_count_what_was_looked_at_and_in_the_end_it_is_given_up() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    world.sends(&invoice("evt_2", "cus_1")).await.ok();
    let db = world.deployment.db.clone();
    // Looks at one object after the other, and is lost over the first.
    let look = Arc::new(move |lane: Lane| {
        let db = db.clone();
        let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            db.tenant(lane.scope(), move |tx| {
                let left = inbox::count_lost(tx, &lane)?;
                let guilty = left.iter().find(|event| event.object_id.as_deref() == Some("in_evt_1"));
                match guilty {
                    Some(event) => assert!(inbox::begin(tx, &lane, std::slice::from_ref(event))?),
                    None => inbox::release(tx, &lane, &Health::Unknown)?,
                }
                Ok(())
            })
            .await
        });
        work
    });
    let dies = Worker::new(world.deployment.db.clone(), look);
    let state = |event: &str, so: &str| {
        world.count(&format!(
            "SELECT count(*) FROM inbox_events WHERE event_id = '{event}' AND {so}"
        ))
    };
    for lost in 1..=9 {
        assert!(dies.once().await.unwrap());
        world.admin("UPDATE guildhall.inbox_lanes SET lease_until = now() - interval '1 second'");
        assert!(dies.once().await.unwrap());
        assert_eq!(state("evt_1", &format!("attempts = {lost} AND NOT looking")), 1);
        assert_eq!(state("evt_1", "state = 'dead' OR available_at > app_now()"), 1);
        world.clock.advance(Duration::hours(27));
    }
    assert_eq!(state("evt_1", "state = 'dead'"), 1);
    assert_eq!(state("evt_2", "state = 'received' AND attempts = 0"), 1);
}

#[actix_web::test]
async fn what_somebody_else_has_is_looked_at_more_and_more_seldom() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let (busy, _) = world.worker(|_| Settled::Busy);
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        assert!(busy.once().await.unwrap());
        world.clock.advance(Duration::seconds(seconds - 1));
        assert!(!busy.once().await.unwrap(), "sooner than after {seconds} s");
        world.clock.advance(Duration::seconds(2));
    }
    let (fails, _) = world.worker(|_| Settled::Failed("no".into()));
    assert!(fails.once().await.unwrap());
    assert_eq!(
        world.count("SELECT count(*) FROM inbox_events WHERE attempts = 1 AND put_off = 0"),
        1
    );
}

#[actix_web::test]
async fn what_came_of_a_look_counts_once_however_often_it_is_noted() {
    let world = world(SECRET).await;
    for (customer, outcome) in [("cus_1", Settled::Busy), ("cus_2", Settled::Failed("no".into()))] {
        world.sends(&invoice(&format!("evt_{customer}"), customer)).await.ok();
        let db = world.deployment.db.clone();
        let look = Arc::new(move |lane: Lane| {
            let (db, outcome, lane) = (db.clone(), outcome.clone(), Arc::new(lane));
            let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                let held = lane.clone();
                db.tenant(lane.scope(), move |tx| inbox::begin(tx, &held, &held.events))
                    .await?;
                // As by a worker that did not hear of its first commit.
                for _ in 0..2 {
                    let (held, outcome) = (lane.clone(), outcome.clone());
                    db.tenant(lane.scope(), move |tx| inbox::settle(tx, &held.events, &outcome))
                        .await?;
                }
                Ok(())
            });
            work
        });
        assert!(Worker::new(world.deployment.db.clone(), look).once().await.unwrap());
    }
    let counted = |so: &str| {
        world.count(&format!(
            "SELECT count(*) FROM inbox_events WHERE {so} AND NOT looking AND available_at > app_now()"
        ))
    };
    assert_eq!(counted("lane = 'cus_1' AND put_off = 1 AND attempts = 0"), 1);
    assert_eq!(counted("lane = 'cus_2' AND put_off = 0 AND attempts = 1"), 1);
}

/// A worker that looks at everything in a lane, for ever.
fn hangs(world: &World) -> Worker {
    let db = world.deployment.db.clone();
    let look = Arc::new(move |lane: Lane| {
        let db = db.clone();
        let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            db.tenant(lane.scope(), move |tx| inbox::begin(tx, &lane, &lane.events))
                .await?;
            std::future::pending().await
        });
        work
    });
    Worker::new(world.deployment.db.clone(), look)
}

#[actix_web::test]
async fn what_events_said_is_forgotten_after_a_month_and_that_they_came_after_a_year() {
    let world = world(SECRET).await;
    world.sends(&invoice("evt_1", "cus_1")).await.ok();
    let (worker, _) = world.worker(|_| Settled::Done);
    assert!(worker.once().await.unwrap());
    let tidy = async || {
        inbox::sweep(world.deployment.db.clone()).await.unwrap();
        world.run_jobs().await;
    };
    let count = |what: &str| world.count(&format!("SELECT count(*) FROM {what}"));
    world.clock.advance(Duration::days(29));
    tidy().await;
    assert_eq!(count("inbox_events WHERE octet_length(payload) > 0"), 1);
    assert_eq!(count("inbox_lanes"), 0, "nothing waits in it");

    world.clock.advance(Duration::days(2));
    world.sends(&invoice("evt_2", "cus_1")).await.ok();
    tidy().await;
    let hash = hex::encode(guildhall::kernel::crypto::sha256(invoice("evt_1", "cus_1").as_bytes()));
    let kept = format!("inbox_events WHERE payload IS NULL AND encode(payload_hash, 'hex') = '{hash}'");
    assert_eq!((count(&kept), count("inbox_events WHERE payload IS NOT NULL")), (1, 1));
    assert_eq!(
        world.sends(&invoice("evt_1", "cus_1")).await.ok().body["outcome"],
        "known"
    );

    world.clock.advance(Duration::days(400));
    tidy().await;
    let left: Vec<String> = world.inbox().into_iter().map(|(id, _, _)| id).collect();
    assert_eq!(left, ["evt_2"], "what was never settled stays");
    assert_eq!(count("inbox_lanes WHERE available_at IS NOT NULL"), 1);
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    crate::world::patience::until("what is waited for", async || so()).await;
}
