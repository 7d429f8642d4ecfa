//! What is shown of runs, in pages, and for how long it is kept.

use std::future::IntoFuture;

use diesel::connection::SimpleConnection;
use guildhall::features::agents::AgentId;
use serde_json::{Value, json};

use super::{echo, finish, ledger, start, worker};
use crate::{
    identity::together,
    world::{Caller, World, patience::until},
};

async fn texts(caller: &Caller, path: &str, field: &str) -> (Vec<Value>, Option<String>) {
    let page = caller.get(path).await.ok().body;
    let rows = page["data"].as_array().expect("rows").iter();
    let cursor = page["next_cursor"].as_str().map(str::to_owned);
    assert_eq!(page["has_more"], cursor.is_some());
    (rows.map(|row| row[field].clone()).collect(), cursor)
}

#[actix_web::test]
async fn lists_show_no_contents_and_come_in_pages() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[say good day]]").await;
    finish(&world, &worker(&world), &owner, &run).await;

    for (list, hidden) in [
        ("/runs".to_owned(), ["input", "output"]),
        ("/executions".to_owned(), ["input", "output"]),
        (format!("{agent}/executions"), ["input", "output"]),
        (format!("{run}/steps"), ["input", "output"]),
        ("/agents".to_owned(), ["config", "config"]),
        (format!("{agent}/versions"), ["config", "input_schema"]),
    ] {
        let rows = owner.get(&list).await.ok().body;
        let row = rows["data"][0].as_object().expect("a row");
        assert!(hidden.iter().all(|field| !row.contains_key(*field)), "{list}");
    }
    assert_eq!(
        owner.get(&format!("{run}/steps/2")).await.ok().body["output"],
        "good day"
    );
    // The first called nobody, and says so in full.
    let usage = &owner.get(&format!("{run}/steps/1")).await.ok().body["usage"];
    assert_eq!((&usage["requests"], &usage["total_tokens"]), (&json!(0), &json!(0)));

    let (last, cursor) = texts(&owner, &format!("{run}/messages?limit=2"), "role").await;
    assert_eq!(last, ["assistant", "user"]);
    let rest = format!("{run}/messages?limit=2&cursor={}", cursor.expect("more"));
    assert_eq!(texts(&owner, &rest, "role").await, (vec![json!("system")], None));
    let (first, cursor) = texts(&owner, &format!("{run}/steps?limit=1&order=created_at"), "number").await;
    assert_eq!(first, [1]);
    let rest = format!("{run}/steps?limit=1&order=created_at&cursor={}", cursor.expect("more"));
    assert_eq!(texts(&owner, &rest, "number").await, (vec![json!(2)], None));
    let other = format!("{run}/messages?scope=other");
    assert_eq!(texts(&owner, &other, "role").await, (Vec::new(), None));
}

#[actix_web::test]
async fn a_draft_does_not_grow_beyond_what_a_request_can_bring() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    for (round, name) in ["a", "b"].iter().enumerate() {
        let tag = owner.get(&agent).await.ok().header("etag").to_owned();
        let change = json!({ "config": { *name: "x".repeat(200_000) } });
        let answer = owner.patch(&agent, change).header("if-match", &tag).await;
        match round {
            0 => drop(answer.ok()),
            _ => drop(answer.invalid("/config", "too-large")),
        }
    }
}

#[actix_web::test]
async fn contents_are_removed_when_their_time_is_over() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let worker = worker(&world);
    let run = start(&owner, &agent, "[[say my secret]]").await;
    finish(&world, &worker, &owner, &run).await;
    let failed = start(&owner, &agent, "[[fail 401]]").await;
    finish(&world, &worker, &owner, &failed).await;

    world.clock.advance(chrono::Duration::hours(12));
    for _ in 0..3 {
        worker.turn().await.expect("a turn");
    }
    assert_eq!(owner.get(&run).await.ok().body["output"], "my secret");

    world.clock.advance(chrono::Duration::days(31));
    for _ in 0..3 {
        worker.turn().await.expect("a turn");
    }
    let seen = owner.get(&run).await.ok().body;
    assert_eq!(
        (&seen["status"], &seen["input"], &seen["output"]),
        (&json!("completed"), &json!(null), &json!(null))
    );
    assert!(seen["purged_at"].is_string());
    for what in ["result", "messages"] {
        owner.get(&format!("{run}/{what}")).await.refused("gone");
    }
    assert_eq!(
        owner.get(&format!("{run}/steps/2")).await.ok().body["output"],
        json!(null)
    );
    assert_eq!(ledger(&owner, &run).await, ["call"]);
    let error = &owner.get(&failed).await.ok().body["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("step_failed"), &json!(null))
    );
    let id = run
        .trim_start_matches("/runs/")
        .parse::<guildhall::features::runs::RunId>()
        .expect("an id");
    for table in ["run_messages", "run_events", "run_checkpoints"] {
        let left = world.count(&format!(
            "SELECT count(*) FROM guildhall.{table} WHERE run_id = '{}'",
            id.uuid()
        ));
        assert_eq!(left, 0, "{table}");
    }
}

#[actix_web::test]
async fn who_saw_another_state_of_a_run_does_not_stop_it() {
    let world = World::new().await;
    let owner = world.owner();
    let run = start(&owner, &echo(&owner).await, "never").await;
    let tag = owner.get(&run).await.ok().header("etag").to_owned();
    let stop = |tag: &str| owner.post(&format!("{run}/cancel"), json!({})).header("if-match", tag);
    stop("\"99\"").await.refused("version-mismatch");
    assert_eq!(stop(&tag).await.ok().body["status"], "cancelled");
}

/// An agent that is as all others that are made here, but for its name.
async fn twin(caller: &Caller, name: &str) -> String {
    let agent =
        json!({ "name": name, "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}" } });
    format!("/agents/{}", caller.post("/agents", agent).await.created().id())
}

#[actix_web::test]
async fn a_plan_goes_with_what_has_need_of_it() {
    let world = World::new().await;
    let owner = world.owner();
    let worker = worker(&world);
    let home = world.home().uuid();
    let plans = || {
        world.count(&format!(
            "SELECT count(*) FROM guildhall.run_plans WHERE workspace_id = '{home}'"
        ))
    };
    let agent = echo(&owner).await;
    let other = json!({ "name": "Twin", "framework": "openai", "config": owner.get(&agent).await.ok().body["config"] });
    let other = format!("/agents/{}", owner.post("/agents", other).await.created().id());
    let changed = json!({ "config": { "model": "sandbox", "prompt": "{{ input.say }}, said Ann of 12 Hill Road" } });
    let tag = owner.get(&agent).await.ok().header("etag").to_owned();
    owner.patch(&agent, changed).header("if-match", &tag).await.ok();
    let draft = json!({ "input": { "say": "[[say it]]" }, "version": "draft" });
    let run = owner.post(&format!("{agent}/execute"), draft).await.accepted();
    let run = format!("/runs/{}", run.text_at("/id"));
    finish(&world, &worker, &owner, &run).await;
    assert_eq!(plans(), 2, "the twins' and the draft's");

    world.clock.advance(chrono::Duration::days(31));
    for _ in 0..3 {
        worker.turn().await.expect("a turn");
    }
    assert!(owner.get(&run).await.ok().body["purged_at"].is_string());
    assert_eq!(plans(), 1, "the draft's went with the contents of its run");
    let delete = async |agent: &str| owner.delete(agent).await;
    delete(&agent).await.refused("state-conflict");
    let version = "DELETE FROM guildhall.runs WHERE agent_id IS NOT NULL AND workspace_id";
    world.admin(&format!("{version} = '{home}'"));
    delete(&agent).await.gone();
    assert_eq!(plans(), 1, "its twin has need of it");
    delete(&other).await.gone();
    assert_eq!(plans(), 0);
    for _ in 0..4 {
        let pair = [twin(&owner, "One").await, twin(&owner, "Two").await];
        let both = together(pair.iter().map(|agent| delete(agent))).await;
        assert!(both.iter().all(|answer| answer.status == 204));
        assert_eq!(plans(), 0, "both went at the same moment");
    }
}

#[actix_web::test]
async fn an_agent_with_thousands_of_versions_goes_with_all_their_plans() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = twin(&owner, "One").await;
    let home = world.home().uuid();
    world.admin(&format!(
        "INSERT INTO guildhall.run_plans (workspace_id, sha256, ir, body, size)
         SELECT workspace_id, sha256(n::text::bytea), ir, body, size FROM guildhall.run_plans, generate_series(2, 5000) n
          WHERE workspace_id = '{home}';
         INSERT INTO guildhall.agent_versions (workspace_id, id, agent_id, number, plan_sha256, framework, config, config_sha256,
                created_by_type, created_by_id)
         SELECT workspace_id, gen_random_uuid(), agent_id, n, sha256(n::text::bytea), framework, config, config_sha256,
                created_by_type, created_by_id
           FROM guildhall.agent_versions, generate_series(2, 5000) n WHERE workspace_id = '{home}';
         ANALYZE guildhall.run_plans, guildhall.agent_versions"
    ));
    let plans = format!("SELECT count(*) FROM guildhall.run_plans WHERE workspace_id = '{home}'");
    assert_eq!(world.count(&plans), 5_000);
    owner.delete(&agent).await.gone();
    assert_eq!(world.count(&plans), 0);
}

#[actix_web::test]
async fn a_plan_that_is_named_anew_at_the_same_moment_stays() {
    let world = World::new().await;
    let owner = world.owner();
    let (agent, other) = (twin(&owner, "One").await, twin(&owner, "Two").await);
    let uuid = |path: &str| {
        path.trim_start_matches("/agents/")
            .parse::<AgentId>()
            .expect("an id")
            .uuid()
    };
    world.admin(&format!(
        "DELETE FROM guildhall.agent_labels WHERE agent_id = '{0}'; DELETE FROM guildhall.agent_versions WHERE agent_id = '{0}'",
        uuid(&other)
    ));
    let mut naming = world.superuser();
    naming
        .batch_execute(&format!(
            "BEGIN; INSERT INTO guildhall.agent_versions (workspace_id, id, agent_id, number, plan_sha256, framework, config, config_sha256,
                created_by_type, created_by_id)
             SELECT workspace_id, gen_random_uuid(), '{}', 1, plan_sha256, framework, config, config_sha256, created_by_type, created_by_id
               FROM guildhall.agent_versions WHERE agent_id = '{}'",
            uuid(&other),
            uuid(&agent)
        ))
        .expect("a version");
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename = 'app_tenant' AND wait_event_type = 'Lock'";
    let named = async {
        until("the plan is about to go", async || world.count(waiting) > 0).await;
        naming.batch_execute("COMMIT").expect("named");
    };
    let (refused, ()) = futures_util::join!(owner.delete(&agent).into_future(), named);
    assert_eq!(refused.refused("overloaded").body["reason"], "contention");
    owner.delete(&agent).await.gone();
    let home = world.home().uuid();
    let plans = format!("SELECT count(*) FROM guildhall.run_plans WHERE workspace_id = '{home}'");
    assert_eq!(world.count(&plans), 1);
}
