//! What the operator does by hand.

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;

use crate::{
    app::{
        boot::Deployment,
        cli, guard,
        keks::{self, Keks},
    },
    kernel::{
        audit,
        clock::{self, Clock},
        config::Config,
        error::NOT_FOUND,
        id::WorkspaceId,
        identity::Use,
    },
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
    /// See signing keys, and change them before their time.
    #[command(subcommand)]
    Keys(Signing),
    /// See which key-encryption keys are in use, and move what is sealed to the current one.
    #[command(subcommand)]
    Keks(Keks),
}

/// What there is to do about signing keys.
#[derive(Subcommand)]
pub enum Signing {
    /// Say which keys there are, what each signs, and where it stands.
    List,
    /// Let the spare take over now: what was signed before stays good, and nobody notices.
    Rotate {
        /// What the key signs: `access` tokens, `audit` heads, `webhook` deliveries.
        #[arg(value_parser = purpose)]
        purpose: Use,
    },
    /// Withdraw a key, with everything that it signed, and let its spare take over: for one that somebody else may have.
    ///
    /// Every process learns of it within some seconds. Withdrawn, a key of `access` ends every token that it signed, and heads by one of
    /// `audit` vouch for nothing any more: the next head, by another key, vouches for all before it again.
    Revoke {
        /// Its id, as `list` names it, or a head of an audit log. One in sixty-four begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

fn purpose(text: &str) -> Result<Use, String> {
    let found = Use::OWN.into_iter().find(|purpose| purpose.name() == text);
    found.ok_or_else(|| "access, audit or webhook".into())
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
        guard::may_act(&deployment.db, &deployment.config).await?;
        // Who only looks seals nothing, and takes no key into use.
        if !matches!(
            command,
            Admin::Keks(Keks::List) | Admin::Keys(Signing::List) | Admin::Audit(_)
        ) {
            keks::admit(&deployment).await?;
        }
        match command {
            Admin::Bootstrap { email } => bootstrap(&deployment, email).await,
            Admin::Audit(Audit::Verify { workspace }) => verify(&deployment, *workspace).await,
            Admin::Keys(Signing::List) => list(&deployment).await,
            Admin::Keys(Signing::Rotate { purpose }) => rotate(&deployment, *purpose).await,
            Admin::Keys(Signing::Revoke { kid }) => revoke(&deployment, kid).await,
            Admin::Keks(Keks::List) => keks::list(&deployment).await,
            Admin::Keks(Keks::Rewrap) => keks::rewrap(&deployment).await,
        }
    })
}

async fn bootstrap(deployment: &Deployment, email: &str) -> Result<()> {
    let token = deployment.identity.bootstrap(email).await;
    let token = token.map_err(|error| anyhow!("{error}"))?;
    let base = &deployment.front.public_url;
    cli::tell!("{email} owns platform. With this link, which works once and for a day, they choose their password:");
    // In the fragment, which browsers keep to themselves.
    Ok(cli::print_line(&format!("{base}/auth/reset#{}", token.expose()))?)
}

async fn list(deployment: &Deployment) -> Result<()> {
    let keys = deployment.keys.list().await;
    let mut listed = String::new();
    for key in keys.map_err(|error| anyhow!("{error}"))? {
        let since = key.since.map(|since| format!(" since {}", clock::written(since)));
        let (kid, purpose, state) = (key.kid, key.purpose, key.state);
        listed += &format!("{kid}  {purpose:<7}  {state}{}\n", since.unwrap_or_default());
    }
    Ok(cli::print(listed.as_bytes())?)
}

async fn rotate(deployment: &Deployment, purpose: Use) -> Result<()> {
    let rotated = deployment.keys.rotate(purpose).await;
    rotated.map_err(|error| anyhow!("{error}"))?;
    cli::tell!("the spare {} key signs now", purpose.name());
    Ok(())
}

async fn revoke(deployment: &Deployment, kid: &str) -> Result<()> {
    let revoked = deployment.keys.revoke(kid.to_owned()).await;
    revoked.map_err(|error| match error.is(NOT_FOUND) {
        true => anyhow!("there is no signing key {kid}"),
        false => anyhow!("{error}"),
    })?;
    cli::tell!("{kid} is withdrawn: within seconds nobody takes what it signed, and another key signs");
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
    let mut told = format!(
        "The chain of {workspace} holds; entries: {}, signed heads: {}.",
        verdict.places, verdict.checkpoints
    );
    if verdict.withdrawn > 0 {
        told += &format!(
            "\nHeads by keys that were withdrawn, which vouch for nothing: {}.",
            verdict.withdrawn
        );
    }
    Ok(cli::print_line(&told)?)
}
