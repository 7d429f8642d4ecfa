//! What goes wrong on the way from money to access: what is away, what comes twice, who dies in between, and what changes meanwhile.

use std::{pin::Pin, sync::Arc};

use chrono::Duration;
use guildhall::{
    app::{
        dev::stripe::{AfterLastRetry, Fault, Kind, Schedule},
        worker,
    },
    kernel::{
        id::WorkspaceId,
        inbox::{Lane, Worker},
    },
};
use serde_json::json;

use super::{SECRET, Shop, knock};
use crate::world::World;

#[actix_web::test]
async fn whatever_breaks_between_applying_and_marking_takes_both_back() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.world.admin(
        "CREATE FUNCTION guildhall.trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.state = 'done' THEN RAISE EXCEPTION 'tripped'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER trip BEFORE UPDATE ON guildhall.inbox_events FOR EACH ROW EXECUTE FUNCTION guildhall.trip()",
    );
    shop.settles().await;
    let left = (
        shop.count("subscriptions", "true"),
        shop.count("orders", "true"),
        shop.count("licenses", "true"),
    );
    shop.world
        .admin("DROP TRIGGER trip ON guildhall.inbox_events; DROP FUNCTION guildhall.trip()");
    assert_eq!(left, (0, 0, 0), "applied and not marked");
    assert!(shop.count("inbox_events", "state = 'received' AND attempts = 1") > 0);

    shop.world.clock.advance(Duration::seconds(30));
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));
}

#[actix_web::test]
async fn a_stripe_that_is_away_delays_and_loses_nothing() {
    let shop = Shop::open().await;
    let fault = |times| Fault {
        path: "subscriptions".into(),
        method: "GET".into(),
        times,
        kind: Kind::RefusedBefore(503),
    };
    shop.buys("guildhall_pro_month");
    // Answered by the client's own patience.
    shop.stub.inject(fault(1));
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");

    shop.stub.inject(Fault {
        path: String::new(),
        method: "GET".into(),
        times: 1,
        kind: Kind::RefusedBefore(403),
    });
    shop.sends(
        "customer.updated",
        json!({ "object": "customer", "id": shop.bill().await["stripe_customer"] }),
    )
    .await;
    assert_eq!(shop.count("stripe_connections", "state = 'degraded'"), 1);
    assert_eq!(
        shop.plan().await,
        "pro",
        "nobody loses access because our key is refused"
    );
    shop.world.clock.advance(Duration::seconds(30));
    shop.world.run_jobs().await;
    assert_eq!(shop.count("stripe_connections", "state = 'active'"), 1);
}

#[actix_web::test]
async fn an_outage_longer_than_patience_is_waited_for() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.stub.inject(Fault {
        path: String::new(),
        method: "GET".into(),
        times: 10_000,
        kind: Kind::RefusedBefore(503),
    });
    let only = Schedule {
        types: vec!["invoice.paid".into()],
        ..Schedule::default()
    };
    shop.settles_by(&only).await;
    assert_eq!((shop.plan().await.as_str(), shop.count("orders", "true")), ("free", 0));
    let waits = "state = 'received' AND attempts = 1 AND last_error IS NOT NULL";
    assert_eq!(shop.count("inbox_events", waits), 1);

    shop.stub.heal();
    shop.world.clock.advance(Duration::seconds(30));
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));
}

#[actix_web::test]
async fn two_workers_deliver_a_sale_once() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    let twice = Schedule {
        extra_copies: 1,
        ..Schedule::default()
    };
    shop.stub.deliver(&twice).await;
    let (one, other) = (
        worker::runner(&shop.world.deployment),
        worker::runner(&shop.world.deployment),
    );
    loop {
        let (some, more) = futures_util::future::join(one.turn(), other.turn()).await;
        if some.unwrap() + more.unwrap() == 0 {
            break;
        }
    }
    assert_eq!(shop.plan().await, "pro");
    let machines = format!("external_id = '{}'", shop.world.home());
    assert_eq!(
        (
            shop.count("orders", "true"),
            shop.count("licenses", "true"),
            shop.count("machines", &machines)
        ),
        (1, 1, 1)
    );
}

#[actix_web::test]
async fn what_a_worker_took_and_died_with_is_delivered_by_another() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    shop.stub.deliver(&Schedule::default()).await;
    let dies = Worker::new(
        shop.world.deployment.db.clone(),
        Arc::new(|_: Lane| {
            let nothing: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async { Ok(()) });
            nothing
        }),
    );
    while dies.once().await.unwrap() {}
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "free", "the lanes are still the dead one's");

    shop.world.admin(
        "UPDATE guildhall.inbox_lanes SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL",
    );
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));
}

#[actix_web::test]
async fn another_price_is_another_plan_and_a_second_subscription_buys_nothing_more() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");

    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("orders", "state = 'held' AND held_because = 'duplicate'"), 1);

    let id = subscription["id"].as_str().unwrap();
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    let business = shop
        .stub
        .call("GET", "prices", "lookup_keys[]=guildhall_business_month");
    let price = business.unwrap()["data"][0]["id"].as_str().unwrap().to_owned();
    let form = format!("items[0][id]={item}&items[0][price]={price}&proration_behavior=always_invoice");
    shop.stub.call("POST", &format!("subscriptions/{id}"), &form).unwrap();
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!(
        (
            bill["plan"]["plan"].as_str(),
            bill["plan"]["sources"].as_array().map(Vec::len)
        ),
        (Some("business"), Some(1))
    );
    assert_eq!(shop.concurrent_steps(), 100);
    assert_eq!(
        shop.count("licenses", "state = 'active'"),
        1,
        "the one before it is over"
    );
}

/// What staff did to a licence stands, whatever is paid for it afterwards.
#[actix_web::test]
async fn neither_another_price_nor_the_next_invoice_undoes_what_staff_decided() {
    let shop = Shop::open().await;
    let staff = shop.world.member_of(WorkspaceId::PLATFORM, "owner");
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let license = staff.get("/licenses").await.ok().text_at("/data/0/id");
    let held = json!({ "reason": "abuse" });
    staff.post(&format!("/licenses/{license}/suspend"), held).await.ok();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");

    let business = shop
        .stub
        .call("GET", "prices", "lookup_keys[]=guildhall_business_month");
    let price = business.unwrap()["data"][0]["id"].as_str().unwrap().to_owned();
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    let form = format!("items[0][id]={item}&items[0][price]={price}&proration_behavior=always_invoice");
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    shop.stub.call("POST", &path, &form).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free", "the hold stands");
    assert_eq!(shop.count("license_holds", "reason = 'abuse'"), 1);

    staff.post(&format!("/licenses/{license}/revoke"), json!({})).await.ok();
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    assert_eq!(
        shop.plan().await,
        "free",
        "a payment makes no new licence of a revoked one"
    );
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("orders", "state = 'held' AND held_because = 'revoked'"), 1);
}

#[actix_web::test]
async fn what_was_paid_is_delivered_although_the_plan_is_no_longer_sold() {
    let shop = Shop::open().await;
    shop.world
        .admin("UPDATE guildhall.policies SET archived_at = now() WHERE code = 'pro'");
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
}

#[actix_web::test]
async fn the_operators_door_opens_with_the_deployment() {
    let world = World::with(&[("STRIPE__WEBHOOK_SECRETS", SECRET)]).await;
    world.admin("TRUNCATE guildhall.stripe_connections CASCADE");
    let knocks = async || {
        knock(
            &world,
            "customer.updated",
            json!({ "id": "cus_nobody", "object": "customer" }),
        )
        .await
    };
    knocks().await.refused("not-found");
    for _ in 0..2 {
        world.deployment.prepare().await.unwrap();
        knocks().await.ok();
    }
    world.run_jobs().await;
}

#[actix_web::test]
async fn access_is_limited_after_a_fortnight_whatever_stripe_says() {
    let shop = Shop::open().await;
    shop.falls_behind().await;

    // Nothing that Stripe tells arrives; what it would answer stays `past_due`.
    shop.world
        .admin("UPDATE guildhall.dunning_cases SET restrict_at = restrict_at - interval '13 days 23 hours'");
    shop.world.admin(
        "UPDATE guildhall.run_timers SET due_at = due_at - interval '13 days 23 hours' WHERE kind = 'store.look'",
    );
    shop.world.clock.advance(Duration::hours(2));
    shop.world.run_jobs().await;
    assert_eq!(shop.bill().await["subscription"]["status"], "past_due");
    assert_eq!(shop.stands().await, ["pro", "read_only", "restricted"]);
}

#[actix_web::test]
async fn a_declined_card_buys_nothing_and_a_card_that_stops_paying_runs_out_of_access() {
    let shop = Shop::open().await;
    let declined = shop.buys_with("guildhall_pro_month", "pm_card_chargeCustomerFail");
    assert_eq!(declined["status"], "incomplete");
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    shop.passes(Duration::hours(24)).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "incomplete_expired");

    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    shop.card(&subscription, "pm_card_chargeCustomerFail");
    shop.stub.after_last_retry(AfterLastRetry::MarkUnpaid);
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "past_due");
    assert_eq!(shop.stands().await, ["pro", "full", "retrying"]);
    shop.passes(Duration::days(3)).await;
    assert_eq!(
        shop.stands().await,
        ["pro", "full", "retrying"],
        "what was paid is over, the patience is not"
    );

    shop.passes(Duration::days(13)).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "unpaid");
    assert_eq!(shop.stands().await, ["pro", "read_only", "restricted"]);
    shop.passes(Duration::days(14)).await;
    assert_eq!(shop.stands().await, ["free", "full", "restricted"]);
}

#[actix_web::test]
async fn who_pays_late_has_everything_back() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    shop.card(&subscription, "pm_card_chargeCustomerFail");
    shop.stub.after_last_retry(AfterLastRetry::MarkUnpaid);
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    shop.passes(Duration::days(16)).await;
    assert_eq!(shop.stands().await, ["pro", "read_only", "restricted"]);
    let refused = shop.one_more_agent(402).await;
    assert_eq!(refused["code"], "payment-required");
    let since: chrono::DateTime<chrono::Utc> = refused["since"].as_str().unwrap().parse().unwrap();
    assert!(shop.world.clock.now() - since < Duration::days(3), "{refused}");

    shop.card(&subscription, "pm_card_visa");
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    let invoice = shop.stub.call("GET", &path, "").unwrap()["latest_invoice"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.stub.call("POST", &format!("invoices/{invoice}/pay"), "").unwrap();
    shop.settles().await;
    assert_eq!(shop.stands().await, ["pro", "full", ""]);
    assert_eq!(shop.count("dunning_cases", "state = 'recovered'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
}

#[actix_web::test]
async fn events_come_in_while_the_signing_secret_is_rolled() {
    let shop = Shop::open().await;
    shop.stub.roll(&shop.endpoint, Some("whsec_fresh".to_owned())).unwrap();
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
}
