//! A workspace whose payment is overdue: what is its own stays in reach, and growth waits.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::{
    identity::{login, someone},
    world::{Caller, World},
};

/// What changes something and works all the same: what deletes, what ends, and what the workspace's own customers need.
const WORKS: &[&str] = &[
    "agents_delete",
    "agents_delete_label",
    "agents_validate",
    "agents_validate_draft",
    "api_keys_delete",
    "licenses_validate",
    "machines_activate",
    "machines_deactivate",
    "machines_heartbeat",
    "members_delete",
    "runs_cancel",
    "webhook_endpoints_delete",
    "workspace_leave",
];

#[actix_web::test]
async fn an_unpaid_workspace_reads_ends_and_deletes_and_serves_its_customers() {
    let world = World::new().await;
    let owner = world.owner();
    let viewer = world.viewer();
    let home = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET access = 'read_only', unpaid_since = '2026-11-01T10:00:00Z' WHERE workspace_id = '{home}'"
    ));
    let mut works = BTreeSet::new();
    for (method, operation) in world.deployment.operations.iter() {
        if operation.permission.is_none() {
            continue;
        }
        let path = operation.template.trim_start_matches("/api/v1");
        let path = path
            .replace("{id}", "none")
            .replace("{label}", "none")
            .replace("{number}", "1");
        let method = Method::from_bytes(method.as_str().as_bytes()).expect("a method");
        let reads = method == Method::GET;
        let body = (!reads).then(|| json!({}));
        let answer = owner.ask(method.clone(), &path, body.clone()).await;
        if answer.status != 402 {
            let status = answer.status.as_u16();
            // A key ends no key and is nobody's membership, and nothing is validated without a licence's.
            let of_others = ["api_keys_delete", "licenses_me", "workspace_leave"].contains(&operation.id);
            let may = of_others || ![401, 403].contains(&status);
            assert!(may && status < 500, "{}: {}", operation.id, answer.text);
            works.insert((reads, operation.id));
            continue;
        }
        let refused = answer.refused("payment-required");
        assert!(!reads, "{}: {}", operation.id, refused.body);
        assert_eq!(refused.body["since"], "2026-11-01T10:00:00.000Z");
        assert_eq!(refused.body["portal_url"], format!("{}/api/v1/billing", world.base));
        // Whoever may not do it anyway hears that, and nothing of the workspace's debts.
        if operation
            .permission
            .is_some_and(|permission| !permission.ends_with(":read"))
        {
            assert_eq!(viewer.ask(method, &path, body).await.status, 403, "{}", operation.id);
        }
    }
    let changing: Vec<&str> = works.iter().filter(|(reads, _)| !reads).map(|(_, id)| *id).collect();
    assert_eq!(changing, WORKS);
    // No other spelling of an address leads round that.
    let spelled = owner.post("/agents/none/%65xecute", json!({})).await;
    spelled.refused("payment-required");
}

#[actix_web::test]
async fn a_suspended_workspace_is_paid_for_by_its_people_and_looked_at_by_its_owners() {
    let world = World::new().await;
    let mut callers = Vec::new();
    for role in ["owner", "admin", "billing", "viewer"] {
        let person = someone(&world).await;
        world.join(world.home(), person.user, role);
        let signed_in = login(&world, &person).await.caller;
        signed_in.get("/workspace").await;
        callers.push(signed_in);
    }
    let state = |state: &str, reason: &str| {
        let home = world.home().uuid();
        world.admin(&format!(
            "UPDATE guildhall.workspaces SET state = '{state}', suspend_reason = {reason} WHERE id = '{home}'"
        ));
        world.deployment.doorkeeper.forget_all();
    };
    state("suspended", "'abuse'");
    let [owner, admin, billing, viewer] = callers.as_slice() else {
        panic!("four")
    };
    for path in ["/billing", "/workspace", "/agents", "/audit-entries", "/api-keys"] {
        owner.get(path).await.ok();
    }
    for caller in [admin, billing] {
        caller.get("/billing").await.ok();
        caller.get("/workspace").await.refused("workspace-suspended");
    }
    // Whoever may read it takes it along, a line each; nobody but the owner pages through it.
    let lines = |caller: &Caller| caller.get("/audit-entries").header("accept", "application/x-ndjson");
    assert_eq!(lines(admin).await.ok().header("content-type"), "application/x-ndjson");
    admin.get("/audit-entries").await.refused("workspace-suspended");
    lines(viewer).await.refused("forbidden");
    viewer.get("/billing").await.refused("forbidden");
    viewer.get("/agents").await.refused("workspace-suspended");
    let agent =
        json!({ "name": "Echo", "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}" } });
    owner
        .post("/agents", agent.clone())
        .await
        .refused("workspace-suspended");
    owner
        .patch("/workspace", json!({ "name": "Other" }))
        .await
        .refused("workspace-suspended");
    // A key is no owner, whoever made it.
    world.owner().get("/billing").await.refused("workspace-suspended");

    state("active", "NULL");
    owner.post("/agents", agent).await.created();
    world.owner().get("/billing").await.ok();
    viewer.get("/agents").await.ok();
}
