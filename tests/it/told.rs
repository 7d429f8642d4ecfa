//! What receivers are told, beside the examples that they were given to build on.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};
use guildhall::app::events;
use serde_json::{Value, json};

use crate::world::World;

/// What has been told in the home workspace: types of events and their data.
fn told(world: &World) -> Vec<(String, Value)> {
    diesel::table! {
        outbox (id) {
            id -> Uuid,
            workspace_id -> Uuid,
            #[sql_name = "type"]
            kind -> Text,
            data -> Jsonb,
        }
    }
    outbox::table
        .filter(outbox::workspace_id.eq(world.home().uuid()))
        .order(outbox::id)
        .select((outbox::kind, outbox::data))
        .load(&mut world.superuser())
        .expect("the outbox")
}

async fn runs_end(world: &World) {
    let owner = world.owner();
    let agent =
        json!({ "name": "Echo", "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}" } });
    let agent = owner.post("/agents", agent).await.created().id();
    let mut last = String::new();
    for say in ["[[say good day]]", "[[fail 401]]", "never"] {
        let wish = json!({ "input": { "say": say } });
        last = owner
            .post(&format!("/agents/{agent}/execute"), wish)
            .await
            .accepted()
            .id();
    }
    owner.post(&format!("/runs/{last}/cancel"), json!({})).await.ok();
    world.run_jobs().await;
    owner.act(&format!("/agents/{agent}/archive")).await.ok();
}

async fn licences_end(world: &World) {
    let owner = world.owner();
    let product = owner.post("/products", json!({ "code": "scribe", "name": "Scribe" }));
    let product = product.await.created().id();
    let policy = json!({ "product_id": product, "code": "pro", "name": "Pro" });
    let policy = owner.post("/policies", policy).await.created().id();
    let licence = owner.post("/licenses", json!({ "policy_id": policy }));
    let licence = licence.await.created().id();
    let machine = json!({ "license_id": licence, "fingerprint": "laptop" });
    owner.post("/licenses/activate", machine).await.created();
    for verb in ["rotate-key", "suspend", "reinstate", "revoke"] {
        let done = owner.post(&format!("/licenses/{licence}/{verb}"), json!({})).await;
        assert!(done.status.is_success(), "{verb}: {}", done.text);
    }
    let entitlement = json!({ "code": "sso", "name": "Single sign-on", "kind": "boolean", "value_type": "boolean" });
    let entitlement = owner.post("/entitlements", entitlement).await.created().id();
    for path in [
        format!("entitlements/{entitlement}"),
        format!("policies/{policy}"),
        format!("products/{product}"),
    ] {
        owner.act(&format!("/{path}/archive")).await.ok();
    }
}

async fn others_end(world: &World) {
    let owner = world.owner();
    let endpoint = json!({ "url": "https://hooks.example.com/x", "events": [] });
    let endpoint = owner.post("/webhook-endpoints", endpoint).await.created().id();
    for verb in ["disable", "enable"] {
        let done = owner.post(&format!("/webhook-endpoints/{endpoint}/{verb}"), json!({}));
        done.await.ok();
    }
    let member = world.join(world.home(), world.person(), "viewer");
    owner.delete(&format!("/members/{member}")).await.gone();
}

#[actix_web::test]
async fn what_is_told_stands_as_its_example_does() {
    let world = World::new().await;
    runs_end(&world).await;
    licences_end(&world).await;
    others_end(&world).await;
    let told = told(&world);
    let catalogue = events::catalogue();
    let mut compared = Vec::new();
    // A label that was never set before had no version.
    let told_to_receivers = catalogue.iter().filter(|event| event.audience.webhook);
    for event in told_to_receivers.filter(|event| event.name != "agent_label.moved") {
        for (_, data) in told.iter().filter(|(kind, _)| kind == event.name) {
            for (name, shown) in (event.shows)().as_object().into_iter().flatten() {
                let found = &data[name];
                assert_eq!(found.is_null(), shown.is_null(), "{}: {name}: {found}", event.name);
                if ["state", "status", "enabled"].contains(&name.as_str()) {
                    assert_eq!(found, shown, "{}: {name}", event.name);
                }
                compared.push(event.name);
            }
        }
    }
    compared.dedup();
    assert_eq!(
        compared,
        [
            "agent.archived",
            "entitlement.archived",
            "license.issued",
            "license.reinstated",
            "license.revoked",
            "license.suspended",
            "license_key.rotated",
            "machine.deactivated",
            "member.removed",
            "policy.archived",
            "product.archived",
            "run.cancelled",
            "run.completed",
            "run.created",
            "run.failed",
            "webhook_endpoint.disabled",
            "webhook_endpoint.enabled",
        ]
    );
}
