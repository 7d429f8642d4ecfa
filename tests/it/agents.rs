//! Agents: drafts, versions, labels.

use serde_json::{Value, json};

use crate::world::World;

fn scout(name: &str) -> Value {
    json!({ "name": name, "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}" } })
}

#[actix_web::test]
async fn an_agent_is_published_as_it_is_made_and_its_draft_goes_on() {
    let world = World::new().await;
    let owner = world.owner();
    let made = owner.post("/agents", scout("Scout")).await.created();
    assert_eq!(made.body["slug"], "scout");
    assert_eq!(
        (&made.body["latest"], &made.body["labels"]),
        (&json!(1), &json!({ "production": 1 }))
    );
    assert_eq!(made.body["draft"], json!({ "differs_from": null, "problems": [] }));
    let path = format!("/agents/{}", made.text_at("/id"));
    let tag = made.header("etag");

    owner
        .patch(&path, json!({ "config": { "temperature": 0.5 } }))
        .await
        .refused("precondition-required");
    let change = json!({ "config": { "temperature": 0.5 }, "metadata": { "team": "a" } });
    let changed = owner.patch(&path, change.clone()).header("if-match", tag).await.ok();
    assert_eq!(changed.body["draft"]["differs_from"], 1);
    assert_eq!(
        changed.body["config"],
        json!({ "model": "sandbox", "prompt": "{{ input.say }}", "temperature": 0.5 })
    );
    owner
        .patch(&path, change)
        .header("if-match", tag)
        .await
        .refused("version-mismatch");
    let same = json!({ "name": "Scout", "config": { "temperature": 0.5 } });
    let again = owner
        .patch(&path, same)
        .header("if-match", changed.header("etag"))
        .await
        .ok();
    assert_eq!(again.body["version"], changed.body["version"]);
    let told = world
        .audit()
        .into_iter()
        .filter(|entry| entry.starts_with("agent.updated "));
    assert_eq!(told.count(), 1, "what changes nothing is told to nobody");

    let second = owner
        .post(&format!("{path}/publish"), json!({ "note": "Warmer" }))
        .await
        .created();
    assert_eq!(
        (&second.body["number"], &second.body["labels"]),
        (&json!(2), &json!(["production"]))
    );
    let same = owner.post(&format!("{path}/publish"), json!({})).await.ok();
    assert_eq!(same.body["number"], 2);
    let versions = owner.get(&format!("{path}/versions")).await.ok();
    assert_eq!(versions.body["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(versions.body["data"][0]["note"], "Warmer");

    assert!(world.audit().contains(&"agent.created by api_key".to_owned()));
}

#[actix_web::test]
async fn a_label_moves_to_a_version_and_back_and_what_it_means_cannot_be_retired() {
    let world = World::new().await;
    let owner = world.owner();
    let path = format!(
        "/agents/{}",
        owner.post("/agents", scout("Scout")).await.created().text_at("/id")
    );
    owner
        .post(
            &format!("{path}/versions"),
            json!({ "from": { "model": "sandbox", "prompt": "b" }, "labels": ["staging"] }),
        )
        .await
        .created();

    owner
        .post(&format!("{path}/versions/2/retire"), json!({}))
        .await
        .refused("version-in-use");
    let moved = owner
        .put(&format!("{path}/labels/staging"), json!({ "number": 1 }))
        .await
        .ok();
    assert_eq!((&moved.body["number"], &moved.body["previous"]), (&json!(1), &json!(2)));
    owner
        .put(&format!("{path}/labels/staging"), json!({ "number": 9 }))
        .await
        .refused("validation-failed");
    owner
        .put(&format!("{path}/labels/latest"), json!({ "number": 1 }))
        .await
        .refused("validation-failed");
    owner.act(&format!("{path}/versions/2/retire")).await.ok();
    owner
        .post(&format!("{path}/execute"), json!({ "version": 2 }))
        .await
        .refused("version-retired");
    // Nor does anything come to mean what was retired.
    owner
        .put(&format!("{path}/labels/staging"), json!({ "number": 2 }))
        .await
        .refused("version-retired");
    let again = owner
        .post(
            &format!("{path}/versions"),
            json!({ "from": { "model": "sandbox", "prompt": "b" }, "labels": ["production"] }),
        )
        .await
        .created();
    assert_eq!(again.body["number"], 3);
    owner.post(&format!("{path}/execute"), json!({})).await.accepted();
    owner.delete(&format!("{path}/labels/staging")).await.gone();
    owner
        .delete(&format!("{path}/labels/staging"))
        .await
        .refused("not-found");
    assert_eq!(
        owner.get(&format!("{path}/labels")).await.ok().body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[actix_web::test]
async fn a_label_that_is_gone_or_was_made_anew_is_not_the_one_that_was_seen() {
    let world = World::new().await;
    let owner = world.owner();
    let path = owner.post("/agents", scout("Scout")).await.created().path();
    let other = json!({ "from": { "model": "sandbox", "prompt": "b" } });
    owner.post(&format!("{path}/versions"), other).await.created();
    let label = format!("{path}/labels/staging");
    let put = |number: i32| owner.put(&label, json!({ "number": number }));
    for tag in ["\"1-1\"", "*"] {
        put(1).header("if-match", tag).await.refused("version-mismatch");
    }
    let made = put(1).await.created();
    let seen = made.header("etag").to_owned();
    assert_eq!(put(1).header("if-match", &seen).await.ok().header("etag"), seen);
    owner.delete(&label).header("if-match", &seen).await.gone();
    // Somebody took it away: whoever saw it before does not bring it back.
    put(1).header("if-match", &seen).await.refused("version-mismatch");
    owner.get(&label).await.refused("not-found");
    let anew = put(1).await.created();
    assert_eq!(anew.body["version"], made.body["version"]);
    assert_eq!(owner.get(&label).await.ok().header("etag"), anew.header("etag"));
    put(1).header("if-match", &seen).await.refused("version-mismatch");
    let refused = owner.delete(&label).header("if-match", &seen).await;
    let current = owner.get(&label).await.ok().header("etag").to_owned();
    assert_eq!(refused.refused("version-mismatch").text_at("/current_etag"), current);
    put(2).header("if-match", anew.header("etag")).await.ok();
}

#[actix_web::test]
async fn a_configuration_that_cannot_run_is_refused_or_kept_as_a_draft() {
    let world = World::new().await;
    let owner = world.owner();
    let broken = |publish| json!({ "name": "Odd", "framework": "openai", "publish": publish, "config": { "model": "nobody", "prompt": "{{" } });
    let refused = owner.post("/agents", broken(true)).await.refused("plan-invalid");
    let pointers: Vec<&str> = refused.body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["pointer"].as_str())
        .collect();
    assert_eq!(pointers, ["/config/prompt", "/config/model"]);

    let kept = owner.post("/agents", broken(false)).await.created();
    assert_eq!(
        (
            &kept.body["latest"],
            kept.body["draft"]["problems"].as_array().map(Vec::len)
        ),
        (&json!(null), Some(2))
    );
    let path = format!("/agents/{}", kept.text_at("/id"));
    owner
        .post(&format!("{path}/execute"), json!({}))
        .await
        .refused("state-conflict");
    assert_eq!(owner.act(&format!("{path}/validate")).await.ok().body["valid"], false);
    owner
        .post(
            "/agents",
            json!({ "name": "Crew", "framework": "crewai", "config": {} }),
        )
        .await
        .refused("not-available");
    let judged = owner
        .post(
            "/agents/validate",
            json!({ "framework": "openai", "config": { "model": "sandbox", "prompt": "x" } }),
        )
        .await
        .ok();
    assert_eq!(
        (&judged.body["valid"], &judged.body["estimate"]["cost_micros_max"]),
        (&json!(true), &json!(4 + 1 + 4_096))
    );
}

#[actix_web::test]
async fn names_are_taken_once_and_a_plan_counts_agents() {
    let world = World::new().await;
    let owner = world.owner();
    let first = owner.post("/agents", scout("Scout")).await.created();
    owner.post("/agents", scout("Scout")).await.refused("name-taken");
    for number in 2..=5 {
        owner.post("/agents", scout(&format!("Scout {number}"))).await.created();
    }
    let refused = owner
        .post("/agents", scout("Scout 6"))
        .await
        .refused("plan-limit-reached");
    assert_eq!(
        (&refused.body["entitlement"], &refused.body["limit"]),
        (&json!("agents"), &json!(5))
    );
    owner.delete(&format!("/agents/{}", first.text_at("/id"))).await.gone();
    let sixth = owner.post("/agents", scout("Scout 6")).await.created().text_at("/id");
    // One that ran cannot be deleted: archived, it takes no place either, and deleted after that it gives none twice.
    for verb in ["archive", "archive"] {
        owner.act(&format!("/agents/{sixth}/{verb}")).await.ok();
    }
    let seventh = owner.post("/agents", scout("Scout 7")).await.created().text_at("/id");
    let back = owner.act(&format!("/agents/{sixth}/unarchive")).await;
    back.refused("plan-limit-reached");
    owner.delete(&format!("/agents/{sixth}")).await.gone();
    owner
        .post("/agents", scout("Scout 8"))
        .await
        .refused("plan-limit-reached");
    owner.delete(&format!("/agents/{seventh}")).await.gone();
    owner.post("/agents", scout("Scout 8")).await.created();
}

#[actix_web::test]
async fn an_agent_of_another_workspace_is_not_there_and_a_viewer_looks_on() {
    let world = World::new().await;
    let path = format!(
        "/agents/{}",
        world
            .owner()
            .post("/agents", scout("Scout"))
            .await
            .created()
            .text_at("/id")
    );
    let (viewer, stranger) = (world.viewer(), world.stranger());
    viewer.get(&path).await.ok();
    viewer.delete(&path).await.refused("forbidden");
    viewer
        .post(&format!("{path}/execute"), json!({}))
        .await
        .refused("forbidden");
    for what in ["", "/versions", "/versions/1", "/labels", "/executions"] {
        stranger.get(&format!("{path}{what}")).await.refused("not-found");
    }
    stranger
        .post(&format!("{path}/execute"), json!({}))
        .await
        .refused("not-found");
    stranger.act(&format!("{path}/archive")).await.refused("not-found");
    assert_eq!(stranger.get("/agents").await.ok().body["data"], json!([]));
}

#[actix_web::test]
async fn an_archived_agent_runs_no_more_until_it_is_taken_back() {
    let world = World::new().await;
    let owner = world.owner();
    let path = format!(
        "/agents/{}",
        owner.post("/agents", scout("Scout")).await.created().text_at("/id")
    );
    assert_eq!(
        owner.act(&format!("{path}/archive")).await.ok().body["state"],
        "archived"
    );
    owner
        .post(&format!("{path}/execute"), json!({ "input": { "say": "x" } }))
        .await
        .refused("agent-archived");
    owner
        .post(&format!("{path}/publish"), json!({}))
        .await
        .refused("agent-archived");
    assert_eq!(
        owner.act(&format!("{path}/unarchive")).await.ok().body["state"],
        "active"
    );
    owner
        .post(&format!("{path}/execute"), json!({ "input": { "say": "x" } }))
        .await
        .accepted();
    owner.delete(&path).await.refused("state-conflict");
}
