//! What a configuration may not say: what makes no sense anywhere, and what is not safe where people are served.

use std::{net::IpAddr, ops::RangeInclusive};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use sentry::types::Dsn;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::{Config, KeyMode, MailTransport, Server};
use crate::kernel::secret::Secret;

/// A key, what it was set to, and between what it may be.
type Bounded = (&'static str, u64, RangeInclusive<u64>);

/// The longest time that can be set, in seconds: ten years.
const LONG: u64 = 10 * 366 * 86_400;

impl Config {
    /// Whether a process may serve with it.
    ///
    /// # Errors
    /// What is out of bounds, or not safe in production: it names the key.
    pub fn refuse_unsafe(&self) -> Result<()> {
        self.refuse_out_of_bounds()?;
        if !self.is_production() {
            return Ok(());
        }
        let mut judged = self.unsafe_keys().into_iter().chain(self.unsafe_payments());
        match judged.find(|(_, found, _)| *found) {
            Some((key, _, why)) => bail!("configuration key {key} is not safe in production: it {why}"),
            None => Ok(()),
        }
    }

    fn refuse_out_of_bounds(&self) -> Result<()> {
        for (key, value, bounds) in self.bounded() {
            let (least, most) = (bounds.start(), bounds.end());
            ensure!(
                bounds.contains(&value),
                "configuration key {key}: {value} is not possible; {least} to {most}"
            );
        }
        public_url(&self.server.public_url).context("configuration key server.public_url")?;
        level(&self.log.level).context("configuration key log.level")?;
        ensure!(
            !self.server.listens_twice(),
            "configuration key server.admin_port: {} is server.port, too",
            self.server.admin_port
        );
        ensure!(
            !self.redis.prefix.is_empty(),
            "configuration key redis.prefix: it is empty"
        );
        let dsn = self.sentry.dsn.as_ref().map(|dsn| dsn.expose().parse::<Dsn>());
        ensure!(
            dsn.is_none_or(|read| read.is_ok()),
            "configuration key sentry.dsn: it cannot be read"
        );
        Ok(())
    }

    /// Every number that can be set, and between what.
    fn bounded(&self) -> impl Iterator<Item = Bounded> {
        let connections = |key, count: usize| (key, count as u64, 2..=1_000);
        let (server, database) = (&self.server, &self.database);
        let own = [
            ("server.workers", server.workers as u64, 0..=1_024),
            ("server.drain_seconds", server.drain_seconds, 0..=3_600),
            ("server.replicas", server.replicas.into(), 1..=10_000),
            ("redis.timeout_ms", self.redis.timeout_ms, 5..=250),
            connections("database.tenant_connections", database.tenant_connections),
            connections("database.kernel_connections", database.kernel_connections),
            connections("database.worker_tenant_connections", database.worker_tenant_connections),
            connections("database.worker_kernel_connections", database.worker_kernel_connections),
            ("worker.concurrency", self.worker.concurrency as u64, 1..=1_000),
        ];
        own.into_iter().chain(self.bounded_for_callers())
    }

    fn bounded_for_callers(&self) -> [Bounded; 14] {
        let (auth, limits) = (&self.auth, &self.limits);
        let span = |key, seconds: u32| (key, seconds.into(), 60..=LONG);
        let some = |key, count: u32| (key, count.into(), 1..=i32::MAX as u64);
        [
            (
                "auth.access_token_seconds",
                auth.access_token_seconds.into(),
                60..=3_600,
            ),
            span("auth.session_seconds", auth.session_seconds),
            span("auth.session_idle_seconds", auth.session_idle_seconds),
            span("auth.session_short_seconds", auth.session_short_seconds),
            ("auth.sessions_per_user", auth.sessions_per_user.into(), 1..=1_000),
            ("auth.password_min_length", auth.password_min_length as u64, 8..=64),
            some("auth.sign_ups_per_hour", auth.sign_ups_per_hour),
            some("auth.mails_per_hour", auth.mails_per_hour),
            some("auth.workspaces_per_person", auth.workspaces_per_person),
            some("limits.factor", limits.factor),
            some("limits.anonymous_per_minute", limits.anonymous_per_minute),
            some("limits.anonymous_burst", limits.anonymous_burst),
            some("limits.ip_per_minute", limits.ip_per_minute),
            some("limits.ip_burst", limits.ip_burst),
        ]
    }

    /// Each key that can be unsafe, whether it is, and why.
    fn unsafe_keys(&self) -> [(&'static str, bool, &'static str); 13] {
        [
            (
                "http.allow_targets",
                !self.http.allow_targets.is_empty(),
                "lets customers reach private addresses",
            ),
            (
                "http.allow_plain",
                self.http.allow_plain,
                "sends customers' data unencrypted",
            ),
            ("runs.sandbox", self.runs.sandbox, "answers without a model"),
            (
                "mail.transport",
                self.mail.transport == MailTransport::Mailbox,
                "sends no mail",
            ),
            (
                "mail.smtp_url",
                self.mail.smtp_url.as_ref().is_some_and(is_plain_mail),
                "sends links that open accounts unencrypted; smtps://, or smtp:// with ?tls=required",
            ),
            (
                "auth.key_mode",
                self.auth.key_mode == KeyMode::Test,
                "marks live credentials as test ones",
            ),
            (
                "server.public_url",
                !self.server.public_url.starts_with("https://"),
                "must begin with https://",
            ),
            (
                "server.admin_host",
                self.server.is_public(self.server.admin_host),
                "shows metrics to everybody; name a private address, or its network in server.own_networks",
            ),
            (
                "server.own_networks",
                self.server.own_networks.iter().any(is_nearly_everybody),
                "takes everybody's network for one of your own",
            ),
            (
                "limits.enabled",
                !self.limits.enabled,
                "leaves the server without rate limits",
            ),
            ("limits.factor", self.limits.factor > 1, "raises every rate limit"),
            (
                "server.trusted_proxies",
                self.server.trusted_proxies.iter().any(is_nearly_everybody),
                "lets every caller choose its own address",
            ),
            (
                "cors.origins",
                self.cors.origins.iter().any(|origin| origin.starts_with("http://")),
                "lets pages that anybody on the way can change call with a person's cookies",
            ),
        ]
    }

    fn unsafe_payments(&self) -> [(&'static str, bool, &'static str); 3] {
        [
            (
                "stripe.secret_key",
                self.stripe.secret_key.is_some() && !self.stripe.is_live(),
                "takes test cards for money; a live key begins with sk_live_ or rk_live_",
            ),
            (
                "stripe.webhook_secrets",
                self.stripe.secret_key.is_some() && self.stripe.signing_secrets().is_empty(),
                "is not set though stripe.secret_key is, so that no payment would ever take effect",
            ),
            (
                "stripe.api_base",
                self.stripe.api_base != "https://api.stripe.com",
                "sends payments elsewhere",
            ),
        ]
    }
}

/// The base of links: paths are put behind it.
fn public_url(text: &str) -> Result<()> {
    let url = Url::parse(text).map_err(|error| anyhow::anyhow!("{text:?} is no URL: {error}"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "{text:?} is no http:// or https:// URL"
    );
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "paths are put behind it, so it has neither a query nor a fragment"
    );
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "everybody reads it, so it holds no credential"
    );
    Ok(())
}

/// A level, or several of parts of the program. A word that is none would be taken for a part, and all others would be silent.
fn level(text: &str) -> Result<()> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const FORM: &str = "`info`, or `info,guildhall=debug`";
    ensure!(text.parse::<EnvFilter>().is_ok(), "{text:?} cannot be read; {FORM}");
    let plain = text.split(',').map(str::trim).filter(|part| !part.contains(['=', '[']));
    let mut levels = plain.map(|word| (word, LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))));
    match levels.find(|(_, known)| !known) {
        Some((word, _)) => bail!("{word:?} is no level; {FORM}"),
        None => Ok(()),
    }
}

impl Server {
    /// Whether the API and the admin listener would want the same port of the same address. Any free one (0) is never the same.
    fn listens_twice(&self) -> bool {
        let meet = self.host == self.admin_host || self.host.is_unspecified() || self.admin_host.is_unspecified();
        self.port == self.admin_port && self.port != 0 && meet
    }

    /// Everybody's address, or all of this machine's at once; none of a network that is said to be one's own.
    fn is_public(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let own = || self.own_networks.iter().any(|network| network.contains(&address));
        address.is_unspecified() || looks_public(address) && !own()
    }
}

fn looks_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = (u32::from(v4) ^ 0x6440_0000).leading_zeros() >= 10;
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// No network of one's own is as large: 10.0.0.0/8 and fc00::/7 are the largest.
fn is_nearly_everybody(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => v4.prefix_len() < 8,
        IpNet::V6(v6) => v6.prefix_len() < 7,
    }
}

/// Whether mails leave this machine readable. What cannot be read is refused by whoever sends mails.
fn is_plain_mail(url: &Secret<String>) -> bool {
    let Ok(url) = Url::parse(url.expose()) else {
        return false;
    };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let encrypted = url
        .query_pairs()
        .any(|(name, value)| name == "tls" && value == "required");
    url.scheme() == "smtp" && !here && !encrypted
}
