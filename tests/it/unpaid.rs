//! A workspace whose payment is overdue: what is its own stays in reach, and growth waits.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::world::World;

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
}
