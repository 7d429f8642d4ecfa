//! What was measured, for people.

use std::fmt::Write;

use anyhow::Result;

use crate::{Options, machine, stack::Stack};

/// One figure.
pub struct Row {
    pub path: &'static str,
    /// What was measured, and against what.
    pub what: String,
    /// What came out, and the ceiling, with their unit.
    pub figure: String,
    /// The ratio or the figure that is judged.
    pub verdict: Verdict,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// At least so much: is, should be.
    AtLeast(f64, f64),
    /// At most so much, in a unit.
    AtMost(f64, f64, &'static str),
    /// Only told.
    Told,
}

/// All figures of a run.
pub struct Report {
    machine: String,
    redis: bool,
    rows: Vec<Row>,
}

impl Report {
    pub fn new(stack: &Stack) -> Result<Report> {
        Ok(Report {
            machine: machine::described()?,
            redis: stack.redis.is_some(),
            rows: Vec::new(),
        })
    }

    pub fn add(&mut self, rows: Vec<Row>) {
        for row in &rows {
            eprintln!("  {}", row.line());
        }
        self.rows.extend(rows);
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}, {}\n", self.machine, self.conditions());
        for row in &self.rows {
            text += &format!("{}\n", row.line());
        }
        text
    }

    fn conditions(&self) -> &'static str {
        if self.redis { "with Redis" } else { "without Redis" }
    }

    /// For `docs/benchmarks.md`.
    pub fn document(&self, options: &Options) -> String {
        let mut text = String::from(HEAD);
        let command = format!(
            "make bench ARGS=\"--seconds {} --pairs {}{} --write docs/benchmarks.md\"",
            options.seconds,
            options.pairs,
            if self.redis { "" } else { " --without-redis" }
        );
        write!(
            text,
            "- Machine: {}, {}\n- Command: `{command}`\n- Commit: `{}`\n\n",
            self.machine,
            self.conditions(),
            commit()
        )
        .expect("a string takes everything");
        text += "| path | what | figure | is | should be | |\n|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let (is, should, mark) = row.verdict.cells();
            text += &format!(
                "| `{}` | {} | {} | {is} | {should} | {mark} |\n",
                row.path, row.what, row.figure
            );
        }
        text
    }
}

impl Row {
    fn line(&self) -> String {
        let (is, should, mark) = self.verdict.cells();
        format!(
            "{:<20} {:<58} {:<44} {is:>9} {should:<12} {mark}",
            self.path, self.what, self.figure
        )
    }
}

impl Verdict {
    fn cells(self) -> (String, String, &'static str) {
        let mark = |is_met| if is_met { "met" } else { "missed" };
        match self {
            Verdict::AtLeast(is, should) => (format!("{is:.2}"), format!("≥ {should}"), mark(is >= should)),
            Verdict::AtMost(is, should, unit) => (
                format!("{is:.1} {unit}"),
                format!("≤ {should} {unit}"),
                mark(is <= should),
            ),
            Verdict::Told => (String::new(), String::new(), ""),
        }
    }
}

/// The commit that is measured, where git knows it.
fn commit() -> String {
    let asked = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    asked.map_or_else(
        |_| "unknown".into(),
        |told| String::from_utf8_lossy(&told.stdout).trim().to_owned(),
    )
}

const HEAD: &str = "\
# Benchmarks

`make bench` measures these figures, and with `--write docs/benchmarks.md` it writes them here. Each is a ratio against a ceiling that was measured in the same run on the same machine, the two taking turns:
absolute figures move with the machine, ratios less. A ratio is the median of its pairs' ratios, and stands beside the median rates. Client, server, PostgreSQL and Redis share that machine. Every request is logged, as by default. Limits are on, and so high that they are never
reached. Ceilings: pgbench with prepared statements and as many connections as a process has for requests (more callers than that keep the path's share of them busy), in the three round trips of a transaction that
has a context; actix-web with one bare route in a process of its own, which is asked the same by as many and answers the same JSON. Where the path needs one round trip, it is also told what pgbench reaches with that one statement, asked after the pairs. A pair is made again if other processes took part of the machine meanwhile; where that goes on, it is kept and said.

";
