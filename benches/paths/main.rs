//! Measures the paths of Guildhall against ceilings of the same machine in the same run: `make bench`.
//!
//! Ceiling and subject take turns, several times, and the median of the ratios counts: what else the machine does meets both. Pairs
//! during which other processes took more than a twentieth of the machine are thrown away.

mod bare;
mod fixture;
mod load;
#[cfg_attr(not(target_os = "linux"), path = "unknown_machine.rs")]
mod machine;
mod pgbench;
mod report;
mod scenarios;
mod stack;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;

use self::{report::Report, scenarios::SCENARIOS, stack::Stack};

/// Measure Guildhall against ceilings of this machine.
#[derive(Parser)]
#[command(name = "paths")]
pub struct Options {
    /// Paths to measure, by the beginning of their names; all if none is named.
    paths: Vec<String>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs of ceiling and subject.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Leave Redis away.
    #[arg(long)]
    without_redis: bool,
    /// Write the figures to this file as well.
    #[arg(long)]
    write: Option<std::path::PathBuf>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the ceiling of what needs no database, until standard input ends.
    #[arg(long, hide = true)]
    bare: bool,
}

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

impl Options {
    /// How long one measurement takes.
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }

    fn wants(&self, name: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|path| name.starts_with(path.as_str()))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.bare {
        return ended(bare::serve());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be made");
    ended(runtime.block_on(measure(&options)))
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    eprintln!("bench: starting a stack of its own");
    let stack = Stack::start(!options.without_redis)?;
    eprintln!("bench: making rows");
    let bench = fixture::prepare(stack).await?;
    let mut report = Report::new(&bench.stack)?;
    for (name, scenario) in SCENARIOS {
        if options.wants(name) {
            eprintln!("bench: {name}");
            let rows = scenario(&bench, options).await?;
            report.add(rows);
        }
    }
    print!("{}", report.text());
    if let Some(file) = &options.write {
        std::fs::write(file, report.document(options))?;
    }
    Ok(())
}
