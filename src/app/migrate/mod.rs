//! The database as a deployment needs it: [`bootstrap`] makes the cluster objects once, [`up`] brings the schema to this binary's.
//! Everything here is synchronous and opens its own connection: it runs before there is anything to serve.

mod bootstrap;
mod command;
mod connection;
mod orphans;

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use diesel::{PgConnection, connection::SimpleConnection, migration::MigrationSource, pg::Pg};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

pub use bootstrap::{Bootstrap, Passwords, Urls, bootstrap, clone_database, drop_database, refuse_others_roles};
pub use command::{Migrate, run};
use connection::connect;
pub use orphans::{Orphans, orphans};

/// Every migration that this binary knows.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Held while migrations run, so that two deployments do not run them twice.
const LOCK: i64 = 0x6775_696c_6468_616c;

/// Runs what has not run yet, each migration in a transaction of its own, and answers their versions. A lock that a serving process
/// holds is waited for briefly and tried for again, so that no queue builds up behind it.
///
/// # Errors
/// A database that cannot be reached, or a migration that fails: it is rolled back, those before it stay.
pub fn up(migrator_url: &str) -> Result<Vec<String>> {
    let mut link = migrator(migrator_url)?;
    let mut ran = Vec::new();
    for migration in link.pending_migrations(MIGRATIONS).map_err(boxed)? {
        let name = migration.name().to_string();
        let done = patiently(|| link.run_migration(&*migration).map_err(boxed));
        ran.push(done.with_context(|| format!("migration {name}"))?.to_string());
    }
    Ok(ran)
}

/// Takes back the newest `count` migrations, and answers their versions.
///
/// # Errors
/// As [`up`]; also if fewer have run: then none is taken back.
pub fn down(migrator_url: &str, count: usize) -> Result<Vec<String>> {
    let mut link = migrator(migrator_url)?;
    let ran = link.applied_migrations().map_err(boxed)?.len();
    ensure!(
        count <= ran,
        "only {ran} migrations have run: nothing was taken back, and --count says {count}"
    );
    (0..count)
        .map(|_| patiently(|| link.revert_last_migration(MIGRATIONS).map_err(boxed)).map(|version| version.to_string()))
        .collect()
}

/// Versions that have not run yet.
///
/// # Errors
/// A database that cannot be reached.
pub fn pending(migrator_url: &str) -> Result<Vec<String>> {
    let mut link = migrator(migrator_url)?;
    let pending = link.pending_migrations(MIGRATIONS).map_err(boxed)?;
    Ok(pending
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect())
}

/// Versions that have run, the newest last.
///
/// # Errors
/// A database that cannot be reached.
pub fn applied(migrator_url: &str) -> Result<Vec<String>> {
    let mut link = migrator(migrator_url)?;
    let mut applied: Vec<String> = link
        .applied_migrations()
        .map_err(boxed)?
        .iter()
        .map(ToString::to_string)
        .collect();
    applied.sort();
    Ok(applied)
}

/// The version of this binary's schema: that of its newest migration.
pub fn newest() -> String {
    let migrations = MigrationSource::<Pg>::migrations(&MIGRATIONS).expect("they are embedded, so they can be read");
    let versions = migrations
        .iter()
        .map(|migration| migration.name().version().to_string());
    versions.max().expect("there is a first migration")
}

/// A connection that makes objects as their owner, alone among migrators.
fn migrator(url: &str) -> Result<PgConnection> {
    let mut link = connect(url)?;
    link.batch_execute(&format!(
        "SET client_min_messages = warning; SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock({LOCK}); \
         SET ROLE guildhall_owner; SET row_security = off; SET search_path = guildhall, public; SET lock_timeout = '2s'"
    ))
    .context("the migrator could not begin: has `guildhall migrate bootstrap` run, and is this its URL?")?;
    Ok(link)
}

/// Tries up to ten times while the only trouble is a lock that somebody holds.
fn patiently<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    for attempt in 0..9_u32 {
        match work() {
            Err(error) if is_lock_timeout(&error) => thread::sleep(Duration::from_millis(100 << attempt.min(5))),
            answer => return answer,
        }
    }
    work()
}

fn is_lock_timeout(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.to_string().contains("canceling statement due to lock timeout"))
}

fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow!(error)
}
