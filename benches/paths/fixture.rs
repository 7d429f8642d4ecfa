//! What is asked for: a workspace on a plan without reachable limits, products, and licences with machines, all made through the API.

use std::{sync::Arc, time::Duration};

use actix_web::http::Method;
use anyhow::{Context, Result, ensure};
use diesel::{QueryDsl, RunQueryDsl, connection::SimpleConnection};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    load::{self, Judge, Subject},
    stack::Stack,
};

/// Licences that are asked about in turn.
const LICENSES: usize = 64;

/// A stack with rows in it.
pub struct Bench {
    pub stack: Stack,
    pub workspace: Uuid,
    /// The API key, and its id.
    pub key: String,
    pub key_id: Uuid,
    pub product: String,
    pub licenses: Vec<License>,
    /// Addresses of people who sign in with the administrator's password.
    pub people: Vec<String>,
}

/// A licence with one machine.
pub struct License {
    pub key: String,
    pub fingerprint: String,
}

diesel::table! {
    guildhall.api_keys (id) {
        id -> Uuid,
        workspace_id -> Uuid,
    }
}

/// Makes everything.
pub async fn prepare(stack: Stack) -> Result<Bench> {
    let key = stack.secret("demo_key")?.to_owned();
    unlimited(&stack)?;
    // A process remembers a plan for up to a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let api = Api {
        base: format!("{}/api/v1", stack.url),
        key: key.clone(),
        client: reqwest::Client::new(),
    };
    let product = api
        .post("/products", json!({ "code": "bench", "name": "Bench" }))
        .await?;
    let policy = json!({ "product_id": product["id"], "code": "bench", "name": "Bench", "max_machines": 5 });
    let policy = api.post("/policies", policy).await?;
    let mut licenses = Vec::with_capacity(LICENSES);
    for n in 0..LICENSES {
        let license = api.post("/licenses", json!({ "policy_id": policy["id"] })).await?;
        let fingerprint = format!("bench-machine-{n:04}");
        let machine = json!({ "license_id": license["id"], "fingerprint": fingerprint });
        api.post("/licenses/activate", machine).await?;
        let key = text(&license, "/key")?;
        licenses.push(License { key, fingerprint });
    }
    // The stack has one key, which is the demonstration's.
    let (workspace, key_id): (Uuid, Uuid) = api_keys::table
        .select((api_keys::workspace_id, api_keys::id))
        .first(&mut stack.administrator()?)?;
    Ok(Bench {
        workspace,
        key_id,
        product: text(&product, "/id")?,
        key,
        licenses,
        people: people(&stack)?,
        stack,
    })
}

/// Makes people with the administrator's password: as many as sign in side by side, for one account's guesses wait for each other.
fn people(stack: &Stack) -> Result<Vec<String>> {
    let people: Vec<String> = (0..1_000).map(|n| format!("person{n}@bench.example")).collect();
    let names: Vec<String> = people.iter().map(|email| format!("('{email}')")).collect();
    stack.administrator()?.batch_execute(&format!(
        "INSERT INTO guildhall.users (id, email, email_verified_at, display_name, password_hash)
         SELECT gen_random_uuid(), people.email, now(), 'Somebody', u.password_hash
           FROM (VALUES {}) people (email), guildhall.users u WHERE u.email = 'admin@guildhall.test'",
        names.join(", ")
    ))?;
    Ok(people)
}

/// Puts every workspace on a plan whose limits are counted and never reached.
fn unlimited(stack: &Stack) -> Result<()> {
    stack.administrator()?.batch_execute(
        "UPDATE guildhall.workspace_plans SET entitlements =
           (SELECT jsonb_object_agg(key, CASE jsonb_typeof(value) WHEN 'number' THEN '1000000000'::jsonb ELSE value END)
              FROM jsonb_each(entitlements)) WHERE entitlements <> '{}'",
    )?;
    Ok(())
}

fn text(document: &Value, pointer: &str) -> Result<String> {
    let text = document.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {pointer} in {document}"))?.to_owned())
}

struct Api {
    base: String,
    key: String,
    client: reqwest::Client,
}

impl Api {
    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let request = self.client.post(format!("{}{path}", self.base)).json(&body);
        let key = Uuid::new_v4().to_string();
        let answer = request
            .bearer_auth(&self.key)
            .header("idempotency-key", key)
            .send()
            .await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        ensure!(status.is_success(), "POST {path}: {status} {answer}");
        Ok(answer)
    }
}

impl Bench {
    /// Requests of the API by the key, made beforehand and sent in turn.
    pub fn subject(&self, requests: Vec<(Method, String, Option<Value>)>, judge: Judge) -> Subject {
        let authorization = format!("Bearer {}", self.key);
        let host = self.stack.address.to_string();
        let made = |(method, path, body): (Method, String, Option<Value>)| {
            let mut headers = vec![("host", host.as_str()), ("authorization", &authorization)];
            if body.is_some() {
                headers.push(("content-type", "application/json"));
            }
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            load::request(&method, &format!("/api/v1{path}"), &headers, &body)
        };
        let requests: Vec<_> = requests.into_iter().map(made).collect();
        Subject {
            address: self.stack.address,
            make: Arc::new(move |n| requests[n as usize % requests.len()].clone()),
            judge,
        }
    }
}
