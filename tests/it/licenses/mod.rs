//! Licences, from the product to the verdict: what is sold, who holds it, where it runs.

mod activation;
mod activation_races;
mod catalog;
mod endings;
mod heartbeats;
mod holders;
mod issuing;
mod keys;
mod lifecycle;
mod limits;
mod people;
mod silence;
mod terms;
mod validation;
mod verdicts;

use serde_json::{Value, json};

use crate::world::{Answer, Caller, World};

/// A workspace that sells one product, and its owner.
struct Shop {
    world: World,
    owner: Caller,
    product: String,
}

impl Shop {
    async fn new() -> Shop {
        Shop::in_world(World::new().await).await
    }

    async fn in_world(world: World) -> Shop {
        let owner = world.owner();
        let product = owner
            .post("/products", json!({ "code": "scribe", "name": "Scribe" }))
            .await
            .created()
            .id();
        Shop { world, owner, product }
    }

    /// A policy of the product with these rules. Answers its id.
    async fn policy(&self, rules: Value) -> String {
        self.policy_as("pro", rules).await
    }

    async fn policy_as(&self, code: &str, rules: Value) -> String {
        let mut body = json!({ "product_id": self.product, "code": code, "name": "Pro" });
        merge(&mut body, rules);
        self.owner.post("/policies", body).await.created().id()
    }

    /// A licence by this policy.
    async fn issue(&self, policy: &str, more: Value) -> Licence {
        let mut body = json!({ "policy_id": policy });
        merge(&mut body, more);
        let made = self.owner.post("/licenses", body).await.created();
        Licence {
            id: made.id(),
            key: made.text_at("/key"),
            body: made.body,
        }
    }

    /// A licence by a new policy with these rules.
    async fn licence(&self, rules: Value) -> Licence {
        let policy = self.policy(rules).await;
        self.issue(&policy, json!({})).await
    }

    /// The customer's software with this key.
    fn software(&self, key: &str) -> Caller {
        software(&self.world, key)
    }

    /// What software with this key is told.
    async fn verdict(&self, licence: &Licence, scope: Value) -> Value {
        self.software(&licence.key)
            .post("/licenses/validate", json!({ "scope": scope }))
            .await
            .ok()
            .body
    }

    async fn show(&self, licence: &Licence) -> Value {
        self.owner.get(&licence.path()).await.ok().body
    }

    /// The vendor activates a machine with this fingerprint.
    async fn activate(&self, licence: &Licence, fingerprint: &str) -> Answer {
        let body = json!({ "license_id": licence.id, "fingerprint": fingerprint });
        self.owner.post("/licenses/activate", body).await
    }

    /// How many events of this type the home workspace has sent out.
    fn events(&self, kind: &str) -> i64 {
        let home = self.world.home().uuid();
        self.world.count(&format!(
            "SELECT count(*) FROM outbox WHERE workspace_id = '{home}' AND type = '{kind}'"
        ))
    }

    /// Machines that have a place by the counter, and by their own rows.
    fn places(&self, licence: &Licence) -> (i64, i64) {
        let id = licence.uuid();
        let counted = format!("SELECT machines::bigint AS count FROM license_counters WHERE license_id = '{id}'");
        let rows = format!("SELECT count(*) FROM machines WHERE license_id = '{id}' AND state <> 'deactivated'");
        (self.world.count(&counted), self.world.count(&rows))
    }
}

/// A licence as it was issued.
struct Licence {
    id: String,
    key: String,
    body: Value,
}

impl Licence {
    fn path(&self) -> String {
        format!("/licenses/{}", self.id)
    }

    fn verb(&self, verb: &str) -> String {
        format!("/licenses/{}/{verb}", self.id)
    }

    fn uuid(&self) -> uuid::Uuid {
        let id: guildhall::kernel::id::LicenseId = self.id.parse().expect("an id");
        id.uuid()
    }
}

fn software(world: &World, key: &str) -> Caller {
    world.anonymous().with("authorization", &format!("License {key}"))
}

fn merge(body: &mut Value, more: Value) {
    let (Value::Object(body), Value::Object(more)) = (body, more) else {
        panic!("objects are merged");
    };
    body.extend(more);
}

/// The codes of a verdict's reasons.
fn reasons(verdict: &Value) -> Vec<&str> {
    codes(verdict, "reasons")
}

fn notices(verdict: &Value) -> Vec<&str> {
    codes(verdict, "notices")
}

fn codes<'a>(verdict: &'a Value, of: &str) -> Vec<&'a str> {
    let list = verdict[of].as_array().expect("a list");
    list.iter().filter_map(|one| one["code"].as_str()).collect()
}

/// What holds of every verdict.
#[track_caller]
fn sound(verdict: &Value) {
    let valid = verdict["valid"].as_bool().expect("valid or not");
    assert_eq!(valid, verdict["code"] == "valid", "{verdict}");
    assert_eq!(valid, reasons(verdict).is_empty(), "{verdict}");
    let first = reasons(verdict).first().copied().unwrap_or("valid");
    assert_eq!(verdict["code"], first, "{verdict}");
}
