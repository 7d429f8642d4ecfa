//! Memory and start.

use std::time::Duration;

use anyhow::Result;

use super::median;
use crate::{
    Options,
    fixture::Bench,
    machine,
    report::{Row, Verdict},
};

/// What was freed goes back to the machine within this time.
const SETTLED: Duration = Duration::from_secs(2);

pub async fn idle(bench: &Bench) -> Result<Vec<Row>> {
    tokio::time::sleep(SETTLED).await;
    let (now, _) = machine::resident(bench.stack.process())?;
    Ok(vec![memory(
        "process.idle",
        "resident memory, idle, all roles in one process",
        now,
        80.0,
    )])
}

pub async fn loaded(bench: &Bench) -> Result<Vec<Row>> {
    tokio::time::sleep(SETTLED).await;
    let (now, most) = machine::resident(bench.stack.process())?;
    Ok(vec![
        memory("process.loaded", "resident memory after the load", now, 200.0),
        Row {
            path: "process.loaded",
            what: "resident memory at its most".into(),
            figure: format!("{most:.0} MiB"),
            verdict: Verdict::Told,
        },
    ])
}

fn memory(path: &'static str, what: &str, mib: f64, should: f64) -> Row {
    Row {
        path,
        what: what.into(),
        figure: String::new(),
        verdict: Verdict::AtMost(mib, should, "MiB"),
    }
}

pub async fn start(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let mut took = Vec::new();
    for _ in 0..options.pairs.max(1) {
        took.push(bench.stack.cold_start().await?.as_secs_f64());
    }
    let row = |what: &str, seconds, should| Row {
        path: "process.start",
        what: what.into(),
        figure: String::new(),
        verdict: Verdict::AtMost(seconds, should, "s"),
    };
    Ok(vec![
        row("`serve`, from start to ready, migrated database", median(took), 1.0),
        row(
            "`dev`, second start, its servers included",
            bench.stack.start.as_secs_f64(),
            5.0,
        ),
    ])
}
