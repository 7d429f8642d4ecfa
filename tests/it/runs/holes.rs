//! What falls between two rules: a call that is cut off, a second model within one budget, and a clock after a rest.

use serde_json::{Value, json};

use super::{echo, finish, is_at_work, ledger, start, worker};
use crate::world::{Caller, World, patience::until};

/// The ledger's entries of a run.
async fn entries(caller: &Caller, run: &str) -> Vec<Value> {
    let usage = caller.get(&format!("{run}/usage")).await.ok().body;
    usage["data"].as_array().expect("entries").clone()
}

#[actix_web::test]
async fn a_call_that_is_cut_off_is_paid_for_as_far_as_anybody_knows() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "[[sleep 60000]] [[say never]]").await;
    let busy = guildhall::app::worker::start(&world.deployment).expect("a worker");
    is_at_work(&world, &run).await;
    let stop = json!({ "mode": "immediate" });
    owner.post(&format!("{run}/cancel"), stop).await.ok();
    until("the call is paid for", async || !entries(&owner, &run).await.is_empty()).await;
    busy.drain(std::time::Duration::from_secs(20)).await;
    assert_eq!(ledger(&owner, &run).await, ["call"]);
    let entry = &entries(&owner, &run).await[0];
    assert_eq!(
        (&entry["estimated"], &entry["output_tokens"]),
        (&json!(true), &json!(0))
    );
    assert!(entry["input_tokens"].as_i64() > Some(0), "{entry}");
}

#[actix_web::test]
async fn a_second_model_is_asked_only_within_the_budget() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = json!({ "name": "Two", "framework": "openai", "config": { "model": "sandbox", "fallback_models": ["sandbox"],
        "prompt": "[[say one two three]] [[cut after 2]]", "max_output_tokens": 8 } });
    let agent = owner.post("/agents", agent).await.created().text_at("/id");
    let worker = worker(&world);
    let spend = async |most: i64| {
        let wish = json!({ "max_cost_micros": most });
        let run = owner.post(&format!("/agents/{agent}/execute"), wish).await.accepted();
        let run = format!("/runs/{}", run.text_at("/id"));
        let seen = finish(&world, &worker, &owner, &run).await;
        (run, seen)
    };
    let (_, refused) = spend(0).await;
    let message = refused["error"]["message"].as_str().expect("a message").to_owned();
    let numbers = message.split_whitespace().filter_map(|word| word.parse::<i64>().ok());
    let one_call = numbers.clone().next().expect("what a call may cost");
    let (run, seen) = spend(one_call).await;
    assert_eq!(seen["error"]["code"], "budget_exceeded");
    assert_eq!(ledger(&owner, &run).await, ["call"], "there was no room for a second");
    assert!(seen["cost_micros"].as_i64() <= Some(one_call), "{seen}");
    let (run, seen) = spend(one_call * 100).await;
    assert_eq!(seen["error"]["code"], "step_failed");
    assert_eq!(ledger(&owner, &run).await.len(), 6, "three attempts at two models");
}

#[actix_web::test]
async fn a_run_that_rested_has_its_clock_again() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let wish = json!({ "input": { "say": "[[fail 503]]" }, "timeout_seconds": 60 });
    let answer = owner.post(&format!("{agent}/execute"), wish).await.accepted();
    let run = format!("/runs/{}", answer.text_at("/id"));
    let steps = |most: u32| {
        world.admin(&format!(
            "UPDATE guildhall.workspace_slots SET max_running = {most} WHERE lane = 'steps'"
        ));
    };
    // It waits for a newer worker for two hours, in which its clock strikes for nothing.
    steps(0);
    world.admin(&format!(
        "UPDATE guildhall.runs SET status = 'waiting', wait_reason = 'upgrade', started_at = created_at WHERE workspace_id = '{}'",
        world.home().uuid()
    ));
    world.clock.advance(chrono::Duration::hours(2));
    let worker = worker(&world);
    worker.turn().await.expect("a turn");
    steps(2);
    worker.turn().await.expect("a turn");
    assert_eq!(owner.get(&run).await.ok().body["status"], "running");
    let soon = (world.clock.now() + chrono::Duration::seconds(61)).to_rfc3339();
    let clocks = format!(
        "SELECT count(*) FROM guildhall.run_timers WHERE kind = 'run.clock' AND workspace_id = '{}' AND due_at <= '{soon}'",
        world.home().uuid()
    );
    assert_eq!(world.count(&clocks), 1, "nobody looks at the time that it works");
}
