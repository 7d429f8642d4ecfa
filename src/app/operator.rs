//! What the operator does by hand.

use anyhow::{Result, anyhow};
use clap::Subcommand;

use crate::{
    app::{boot::Deployment, guard},
    kernel::{clock::Clock, config::Config},
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
}

/// Does it.
///
/// # Errors
/// Whatever it could not do; the message says why.
pub fn run(command: &Admin, config: Config) -> Result<()> {
    let Admin::Bootstrap { email } = command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Deployment::new(config, Clock::system())?;
        guard::may_serve(&deployment.db, deployment.config.is_production()).await?;
        let token = deployment.identity.bootstrap(email).await;
        let token = token.map_err(|error| anyhow!("{error}"))?;
        let base = &deployment.front.public_url;
        eprintln!("{email} owns platform. With this link, which works once and for a day, they choose their password:");
        // In the fragment, which browsers keep to themselves.
        println!("{base}/auth/reset#{}", token.expose());
        Ok(())
    })
}
