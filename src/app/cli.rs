//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    app::{api, boot::Deployment, dev, openapi::Documents, worker},
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
        Command::Serve => serve(Config::load(cli.env)?),
        Command::Worker => work(Config::load(cli.env)?),
        Command::Dev(options) => dev::run(&options),
        Command::Openapi { older } => {
            let documents = Documents::new(&api::document(), "https://api.example.com")?;
            print!("{}", if older { documents.older } else { documents.current });
            Ok(())
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    let _reporting = telemetry::start(&config)?;
    let socket = std::net::TcpListener::bind((config.server.host, config.server.port))?;
    actix_web::rt::System::new().block_on(async move {
        let deployment = std::sync::Arc::new(Deployment::new(config, Clock::system())?);
        let server = api::serve(deployment.clone(), socket)?;
        deployment.readiness.booted();
        Ok(server.await?)
    })
}

/// Works until a signal, then finishes what it has.
fn work(config: Config) -> anyhow::Result<()> {
    let _reporting = telemetry::start(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Deployment::new(config, Clock::system())?;
        let worker = worker::start(&deployment)?;
        let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = end.recv() => {}
            interrupt = tokio::signal::ctrl_c() => interrupt?,
        }
        worker.drain(worker::PATIENCE).await;
        Ok(())
    })
}
