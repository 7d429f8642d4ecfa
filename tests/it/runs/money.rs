//! What runs cost: the ledger, the run and its steps say the same, whatever became of whoever asked a model.

use chrono::Duration;
use guildhall::{
    features::{providers::Held, runs::RunId},
    kernel::jobs::Runner,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{echo, is_at_work, queued_jobs, worker};
use crate::world::{Caller, World};

/// What the ledger says: its kinds. The run, and its steps together, say that it was as much as the entries are together.
pub(super) async fn ledger(caller: &Caller, run: &str) -> Vec<String> {
    let money = async || caller.get(&format!("{run}/usage")).await.ok().body;
    let mut usage = money().await;
    // Whoever is at work may enter something between two questions; what is entered is never taken back.
    let (seen, steps) = loop {
        let (seen, steps) = (caller.get(run).await.ok().body, steps(caller, run).await);
        let after = money().await;
        if after == usage {
            break (seen, steps);
        }
        usage = after;
    };
    let entries = usage["data"].as_array().expect("entries");
    let of = |rows: &[Value], field: &str| rows.iter().filter_map(|row| row.pointer(field)?.as_i64()).sum::<i64>();
    let cost = of(entries, "/cost_micros");
    let (input, output) = (of(entries, "/input_tokens"), of(entries, "/output_tokens"));
    let entered = [cost, input, output, input + output];
    let tokens = ["/input_tokens", "/output_tokens", "/total_tokens"].map(|field| format!("/usage{field}"));
    for (what, rows) in [
        ("usage", &[usage.clone()][..]),
        ("run", &[seen][..]),
        ("steps", &steps[..]),
    ] {
        let [input, output, total] = tokens.each_ref().map(|field| of(rows, field));
        let cost = of(rows, "/cost_micros");
        assert_eq!(
            [cost, input, output, total],
            entered,
            "{run}: {what} and ledger disagree: {usage}"
        );
        let requests = of(rows, "/usage/requests");
        assert_eq!(usage["usage"]["requests"], requests, "{run}: {what} and usage disagree");
    }
    entries
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The steps of a run, in full.
async fn steps(caller: &Caller, run: &str) -> Vec<Value> {
    let page = caller.get(&format!("{run}/steps")).await.ok().body;
    assert_eq!(page["has_more"], false, "steps that nobody looks at: {page}");
    let mut steps = Vec::new();
    for step in page["data"].as_array().expect("steps") {
        steps.push(caller.get(&format!("{run}/steps/{}", step["number"])).await.ok().body);
    }
    steps
}

/// What is held for the steps of a run, in micros.
fn held(world: &World, run: &str) -> i64 {
    let id: RunId = run.trim_start_matches("/runs/").parse().expect("a run's id");
    world.count(&format!(
        "SELECT coalesce(sum(held_micros), 0)::bigint AS count FROM guildhall.run_steps WHERE run_id = '{}'",
        id.uuid()
    ))
}

/// Starts a run that wishes for this, whose worker is killed in the midst of its call. What the call may cost is held.
async fn killed(world: &World, caller: &Caller, agent: &str, mut wish: Value) -> String {
    wish["input"] = json!({ "say": "[[sleep 600000]] [[say never]]" });
    let answer = caller.post(&format!("{agent}/execute"), wish).await.accepted();
    let run = format!("/runs/{}", answer.text_at("/id"));
    let doomed = worker(world);
    let work = actix_web::rt::spawn(async move { doomed.turn().await.map(drop) });
    is_at_work(world, &run).await;
    work.abort();
    assert!(work.await.is_err_and(|ended| ended.is_cancelled()));
    run
}

/// The step over which a run failed: it failed with the error of the run. All others ended well or were stopped.
pub(super) async fn failed_step(caller: &Caller, run: &str) -> Value {
    let seen = caller.get(run).await.ok().body;
    let (mut failed, others): (Vec<_>, Vec<_>) = steps(caller, run)
        .await
        .into_iter()
        .partition(|step| step["id"] == seen["error"]["step_id"]);
    let step = failed.pop().expect("the run names it");
    assert_eq!(
        (&step["status"], &step["error"]),
        (&json!("failed"), &seen["error"]),
        "{step}"
    );
    assert_eq!(step["finished_at"], seen["finished_at"], "{step}");
    for other in others {
        let status = other["status"].as_str().unwrap_or_default();
        assert!(
            ["completed", "cancelled"].contains(&status) && other["error"].is_null(),
            "{other}"
        );
    }
    step
}

/// The one attempt at a step is among those that were lost, with what it may have cost.
fn lost_once(step: &Value, may_cost: i64) {
    let attempts = step["prior_attempts"].as_array().expect("attempts");
    let lost = |attempt: &Value| (attempt["error"]["code"].clone(), attempt["cost_micros"].clone());
    let lost: Vec<_> = attempts.iter().map(lost).collect();
    assert_eq!(lost, [(json!("lost"), json!(may_cost))], "{step}");
    assert_eq!(step["cost_micros"], may_cost, "{step}");
}

/// Stops a run. How it stands then.
async fn stop(caller: &Caller, run: &str, mode: &str) -> Value {
    let asked = caller.post(&format!("{run}/cancel"), json!({ "mode": mode })).await;
    asked.ok().body["status"].clone()
}

/// Does what there is to do until nothing is left, the clock going on.
async fn work_off(world: &World, worker: &Runner) {
    for _ in 0..4 {
        worker.turn().await.expect("a turn");
        world.clock.advance(Duration::seconds(2));
    }
}

/// A run whose worker was killed ended so: its call is charged in full, once, and nothing is held any more.
async fn is_charged_in_full(world: &World, caller: &Caller, run: &str, may_cost: i64, end: &[&str; 2]) {
    let [status, code] = end;
    let seen = caller.get(run).await.ok().body;
    assert_eq!(seen["status"], *status, "{seen}");
    assert_eq!(seen["error"]["code"].as_str().unwrap_or_default(), *code, "{seen}");
    assert_eq!(ledger(caller, run).await, ["estimate"], "{end:?}");
    assert_eq!(
        (&seen["cost_micros"], held(world, run)),
        (&json!(may_cost), 0),
        "{end:?}"
    );
    assert!(may_cost > 4_096, "{may_cost}: no less than the longest answer");
    assert_eq!(queued_jobs(world), 0, "{end:?}");
}

#[actix_web::test]
async fn the_call_of_a_killed_worker_is_charged_though_its_run_is_stopped() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let heir = worker(&world);
    for (mode, at_once) in [("immediate", "cancelled"), ("graceful", "running")] {
        // While the lease of who was killed runs, and when the job waits for another worker.
        for waits_again in [false, true] {
            let run = killed(&world, &owner, &agent, json!({})).await;
            let may_cost = held(&world, &run);
            if waits_again {
                heir.expire_leases().await.expect("expired");
            }
            assert_eq!(stop(&owner, &run, mode).await, at_once, "{mode}");
            assert!(
                ledger(&owner, &run).await.is_empty(),
                "nobody knows yet that it was lost"
            );
            heir.expire_leases().await.expect("expired");
            work_off(&world, &heir).await;
            is_charged_in_full(&world, &owner, &run, may_cost, &["cancelled", ""]).await;
            let step = owner.get(&format!("{run}/steps/2")).await.ok().body;
            lost_once(&step, may_cost);
        }
    }
}

#[actix_web::test]
async fn the_call_of_a_killed_worker_is_charged_though_the_time_of_its_run_is_over() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let heir = worker(&world);
    // The time that it may work is over, or that for a graceful end, before anybody else could have its step.
    for (wish, mode, end) in [
        (json!({ "timeout_seconds": 60 }), None, ["failed", "timeout"]),
        (json!({}), Some("graceful"), ["cancelled", ""]),
    ] {
        let run = killed(&world, &owner, &agent, wish).await;
        let may_cost = held(&world, &run);
        if let Some(mode) = mode {
            stop(&owner, &run, mode).await;
        }
        world.clock.advance(Duration::seconds(61));
        heir.turn().await.expect("a turn");
        assert_eq!(owner.get(&run).await.ok().body["status"], end[0]);
        assert_eq!(held(&world, &run), may_cost, "its worker may be alive");
        heir.expire_leases().await.expect("expired");
        work_off(&world, &heir).await;
        is_charged_in_full(&world, &owner, &run, may_cost, &end).await;
    }
}

#[actix_web::test]
async fn the_call_of_a_killed_worker_is_charged_though_no_other_is_made() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let heir = worker(&world);
    // The budget has no room for another, or too many workers were lost already.
    for (wish, losses, code) in [
        (json!({ "max_cost_micros": 6_000 }), 0, "budget_exceeded"),
        (json!({}), 5, "recovery_exhausted"),
    ] {
        let run = killed(&world, &owner, &agent, wish).await;
        let may_cost = held(&world, &run);
        // Another step of the run waits meanwhile.
        world.admin(&format!(
            "INSERT INTO guildhall.run_steps SELECT (jsonb_populate_record(step, jsonb_build_object('id', gen_random_uuid(), 'number', 99,
               'path', 'beside', 'node_id', 'beside', 'status', 'pending', 'epoch', 0, 'held_micros', 0, 'held_usage', NULL))).*
             FROM guildhall.run_steps step WHERE status = 'running' AND workspace_id = '{}';
             UPDATE guildhall.run_leases SET recoveries = {losses} WHERE kind = 'run.step'",
            world.home().uuid()
        ));
        heir.expire_leases().await.expect("expired");
        work_off(&world, &heir).await;
        is_charged_in_full(&world, &owner, &run, may_cost, &["failed", code]).await;
        lost_once(&failed_step(&owner, &run).await, may_cost);
        let beside = owner.get(&format!("{run}/steps/99")).await.ok().body;
        assert_eq!(beside["status"], "cancelled", "{beside}");
    }
}

#[actix_web::test]
async fn a_worker_that_comes_late_to_a_run_that_was_stopped_tells_the_truth_about_money() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    // Its lease is lost after the end of the run, or not at all.
    for (is_lost, kinds) in [(true, &["estimate", "correction"][..]), (false, &["call"][..])] {
        let word = Uuid::new_v4().to_string();
        let model = Held::who_is_asked_with(&word);
        let run = super::start(&owner, &agent, &format!("{word} [[say late]] [[usage 100 50]]")).await;
        let zombie = worker(&world);
        let work = actix_web::rt::spawn(async move { zombie.turn().await.map(drop) });
        is_at_work(&world, &run).await;
        assert_eq!(stop(&owner, &run, "immediate").await, "cancelled");
        let heir = worker(&world);
        if is_lost {
            heir.expire_leases().await.expect("expired");
            work_off(&world, &heir).await;
            assert_eq!(ledger(&owner, &run).await, ["estimate"]);
        }
        drop(model);
        work.await.expect("not aborted").expect("a turn");
        work_off(&world, &heir).await;
        assert_eq!(ledger(&owner, &run).await, kinds);
        let seen = owner.get(&run).await.ok().body;
        assert_eq!(
            (&seen["status"], &seen["cost_micros"], &seen["usage"]["requests"]),
            (&json!("cancelled"), &json!(150), &json!(1)),
            "{seen}"
        );
        assert_eq!((held(&world, &run), queued_jobs(&world)), (0, 0));
    }
}
