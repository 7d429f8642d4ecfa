//! `guildhall admin keks`: which key-encryption keys are in use, and the way from one to the next.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;

use crate::{
    app::{boot::Deployment, cli},
    features::webhooks,
    kernel::{
        clock,
        error::Error,
        keks::{self, Part, Progress, Retired, Rewrapped},
    },
};

/// What there is to do about key-encryption keys.
#[derive(Subcommand)]
pub enum Keks {
    /// Say which keys are in use, and how many records of which table are sealed under each.
    List,
    /// Move every sealed record to the current key, and say which older ones can be taken out of `secrets.keks`.
    ///
    /// Everything goes on meanwhile. It may be ended at any time, and goes on where it was when it is started again. It fails while anything is
    /// left under an older key.
    Rewrap,
}

/// Every column of sealed records.
pub fn parts() -> Vec<Part> {
    keks::OF_KERNEL.into_iter().chain(webhooks::SEALED).collect()
}

/// Refuses to go on without a key under which something is sealed.
///
/// # Errors
/// It is missing; the database is away.
pub(super) async fn admit(deployment: &Deployment) -> Result<()> {
    keks::admit(&deployment.db, &deployment.keyring).await.map_err(told)
}

/// Says which keys are in use.
///
/// # Errors
/// The database's.
pub(super) async fn list(deployment: &Deployment) -> Result<()> {
    let mut listed = String::new();
    for kek in keks::list(&deployment.db, &parts()).await.map_err(told)? {
        let id = &kek.kek;
        let is = match (id == deployment.keyring.current(), deployment.keyring.has(id)) {
            (true, _) => "current",
            (false, true) => "older",
            (false, false) => "NOT among secrets.keks",
        };
        let since = kek.since.map_or("nobody entered it".into(), |since| {
            format!("in use since {}", clock::written(since))
        });
        let records = kek.records.values().sum::<i64>();
        listed += &format!("{id}: {is}, {since}, records: {records}\n");
        for (column, records) in &kek.records {
            listed += &format!("  {records:>10}  {column}\n");
        }
    }
    Ok(cli::print(listed.as_bytes())?)
}

/// Moves everything to the current key.
///
/// # Errors
/// Something is left under an older one: the message says what; the database's.
pub(super) async fn rewrap(deployment: &Deployment) -> Result<()> {
    let progress = Arc::new(Progress::default());
    let parts = parts();
    let working = keks::rewrap(&deployment.db, &deployment.keyring, &parts, &progress);
    let done = tokio::select! {
        done = working => done.map_err(told)?,
        () = show(&progress) => bail!("the progress ended before the work"),
    };
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    told_of(&done, deployment.keyring.current())
}

/// Counts on a terminal. Never returns.
async fn show(progress: &Progress) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\rrecords moved: {}", progress.moved());
        }
    }
}

fn told_of(done: &Rewrapped, current: &str) -> Result<()> {
    for fault in &done.faults {
        cli::tell!("left as it is: {fault}");
    }
    cli::print_line(&format!("Records moved to {current}: {}.", done.moved))?;
    for (kek, became) in &done.older {
        let line = match became {
            Retired::Gone => format!("Nothing is sealed under {kek} any more: it can be taken out of secrets.keks."),
            Retired::StillSealing => format!(
                "{kek} must stay: a process still seals under it. Is {current} in front everywhere, and has every process been started \
                 since? Then rewrap again."
            ),
            Retired::InUse(records) => format!(
                "{kek} must stay; records still under it: {records}. What could not be moved is named above; the rest others held, or \
                 sealed meanwhile. Is {current} in front everywhere? Then rewrap again."
            ),
        };
        cli::print_line(&line)?;
    }
    match done.is_complete() {
        true => Ok(()),
        false => bail!("not everything is sealed under {current}"),
    }
}

fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Broken(error) => error,
        refused => anyhow!("{refused}"),
    }
}
