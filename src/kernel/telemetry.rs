//! Logs and error reports. Ids, never names or addresses; no bodies, cookies, queries or headers.

mod journal;
mod lines;

use std::{
    io::{IsTerminal, Stderr, stderr},
    sync::Arc,
};

use anyhow::Result;
use sentry::protocol::{Event, Exception, Level};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use self::{
    journal::{Dialect, Journal},
    lines::Lines,
};
use crate::kernel::config::{Config, LogFormat};

/// What ends error reporting when it is dropped, and lets the last lines leave.
pub struct Reporting {
    _sentry: Option<sentry::ClientInitGuard>,
    lines: Lines<Stderr>,
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.lines.leave();
    }
}

/// Starts logging and, where a DSN is set, error reporting. Once per process.
///
/// # Errors
/// A log level that cannot be read; no thread to write lines.
pub fn start(config: &Config) -> Result<Reporting> {
    let filter = filter(&config.log.level)?;
    let lines = Lines::new(stderr());
    let dialect = match config.log.format {
        LogFormat::Json => Dialect::Json,
        LogFormat::Text => Dialect::Text {
            colours: stderr().is_terminal(),
        },
    };
    let journal = Journal {
        lines: lines.clone(),
        dialect,
    };
    let started = tracing_subscriber::registry().with(filter).with(journal).try_init();
    // A second start in one process keeps the first one's log: tests begin many servers.
    if started.is_ok() {
        lines.keep_leaving()?;
    }
    let sentry = config.sentry.dsn.as_ref().map(|_| sentry::init(options(config)));
    Ok(Reporting { _sentry: sentry, lines })
}

/// What is reported, where to and as what.
fn options(config: &Config) -> sentry::ClientOptions {
    let mut options = sentry::ClientOptions::default();
    options.dsn = config.sentry.dsn.as_ref().and_then(|dsn| dsn.expose().parse().ok());
    options.environment = Some(config.environment.name().into());
    options.release = Some(env!("CARGO_PKG_VERSION").into());
    options.send_default_pii = false;
    options.max_breadcrumbs = 0;
    options.before_send = Some(Arc::new(|event| Some(scrubbed(event))));
    options
}

/// What is logged. Two write an error for what anybody can bring about: the server's parser for each request that it cannot read, and the
/// verifier of certificates for each receiver of webhooks that has a wrong one. They are left out unless the level names them, or everything.
fn filter(level: &str) -> Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(level)?;
    for (name, target) in [
        ("actix_http", "actix_http::h1::dispatcher"),
        ("rustls_platform_verifier", "rustls_platform_verifier"),
    ] {
        if !level.contains(name) && !level.eq_ignore_ascii_case("trace") {
            filter = filter.add_directive(format!("{target}=off").parse()?);
        }
    }
    Ok(filter)
}

/// What an error looks like to whoever must mend it.
pub fn event_of(error: &anyhow::Error) -> Event<'static> {
    let kind = error
        .root_cause()
        .to_string()
        .split([':', '\n'])
        .next()
        .unwrap_or_default()
        .to_owned();
    Event {
        level: Level::Error,
        exception: vec![Exception {
            ty: kind,
            value: Some(format!("{error:#}")),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    }
}

/// The last look at what leaves: no credential, no request.
fn scrubbed(mut event: Event<'static>) -> Event<'static> {
    event.request = None;
    event.server_name = None;
    event.message = event.message.map(|text| without_secrets(&text));
    event.logentry = None;
    for exception in event.exception.iter_mut() {
        exception.ty = without_secrets(&exception.ty);
        exception.value = exception.value.take().map(|text| without_secrets(&text));
    }
    event
}

/// Replaces whatever looks like one of our credentials, or like one of our friends'.
pub fn without_secrets(text: &str) -> String {
    const BEGINNINGS: [&str; 5] = ["gld_", "whsec_", "sk_live_", "sk_test_", "eyJ"];
    let part_of_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '=');
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = BEGINNINGS.iter().filter_map(|start| rest.find(start)).min() {
        clean += &rest[..at];
        clean += "[secret]";
        rest = rest[at..].trim_start_matches(part_of_one);
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::kernel::config::Environment;

    #[test]
    fn what_anybody_can_bring_about_is_logged_where_it_is_asked_for() {
        for target in ["actix_http::h1::dispatcher", "rustls_platform_verifier"] {
            let off = |level: &str| {
                filter(level)
                    .expect("a level")
                    .to_string()
                    .contains(&format!("{target}=off"))
            };
            assert!(off("info") && off("warn,guildhall=debug"), "{target}");
            let named = format!("info,{}=debug", target.split("::").next().expect("a crate"));
            assert!(!off(&named) && !off("trace"), "{target}");
        }
    }

    #[test]
    fn what_is_reported_says_where_it_happened_however_it_was_built() {
        for environment in [Environment::Production, Environment::Development] {
            let mut config = Config::of(Environment::Development, HashMap::new()).expect("a configuration");
            config.environment = environment;
            assert_eq!(options(&config).environment.as_deref(), Some(environment.name()));
        }
    }

    #[test]
    fn what_looks_like_a_credential_leaves_no_trace() {
        let text = "key gld_live_sk_abcDEF123, whsec_aGVsbG8=; token eyJhbGciOi.J9.x end";
        assert_eq!(without_secrets(text), "key [secret], [secret]; token [secret] end");
    }

    #[test]
    fn a_report_holds_no_request_and_no_credential() {
        let error = anyhow::anyhow!("could not use gld_test_pk_1234567890").context("while signing in");
        let mut event = event_of(&error);
        event.request = Some(sentry::protocol::Request {
            query_string: Some("token=1".into()),
            ..Default::default()
        });
        let sent = serde_json::to_string(&scrubbed(event)).expect("an event");
        assert!(
            !sent.contains("gld_test") && !sent.contains("token=1") && sent.contains("while signing in"),
            "{sent}"
        );
    }
}
