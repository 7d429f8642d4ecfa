//! What a run may not be, may not take and may not cost.

use std::time::Instant;

use serde_json::json;

use super::{echo, events, finish, holes::steps_at_once, money::failed_step, start, worker};
use crate::world::{
    World,
    gate::{Gate, insist},
    patience::{a_while, until},
};

#[actix_web::test]
async fn time_runs_out_in_the_queue_and_at_work() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let worker = worker(&world);
    let steps = |most: u32| steps_at_once(&world, most);
    // Nobody does its first step.
    let late = start(&owner, &agent, "x").await;
    steps(0);
    world.clock.advance(chrono::Duration::seconds(3_601));
    worker.turn().await.expect("a turn");
    let seen = owner.get(&late).await.ok().body;
    assert_eq!(
        (&seen["status"], &seen["error"]["code"]),
        (&json!("failed"), &json!("queue_timeout"))
    );
    steps(2);
    worker.turn().await.expect("a turn");
    assert_eq!(
        (
            events(&world, &late, "run.failed"),
            events(&world, &late, "run.completed")
        ),
        (1, 0)
    );

    let retried = owner
        .post(
            &format!("{agent}/execute"),
            json!({ "input": { "say": "[[fail 503]]" }, "timeout_seconds": 1 }),
        )
        .await
        .accepted();
    let run = format!("/runs/{}", retried.text_at("/id"));
    worker.turn().await.expect("a turn");
    assert_eq!(owner.get(&run).await.ok().body["status"], "running");
    steps(0);
    world.clock.advance(chrono::Duration::seconds(5));
    let seen = finish(&world, &worker, &owner, &run).await;
    steps(2);
    assert_eq!(
        (&seen["status"], &seen["error"]["code"]),
        (&json!("failed"), &json!("timeout"))
    );
}

#[actix_web::test]
async fn only_what_is_started_counts_as_started() {
    let world = World::with(&[("LIMITS__FACTOR", "1")]).await;
    let owner = world.owner();
    let execute = format!("{}/execute", echo(&owner).await);
    let right = json!({ "input": { "say": "x" } });
    for _ in 0..12 {
        let wrong = json!({ "input": { "say": "x" }, "wat": 1 });
        owner.post(&execute, wrong).await.refused("validation-failed");
        let nowhere = owner.post("/agents/agt_nothing/execute", right.clone()).await;
        nowhere.refused("not-found");
    }
    // What the limit refuses takes nothing, and gives nothing back. Every six seconds there is one more.
    let (begun, mut started) = (Instant::now(), 0);
    for _ in 0..24 {
        let answer = owner.post(&execute, right.clone()).await;
        if answer.status == 202 {
            started += 1;
            continue;
        }
        let refused = answer.refused("rate-limited");
        assert_eq!(refused.body["bucket"], "execute");
        assert!(refused.header("ratelimit").starts_with("\"execute\";r=0;"));
    }
    let more = begun.elapsed().as_secs() / 6 + 1;
    assert!((10..=10 + more).contains(&started), "{started} were started");
}

#[actix_web::test]
async fn what_cannot_run_is_refused_before_it_is_accepted() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let execute = format!("{agent}/execute");
    let refused = owner
        .post(&execute, json!({ "input": { "say": "" } }))
        .await
        .refused("input-invalid");
    assert_eq!(refused.body["errors"][0]["pointer"], "/input/say");
    owner
        .post(&execute, json!({ "input": {} }))
        .await
        .refused("input-invalid");
    owner
        .post(&execute, json!({ "input": { "say": "x" }, "priority": 11 }))
        .await
        .invalid("/priority", "too-large");
    owner
        .post(&execute, json!({ "input": { "say": "x" }, "wat": 1 }))
        .await
        .invalid("/wat", "unknown-field");
    owner
        .post(&execute, json!({ "input": { "say": "a\u{0}b" } }))
        .await
        .invalid("/input/say", "invalid-characters");
    owner
        .post(&execute, json!({ "input": { "say": "x" }, "version": 9 }))
        .await
        .refused("validation-failed");
    owner
        .post(&format!("{execute}?wait=61"), json!({}))
        .await
        .refused("invalid-parameter");
    owner
        .post("/agents/agt_nothing/execute", json!({}))
        .await
        .refused("not-found");
    let strict = json!({ "name": "Strict", "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.missing }}" } });
    let strict = owner.post("/agents", strict).await.created().text_at("/id");
    owner
        .post(&format!("/agents/{strict}/execute"), json!({}))
        .await
        .refused("template-failed");
    assert_eq!(owner.get("/runs").await.ok().body["data"], json!([]));
    world
        .anonymous()
        .post(&execute, json!({ "wat": 1 }))
        .await
        .refused("unauthenticated");
}

#[actix_web::test]
async fn a_plans_run_limit_refuses_and_a_budget_ends_a_run() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let poor = json!({ "input": { "say": "x" }, "max_cost_micros": 100 });
    let run = format!(
        "/runs/{}",
        owner
            .post(&format!("{agent}/execute"), poor)
            .await
            .accepted()
            .text_at("/id")
    );
    let seen = finish(&world, &worker(&world), &owner, &run).await;
    assert_eq!(
        (&seen["error"]["code"], &seen["cost_micros"]),
        (&json!("budget_exceeded"), &json!(0))
    );
    let step = failed_step(&owner, &run).await;
    assert_eq!((&step["number"], &step["cost_micros"]), (&json!(2), &json!(0)));

    world.admin("UPDATE guildhall.entitlement_counters SET used = 1000 WHERE code = 'runs_per_month'");
    let refused = owner
        .post(&format!("{agent}/execute"), json!({ "input": { "say": "x" } }))
        .await
        .refused("plan-limit-reached");
    assert_eq!(
        (refused.status.as_u16(), &refused.body["entitlement"]),
        (402, &json!("runs_per_month"))
    );
}

#[actix_web::test]
async fn an_allowance_that_nobody_here_can_read_stops_nobody() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[say on]]").await;
    // A newer release writes it.
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET entitlements = entitlements || '{{\"from_tomorrow\": {{\"a_day\": 5}}}}' WHERE workspace_id = '{}'",
        world.home().uuid()
    ));
    assert_eq!(finish(&world, &worker(&world), &owner, &run).await["output"], "on");
}

#[actix_web::test]
async fn a_run_that_was_accepted_is_said_to_be_accepted() {
    use std::time::{Duration, Instant};

    use guildhall::kernel::access::{Call, Class};

    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let execute = format!("{agent}/execute?wait=1");
    let ask = async { owner.post(&execute, json!({ "input": { "say": "x" } })).await };
    let gate = world.deployment.db.gate();
    let crowd = async {
        let runs = || {
            world.count(&format!(
                "SELECT count(*) FROM guildhall.runs WHERE workspace_id = '{}'",
                world.home().uuid()
            ))
        };
        until("a run", async || runs() > 0).await;
        let mut held = Vec::new();
        // Whoever looks next waits for longer than it has.
        let crowd = Call {
            class: Class::Interactive,
            deadline: Instant::now() + Duration::from_secs(5),
            ..Call::internal("crowd", "req_crowd".into())
        };
        while let Ok(permit) = gate.enter(&crowd, None).await {
            held.push(permit);
        }
        held
    };
    let (answer, held) = futures_util::join!(ask, crowd);
    answer.accepted();
    assert!(!held.is_empty());
}

#[actix_web::test]
async fn waiting_is_a_parameter_or_a_preference() {
    let world = World::new().await;
    let owner = world.owner();
    let execute = format!("{}/execute", echo(&owner).await);
    let body = json!({ "input": { "say": "x" } });
    let worker = super::worker(&world);
    let ask = async {
        let ask = owner.post(&execute, body.clone());
        ask.header("prefer", "respond-async, wait=50").await.ok()
    };
    let work = until("the run has ended", async || {
        worker.turn().await.expect("a turn");
        world.clock.advance(chrono::Duration::seconds(2));
        let ended = "SELECT count(*) FROM guildhall.runs WHERE status = 'completed' AND workspace_id";
        world.count(&format!("{ended} = '{}'", world.home().uuid())) == 1
    });
    let (answer, ()) = futures_util::join!(ask, work);
    assert_eq!(answer.body["status"], "completed");
    let granted = answer
        .header("preference-applied")
        .strip_prefix("wait=")
        .expect("it was granted");
    assert_eq!(granted, "50");

    let run = format!("/runs/{}", answer.id());
    let seen = owner.get(&run).header("prefer", "wait=1").await.ok();
    assert_eq!(seen.header("preference-applied"), "wait=1");
    assert_eq!(owner.get(&run).await.ok().header("preference-applied"), "");
    for (query, code) in [
        ("wait=61", "too-large"),
        ("wait=abc", "invalid-format"),
        ("wait=1&wait=2", "too-many"),
    ] {
        let refused = owner.get(&format!("{run}?{query}")).await.refused("invalid-parameter");
        assert_eq!(refused.text_at("/errors/0/code"), code, "{query}");
    }
    // What cannot be read is no wish, and what the address says goes before one.
    for (query, preference) in [("", "wait=soon"), ("", "respond-async"), ("?wait=0", "wait=50")] {
        let ask = owner.post(&format!("{execute}{query}"), body.clone());
        let answer = ask.header("prefer", preference).await.accepted();
        assert_eq!(answer.header("preference-applied"), "", "{query} {preference}");
    }
}

#[actix_web::test]
async fn who_asks_again_by_the_same_key_may_wait_for_the_end_again() {
    let world = World::with(&[("LIMITS__FACTOR", "1")]).await;
    let owner = world.owner();
    let execute = format!("{}/execute", echo(&owner).await);
    let body = json!({ "input": { "say": "x" } });
    let ask = || owner.post(&execute, body.clone()).header("idempotency-key", "a");
    let first = ask().await.accepted();
    let run = format!("/runs/{}", first.text_at("/id"));
    finish(&world, &worker(&world), &owner, &run).await;
    let again = ask().await.accepted();
    assert_eq!(
        (&again.body, again.header("idempotency-replayed")),
        (&first.body, "true")
    );
    let waited = ask().header("prefer", "wait=5").await.ok();
    assert_eq!(
        (waited.text_at("/status"), waited.header("idempotency-replayed")),
        ("completed".to_owned(), "true")
    );
    assert_eq!(waited.header("preference-applied"), "wait=5");
    let waited = owner.post(&format!("{execute}?wait=5"), body.clone());
    let waited = waited.header("idempotency-key", "a").await.ok();
    assert_eq!(waited.text_at("/id"), first.text_at("/id"));
    assert_eq!(waited.header("etag"), owner.get(&run).await.ok().header("etag"));
    let another = owner.post(&execute, body.clone()).await.accepted();
    let left = another
        .header("ratelimit")
        .strip_prefix("\"execute\";r=")
        .map(str::to_owned);
    let left = left.and_then(|left| left.split(';').next()?.parse::<u32>().ok());
    assert!(
        left >= Some(8),
        "what started nothing took nothing: {}",
        another.header("ratelimit")
    );
}

#[actix_web::test]
async fn who_waits_for_a_run_takes_nobodys_place() {
    let world = World::new().await;
    let (owner, stranger) = (world.owner(), world.stranger());
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "x").await;
    let mut waiting = Vec::new();
    // More than there are places, one after the other: nobody works, so the run does not end before somebody stops it.
    for _ in 0..30 {
        let ask = owner.get(&format!("{run}?wait=50"));
        waiting.push(actix_web::rt::spawn(async move { ask.await }));
        a_while().await;
    }
    // Each of them looks once before it waits, and has a place for that.
    until("there is a place for others", async || {
        stranger.get("/workspace").await.status.as_u16() == 200
    })
    .await;
    assert!(waiting.iter().all(|answer| !answer.is_finished()), "all of them wait");
    owner.post(&format!("{run}/cancel"), json!({})).await.ok();
    for answer in waiting {
        assert_eq!(answer.await.expect("an answer").ok().body["status"], "cancelled");
    }
}

#[actix_web::test]
async fn who_may_not_execute_takes_nothing_from_those_who_may() {
    let world = World::with(&[("LIMITS__FACTOR", "1")]).await;
    let owner = world.owner();
    let execute = format!("{}/execute", echo(&owner).await);
    let weak = world.api_key(["agents:read"]);
    for _ in 0..15 {
        weak.post(&execute, json!({ "input": { "say": "x" } }))
            .await
            .refused("scope-missing");
    }
    let started = owner.post(&execute, json!({ "input": { "say": "x" } })).await;
    assert_eq!(started.status, 202, "{}", started.body);
}

#[actix_web::test]
async fn an_agent_that_is_deleted_meanwhile_is_not_executed() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let gate = Gate::on_delete(&world, "agents");
    let deletes = async {
        owner.delete(&agent).await.gone();
    };
    let executes = async {
        let wish = json!({ "input": { "say": "hello" } });
        let answer = insist(|| owner.post(&format!("{agent}/execute"), wish.clone())).await;
        answer.refused("not-found");
    };
    gate.meet(deletes, executes, "INSERT INTO \"runs\"").await;
}
