//! `guildhall migrate`: what a deployment does to its database, and when.

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::{Bootstrap, Passwords, applied, bootstrap, connection::without_password, down, newest, pending, up};
use crate::{
    app::cli,
    kernel::{config::Config, secret::Secret},
};

/// What to do to the database.
#[derive(Subcommand)]
pub enum Migrate {
    /// Make roles, database, schema and extensions, as an administrator (DATABASE_URL). Once a cluster; safe to repeat.
    ///
    /// The passwords of the roles come from GUILDHALL_MIGRATOR_PASSWORD, GUILDHALL_TENANT_PASSWORD, GUILDHALL_KERNEL_PASSWORD and
    /// GUILDHALL_AUDITOR_PASSWORD; one that is not set is left as it is.
    Bootstrap {
        /// The database's name.
        #[arg(long, default_value = "guildhall")]
        database: String,
    },
    /// Run what has not run yet (DATABASE_MIGRATOR_URL).
    Up,
    /// Take back the newest migrations (DATABASE_MIGRATOR_URL).
    Down {
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// Data in the tables that go is lost: say that you know.
        #[arg(long)]
        yes: bool,
    },
    /// Say what has run and what has not (DATABASE_MIGRATOR_URL).
    Status,
}

/// Runs the command.
///
/// # Errors
/// A URL that is missing or does not work, a migration that fails.
pub fn run(command: Migrate, config: &Config) -> Result<()> {
    match command {
        Migrate::Bootstrap { database } => begin(database, config)?,
        Migrate::Up => {
            let ran = up(migrator(config)?)?;
            match ran.len() {
                0 => cli::tell!("migrate: nothing to do, {}", told(&applied(migrator(config)?)?)),
                n => cli::tell!("migrate: ran {n}: {}", ran.join(", ")),
            }
        }
        Migrate::Down { count, yes } => {
            if !yes {
                bail!("this loses the data of the tables that go; repeat it with --yes");
            }
            let url = migrator(config)?;
            if let Some(newer) = applied(url)?.into_iter().max().filter(|there| *there > newest()) {
                bail!(
                    "the schema is {newer}, which this guildhall does not know: take it back with the one that made it"
                );
            }
            let gone = down(url, count)?;
            cli::tell!("migrate: took back {}", gone.join(", "));
        }
        Migrate::Status => {
            let url = migrator(config)?;
            let (ran, waiting) = (applied(url)?, pending(url)?);
            let lines = |word: &str, versions: &[String]| -> String {
                versions.iter().map(|version| format!("{word}  {version}\n")).collect()
            };
            cli::print((lines("applied", &ran) + &lines("pending", &waiting)).as_bytes())?;
        }
    }
    Ok(())
}

/// Which schema there is, where nothing is missing of ours.
fn told(applied: &[String]) -> String {
    let ours = newest();
    match applied.iter().max() {
        Some(there) if *there > ours => format!("the schema is {there}, of a newer guildhall than this one ({ours})"),
        _ => format!("the schema is {ours}"),
    }
}

/// Makes roles and database, and says how they are reached.
fn begin(database: String, config: &Config) -> Result<()> {
    let admin = config
        .database
        .admin_url
        .as_ref()
        .context("DATABASE_URL is not set: an administrator's, who may make roles")?;
    let password = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|text| !text.is_empty())
            .map(Secret::new)
    };
    let passwords = Passwords {
        migrator: password("GUILDHALL_MIGRATOR_PASSWORD"),
        tenant: password("GUILDHALL_TENANT_PASSWORD"),
        kernel: password("GUILDHALL_KERNEL_PASSWORD"),
        auditor: password("GUILDHALL_AUDITOR_PASSWORD"),
    };
    let wanted = Bootstrap { database, passwords };
    let urls = bootstrap(admin.expose(), &wanted)?;
    let database = &wanted.database;
    cli::tell!("migrate: roles and database {database} are ready; now run `guildhall migrate up`");
    for (name, url) in [
        ("DATABASE_MIGRATOR_URL", &urls.migrator),
        ("DATABASE_TENANT_URL", &urls.tenant),
        ("DATABASE_KERNEL_URL", &urls.kernel),
    ] {
        cli::print_line(&format!("{name}={}", without_password(url.expose())))?;
    }
    cli::tell!("migrate: put the passwords in; they are not shown");
    Ok(())
}

fn migrator(config: &Config) -> Result<&str> {
    let url = config
        .database
        .migrator_url
        .as_ref()
        .context("DATABASE_MIGRATOR_URL is not set: as guildhall_migrator")?;
    Ok(url.expose())
}
