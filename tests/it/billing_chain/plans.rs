//! What a plan is can be changed, and whoever is on it is on what it is now.

use chrono::Duration;
use guildhall::kernel::{id::WorkspaceId, metrics::PLAN_DRIFT, plans};
use serde_json::{Value, json};

use super::Shop;
use crate::world::Caller;

impl Shop {
    pub(super) fn staff(&self) -> Caller {
        self.world.member_of(WorkspaceId::PLATFORM, "owner")
    }

    /// Changes the policy of a plan, and sees to what follows.
    async fn edits(&self, staff: &Caller, plan: &str, change: impl FnOnce(&mut Value)) {
        let known = staff.get(&format!("/policies?code={plan}")).await.ok().body;
        let mut policy = known["data"][0].clone();
        change(&mut policy);
        let path = format!("/policies/{}", policy["id"].as_str().unwrap());
        let edit = json!({ "entitlements": policy["entitlements"], "grace_seconds": policy["grace_seconds"] });
        staff.patch(&path, edit).await.ok();
        self.settles().await;
    }
}

#[actix_web::test]
async fn a_change_of_the_smallest_plan_reaches_whoever_has_no_other() {
    let shop = Shop::open().await;
    assert_eq!(shop.bill().await["plan"]["entitlements"]["agents"], 5);
    shop.edits(&shop.staff(), "free", |free| free["entitlements"]["agents"] = json!(1))
        .await;
    let bill = shop.bill().await;
    assert_eq!(
        (&bill["plan"]["plan"], &bill["plan"]["entitlements"]["agents"]),
        (&json!("free"), &json!(1))
    );
    assert_eq!(
        shop.count("billing_plans", "code = 'free' AND entitlements ->> 'agents' = '1'"),
        1,
        "whoever comes next begins with it too"
    );
    shop.one_more_agent(201).await;
    shop.one_more_agent(402).await;

    shop.edits(&shop.staff(), "pro", |pro| pro["entitlements"]["agents"] = json!(7))
        .await;
    assert_eq!(shop.bill().await["plan"]["entitlements"]["agents"], 1);
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.bill().await["plan"]["entitlements"]["agents"], 7);
}

#[actix_web::test]
async fn an_entitlement_that_is_no_limit_harms_no_plan() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let color = json!({ "code": "color", "name": "Colour", "kind": "static", "value_type": "string" });
    staff.post("/entitlements", color).await.created();
    for plan in ["free", "pro"] {
        shop.edits(&staff, plan, |policy| policy["entitlements"]["color"] = json!("blue"))
            .await;
    }
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!(
        (&bill["plan"]["plan"], &bill["plan"]["entitlements"]["agents"]),
        (&json!("pro"), &json!(100))
    );
    assert_eq!(bill["plan"]["entitlements"].get("color"), None);
    assert_eq!(
        shop.count("billing_plans", "code = 'pro' AND entitlements ? 'color'"),
        0
    );
}

#[actix_web::test]
async fn a_plan_lasts_through_its_grace_and_no_longer() {
    let shop = Shop::open().await;
    let day = 86_400;
    shop.edits(&shop.staff(), "pro", |pro| pro["grace_seconds"] = json!(2 * day))
        .await;
    let staff = shop.staff();
    let policy = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    let license = staff.post("/licenses", json!({ "policy_id": policy })).await.created();
    hold(&staff, &shop, &license.id()).await;
    assert_eq!(shop.plan().await, "pro");
    let ends = license.text_at("/expires_at").parse::<chrono::DateTime<chrono::Utc>>();
    let ends = ends.unwrap() - shop.world.clock.now();
    shop.passes(ends + Duration::hours(1)).await;
    assert_eq!(shop.plan().await, "pro", "its licence is in grace");
    shop.passes(Duration::days(2)).await;
    assert_eq!(shop.plan().await, "free");
}

#[actix_web::test]
async fn a_plan_that_begins_later_begins_by_itself() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let policy = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    let license = staff.post("/licenses", json!({ "policy_id": policy })).await.created();
    hold(&staff, &shop, &license.id()).await;
    let begins = shop.world.clock.now() + Duration::days(5);
    shop.world.admin(&format!(
        "SET app.workspace = '{}'; UPDATE guildhall.licenses SET starts_at = '{}'",
        WorkspaceId::PLATFORM.uuid(),
        begins.to_rfc3339()
    ));
    // Something else of it changes.
    let change = json!({ "name": "Later" });
    staff.patch(&format!("/licenses/{}", license.id()), change).await.ok();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    shop.passes(Duration::days(5) + Duration::hours(1)).await;
    assert_eq!(shop.plan().await, "pro");
}

#[actix_web::test]
async fn a_plan_that_nobody_ended_is_caught() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let policy = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    let license = staff.post("/licenses", json!({ "policy_id": policy })).await.created();
    hold(&staff, &shop, &license.id()).await;
    assert_eq!(shop.plan().await, "pro");
    // As a job is that was given up.
    shop.world
        .admin("DELETE FROM guildhall.run_timers WHERE kind = 'workspace.plan'");
    let ends = license.text_at("/expires_at").parse::<chrono::DateTime<chrono::Utc>>();
    let ends = ends.unwrap() - shop.world.clock.now();
    shop.passes(ends + Duration::days(1)).await;
    assert_eq!(shop.plan().await, "pro", "nobody looked");
    let missed = PLAN_DRIFT.get();
    plans::sweep(shop.world.deployment.db.clone()).await.unwrap();
    shop.world.run_jobs().await;
    assert_eq!(shop.plan().await, "free");
    assert!(PLAN_DRIFT.get() > missed);
}

#[actix_web::test]
async fn what_a_workspace_may_not_hold_is_kept_for_it_and_stops_nothing_else() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let pro = staff.get("/policies?code=pro").await.ok().text_at("/data/0/id");
    let only_one = json!({ "machine_uniqueness": "per_policy" });
    staff.patch(&format!("/policies/{pro}"), only_one).await.ok();
    let license = staff.post("/licenses", json!({ "policy_id": pro })).await.created();
    hold(&staff, &shop, &license.id()).await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    assert_eq!(shop.bill().await["subscription"]["status"], "active");
    assert_eq!(shop.count("orders", "state = 'held' AND held_because = 'no_seat'"), 1);
    assert_eq!(shop.count("inbox_events", "attempts > 0 OR state = 'parked'"), 0);
    assert_eq!(shop.plan().await, "pro");

    staff
        .post(&format!("/licenses/{}/revoke", license.id()), json!({}))
        .await
        .ok();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    shop.sends("customer.subscription.updated", subscription).await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
}

/// Makes the home workspace a machine of a licence.
async fn hold(staff: &Caller, shop: &Shop, license: &str) {
    let machine = json!({ "license_id": license, "fingerprint": format!("workspace:{}", shop.world.home()), "external_id": shop.world.home() });
    staff.post("/licenses/activate", machine).await.created();
    shop.settles().await;
}
