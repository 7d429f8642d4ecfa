//! The command line.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::{
    app::{api, dev, doctor, migrate, openapi::Documents, operator, serve, work},
    kernel::config::{Config, Environment},
};

/// The multi-tenant backend of a company that sells AI-agent software.
#[derive(Parser)]
#[command(name = "guildhall", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where this process runs: `production`, or `development` for a machine of your own.
    #[arg(long, global = true, env = "GUILDHALL_ENV", default_value = "production", value_parser = environment)]
    env: Environment,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API.
    Serve,
    /// Do what commits leave to be done: jobs, events, mails, webhooks.
    Worker,
    /// Run everything on this machine: servers of its own, the API, its jobs, a Stripe, a mailbox.
    Dev(dev::Options),
    /// Make and migrate the database.
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Do by hand what only the operator may: let the first administrator in, see to keys, verify the audit log.
    #[command(subcommand)]
    Admin(operator::Admin),
    /// Look at configuration, database, isolation, clock and queues, and say what to do about each finding.
    Doctor {
        /// Also count rows that point at nothing (DATABASE_MIGRATOR_URL). Reads whole tables.
        #[arg(long)]
        rows: bool,
    },
    /// Print the OpenAPI document.
    Openapi {
        /// In version 3.0.3 instead of 3.1.0.
        #[arg(long)]
        older: bool,
    },
}

fn environment(text: &str) -> Result<Environment, String> {
    let known = [Environment::Production, Environment::Development];
    let found = known.into_iter().find(|known| known.name() == text);
    found.ok_or_else(|| "production or development".into())
}

/// Runs the command line.
///
/// # Errors
/// Whatever the command could not do; the message says what to do about it.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve => serve::run(Config::load(cli.env)?),
        Command::Worker => work::run(Config::load(cli.env)?),
        Command::Dev(options) => dev::run(&options),
        Command::Migrate(command) => migrate::run(command, &Config::read(cli.env)?),
        Command::Admin(command) => operator::run(&command, Config::load(cli.env)?),
        Command::Doctor { rows } => doctor::run(&Config::read(cli.env)?, rows),
        Command::Openapi { older } => {
            let documents = Documents::new(&api::document(), "https://api.example.com")?;
            let document = if older {
                documents.older.text
            } else {
                documents.current.text
            };
            Ok(print(&document)?)
        }
    }
}

/// Says a line on standard error to whoever still reads there: `eprintln!` panics where nobody does.
macro_rules! tell {
    ($($said:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($said)*);
    }};
}
pub(crate) use tell;

/// Says why a command failed.
pub fn tell_of(error: &anyhow::Error) {
    tell!("guildhall: {error:#}");
}

/// Prints a line, as [`print`].
pub(super) fn print_line(line: &str) -> io::Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// Prints. Whoever reads it may have read enough: `guildhall openapi | head`.
pub(super) fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
