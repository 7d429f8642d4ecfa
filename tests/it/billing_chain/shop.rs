//! The shop whose chain is tried: an operator who sells the seeded plans through a Stripe of our own.

use std::{
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Instant,
};

use chrono::Duration;
use diesel::{QueryDsl, RunQueryDsl};
use guildhall::{
    app::dev::stripe::{KEY, Purchase, Schedule, Stub},
    kernel::{clock::Clock, crypto::hmac, id::WorkspaceId, plans::SEEDS},
};
use serde_json::{Value, json};

use crate::world::{Answer, World};

pub const SECRET: &str = "whsec_chain";

/// A world whose operator sells the seeded plans through a Stripe of our own.
pub struct Shop {
    pub world: World,
    pub stub: Stub,
    pub endpoint: String,
}

impl Shop {
    pub async fn open() -> Shop {
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
    pub async fn welcome(&self, workspace: WorkspaceId) {
        self.announce(workspace);
        self.world.run_jobs().await;
    }

    /// Tells the operator of a workspace, as its making would have.
    pub fn announce(&self, workspace: WorkspaceId) {
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
    pub fn buys(&self, price: &str) -> Value {
        self.buys_with(price, "pm_card_visa")
    }

    pub fn buys_with(&self, price: &str, card: &str) -> Value {
        self.buys_for(&self.world.home().to_string(), price, card)
    }

    pub fn buys_for(&self, workspace: &str, price: &str, card: &str) -> Value {
        let purchase = Purchase {
            workspace: Some(workspace.to_owned()),
            price: price.to_owned(),
            card: Some(card.to_owned()),
            ..Purchase::default()
        };
        self.stub.purchase(&purchase).unwrap()
    }

    /// What is pending arrives and is worked off.
    pub async fn settles(&self) {
        self.settles_by(&Schedule::default()).await;
    }

    pub async fn settles_by(&self, schedule: &Schedule) {
        for delivered in self.stub.deliver(schedule).await {
            assert!(delivered.status == 200 || delivered.status == 0, "{delivered:?}");
        }
        self.world.run_jobs().await;
    }

    /// The same until the home workspace has this plan: on a busy machine something is put off now and then, and looked at again later.
    pub async fn settles_on(&self, plan: &str) {
        for _ in 0..10 {
            self.settles().await;
            if self.plan().await == plan {
                return;
            }
            self.world.clock.advance(Duration::minutes(1));
        }
        panic!("the plan is {}, not {plan}", self.plan().await);
    }

    /// Time passes for everybody.
    pub async fn passes(&self, time: Duration) {
        self.world.clock.advance(time);
        self.settles().await;
    }

    /// Time passes, and nothing that Stripe tells arrives until somebody delivers it.
    pub async fn passes_unheard(&self, time: Duration) {
        self.world.clock.advance(time);
        self.world.run_jobs().await;
    }

    /// The home workspace's bill.
    pub async fn bill(&self) -> Value {
        self.world.owner().get("/billing").await.ok().body
    }

    pub async fn plan(&self) -> String {
        self.bill().await["plan"]["plan"].as_str().unwrap().to_owned()
    }

    /// A subscription whose card is declined when its second month begins.
    pub async fn falls_behind(&self) -> Value {
        let subscription = self.buys("guildhall_pro_month");
        self.settles().await;
        self.card(&subscription, "pm_card_chargeCustomerFail");
        self.passes(Duration::days(31) + Duration::hours(2)).await;
        assert_eq!(self.stands().await, ["pro", "full", "retrying"]);
        subscription
    }

    /// Plan, access, and how far it is with what is owed.
    pub async fn stands(&self) -> [String; 3] {
        let bill = self.bill().await;
        ["/plan/plan", "/plan/access", "/dunning/state"]
            .map(|at| bill.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The buyer pays with another card from now on.
    pub fn card(&self, subscription: &Value, card: &str) {
        let customer = format!("customers/{}", subscription["customer"].as_str().unwrap());
        let form = format!("payment_method={card}");
        self.stub.call("POST", &customer, &form).unwrap();
    }

    pub fn count(&self, table: &str, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) AS count FROM guildhall.{table} WHERE {condition}");
        self.world.count(&sql)
    }

    /// Sends an event as Stripe would sign it, whatever it says.
    pub async fn sends(&self, kind: &str, object: Value) {
        knock(&self.world, kind, object).await.ok();
        self.world.run_jobs().await;
    }

    /// Asks for one more agent until the front door has noticed the plan: what it believes is a second old at most.
    pub async fn one_more_agent(&self, status: u16) -> Value {
        let begun = Instant::now();
        let mut number = 10;
        loop {
            let asked_at = begun.elapsed();
            let asked = self.world.owner().post("/agents", agent(number)).await;
            if asked.status.as_u16() == status {
                return asked.body;
            }
            number += 1;
            assert!(asked_at < std::time::Duration::from_secs(3), "{}", asked.body);
        }
    }

    /// How much of the home workspace runs at once.
    pub fn concurrent_steps(&self) -> i64 {
        let home = self.world.home().uuid();
        self.world.count(&format!(
            "SELECT max_running::bigint AS count FROM guildhall.workspace_slots WHERE lane = 'steps' AND workspace_id = '{home}'"
        ))
    }

    pub fn events(&self) -> Vec<(String, String)> {
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

/// An agent that may be made.
pub fn agent(number: usize) -> Value {
    json!({ "name": format!("Agent {number}"), "framework": "openai", "config": { "model": "sandbox", "prompt": "Hello" } })
}

/// Sends an event to the operator's door, as Stripe would sign it.
pub async fn knock(world: &World, kind: &str, object: Value) -> Answer {
    let now = world.clock.now().timestamp();
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    let body =
        json!({ "id": id, "type": kind, "livemode": false, "created": now, "data": { "object": object } }).to_string();
    let v1 = hex::encode(hmac(SECRET.as_bytes(), format!("{now}.{body}").as_bytes()));
    let door = world.anonymous().act("/inbox/stripe/platform");
    let signed = door.header("Stripe-Signature", &format!("t={now},v1={v1}"));
    signed.raw("application/json", body).await
}
