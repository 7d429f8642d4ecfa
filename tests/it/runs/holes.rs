//! What falls between two rules: a call that is cut off, a second model within one budget, and a clock after a rest.

use guildhall::features::providers::Held;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{echo, events, finish, is_at_work, ledger, money::failed_step, start, worker};
use crate::world::{Caller, World, patience::until};

/// How many steps of a workspace are done at once.
pub(super) fn steps_at_once(world: &World, most: u32) {
    world.admin(&format!(
        "UPDATE guildhall.workspace_slots SET max_running = {most} WHERE lane = 'steps'"
    ));
}

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
    let step = failed_step(&owner, &run).await;
    assert_eq!(
        (&step["attempt"], &step["cost_micros"]),
        (&json!(1), &seen["cost_micros"])
    );
    assert_eq!(step["prior_attempts"].as_array().map(Vec::len), Some(1), "{step}");
    assert_eq!(ledger(&owner, &run).await, ["call"], "there was no room for a second");
    assert!(seen["cost_micros"].as_i64() <= Some(one_call), "{seen}");
    let (run, seen) = spend(one_call * 100).await;
    assert_eq!(seen["error"]["code"], "step_failed");
    assert_eq!(ledger(&owner, &run).await.len(), 6, "three attempts at two models");
}

#[actix_web::test]
async fn a_second_model_leaves_alone_what_another_step_may_cost() {
    let world = World::new().await;
    let owner = world.owner();
    let word = Uuid::new_v4().to_string();
    let held = Held::who_is_asked_with(&word);
    let agent = json!({ "name": "Beside", "framework": "openai", "config": { "model": "sandbox", "fallback_models": ["sandbox"],
        "prompt": format!("{word} [[say one two three]] [[cut after 2]]"), "max_output_tokens": 8 } });
    let agent = owner.post("/agents", agent).await.created().text_at("/id");
    let wish = json!({ "max_cost_micros": 1_000_000 });
    let run = owner.post(&format!("/agents/{agent}/execute"), wish).await.accepted();
    let run = format!("/runs/{}", run.text_at("/id"));
    let worker = worker(&world);
    let works = async { worker.turn().await.map(drop) };
    let begins_beside = async {
        is_at_work(&world, &run).await;
        // Another step of the run begins while the first model is asked. What is left has room for one call beside each of the two.
        world.admin(&format!(
            "INSERT INTO guildhall.run_steps SELECT (jsonb_populate_record(step, jsonb_build_object(
               'id', gen_random_uuid(), 'number', 99, 'path', 'beside', 'node_id', 'beside'))).*
             FROM guildhall.run_steps step WHERE status = 'running' AND workspace_id = '{home}';
             UPDATE guildhall.runs SET max_cost_micros = 2 * (SELECT min(held_micros) FROM guildhall.run_steps
               WHERE status = 'running' AND workspace_id = '{home}') WHERE workspace_id = '{home}'",
            home = world.home().uuid()
        ));
        drop(held);
    };
    let (worked, ()) = futures_util::join!(works, begins_beside);
    worked.expect("a turn");
    assert_eq!(ledger(&owner, &run).await, ["call"], "there was no room for a second");
}

/// Has a step taken over from a worker whose call may take so many seconds, and `true` if that came about in the time.
async fn lost_to_another(time: u32) -> bool {
    let world = World::new().await;
    let owner = world.owner();
    let agent = json!({ "name": "Hush", "framework": "openai", "config": { "model": "sandbox", "system": "Take your time.",
        "prompt": "{{ input.say }}" } });
    let agent = owner.post("/agents", agent).await.created().text_at("/id");
    let home = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.run_plans SET body = replace(body::text, '\"timeout_seconds\": 600', '\"timeout_seconds\": {time}')::jsonb
         WHERE workspace_id = '{home}'"
    ));
    let run = start(&owner, &format!("/agents/{agent}"), "[[sleep 600000]] [[say never]]").await;
    let zombie = worker(&world);
    let lost = actix_web::rt::spawn(async move { zombie.turn().await.map(drop) });
    is_at_work(&world, &run).await;
    let heir = worker(&world);
    heir.expire_leases().await.expect("expired");
    let works = actix_web::rt::spawn(async move { heir.turn().await.map(drop) });
    until("another worker is at it", async || {
        lost.is_finished() || events(&world, &run, "step.started") == 2
    })
    .await;
    if lost.is_finished() {
        return false;
    }
    // The one who lost it hears no answer in time, and has nothing to tell about the money.
    lost.await.expect("not aborted").expect("a turn");
    let mut kinds = ledger(&owner, &run).await;
    kinds.retain(|kind| kind != "call");
    assert_eq!(kinds, ["estimate"]);
    works.await.expect("not aborted").expect("a turn");
    true
}

#[actix_web::test]
async fn what_a_call_without_an_end_may_have_cost_stays_what_was_charged() {
    let mut came_about = false;
    // The test waits for the whole time, of which a busy machine needs more.
    for time in [8, 20, 45] {
        came_about = came_about || lost_to_another(time).await;
    }
    assert!(came_about, "nobody takes a step over within 45 s");
}

#[actix_web::test]
async fn a_commit_that_nobody_heard_of_is_charged_for_nothing_and_asked_for_once() {
    for says in [
        "UPDATE \"run_steps\" SET \"status\" = $1, \"epoch\"",
        "UPDATE \"run_steps\" SET \"status\" = $1, \"output\"",
    ] {
        let world = World::new().await;
        let owner = world.owner();
        let agent = echo(&owner).await;
        let run = start(&owner, &agent, "[[say hello]]").await;
        let (between, far) = world.half_deaf(says);
        let worker = guildhall::app::worker::runner(&far);
        let mut ended = Vec::new();
        for _ in 0..4 {
            let (_, jobs) = worker.turn_told().await.expect("a turn");
            ended.extend(jobs.into_iter().filter(|(kind, _)| kind.starts_with("run.")));
            world.clock.advance(chrono::Duration::seconds(2));
        }
        let seen = owner.get(&run).await.ok().body;
        assert!(between.has_kept(), "{says}");
        assert!(ended.iter().all(|(_, how)| *how == "done"), "{says}: {ended:?}");
        assert_eq!(
            (&seen["status"], &seen["recoveries"]),
            (&json!("completed"), &json!(0)),
            "{seen}"
        );
        assert_eq!(ledger(&owner, &run).await, ["call"], "{says}");
        assert_eq!(events(&world, &run, "step.started"), 1, "{says}");
    }
}

#[actix_web::test]
async fn what_was_answered_is_written_down_though_the_database_has_no_time_at_first() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let _undo = world.refuses(3, "run_steps", "new.status = 'completed' AND new.kind = 'llm'");
    let run = start(&owner, &agent, "[[say hello]]").await;
    let seen = finish(&world, &worker(&world), &owner, &run).await;
    assert!(world.has_refused(3));
    assert_eq!(seen["status"], "completed", "{seen}");
    assert_eq!(ledger(&owner, &run).await, ["call"], "it is asked once");
    assert_eq!(events(&world, &run, "step.started"), 1, "it is tried once");
}

#[actix_web::test]
async fn a_run_that_rested_has_its_clock_again() {
    let world = World::new().await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let wish = json!({ "input": { "say": "[[fail 503]]" }, "timeout_seconds": 60 });
    let answer = owner.post(&format!("{agent}/execute"), wish).await.accepted();
    let run = format!("/runs/{}", answer.text_at("/id"));
    let steps = |most: u32| steps_at_once(&world, most);
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
