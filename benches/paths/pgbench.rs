//! The ceiling of everything that needs the database: pgbench with the SQL that the path sends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use guildhall::app::dev::{Home, postgres::Binaries};

/// A transaction, as pgbench reads it. Several are chosen from by chance.
pub struct Script(pub Vec<String>);

/// Where pgbench is, if it is anywhere: the PostgreSQL of the npm registry comes without.
pub fn find() -> Result<Option<PathBuf>> {
    let beside = Binaries::find(&Home::find()?)?.program("pgbench");
    let installed = [
        "/usr/bin/pgbench",
        "/usr/local/bin/pgbench",
        "/opt/homebrew/bin/pgbench",
    ];
    let mut places = std::iter::once(beside).chain(installed.map(PathBuf::from));
    Ok(places.find(|path| path.exists()))
}

/// Transactions a second over so many connections, with prepared statements.
pub fn run(
    pgbench: &Path,
    url: &str,
    folder: &Path,
    script: &Script,
    connections: usize,
    period: Duration,
) -> Result<f64> {
    let mut command = Command::new(pgbench);
    command
        .args(["--no-vacuum", "--protocol", "prepared", "--client"])
        .arg(connections.to_string())
        .args(["--jobs", "2", "--time"])
        .arg(period.as_secs().max(1).to_string());
    for (n, text) in script.0.iter().enumerate() {
        let file = folder.join(format!("{n}.sql"));
        fs::write(&file, text)?;
        command.arg("--file").arg(file);
    }
    let ran = command.arg(url).output().context("pgbench cannot be run")?;
    let told = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success(),
        "pgbench failed: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let rate = told
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench did not tell its rate: {told}"))
}
