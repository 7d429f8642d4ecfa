//! What the operator does by hand.

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;

use crate::{
    app::{boot::Deployment, guard},
    kernel::{audit, clock::Clock, config::Config, error::NOT_FOUND, id::WorkspaceId},
};

/// What the operator can do by hand.
#[derive(Subcommand)]
pub enum Admin {
    /// Let the first administrator in: print a link with which they choose their password.
    ///
    /// They become the owner of `platform`, the operator's own workspace. The link works once, for a day; asked for again, there is a new one
    /// and the old one dies. Once somebody owns `platform`, nobody else can be let in this way.
    Bootstrap {
        /// Their e-mail address. Nothing is sent to it.
        #[arg(long, value_name = "ADDRESS")]
        email: String,
    },
    /// Look after the audit logs.
    #[command(subcommand)]
    Audit(Audit),
}

/// What there is to do about audit logs.
#[derive(Subcommand)]
pub enum Audit {
    /// Look at every place of a workspace's chain, and say where it does not hold. Then it fails.
    Verify {
        /// The workspace's id.
        #[arg(long, value_name = "WSP_ID")]
        workspace: WorkspaceId,
    },
}

/// Does it.
///
/// # Errors
/// Whatever it could not do; the message says why.
pub fn run(command: &Admin, config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Deployment::new(config, Clock::system())?;
        guard::may_serve(&deployment.db, deployment.config.is_production()).await?;
        match command {
            Admin::Bootstrap { email } => bootstrap(&deployment, email).await,
            Admin::Audit(Audit::Verify { workspace }) => verify(&deployment, *workspace).await,
        }
    })
}

async fn bootstrap(deployment: &Deployment, email: &str) -> Result<()> {
    let token = deployment.identity.bootstrap(email).await;
    let token = token.map_err(|error| anyhow!("{error}"))?;
    let base = &deployment.front.public_url;
    eprintln!("{email} owns platform. With this link, which works once and for a day, they choose their password:");
    // In the fragment, which browsers keep to themselves.
    println!("{base}/auth/reset#{}", token.expose());
    Ok(())
}

async fn verify(deployment: &Deployment, workspace: WorkspaceId) -> Result<()> {
    let verdict = audit::verify(&deployment.db, &deployment.keys, workspace).await;
    let verdict = verdict.map_err(|error| match error.is(NOT_FOUND) {
        true => anyhow!("there is no workspace {workspace}"),
        false => anyhow!("{error}"),
    })?;
    if let Some(broken) = verdict.broken {
        let entry = broken.entry.map(|entry| format!(" ({entry})")).unwrap_or_default();
        bail!(
            "the chain of {workspace} is broken at place {}: {}{entry}",
            broken.seq,
            broken.fault
        );
    }
    println!(
        "The chain of {workspace} holds; entries: {}, signed heads: {}.",
        verdict.places, verdict.checkpoints
    );
    Ok(())
}
