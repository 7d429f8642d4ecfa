//! Money in, access out: the whole chain from a shopper's card to what a workspace may do, against a Stripe that is free to misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod buyers;
mod connection;
mod hanging;
mod meanwhile;
mod orders;
mod plans;
mod trouble;
mod underway;

use std::{
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Instant,
};

use chrono::Duration;
use diesel::{QueryDsl, RunQueryDsl};
use guildhall::{
    app::dev::stripe::{KEY, Order, Purchase, Schedule, Stub},
    kernel::{clock::Clock, crypto::hmac, id::WorkspaceId, plans::SEEDS},
};
use serde_json::{Value, json};

use crate::world::{Answer, World};

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
        let now = move || hand.get().cloned().unwrap_or_else(Clock::system).now();
        let stub = Stub::new(Arc::new(now));
        let (address, server) = stub.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        actix_web::rt::spawn(server);
        let base = format!("http://{address}");
        let settings = [
            ("STRIPE__API_BASE", base.as_str()),
            ("STRIPE__SECRET_KEY", KEY),
            ("STRIPE__WEBHOOK_SECRETS", SECRET),
        ];
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

    /// Tells the operator of a workspace, and sees to what follows.
    async fn welcome(&self, workspace: WorkspaceId) {
        self.announce(workspace);
        self.world.run_jobs().await;
    }

    /// Tells the operator of a workspace, as its making would have.
    fn announce(&self, workspace: WorkspaceId) {
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
    }

    /// The home workspace takes a subscription at the till.
    fn buys(&self, price: &str) -> Value {
        self.buys_with(price, "pm_card_visa")
    }

    fn buys_with(&self, price: &str, card: &str) -> Value {
        self.buys_for(&self.world.home().to_string(), price, card)
    }

    fn buys_for(&self, workspace: &str, price: &str, card: &str) -> Value {
        let purchase = Purchase {
            workspace: Some(workspace.to_owned()),
            price: price.to_owned(),
            card: Some(card.to_owned()),
            ..Purchase::default()
        };
        self.stub.purchase(&purchase).unwrap()
    }

    /// What is pending arrives and is worked off.
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

    /// Time passes, and nothing that Stripe tells arrives until somebody delivers it.
    async fn passes_unheard(&self, time: Duration) {
        self.world.clock.advance(time);
        self.world.run_jobs().await;
    }

    /// The home workspace's bill.
    async fn bill(&self) -> Value {
        self.world.owner().get("/billing").await.ok().body
    }

    async fn plan(&self) -> String {
        self.bill().await["plan"]["plan"].as_str().unwrap().to_owned()
    }

    /// Plan, access, and how far it is with what is owed.
    async fn stands(&self) -> [String; 3] {
        let bill = self.bill().await;
        ["/plan/plan", "/plan/access", "/dunning/state"]
            .map(|at| bill.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The buyer pays with another card from now on.
    fn card(&self, subscription: &Value, card: &str) {
        let customer = format!("customers/{}", subscription["customer"].as_str().unwrap());
        let form = format!("payment_method={card}");
        self.stub.call("POST", &customer, &form).unwrap();
    }

    fn count(&self, table: &str, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) AS count FROM guildhall.{table} WHERE {condition}");
        self.world.count(&sql)
    }

    /// Sends an event as Stripe would sign it, whatever it says.
    async fn sends(&self, kind: &str, object: Value) {
        knock(&self.world, kind, object).await.ok();
        self.world.run_jobs().await;
    }

    /// Asks for one more agent until the front door has noticed the plan: what it believes is a second old at most.
    async fn one_more_agent(&self, status: u16) -> Value {
        let begun = Instant::now();
        let mut number = 10;
        loop {
            let asked = self.world.owner().post("/agents", agent(number)).await;
            if asked.status.as_u16() == status {
                return asked.body;
            }
            number += 1;
            assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{}", asked.body);
        }
    }

    /// How much of the home workspace runs at once.
    fn concurrent_steps(&self) -> i64 {
        let home = self.world.home().uuid();
        self.world.count(&format!(
            "SELECT max_running::bigint AS count FROM guildhall.workspace_slots WHERE lane = 'steps' AND workspace_id = '{home}'"
        ))
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

fn agent(number: usize) -> Value {
    json!({ "name": format!("Agent {number}"), "framework": "openai", "config": { "model": "sandbox", "prompt": "Hello" } })
}

#[actix_web::test]
async fn a_payment_puts_a_workspace_on_a_plan_and_a_cancellation_takes_it_off() {
    let shop = Shop::open().await;
    let before = shop.bill().await;
    assert_eq!(before["plan"]["plan"], "free");
    assert!(before["stripe_customer"].as_str().unwrap().starts_with("cus_"));
    let owner = shop.world.owner();
    for n in 0..5 {
        owner.post("/agents", agent(n)).await.created();
    }
    let refused = owner.post("/agents", agent(5)).await.refused("plan-limit-reached");
    assert_eq!(refused.body["plan"], "free");
    assert_eq!(refused.body["next_plan"], "pro");
    assert_eq!(refused.body["upgrade_url"], format!("{}/api/v1/plans", shop.world.base));

    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!(
        (bill["plan"]["plan"].as_str(), bill["plan"]["access"].as_str()),
        (Some("pro"), Some("full"))
    );
    assert_eq!(bill["plan"]["entitlements"]["agents"], 100);
    assert_eq!(bill["plan"]["seats"], 10);
    assert_eq!(bill["plan"]["sources"][0]["via"], "payment");
    assert_eq!(bill["subscription"]["status"], "active");
    assert_eq!(bill["next_invoice"]["amount"], 2_900);
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    assert_eq!(
        shop.count("machines", &format!("external_id = '{}'", shop.world.home())),
        1
    );
    assert_eq!(shop.concurrent_steps(), 20);
    shop.one_more_agent(201).await;
    assert!(shop.world.audit().contains(&"plan.changed by system".to_owned()));

    shop.stub
        .call(
            "DELETE",
            &format!("subscriptions/{}", subscription["id"].as_str().unwrap()),
            "",
        )
        .unwrap();
    shop.settles().await;
    let after = shop.bill().await;
    assert_eq!(after["plan"]["plan"], "free");
    assert_eq!(after["subscription"]["status"], "canceled");
    assert_eq!(after["next_invoice"], Value::Null);
    assert_eq!(
        owner.get("/agents").await.ok().body["data"].as_array().unwrap().len(),
        6,
        "a smaller plan takes nothing away"
    );
    assert_eq!(shop.concurrent_steps(), 2);
    shop.one_more_agent(402).await;
    let told = shop
        .world
        .audit()
        .iter()
        .filter(|entry| *entry == "plan.changed by system")
        .count();
    assert_eq!(told, 2);
    assert!(
        shop.events()
            .iter()
            .all(|(_, state)| state == "done" || state == "ignored"),
        "{:?}",
        shop.events()
    );
}

#[actix_web::test]
async fn order_copies_and_losses_change_nothing() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    let schedule = Schedule {
        extra_copies: 3,
        order: Order::Reversed,
        ..Schedule::default()
    };
    shop.settles_by(&schedule).await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!((shop.count("orders", "true"), shop.count("licenses", "true")), (1, 1));

    // A month later nearly everything is lost; one event of the renewal is enough.
    shop.world.clock.advance(Duration::days(31) + Duration::hours(2));
    let only = Schedule {
        types: vec!["invoice.finalized".into()],
        ..Schedule::default()
    };
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
    assert_eq!(
        (
            bill["plan"]["plan"].as_str(),
            bill["plan"]["entitlements"]["agents"].as_i64()
        ),
        (Some("pro"), Some(100))
    );
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("subscription_items", "quantity = 500"), 0);
}

#[actix_web::test]
async fn money_for_an_unknown_price_waits_until_the_price_is_known() {
    let shop = Shop::open().await;
    let form = "currency=usd&unit_amount=500&recurring[interval]=month&product_data[name]=Odd";
    let price = shop.stub.call("POST", "prices", form).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.buys(&price);
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(
        shop.count("orders", "state = 'held' AND held_because = 'unknown_price'"),
        1
    );
    assert!(shop.count("inbox_events", "state = 'parked'") > 0);
    assert_eq!(shop.count("licenses", "true"), 0);

    shop.stub
        .call("POST", &format!("prices/{price}"), "lookup_key=guildhall_pro_year")
        .unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(
        (
            shop.count("orders", "true"),
            shop.count("inbox_events", "state = 'parked'")
        ),
        (1, 0)
    );
}

#[actix_web::test]
async fn an_account_that_belongs_to_nobody_buys_nothing() {
    let shop = Shop::open().await;
    let stranger = Purchase {
        price: "guildhall_pro_month".into(),
        ..Purchase::default()
    };
    shop.stub.purchase(&stranger).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(
        (shop.count("licenses", "true"), shop.count("subscriptions", "true")),
        (0, 0)
    );
    assert!(shop.count("inbox_events", "state = 'parked' AND parked_on LIKE 'customer:cus_%'") > 0);
}

/// Sends an event to the operator's door, as Stripe would sign it.
async fn knock(world: &World, kind: &str, object: Value) -> Answer {
    let now = world.clock.now().timestamp();
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    let body =
        json!({ "id": id, "type": kind, "livemode": false, "created": now, "data": { "object": object } }).to_string();
    let v1 = hex::encode(hmac(SECRET.as_bytes(), format!("{now}.{body}").as_bytes()));
    let door = world.anonymous().act("/inbox/stripe/platform");
    let signed = door.header("Stripe-Signature", &format!("t={now},v1={v1}"));
    signed.raw("application/json", body).await
}
