//! Runs: accepted, executed once, stopped, recovered, paid for.

mod holes;
mod kept;
mod killed;
mod limits;
mod money;

use guildhall::{
    features::{providers::Providers, runs},
    kernel::jobs::Runner,
};
use serde_json::{Value, json};

use self::money::ledger;
use crate::world::{Caller, World, patience::until};

/// A worker that does steps and clocks, turn by turn.
fn worker(world: &World) -> Runner {
    let mut runner = Runner::new(world.deployment.db.clone());
    runs::register(&mut runner, Providers { sandbox: true });
    runner
}

/// Waits until the model is asked.
async fn is_at_work(world: &World, run: &str) {
    // The first step is what the run begins with, the second asks.
    until("a call is under way", async || events(world, run, "step.started") > 0).await;
}

/// An agent that says what its input says.
pub async fn echo(caller: &Caller) -> String {
    let agent = json!({ "name": "Echo", "framework": "openai", "config": { "model": "sandbox", "system": "Be brief.", "prompt": "{{ input.say }}",
        "input_schema": { "type": "object", "required": ["say"], "properties": { "say": { "type": "string", "minLength": 1 } } } } });
    format!(
        "/agents/{}",
        caller.post("/agents", agent).await.created().text_at("/id")
    )
}

/// Starts a run that is told to say this. Its path.
pub async fn start(caller: &Caller, agent: &str, say: &str) -> String {
    let answer = caller
        .post(&format!("{agent}/execute"), json!({ "input": { "say": say } }))
        .await
        .accepted();
    assert_eq!(answer.body["status"], "pending");
    assert!(answer.path().starts_with("/api/v1/runs/run_"));
    format!("/runs/{}", answer.text_at("/id"))
}

/// Works until the run ends, moving the clock for what waits.
async fn finish(world: &World, worker: &Runner, caller: &Caller, run: &str) -> Value {
    for _ in 0..40 {
        worker.turn().await.expect("a turn");
        let seen = caller.get(run).await.ok().body;
        if ["completed", "failed", "cancelled"].contains(&seen["status"].as_str().expect("a status")) {
            return seen;
        }
        world.clock.advance(chrono::Duration::seconds(2));
    }
    panic!("{run} does not end");
}

/// How often an event stands in a run's trail.
fn events(world: &World, run: &str, kind: &str) -> i64 {
    use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};
    diesel::table! {
        guildhall.run_events (run_id, seq) {
            run_id -> Uuid,
            seq -> Integer,
            #[sql_name = "type"]
            kind -> Text,
        }
    }
    let id: runs::RunId = run.trim_start_matches("/runs/").parse().expect("a run's id");
    let those = run_events::table.filter(run_events::run_id.eq(id.uuid()));
    let all: Vec<i32> = those
        .order(run_events::seq)
        .select(run_events::seq)
        .load(&mut world.superuser())
        .expect("events");
    assert_eq!(all, (1..=all.len() as i32).collect::<Vec<_>>(), "the trail has gaps");
    those
        .filter(run_events::kind.eq(kind))
        .count()
        .get_result(&mut world.superuser())
        .expect("a count")
}

/// How many jobs of the home workspace's runs wait, now or for a time; the removal of old contents always does.
fn queued_jobs(world: &World) -> i64 {
    let home = world.home().uuid();
    let of = |table: &str| {
        world.count(&format!(
            "SELECT count(*) FROM guildhall.{table} WHERE workspace_id = '{home}' AND kind <> 'run.purge'"
        ))
    };
    of("run_queue") + of("run_timers")
}

#[actix_web::test]
async fn a_run_goes_from_pending_over_running_to_completed_with_its_result() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[say good day]] [[usage 812 240]]").await;
    owner.get(&format!("{run}/result")).await.refused("run-not-finished");
    let status = owner.get(&format!("{run}/status")).await.ok();
    assert_eq!(
        (&status.body["status"], &status.body["progress"]),
        (&json!("pending"), &json!(0))
    );
    let tag = status.header("etag").to_owned();
    let unchanged = owner.get(&format!("{run}/status")).header("if-none-match", &tag).await;
    assert_eq!(unchanged.status.as_u16(), 304);

    let seen = finish(&world, &worker(&world), &owner, &run).await;
    assert_eq!(
        (&seen["status"], &seen["output"], &seen["cost_micros"]),
        (&json!("completed"), &json!("good day"), &json!(1_052))
    );
    assert_eq!(
        (&seen["usage"]["total_tokens"], &seen["step_count"], &seen["progress"]),
        (&json!(1_052), &json!(2), &json!(100))
    );
    assert_eq!(
        owner.get(&format!("{run}/result")).await.ok().body["output"],
        "good day"
    );
    let steps = owner.get(&format!("{run}/steps?order=created_at")).await.ok().body;
    let kinds: Vec<_> = steps["data"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|s| format!("{} {}", s["kind"], s["status"]))
        .collect();
    assert_eq!(kinds, ["\"prompt\" \"completed\"", "\"llm\" \"completed\""]);
    let said = owner.get(&format!("{run}/messages?order=created_at")).await.ok().body;
    let roles: Vec<_> = said["data"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|m| m["role"].as_str())
        .collect();
    assert_eq!(roles, ["system", "user", "assistant"]);
    assert_eq!(ledger(&owner, &run).await, ["call"]);
    assert_eq!(events(&world, &run, "run.completed"), 1);
    assert_eq!(
        owner
            .get(&format!("{agent}/executions?status=completed"))
            .await
            .ok()
            .body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        owner.get(&run.replace("/runs/", "/executions/")).await.ok().body["id"],
        seen["id"]
    );
    owner
        .post(&format!("{run}/cancel"), json!({}))
        .await
        .refused("run-finished");
}

#[actix_web::test]
async fn a_failing_provider_is_asked_exactly_as_often_as_the_plan_says() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let worker = worker(&world);
    let mended = start(&owner, &agent, "[[fail 503 2]] [[say there]]").await;
    let seen = finish(&world, &worker, &owner, &mended).await;
    assert_eq!(
        (&seen["status"], &seen["output"]),
        (&json!("completed"), &json!("there"))
    );
    let step = owner.get(&format!("{mended}/steps/2")).await.ok().body;
    assert_eq!(
        (&step["attempt"], step["prior_attempts"].as_array().map(Vec::len)),
        (&json!(3), Some(2))
    );
    assert_eq!(events(&world, &mended, "step.retrying"), 2);

    let failed = start(&owner, &agent, "[[fail 500]]").await;
    let seen = finish(&world, &worker, &owner, &failed).await;
    assert_eq!(
        (&seen["status"], &seen["error"]["code"], &seen["error"]["attempt"]),
        (&json!("failed"), &json!("step_failed"), &json!(3))
    );
    assert_eq!(seen["error"]["cause"]["http_status"], 500);
    assert_eq!(events(&world, &failed, "step.started"), 3);

    let rejected = start(&owner, &agent, "[[fail 401]]").await;
    assert_eq!(finish(&world, &worker, &owner, &rejected).await["status"], "failed");
    assert_eq!(events(&world, &rejected, "step.started"), 1);
}

#[actix_web::test]
async fn a_worker_killed_half_way_loses_nothing() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[sleep 2000]] [[say still here]]").await;
    let doomed = worker(&world);
    let work = actix_web::rt::spawn(async move { doomed.turn().await.map(drop) });
    is_at_work(&world, &run).await;
    assert_eq!(owner.get(&run).await.ok().body["status"], "running");
    work.abort();

    let heir = worker(&world);
    heir.expire_leases().await.expect("expired");
    let seen = finish(&world, &heir, &owner, &run).await;
    assert_eq!(
        (&seen["status"], &seen["output"], &seen["recoveries"]),
        (&json!("completed"), &json!("still here"), &json!(1))
    );
    assert_eq!(ledger(&owner, &run).await, ["estimate", "call"]);
    assert_eq!(
        (
            events(&world, &run, "step.completed"),
            events(&world, &run, "run.completed")
        ),
        (2, 1)
    );
}

#[actix_web::test]
async fn a_worker_that_lost_its_lease_commits_nothing_but_the_truth_about_money() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[sleep 900]] [[say once]]").await;
    let zombie = worker(&world);
    let work = actix_web::rt::spawn(async move { zombie.turn().await.map(drop) });
    is_at_work(&world, &run).await;

    let heir = worker(&world);
    heir.expire_leases().await.expect("expired");
    let seen = finish(&world, &heir, &owner, &run).await;
    work.await.expect("not aborted").expect("a turn");
    assert_eq!(
        (&seen["status"], &seen["output"]),
        (&json!("completed"), &json!("once"))
    );
    let said = owner.get(&format!("{run}/messages")).await.ok().body;
    assert_eq!(said["data"].as_array().map(Vec::len), Some(3), "one answer only");
    let mut kinds = ledger(&owner, &run).await;
    kinds.sort();
    assert_eq!(kinds, ["call", "correction", "estimate"]);
    let usage = owner.get(&format!("{run}/usage")).await.ok().body["usage"].clone();
    assert_eq!(usage["requests"], 2, "each worker asked once: {usage}");
    let step = owner.get(&format!("{run}/steps/2")).await.ok().body;
    let lost = step["prior_attempts"][0]["cost_micros"].as_i64();
    assert_eq!(
        lost.map(|lost| lost * 2),
        step["cost_micros"].as_i64(),
        "both asked the same: {step}"
    );
    assert_eq!(events(&world, &run, "run.completed"), 1);
}

#[actix_web::test]
async fn a_run_is_stopped_at_once_or_when_its_call_has_ended() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let queued = start(&owner, &agent, "never").await;
    assert_eq!(
        owner.post(&format!("{queued}/cancel"), json!({})).await.ok().body["status"],
        "cancelled"
    );
    assert_eq!(
        owner.post(&format!("{queued}/cancel"), json!({})).await.ok().body["status"],
        "cancelled"
    );
    assert_eq!(queued_jobs(&world), 0);

    for (mode, at_once) in [("immediate", "cancelled"), ("graceful", "running")] {
        let run = start(&owner, &agent, "[[sleep 700]] [[say x]]").await;
        let busy = worker(&world);
        let work = actix_web::rt::spawn(async move { busy.turn().await.map(drop) });
        is_at_work(&world, &run).await;
        let asked = owner.post(&format!("{run}/cancel"), json!({ "mode": mode })).await.ok();
        assert_eq!(asked.body["status"], at_once, "{mode}");
        work.await.expect("not aborted").expect("a turn");
        assert_eq!(owner.get(&run).await.ok().body["status"], "cancelled", "{mode}");
        assert_eq!(ledger(&owner, &run).await, ["call"], "{mode}: what was spent counts");
        assert_eq!(
            (
                events(&world, &run, "run.cancelled"),
                events(&world, &run, "run.completed")
            ),
            (1, 0),
            "{mode}"
        );
    }
}

#[actix_web::test]
async fn cancel_and_complete_race_for_one_end() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    // Each time so many questions come before the one to stop.
    for before in [0, 1, 2, 4, 8, 16] {
        let run = start(&owner, &agent, "[[sleep 20]] [[say x]]").await;
        let busy = worker(&world);
        let work = actix_web::rt::spawn(async move { busy.turn().await.map(drop) });
        for _ in 0..before {
            owner.get(&run).await.ok();
        }
        let asked = owner
            .post(&format!("{run}/cancel"), json!({ "mode": "immediate" }))
            .await;
        work.await.expect("not aborted").expect("a turn");
        let seen = owner.get(&run).await.ok().body;
        let ends: i64 = ["run.completed", "run.failed", "run.cancelled"]
            .iter()
            .map(|kind| events(&world, &run, kind))
            .sum();
        assert_eq!(ends, 1, "after {before} questions: {seen}");
        let expected = if asked.status.as_u16() == 200 {
            "cancelled"
        } else {
            "completed"
        };
        assert_eq!(seen["status"], expected, "after {before} questions");
    }
}

#[actix_web::test]
async fn a_repeated_request_starts_one_run() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let ask = || {
        owner
            .post(&format!("{agent}/execute"), json!({ "input": { "say": "x" } }))
            .header("idempotency-key", "k")
    };
    let (first, again) = (ask().await.accepted(), ask().await.accepted());
    assert_eq!(first.body["id"], again.body["id"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        owner.get("/runs").await.ok().body["data"].as_array().map(Vec::len),
        Some(1)
    );
}

#[actix_web::test]
async fn a_run_of_another_workspace_is_not_there() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "x").await;
    let (stranger, viewer) = (world.stranger(), world.viewer());
    for what in ["", "/status", "/result", "/steps", "/steps/1", "/messages", "/usage"] {
        stranger.get(&format!("{run}{what}")).await.refused("not-found");
    }
    stranger
        .post(&format!("{run}/cancel"), json!({}))
        .await
        .refused("not-found");
    assert_eq!(stranger.get("/executions").await.ok().body["data"], json!([]));
    viewer.get(&run).await.ok();
    viewer
        .post(&format!("{run}/cancel"), json!({}))
        .await
        .refused("forbidden");
}

#[actix_web::test]
async fn an_answer_in_json_is_what_its_schema_wants() {
    let world = World::new().await;
    let owner = world.owner();
    let schema = json!({ "type": "object", "required": ["title"], "properties": { "title": { "type": "string", "maxLength": 20 } } });
    let agent = json!({ "name": "Json", "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}",
        "response_format": { "type": "json_schema", "schema": schema } } });
    let agent = format!(
        "/agents/{}",
        owner.post("/agents", agent).await.created().text_at("/id")
    );
    let worker = worker(&world);
    let fits = start(&owner, &agent, r#"[[json {"title": "a\u0000b"}]]"#).await;
    let seen = finish(&world, &worker, &owner, &fits).await;
    assert_eq!(
        (&seen["status"], &seen["output"]),
        (&json!("completed"), &json!({ "title": "a\u{fffd}b" }))
    );
    let misfits = start(&owner, &agent, r#"[[json {"title": 7}]]"#).await;
    let error = finish(&world, &worker, &owner, &misfits).await["error"].clone();
    assert_eq!(error["code"], "invalid_output");
    assert_eq!(error["cause"], json!(null));
}
