//! Entries say what was done, also where the name of the action alone does not.

use serde_json::{Value, json};

use super::rows;
use crate::world::{Caller, World};

/// What the newest entry of this action says.
async fn said(owner: &Caller, action: &str) -> Value {
    let log = owner.get(&format!("/audit-entries?action={action}")).await.ok();
    rows(&log).first().expect("an entry")["changes"].clone()
}

async fn licence(owner: &Caller) -> Value {
    let product = owner.post("/products", json!({ "code": "scribe", "name": "Scribe" }));
    let product = product.await.created().id();
    let policy = json!({ "product_id": product, "code": "pro", "name": "Pro", "term_count": 1, "term_unit": "month" });
    let policy = owner.post("/policies", policy).await.created().id();
    owner
        .post("/licenses", json!({ "policy_id": policy }))
        .await
        .created()
        .body
}

#[actix_web::test]
async fn entries_of_licences_say_from_when_until_when_and_why() {
    let world = World::new().await;
    let owner = world.owner();
    let made = licence(&owner).await;
    let path = format!("/licenses/{}", made["id"].as_str().expect("an id"));
    let post = async |verb: &str, body: Value| owner.post(&format!("{path}/{verb}"), body).await.ok().body;

    let renewed = post("renew", json!({ "periods": 2, "ref": "inv_1" })).await;
    let changes = json!({ "expires_at": [made["expires_at"], renewed["expires_at"]], "periods": [null, 2], "ref": [null, "inv_1"] });
    assert_eq!(said(&owner, "license.renewed").await, changes);
    // Until a date that is past its end: it moves nothing, and is written down all the same.
    post("renew", json!({ "until": made["expires_at"], "ref": "inv_2" })).await;
    let changes = json!({ "until": [null, made["expires_at"]], "ref": [null, "inv_2"] });
    assert_eq!(said(&owner, "license.renewed").await, changes);

    let suspended = post("suspend", json!({ "reason": "abuse", "note": "Shared." })).await;
    let holds = &suspended["holds"];
    let changes = json!({ "status": ["active", "suspended"], "holds": [[], holds], "note": [null, "Shared."] });
    assert_eq!(said(&owner, "license.suspended").await, changes);
    assert_eq!(holds[0]["reason"], "abuse");
    post("reinstate", json!({ "reason": "abuse" })).await;
    let changes = json!({ "status": ["suspended", "active"], "holds": [holds, []] });
    assert_eq!(said(&owner, "license.reinstated").await, changes);

    let rotated = owner.post(&format!("{path}/rotate-key"), json!({}));
    let rotated = rotated.await.ok().body;
    let changes = json!({ "key_start": [made["key_start"], rotated["key_start"]] });
    assert_eq!(said(&owner, "license_key.rotated").await, changes);
    let revoked = post("revoke", json!({})).await;
    let changes = said(&owner, "license.revoked").await;
    assert_eq!(changes["status"], json!(["active", "revoked"]));
    assert_eq!(changes["revoked_at"], json!([null, revoked["revoked_at"]]));
}

#[actix_web::test]
async fn entries_of_labels_name_them_and_the_versions_that_they_meant() {
    let world = World::new().await;
    let owner = world.owner();
    let config = json!({ "model": "sandbox", "prompt": "{{ input.say }}" });
    let agent = json!({ "name": "Echo", "framework": "openai", "config": config });
    let agent = owner.post("/agents", agent).await.created().id();
    let label = format!("/agents/{agent}/labels/staging");
    let other = json!({ "from": { "model": "sandbox", "prompt": "b" } });
    owner.post(&format!("/agents/{agent}/versions"), other).await.created();
    for (number, before) in [(1, json!(null)), (2, json!(1))] {
        owner.put(&label, json!({ "number": number })).await;
        let changes = json!({ "labels.staging": [before, number] });
        assert_eq!(said(&owner, "agent_label.moved").await, changes);
    }
    owner.delete(&label).await.gone();
    assert_eq!(
        said(&owner, "agent_label.moved").await,
        json!({ "labels.staging": [2, null] })
    );
}

#[actix_web::test]
async fn entries_say_that_a_secret_changed_and_never_what_it_is() {
    let world = World::new().await;
    let owner = world.owner();
    let hook = |value: &str| json!({ "headers": { "authorization": value } });
    let mut wish = hook("Bearer first-secret");
    wish["url"] = json!("https://hooks.example.com/in");
    wish["events"] = json!([]);
    let made = owner.post("/webhook-endpoints", wish).await.created();
    let path = made.path();

    // The same again is no change, and so no entry.
    let same = owner.patch(&path, hook("Bearer first-secret")).await.ok();
    assert_eq!(same.body["version"], made.body["version"]);
    owner.patch(&path, hook("Bearer second-secret")).await.ok();
    assert_eq!(
        said(&owner, "webhook_endpoint.updated").await,
        json!({ "headers": "[changed]" })
    );
    owner.patch(&path, json!({ "headers": {} })).await.ok();
    assert_eq!(
        said(&owner, "webhook_endpoint.updated").await,
        json!({ "headers": "[changed]", "header_names": [["authorization"], []] })
    );
    let rotated = owner.post(&format!("{path}/secret/rotate"), json!({}));
    rotated.await.ok();
    assert_eq!(
        said(&owner, "webhook_endpoint.secret_rotated").await,
        json!({ "secret": "[changed]" })
    );
    let log = owner.get("/audit-entries").await.ok();
    let updates = rows(&log)
        .iter()
        .filter(|row| row["action"] == "webhook_endpoint.updated")
        .count();
    assert_eq!(updates, 2);
    let secret = made.text_at("/secret");
    for secret in ["first-secret", "second-secret", &secret] {
        assert!(!log.text.contains(secret), "{}", log.text);
    }
}

#[actix_web::test]
async fn entries_name_nobody() {
    let world = World::new().await;
    let owner = world.owner();
    let ann = json!({ "email": "ann@person.example", "name": "Ann Person", "company": "Person & Co", "locale": "en",
        "external_id": "ann@person.example", "metadata": { "boss": "Bob Person" } });
    let ann = owner.post("/customers", ann).await.created();
    let other = json!({ "email": "ann2@person.example", "name": "Ann Other", "company": null, "locale": "de",
        "external_id": "ann2@person.example", "metadata": { "boss": null } });
    let path = format!("/customers/{}", ann.id());
    owner
        .patch(&path, other)
        .header("if-match", ann.header("etag"))
        .await
        .ok();
    let hidden = json!({ "email": "[changed]", "name": "[changed]", "company": "[changed]", "locale": ["en", "de"],
        "external_id": "[changed]", "metadata": "[changed]" });
    assert_eq!(said(&owner, "customer.updated").await, hidden);

    let licence = licence(&owner).await["id"].clone();
    let named = json!({ "name": "Ann's", "external_id": "ann@person.example", "metadata": { "boss": "Bob" },
        "public_metadata": { "licensed_to": "Ann Person" } });
    let path = format!("/licenses/{}", licence.as_str().expect("an id"));
    owner.patch(&path, named).await.ok();
    let hidden = json!({ "name": "[changed]", "external_id": "[changed]", "metadata": "[changed]", "public_metadata": "[changed]" });
    assert_eq!(said(&owner, "license.updated").await, hidden);
    for (name, hostname, cores) in [("Ann's laptop", "ann", 2), ("Bob's laptop", "bob", 1)] {
        let machine = json!({ "license_id": licence, "fingerprint": "one machine", "name": name, "hostname": hostname, "cores": cores });
        let answer = owner.post("/licenses/activate", machine).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }
    let hidden = json!({ "name": "[changed]", "hostname": "[changed]", "cores": [2, 1] });
    assert_eq!(said(&owner, "machine.updated").await, hidden);
}

#[actix_web::test]
async fn what_is_long_stands_there_by_its_hash() {
    let world = World::new().await;
    let owner = world.owner();
    let config = |length: usize| json!({ "model": "sandbox", "prompt": "x".repeat(length) });
    let agent = json!({ "name": "Echo", "framework": "openai", "config": config(10) });
    let made = owner.post("/agents", agent).await.created();
    let path = format!("/agents/{}", made.id());
    let change = json!({ "config": config(100_000) });
    owner
        .patch(&path, change)
        .header("if-match", made.header("etag"))
        .await
        .ok();
    let changes = said(&owner, "agent.updated").await;
    assert_eq!(changes["config"][0], config(10));
    assert_eq!(changes["config"][1]["sha256"].as_str().map(str::len), Some(64));
    assert!(changes["config"][1]["bytes"].as_u64() > Some(100_000), "{changes}");
}
