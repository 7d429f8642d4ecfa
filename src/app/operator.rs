//! What an operator does by hand.

use anyhow::{Result, anyhow};
use clap::Subcommand;

use crate::{
    app::{boot::Deployment, guard},
    kernel::{clock::Clock, config::Config},
};

/// What an operator does by hand.
#[derive(Subcommand)]
pub enum Admin {
    /// Make the first owner of `platform`: prints a link, good for a day, with which they set their password.
    Bootstrap {
        /// Their e-mail address.
        #[arg(long)]
        email: String,
    },
}

/// Runs one of them.
///
/// # Errors
/// Whatever it could not do; the message says what to do about it.
pub fn run(command: &Admin, config: Config) -> Result<()> {
    let Admin::Bootstrap { email } = command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Deployment::new(config, Clock::system())?;
        guard::may_serve(&deployment.db, deployment.config.is_production()).await?;
        let token = deployment.identity.found(email).await.map_err(|refusal| anyhow!("{refusal}"))?;
        let base = &deployment.front.public_url;
        // In the fragment, which browsers keep to themselves.
        println!("{base}/auth/reset#{}", token.expose());
        Ok(())
    })
}
