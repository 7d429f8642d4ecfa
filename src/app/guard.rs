//! The gate before the first request: a database that is away is waited for, a wrong one is refused.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    app::migrate,
    kernel::{
        catalogue::{self, Depth},
        config::Config,
        db::{self, Db},
        error::Error,
        secret::Secret,
        upkeep,
    },
};

/// Between two looks at a database that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a command waits for the database.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns when the database is there and behind the walls that it should be behind.
///
/// # Errors
/// A wrong database: each difference, and what to do about it.
pub async fn may_serve(db: &Db, production: bool) -> Result<()> {
    let mut said = false;
    let report = loop {
        match catalogue::check(db, migrate::newest(), Depth::Boot).await {
            Ok(report) => break report,
            Err(Error::Refused(problem)) if problem.kind().status == 503 => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("the database cannot be reached; waiting for it");
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => bail!("the database could not be looked at: {}", told(&error)),
        }
    };
    if !report.allows_serving(production) {
        bail!("this database is not safe to serve:\n{report}`guildhall doctor` looks closer.");
    }
    for finding in &report.findings {
        tracing::warn!(rule = finding.rule, object = %finding.object, fix = %finding.fix, "{}", finding.what);
    }
    Ok(())
}

/// The same for a command, at which somebody looks: nothing is waited for.
///
/// # Errors
/// A database that is away or opens nothing, and as [`may_serve`].
pub async fn may_act(db: &Db, config: &Config) -> Result<()> {
    let urls = [&config.database.tenant_url, &config.database.kernel_url];
    let shut = shut(urls.map(|url| url.as_ref()).into_iter().flatten()).await;
    if !shut.is_empty() {
        bail!("{}", shut.join("\n"));
    }
    let looked = tokio::time::timeout(PATIENCE, may_serve(db, config.is_production())).await;
    looked.unwrap_or_else(|_| bail!("the database did not answer within {} s", PATIENCE.as_secs()))
}

/// The doors that do not open, and what PostgreSQL says of each: of the tenants' and the kernel's address.
pub async fn shut<'u>(urls: impl IntoIterator<Item = &'u Secret<String>>) -> Vec<String> {
    let mut shut = Vec::new();
    for (name, url) in ["DATABASE_TENANT_URL", "DATABASE_KERNEL_URL"].into_iter().zip(urls) {
        let url = url.clone();
        let why = match tokio::task::spawn_blocking(move || db::knock(&url)).await {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why.to_string(),
            Err(stopped) => stopped.to_string(),
        };
        shut.push(format!("{name} opens nothing: {}", why.trim()));
    }
    shut
}

/// The same for a process that works, which also makes sure that there are partitions for what it will write. Without them the default
/// partition takes everything, so trouble here is no reason to stay away.
///
/// # Errors
/// As [`may_serve`].
pub async fn may_work(db: &Db, production: bool) -> Result<()> {
    may_serve(db, production).await?;
    if let Err(error) = upkeep::partitions(db.clone()).await {
        tracing::warn!(
            reason = told(&error),
            "partitions could not be made ahead; the next try is in some hours"
        );
    }
    Ok(())
}

/// An error, for whoever runs this.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::Refused(problem) => problem.kind().title.to_owned(),
        Error::Broken(error) => format!("{error:#}"),
    }
}
