//! One thing of every kind that an id can name, made by whoever is asked to.

use std::collections::BTreeMap;

use guildhall::kernel::{entitlements::Plan, id::WorkspaceId};
use serde_json::{Value, json};

use crate::{
    identity::{Someone, login},
    world::{Caller, World},
};

/// Stands in every name that the home workspace gives.
pub const CANARY: &str = "canary-of-the-home-workspace";

fn raise(limits: &mut Value) {
    match limits {
        Value::Number(number) => *limits = json!(number.as_i64().unwrap_or(1) * 1_000),
        Value::Object(members) => members.values_mut().for_each(raise),
        Value::Array(items) => items.iter_mut().for_each(raise),
        _ => {}
    }
}

/// Makes things in one workspace.
pub struct Maker<'w> {
    pub world: &'w World,
    workspace: WorkspaceId,
    /// What every name holds.
    mark: &'static str,
    /// An owner who has just signed in.
    pub caller: &'w Caller,
    pub person: &'w Someone,
    made: u32,
}

impl<'w> Maker<'w> {
    /// Things of the home workspace, with the canary in them.
    pub fn at_home(world: &'w World, caller: &'w Caller, person: &'w Someone) -> Maker<'w> {
        Maker::new(world, world.home(), CANARY, caller, person)
    }

    /// Things of the stranger's.
    pub fn elsewhere(world: &'w World, caller: &'w Caller, person: &'w Someone) -> Maker<'w> {
        Maker::new(world, world.elsewhere(), "elsewhere", caller, person)
    }

    /// The plan lets it make a thousand times of what the free one allows.
    fn new(
        world: &'w World,
        workspace: WorkspaceId,
        mark: &'static str,
        caller: &'w Caller,
        person: &'w Someone,
    ) -> Maker<'w> {
        let mut plan = serde_json::to_value(&Plan::free().entitlements).expect("a plan");
        raise(&mut plan);
        let id = workspace.uuid();
        world.admin(&format!(
            "UPDATE guildhall.workspace_plans SET entitlements = '{plan}' WHERE workspace_id = '{id}'"
        ));
        Maker {
            world,
            workspace,
            mark,
            caller,
            person,
            made: 0,
        }
    }

    /// A name that nothing else has.
    fn name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.mark, self.made)
    }

    async fn post(&self, path: &str, body: Value) -> String {
        self.caller.post(path, body).await.created().id()
    }

    /// A new thing of that kind; its id. Runs and deliveries come to be when the world's jobs are run.
    pub async fn make(&mut self, prefix: &str) -> String {
        let name = self.name();
        let code = name.replace(CANARY, "canary");
        match prefix {
            "agt" => self.agent(&name).await,
            "run" => {
                let agent = self.agent(&name).await;
                let body = json!({ "input": { "say": self.mark }, "subject": self.mark, "tags": [self.mark] });
                let run = self
                    .caller
                    .post(&format!("/agents/{agent}/execute"), body)
                    .await
                    .accepted();
                run.id()
            }
            "whe" => self.endpoint().await,
            "key" => self.post("/api-keys", json!({ "name": name })).await,
            "mem" => self
                .world
                .join(self.workspace, self.world.person(), "viewer")
                .to_string(),
            "usr" => self.person.user.to_string(),
            "ses" => login(self.world, self.person).await.session,
            "prd" => self.post("/products", json!({ "code": code, "name": name })).await,
            "pol" => self.policy(&name, &code).await,
            "lic" => self.license(&name, &code).await,
            "cst" => {
                let email = format!("{code}@{}.example", self.mark);
                self.post("/customers", json!({ "name": name, "email": email })).await
            }
            "ent" => {
                let body = json!({ "code": code, "name": name, "kind": "static", "value_type": "integer" });
                self.post("/entitlements", body).await
            }
            "mch" => {
                let license = self.license(&name, &code).await;
                let body = json!({ "license_id": license, "fingerprint": code, "name": name });
                let made = self.caller.post("/licenses/activate", body).await;
                assert!(made.status.is_success(), "{}", made.text);
                let machine = made.body.pointer("/machine/id").or(made.body.get("id"));
                machine.and_then(Value::as_str).expect("a machine").to_owned()
            }
            "dlv" | "evt" => {
                let endpoint = self.endpoint().await;
                self.caller.patch("/workspace", json!({ "name": name })).await.ok();
                self.world.run_jobs().await;
                let list = format!("/webhook-deliveries?endpoint_id={endpoint}");
                let delivery = self.caller.get(&list).await.ok();
                delivery.text_at(if prefix == "dlv" {
                    "/data/0/id"
                } else {
                    "/data/0/event_id"
                })
            }
            other => panic!(
                "nobody knows how to make a thing of kind {other}: say it in tests/it/isolation/routes/things.rs"
            ),
        }
    }

    async fn agent(&self, name: &str) -> String {
        let config = json!({ "model": "sandbox", "prompt": format!("{} {{{{ input.say }}}}", self.mark) });
        self.post(
            "/agents",
            json!({ "name": name, "framework": "openai", "config": config }),
        )
        .await
    }

    /// Nobody listens there: what is sent stays as a delivery that failed.
    async fn endpoint(&self) -> String {
        let body = json!({ "url": format!("http://127.0.0.1:59999/{}", self.mark), "events": ["workspace.updated"] });
        self.post("/webhook-endpoints", body).await
    }

    async fn policy(&self, name: &str, code: &str) -> String {
        let product = self.post("/products", json!({ "code": code, "name": name })).await;
        self.post(
            "/policies",
            json!({ "product_id": product, "code": code, "name": name }),
        )
        .await
    }

    async fn license(&self, name: &str, code: &str) -> String {
        let policy = self.policy(name, code).await;
        let customer = json!({ "email": format!("{code}@{}.example", self.mark), "name": name });
        self.post("/licenses", json!({ "policy_id": policy, "customer": customer }))
            .await
    }

    /// A thing of every one of these kinds.
    pub async fn one_of_each<'p>(&mut self, prefixes: impl IntoIterator<Item = &'p str>) -> BTreeMap<String, String> {
        let mut things = BTreeMap::new();
        for prefix in prefixes {
            if !things.contains_key(prefix) {
                things.insert(prefix.to_owned(), self.make(prefix).await);
            }
        }
        things
    }
}
