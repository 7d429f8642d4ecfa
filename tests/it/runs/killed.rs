//! Workers that are killed for good, as processes.

use std::time::Duration;

use serde_json::json;

use super::{echo, events, ledger, queued_jobs, start};
use crate::world::{Caller, Process, World, patience::within};

/// How many of these runs stand so.
async fn in_state(caller: &Caller, runs: &[String], status: &str) -> usize {
    let mut count = 0;
    for run in runs {
        count += usize::from(caller.get(run).await.ok().body["status"] == status);
    }
    count
}

/// Waits until so many of the runs stand so.
async fn until(caller: &Caller, runs: &[String], status: &str, count: usize) {
    within(
        Duration::from_secs(60),
        &format!("{count} runs are {status}"),
        async || in_state(caller, runs, status).await >= count,
    )
    .await;
}

#[actix_web::test]
async fn workers_killed_one_after_the_other_leave_every_run_done_once() {
    let world = World::with(&[("RUNS__SANDBOX", "true")]).await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let mut runs = Vec::new();
    for n in 0..12 {
        runs.push(start(&owner, &agent, &format!("[[sleep 400]] [[say {n}]]")).await);
    }
    // Each is killed a little later in the work than the one before.
    for completed in [0, 1, 4] {
        let worker = Process::worker(&world);
        match completed {
            0 => until(&owner, &runs, "running", 1).await,
            n => until(&owner, &runs, "completed", n).await,
        }
        worker.kill();
        // The half minute that a lease lasts is over.
        world.admin("UPDATE guildhall.run_leases SET expires_at = now() - interval '1 s'");
    }
    let last = Process::worker(&world);
    until(&owner, &runs, "completed", runs.len()).await;
    last.kill();

    for (n, run) in runs.iter().enumerate() {
        let seen = owner.get(run).await.ok().body;
        assert_eq!(seen["output"], json!(n.to_string()));
        assert_eq!(events(&world, run, "run.completed"), 1, "{run}");
        // What a lost attempt may have cost is an estimate, and stays one: nobody lived to tell. The call that counted is there once.
        let calls = ledger(&owner, run).await;
        assert_eq!(
            calls.iter().filter(|kind| *kind == "call").count(),
            1,
            "{run}: {calls:?}"
        );
    }
    let home = world.home().uuid();
    let told =
        format!("SELECT count(*) FROM guildhall.outbox WHERE type = 'run.completed' AND workspace_id = '{home}'");
    assert_eq!(world.count(&told), 12);
    assert_eq!(queued_jobs(&world), 0);
}
