//! The command line.

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::{
    app::{api, boot::Deployment, dev, doctor, guard, memory, migrate, openapi::Documents, operator, serve, worker},
    kernel::{
        clock::Clock,
        config::{Config, Environment},
        telemetry,
    },
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
    /// Do by hand what only the operator may: let the first administrator in.
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
    match text {
        "production" => Ok(Environment::Production),
        "development" => Ok(Environment::Development),
        _ => Err("production or development".into()),
    }
}

/// Runs the command line.
///
/// # Errors
/// Whatever the command could not do; the message says what to do about it.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve => serve::run(Config::load(cli.env)?),
        Command::Worker => work(Config::load(cli.env)?),
        Command::Dev(options) => dev::run(&options),
        Command::Migrate(command) => migrate::run(command, &Config::load(cli.env)?),
        Command::Admin(command) => operator::run(&command, Config::load(cli.env)?),
        Command::Doctor { rows } => doctor::run(&Config::load(cli.env)?, rows),
        Command::Openapi { older } => {
            let documents = Documents::new(&api::document(), "https://api.example.com")?;
            let document = if older { documents.older } else { documents.current };
            Ok(std::io::stdout().write_all(&document)?)
        }
    }
}

/// Works until a signal, then finishes what it has.
fn work(config: Config) -> anyhow::Result<()> {
    let _reporting = telemetry::start(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Deployment::new(config, Clock::system())?;
        guard::may_work(&deployment.db, deployment.config.is_production()).await?;
        deployment.prepare().await?;
        let worker = worker::start(&deployment)?;
        tokio::spawn(memory::give_back());
        let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = end.recv() => {}
            interrupt = tokio::signal::ctrl_c() => interrupt?,
        }
        worker.drain(worker::PATIENCE).await;
        Ok(())
    })
}
