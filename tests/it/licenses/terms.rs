//! When a licence ends: what its term, its renewals and its suspensions make of it, in whatever order.

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Licence, Shop};
use crate::world::gate::{Gate, insist};

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

async fn expires_at(shop: &Shop, licence: &Licence) -> DateTime<Utc> {
    instant(&shop.show(licence).await["expires_at"])
}

/// To the minute: what the machine takes to run a test is no difference.
#[track_caller]
fn near(one: DateTime<Utc>, other: DateTime<Utc>) {
    assert!((one - other).abs() < TimeDelta::minutes(1), "{one} is not {other}");
}

#[actix_web::test]
async fn a_term_that_begins_takes_nothing_away_of_what_was_renewed() {
    let shop = Shop::new().await;
    for basis in ["from_first_validation", "from_first_activation"] {
        let rules = json!({ "term_count": 1, "term_unit": "month", "expiration_basis": basis });
        let policy = shop.policy_as(&basis.replace('_', "-"), rules).await;
        let until = shop.world.clock.now() + TimeDelta::days(365);
        let (far, near_by) = (
            shop.issue(&policy, json!({})).await,
            shop.issue(&policy, json!({})).await,
        );
        for (licence, until) in [(&far, until), (&near_by, shop.world.clock.now() + TimeDelta::days(2))] {
            let renewal = json!({ "until": until, "ref": "a" });
            shop.owner.post(&licence.verb("renew"), renewal).await.ok();
            let refused = shop.owner.post(&licence.verb("renew"), json!({ "periods": 1 })).await;
            assert_eq!(refused.refused("state-conflict").body["state"], "not_started");
            shop.activate(licence, "m").await.created();
            shop.verdict(licence, json!({})).await;
        }
        assert_eq!(expires_at(&shop, &far).await, until, "{basis}");
        let month = shop
            .world
            .clock
            .now()
            .checked_add_months(Months::new(1))
            .expect("a date");
        near(expires_at(&shop, &near_by).await, month);
    }
}

#[actix_web::test]
async fn periods_go_on_from_the_term_and_not_from_what_stands_beside_it() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "term_count": 1, "term_unit": "month" })).await;
    let begun = shop.world.clock.now();
    let months = |n| begun.checked_add_months(Months::new(n)).expect("a date");
    let until = json!({ "until": months(8), "ref": "a" });
    let periods = json!({ "periods": 9, "ref": "b" });
    for order in [[until.clone(), periods.clone()], [periods, until]] {
        let licence = shop.issue(&policy, json!({})).await;
        for renewal in order {
            shop.owner.post(&licence.verb("renew"), renewal).await.ok();
        }
        near(expires_at(&shop, &licence).await, months(10));
    }
}

#[actix_web::test]
async fn a_suspension_that_stops_the_clock_moves_renewals_too() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 30, "term_unit": "day", "suspended_time": "stops_clock" });
    let licence = shop.licence(rules).await;
    let term = expires_at(&shop, &licence).await;
    let until = term + TimeDelta::days(10);
    shop.owner
        .post(&licence.verb("renew"), json!({ "until": until, "ref": "a" }))
        .await
        .ok();
    shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    shop.world.clock.advance(TimeDelta::days(5));
    shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
    near(expires_at(&shop, &licence).await, until + TimeDelta::days(5));
    // The term itself moved by as much: what goes on from it shows where it ends.
    shop.owner
        .post(&licence.verb("renew"), json!({ "periods": 1, "ref": "b" }))
        .await
        .ok();
    near(expires_at(&shop, &licence).await, term + TimeDelta::days(35));
}

#[actix_web::test]
async fn what_is_bought_while_the_clock_stands_is_no_longer_than_it_was_bought_for() {
    let shop = Shop::new().await;
    for (basis, days) in [("from_expiry", 35), ("from_now", 30), ("from_now_if_expired", 35)] {
        let rules =
            json!({ "term_count": 30, "term_unit": "day", "suspended_time": "stops_clock", "renewal_basis": basis });
        let policy = shop.policy_as(&basis.replace('_', "-"), rules).await;
        let licence = shop.issue(&policy, json!({})).await;
        for (verb, body, days) in [
            ("suspend", json!({}), 25),
            ("renew", json!({ "periods": 1, "ref": "a" }), 10),
            ("reinstate", json!({}), 10),
        ] {
            shop.world.clock.advance(TimeDelta::days(days));
            shop.owner.post(&licence.verb(verb), body).await.ok();
        }
        let left = shop.world.clock.now() + TimeDelta::days(days);
        near(expires_at(&shop, &licence).await, left);
    }
    let policy = shop
        .policy_as(
            "until",
            json!({ "term_count": 30, "term_unit": "day", "suspended_time": "stops_clock" }),
        )
        .await;
    let licence = shop.issue(&policy, json!({})).await;
    shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    shop.world.clock.advance(TimeDelta::days(10));
    let until = json!({ "until": shop.world.clock.now() + TimeDelta::days(40), "ref": "b" });
    shop.owner.post(&licence.verb("renew"), until).await.ok();
    shop.world.clock.advance(TimeDelta::days(10));
    shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
    let left = shop.world.clock.now() + TimeDelta::days(40);
    near(expires_at(&shop, &licence).await, left);
}

#[actix_web::test]
async fn times_that_no_calendar_knows_are_refused() {
    let shop = Shop::new().await;
    let policy = shop
        .policy(json!({ "term_count": 100, "term_unit": "year", "grace_seconds": 86_400 }))
        .await;
    let licence = shop.issue(&policy, json!({})).await;
    for (time, code) in [
        ("-200000-01-01T00:00:00Z", "too-small"),
        ("1969-12-31T23:59:59Z", "too-small"),
        ("+10000-01-01T00:00:00Z", "too-large"),
        ("+262142-12-31T23:59:59Z", "too-large"),
    ] {
        shop.owner
            .post("/licenses", json!({ "policy_id": policy, "starts_at": time }))
            .await
            .invalid("/starts_at", code);
        shop.owner
            .post(&licence.verb("renew"), json!({ "until": time }))
            .await
            .invalid("/until", code);
    }
    for time in ["%2B262142-12-31T23:59:59Z", "-200000-01-01T00:00:00Z"] {
        let listed = shop.owner.get(&format!("/licenses?expires_before={time}")).await;
        listed.refused("invalid-parameter");
    }
    let refused = shop.owner.post(&licence.verb("renew"), json!({ "periods": 120 })).await;
    assert_eq!(refused.refused("state-conflict").body["state"], "too_far");
    let last = |policy: &str| json!({ "policy_id": policy, "starts_at": "9999-12-31T23:59:59Z" });
    let refused = shop.owner.post("/licenses", last(&policy)).await;
    refused.invalid("/starts_at", "too-large");
    let endless = shop.policy_as("endless", json!({})).await;
    let last = shop.owner.post("/licenses", last(&endless)).await.created();
    assert_eq!(last.body["status"], "not_started");
    shop.owner.get("/licenses").await.ok();
}

/// What is lifted is lifted, and the end is the last one that can be written.
#[actix_web::test]
async fn a_suspension_at_the_end_of_time_takes_nothing_beyond_it() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 1, "term_unit": "month", "suspended_time": "stops_clock" });
    let licence = shop.licence(rules).await;
    let until = json!({ "until": "9999-12-31T12:00:00Z", "ref": "a" });
    shop.owner.post(&licence.verb("renew"), until).await.ok();
    shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
    shop.world.clock.advance(TimeDelta::days(5));
    let lifted = shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
    assert_eq!(lifted.body["expires_at"], "9999-12-31T23:59:59.999Z");
    assert_eq!(lifted.body["status"], "active");
}

/// Renews by a period, and answers when the licence ends then.
async fn next_end(shop: &Shop, licence: &Licence) -> DateTime<Utc> {
    let renewed = shop.owner.post(&licence.verb("renew"), json!({ "periods": 1 })).await;
    instant(&renewed.ok().body["expires_at"])
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[actix_web::test]
async fn a_months_end_that_was_cut_short_comes_back_renewal_by_renewal() {
    let shop = Shop::new().await;
    let monthly = shop.policy(json!({ "term_count": 1, "term_unit": "month" })).await;
    let yearly = json!({ "term_count": 1, "term_unit": "year" });
    let yearly = shop.policy_as("yearly", yearly).await;
    for (policy, ends) in [
        (
            &monthly,
            [
                "2099-01-31T12:00:00Z",
                "2099-02-28T12:00:00Z",
                "2099-03-31T12:00:00Z",
                "2099-04-30T12:00:00Z",
                "2099-05-31T12:00:00Z",
            ],
        ),
        (
            &yearly,
            [
                "2088-02-29T12:00:00Z",
                "2089-02-28T12:00:00Z",
                "2090-02-28T12:00:00Z",
                "2091-02-28T12:00:00Z",
                "2092-02-29T12:00:00Z",
            ],
        ),
    ] {
        let licence = shop.issue(policy, json!({ "starts_at": ends[0] })).await;
        assert_eq!(expires_at(&shop, &licence).await, at(ends[1]));
        for end in &ends[2..] {
            assert_eq!(next_end(&shop, &licence).await, at(end));
        }
        let at_once = shop.issue(policy, json!({ "starts_at": ends[0] })).await;
        shop.owner
            .post(&at_once.verb("renew"), json!({ "periods": 3 }))
            .await
            .ok();
        assert_eq!(expires_at(&shop, &at_once).await, at(ends[4]));
    }
}

#[actix_web::test]
async fn months_go_on_from_where_they_were_counted_through_suspensions_and_other_terms() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 1, "term_unit": "month", "suspended_time": "stops_clock" });
    let policy = shop.policy(rules).await;
    for (start, hours, end, next) in [
        // The place that the months are counted from moves along.
        (
            "2099-01-31T12:00:00Z",
            1,
            "2099-02-28T13:00:00Z",
            "2099-03-31T13:00:00Z",
        ),
        // Where that would give another end than was promised, they are counted from the end.
        (
            "2099-01-29T12:00:00Z",
            48,
            "2099-03-02T12:00:00Z",
            "2099-04-02T12:00:00Z",
        ),
    ] {
        let licence = shop.issue(&policy, json!({ "starts_at": start })).await;
        shop.owner.post(&licence.verb("suspend"), json!({})).await.ok();
        shop.world.clock.advance(TimeDelta::hours(hours));
        shop.owner.post(&licence.verb("reinstate"), json!({})).await.ok();
        near(expires_at(&shop, &licence).await, at(end));
        near(next_end(&shop, &licence).await, at(next));
    }
    let licence = shop
        .issue(&policy, json!({ "starts_at": "2099-01-31T12:00:00Z" }))
        .await;
    for (unit, end) in [
        ("year", "2100-02-28T12:00:00Z"),
        ("month", "2100-03-31T12:00:00Z"),
        ("week", "2100-04-07T12:00:00Z"),
        ("month", "2100-05-07T12:00:00Z"),
    ] {
        let path = format!("/policies/{policy}?apply=existing");
        shop.owner.patch(&path, json!({ "term_unit": unit })).await.ok();
        assert_eq!(next_end(&shop, &licence).await, at(end), "{unit}");
    }
}

#[actix_web::test]
async fn whoever_issues_while_a_policy_changes_issues_by_what_it_becomes() {
    let shop = Shop::new().await;
    let policy = shop.policy(json!({ "max_machines": 1 })).await;
    let gate = Gate::on_insert(&shop.world, "licenses");
    let issues = async {
        let wish = json!({ "policy_id": policy });
        shop.owner.post("/licenses", wish).await.created();
    };
    let changes = async {
        let path = format!("/policies/{policy}?apply=existing");
        insist(|| shop.owner.patch(&path, json!({ "max_machines": 2 })))
            .await
            .ok();
    };
    gate.meet(issues, changes, "SELECT \"policies\".").await;
    let changed = shop.owner.get(&format!("/policies/{policy}")).await.ok();
    let licence = shop.owner.get("/licenses").await.ok().body["data"][0].clone();
    assert_eq!(licence["terms"]["rules"]["max_machines"], 2);
    assert_eq!(licence["terms_version"], changed.body["version"]);
}

#[actix_web::test]
async fn a_renewal_that_would_end_no_later_is_refused_and_counts_for_nothing() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 1, "term_unit": "month", "renewal_basis": "from_now" });
    let policy = shop.policy(rules).await;
    let licence = shop.issue(&policy, json!({})).await;
    let renew = async |periods: i32, reference: &str| {
        let renewal = json!({ "periods": periods, "ref": reference });
        shop.owner.post(&licence.verb("renew"), renewal).await
    };
    renew(12, "a").await.ok();
    let end = expires_at(&shop, &licence).await;
    let refused = renew(1, "b").await.refused("state-conflict");
    assert_eq!(refused.body["state"], "no_later");
    renew(12, "a").await.ok();
    assert_eq!(expires_at(&shop, &licence).await, end);
    // It was not kept either: the same ref counts when it gives something.
    shop.world.clock.advance(TimeDelta::days(360));
    renew(1, "b").await.ok();
    assert!(expires_at(&shop, &licence).await > end);
}

#[actix_web::test]
async fn periods_beside_a_later_date_move_the_term_and_the_audit_log_says_so() {
    let shop = Shop::new().await;
    let rules = json!({ "term_count": 1, "term_unit": "month" });
    let policy = shop.policy(rules).await;
    let licence = shop.issue(&policy, json!({})).await;
    let term = expires_at(&shop, &licence).await;
    let renew = async |renewal: Value| shop.owner.post(&licence.verb("renew"), renewal).await.ok();
    let far = (shop.world.clock.now() + TimeDelta::days(150)).to_rfc3339();
    renew(json!({ "until": far, "ref": "a" })).await;
    let end = expires_at(&shop, &licence).await;
    renew(json!({ "periods": 2, "ref": "b" })).await;
    assert_eq!(expires_at(&shop, &licence).await, end, "the later of both");
    let entries = shop
        .owner
        .get("/audit-entries?action=license.renewed&limit=1")
        .await
        .ok();
    let moved = &entries.body["data"][0]["changes"]["term_ends_at"];
    assert_eq!(instant(&moved[0]), term);
    assert!(instant(&moved[1]) > term && instant(&moved[1]) < end, "{moved}");
}
