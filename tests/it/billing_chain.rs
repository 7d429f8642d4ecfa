//! Money in, access out: the whole chain from a shopper's card to what a workspace may do, against a Stripe that is free to misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::TcpListener,
    sync::{Arc, OnceLock},
};

use chrono::Duration;
use diesel::{QueryDsl, RunQueryDsl};
use guildhall::{
    app::dev::stripe::{AfterLastRetry, Fault, KEY, Kind, Order, Purchase, Schedule, Stub},
    kernel::{clock::Clock, crypto::hmac, id::WorkspaceId, plans::SEEDS},
};
use serde_json::{Value, json};

use crate::world::World;

const SECRET: &str = "whsec_chain";

/// A world whose operator sells the seeded plans through a Stripe of our own.
struct Shop {
    world: World,
    stub: Stub,
    endpoint: String,
}

impl Shop {
    async fn open() -> Shop {
        let clock: Arc<OnceLock<Clock>> = Arc::default();
        let hand = clock.clone();
        let stub = Stub::new(Arc::new(move || hand.get().cloned().unwrap_or_else(Clock::system).now()));
        let (address, server) = stub.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        actix_web::rt::spawn(server);
        let base = format!("http://{address}");
        let settings = [("STRIPE__API_BASE", base.as_str()), ("STRIPE__SECRET_KEY", KEY), ("STRIPE__WEBHOOK_SECRETS", SECRET)];
        let world = World::with(&settings).await;
        assert!(clock.set(world.clock.clone()).is_ok());
        // A database outlives its worlds, and what the operator sells is part of it.
        world.admin(
            "TRUNCATE guildhall.stripe_connections, guildhall.products, guildhall.customers, guildhall.entitlement_defs, \
             guildhall.billing_plans CASCADE",
        );
        stub.stock(&SEEDS).unwrap();
        let endpoint = stub.listen(&format!("{}/api/v1/inbox/stripe/platform", world.base), SECRET);
        world.deployment.prepare().await.unwrap();
        world.run_jobs().await;
        let shop = Shop { world, stub, endpoint };
        shop.stub.forget_deliveries();
        shop.welcome(shop.world.home()).await;
        shop
    }

    /// Tells the operator of a workspace, as its making would have.
    async fn welcome(&self, workspace: WorkspaceId) {
        let id = guildhall::kernel::id::EventId::new(self.world.clock.now());
        self.world.admin(&format!(
            "SET search_path = guildhall, public; SET app.workspace = '{platform}'; SET app.actor = 'system:';
             INSERT INTO outbox (workspace_id, id, type, api_version, subject_id, data)
             VALUES ('{platform}', '{id}', 'workspace.created', '2026-11-01', '{workspace}', '{{\"name\": \"Home\"}}');
             INSERT INTO outbox_queue (workspace_id, event_id) VALUES ('{platform}', '{id}')",
            platform = WorkspaceId::PLATFORM.uuid(),
            id = id.uuid(),
            workspace = workspace.uuid(),
        ));
        self.world.run_jobs().await;
    }

    /// The home workspace takes a subscription at the till.
    fn buys(&self, price: &str) -> Value {
        self.buys_with(price, "pm_card_visa")
    }

    fn buys_with(&self, price: &str, card: &str) -> Value {
        let purchase = Purchase {
            workspace: Some(self.world.home().to_string()),
            price: price.to_owned(),
            card: Some(card.to_owned()),
            ..Purchase::default()
        };
        self.stub.purchase(&purchase).unwrap()
    }

    /// Everything that is pending arrives and is worked off.
    async fn settles(&self) {
        self.settles_by(&Schedule::default()).await;
    }

    async fn settles_by(&self, schedule: &Schedule) {
        for delivered in self.stub.deliver(schedule).await {
            assert!(delivered.status == 200 || delivered.status == 0, "{delivered:?}");
        }
        self.world.run_jobs().await;
    }

    /// Time passes for everybody.
    async fn passes(&self, time: Duration) {
        self.world.clock.advance(time);
        self.settles().await;
    }

    /// The home workspace's bill.
    async fn bill(&self) -> Value {
        // What the front door believes of a workspace is at most a second old.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        self.world.owner().get("/billing").await.ok().body
    }

    async fn plan(&self) -> String {
        self.bill().await["plan"]["plan"].as_str().unwrap().to_owned()
    }

    fn count(&self, table: &str, condition: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let sql = format!("SELECT count(*) AS count FROM guildhall.{table} WHERE {condition}");
        #[expect(clippy::disallowed_methods, reason = "tests look behind the doors")]
        let counted: Count = diesel::sql_query(sql).get_result(&mut self.world.superuser()).unwrap();
        counted.count
    }

    /// Sends an event as Stripe would sign it, whatever it says.
    async fn sends(&self, kind: &str, object: Value) {
        let now = self.world.clock.now().timestamp();
        let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
        let body = json!({ "id": id, "type": kind, "livemode": false, "created": now, "data": { "object": object } }).to_string();
        let v1 = hex::encode(hmac(SECRET.as_bytes(), format!("{now}.{body}").as_bytes()));
        let door = self.world.anonymous().act("/inbox/stripe/platform");
        let signed = door.header("Stripe-Signature", &format!("t={now},v1={v1}"));
        signed.raw("application/json", body).await.ok();
        self.world.run_jobs().await;
    }

    fn events(&self) -> Vec<(String, String)> {
        diesel::table! {
            guildhall.inbox_events (id) {
                id -> Uuid,
                #[sql_name = "type"]
                kind -> Text,
                state -> Text,
            }
        }
        inbox_events::table
            .order(inbox_events::id)
            .select((inbox_events::kind, inbox_events::state))
            .load(&mut self.world.superuser())
            .unwrap()
    }
}

#[actix_web::test]
async fn a_payment_puts_a_workspace_on_a_plan_and_a_cancellation_takes_it_off() {
    let shop = Shop::open().await;
    let before = shop.bill().await;
    assert_eq!(before["plan"]["plan"], "free");
    assert!(before["stripe_customer_id"].as_str().unwrap().starts_with("cus_"));
    let owner = shop.world.owner();
    for n in 0..5 {
        owner.post("/agents", json!({ "name": format!("Agent {n}") })).await.created();
    }
    let refused = owner.post("/agents", json!({ "name": "One more" })).await.refused("plan-limit-reached");
    assert_eq!(refused.body["plan"], "free");

    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!((bill["plan"]["plan"].as_str(), bill["plan"]["access"].as_str()), (Some("pro"), Some("full")));
    assert_eq!(bill["plan"]["entitlements"]["agents"], 100);
    assert_eq!(bill["plan"]["seats"], 10);
    assert_eq!(bill["plan"]["sources"][0]["via"], "payment");
    assert_eq!(bill["subscription"]["status"], "active");
    assert_eq!(bill["next_invoice"]["amount"], 2_900);
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    assert_eq!(shop.count("machines", &format!("external_id = '{}'", shop.world.home())), 1);
    owner.post("/agents", json!({ "name": "One more" })).await.created();
    assert!(shop.world.audit().contains(&"plan.changed by system".to_owned()));

    shop.stub.call("DELETE", &format!("subscriptions/{}", subscription["id"].as_str().unwrap()), "").unwrap();
    shop.settles().await;
    let after = shop.bill().await;
    assert_eq!(after["plan"]["plan"], "free");
    assert_eq!(after["subscription"]["status"], "canceled");
    assert_eq!(after["next_invoice"], Value::Null);
    assert_eq!(owner.get("/agents").await.ok().body["data"].as_array().unwrap().len(), 6, "a smaller plan takes nothing away");
    owner.post("/agents", json!({ "name": "Too many" })).await.refused("plan-limit-reached");
    let told = shop.world.audit().iter().filter(|entry| *entry == "plan.changed by system").count();
    assert_eq!(told, 2);
    assert!(shop.events().iter().all(|(_, state)| state == "done" || state == "ignored"), "{:?}", shop.events());
}

#[actix_web::test]
async fn order_copies_and_losses_change_nothing() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    let schedule = Schedule { extra_copies: 3, order: Order::Reversed, ..Schedule::default() };
    shop.settles_by(&schedule).await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));

    // A month later nearly everything is lost; one event of the renewal is enough.
    shop.world.clock.advance(Duration::days(31) + Duration::hours(2));
    let only = Schedule { types: vec!["invoice.finalized".into()], ..Schedule::default() };
    shop.settles_by(&only).await;
    shop.stub.forget_deliveries();
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.plan().await, "pro");
}

#[actix_web::test]
async fn a_payload_is_never_applied() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let (id, customer) = (subscription["id"].clone(), subscription["customer"].clone());

    // Signed, and a lie from end to end: Stripe itself says otherwise.
    let lie = json!({ "object": "subscription", "id": id, "customer": customer, "status": "canceled", "ended_at": 1, "items": { "data": [] } });
    shop.sends("customer.subscription.deleted", lie).await;
    assert_eq!(shop.plan().await, "pro");
    let mut paid = subscription.clone();
    paid["items"]["data"][0]["price"]["lookup_key"] = json!("guildhall_business_year");
    paid["items"]["data"][0]["quantity"] = json!(500);
    shop.sends("customer.subscription.updated", paid).await;
    let bill = shop.bill().await;
    assert_eq!((bill["plan"]["plan"].as_str(), bill["plan"]["entitlements"]["agents"].as_i64()), (Some("pro"), Some(100)));
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("subscription_items", "quantity = 500"), 0);
}

#[actix_web::test]
async fn money_for_an_unknown_price_waits_until_the_price_is_known() {
    let shop = Shop::open().await;
    let form = "currency=usd&unit_amount=500&recurring[interval]=month&product_data[name]=Odd";
    let price = shop.stub.call("POST", "prices", form).unwrap()["id"].as_str().unwrap().to_owned();
    shop.buys(&price);
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(shop.count("orders", "state = 'held' AND held_because = 'unknown_price'"), 1);
    assert!(shop.count("inbox_events", "state = 'parked'") > 0);
    assert_eq!(shop.count("licenses", "true"), 0);

    shop.stub.call("POST", &format!("prices/{price}"), "lookup_key=guildhall_pro_year").unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!((shop.count("orders", "true"), shop.count("inbox_events", "state = 'parked'")), (1, 0));
}

#[actix_web::test]
async fn an_account_that_belongs_to_nobody_buys_nothing() {
    let shop = Shop::open().await;
    let stranger = Purchase { price: "guildhall_pro_month".into(), ..Purchase::default() };
    shop.stub.purchase(&stranger).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!((shop.count("licenses", "true"), shop.count("subscriptions", "true")), (0, 0));
    assert!(shop.count("inbox_events", "state = 'parked' AND parked_on LIKE 'customer:cus_%'") > 0);
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
    let settings = format!("customers/{}", subscription["customer"].as_str().unwrap());
    shop.stub.call("POST", &settings, "payment_method=pm_card_chargeCustomerFail").unwrap();
    shop.stub.after_last_retry(AfterLastRetry::MarkUnpaid);
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    let owing = shop.bill().await;
    assert_eq!((owing["subscription"]["status"].as_str(), owing["plan"]["plan"].as_str()), (Some("past_due"), Some("pro")));
    assert_eq!((owing["plan"]["access"].as_str(), owing["dunning"]["state"].as_str()), (Some("full"), Some("retrying")));

    shop.passes(Duration::days(16)).await;
    let unpaid = shop.bill().await;
    assert_eq!(unpaid["subscription"]["status"], "unpaid");
    assert_eq!(unpaid["dunning"]["state"], "restricted");
}

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
    let left = (shop.count("subscriptions", "true"), shop.count("orders", "true"), shop.count("licenses", "true"));
    shop.world.admin("DROP TRIGGER trip ON guildhall.inbox_events; DROP FUNCTION guildhall.trip()");
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
    let fault = |times| Fault { path: "subscriptions".into(), method: "GET".into(), times, kind: Kind::RefusedBefore(503) };
    shop.buys("guildhall_pro_month");
    // Answered by the client's own patience.
    shop.stub.inject(fault(1));
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");

    shop.stub.inject(Fault { path: String::new(), method: "GET".into(), times: 1, kind: Kind::RefusedBefore(403) });
    shop.sends("customer.updated", json!({ "object": "customer", "id": shop.bill().await["stripe_customer_id"] })).await;
    assert_eq!(shop.count("stripe_connections", "state = 'degraded'"), 1);
    assert_eq!(shop.plan().await, "pro", "nobody loses access because our key is refused");
    shop.world.clock.advance(Duration::seconds(30));
    shop.world.run_jobs().await;
    assert_eq!(shop.count("stripe_connections", "state = 'active'"), 1);
}

#[actix_web::test]
async fn plans_are_public_and_bills_are_not() {
    let shop = Shop::open().await;
    let plans = shop.world.anonymous().get("/plans").await.ok();
    assert_eq!(plans.header("cache-control"), "public, max-age=60");
    let codes: Vec<&str> = plans.body["data"].as_array().unwrap().iter().map(|plan| plan["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["free", "pro", "business", "enterprise"]);
    let pro = &plans.body["data"][1];
    assert_eq!(pro["entitlements"]["agents"], 100);
    assert_eq!(pro["entitlements"]["model_spend_micros_per_month"], Value::Null);
    let amounts: Vec<i64> = pro["prices"].as_array().unwrap().iter().map(|price| price["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [2_900, 29_000]);

    shop.world.anonymous().get("/billing").await.refused("unauthenticated");
    shop.world.viewer().get("/billing").await.refused("forbidden");
    shop.buys("guildhall_pro_month");
    shop.settles().await;
    let stranger = shop.world.stranger().get("/billing").await.ok().body;
    assert_eq!((stranger["plan"]["plan"].as_str(), &stranger["subscription"]), (Some("free"), &Value::Null));
    shop.stub.signature(&shop.endpoint, b"{}").unwrap();
}
