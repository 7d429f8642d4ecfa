//! The sections of the configuration, one struct each, with what every key means.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

use crate::kernel::secret::Secret;

/// Declares settings that are one of some words, in whatever case. Whoever sets another is told the words.
macro_rules! choices {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$meaning:meta])* $choice:ident $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$meaning])* $choice,)*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(read: D) -> Result<$name, D::Error> {
                let set = String::deserialize(read)?;
                match set.to_ascii_lowercase().as_str() {
                    $($word => Ok($name::$choice),)*
                    _ => Err(D::Error::unknown_variant(&set, &[$($word),*])),
                }
            }
        }
    };
}

/// The HTTP server.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: IpAddr,
    pub port: u16,
    pub admin_host: IpAddr,
    pub admin_port: u16,
    #[serde(deserialize_with = "networks")]
    pub own_networks: Vec<IpNet>,
    pub public_url: String,
    pub workers: usize,
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    pub drain_seconds: u64,
    pub replicas: u32,
}

/// Networks, and addresses, each of which is a network of its own.
fn networks<'de, D: Deserializer<'de>>(read: D) -> Result<Vec<IpNet>, D::Error> {
    let entries = Vec::<String>::deserialize(read)?;
    let network = |entry: String| {
        let address = || entry.parse::<IpAddr>().ok().map(IpNet::from);
        let wrong = || D::Error::custom(format!("{entry:?} is neither an address nor a network"));
        entry.parse().ok().or_else(address).ok_or_else(wrong)
    };
    entries.into_iter().map(network).collect()
}

/// The database. The URLs usually come from `DATABASE_TENANT_URL`, `DATABASE_KERNEL_URL`, `DATABASE_MIGRATOR_URL` and `DATABASE_URL`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// As `app_tenant`.
    pub tenant_url: Option<Secret<String>>,
    /// As `app_kernel`.
    pub kernel_url: Option<Secret<String>>,
    /// As `guildhall_migrator`: migrations only.
    pub migrator_url: Option<Secret<String>>,
    /// An administrator's: `dev`, tests and `migrate bootstrap` only.
    pub admin_url: Option<Secret<String>>,
    pub tenant_connections: usize,
    pub kernel_connections: usize,
    pub worker_tenant_connections: usize,
    pub worker_kernel_connections: usize,
}

/// Redis, which is optional.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://…`; usually from `REDIS_URL`. Absent or `off`: everything works, limits and hints stay in the process.
    pub url: Option<Secret<String>>,
    pub prefix: String,
    /// The longest that a call waits for an answer, in milliseconds, before its request goes on without. A request makes two at most.
    pub timeout_ms: u64,
}

impl Redis {
    /// The longest that a call waits for an answer.
    pub fn budget(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Keys that encrypt and sign. From the environment or from files, never from the repository.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Key-encryption keys, `id:base64 of 32 bytes`, separated by commas; the first one encrypts, all decrypt.
    pub keks: Option<Secret<String>>,
    /// The same, in a file.
    pub keks_file: Option<String>,
    /// Signs cursors and other short-lived tokens: base64 of 32 bytes or more.
    pub signing: Option<Secret<String>>,
    /// The same, in a file.
    pub signing_file: Option<String>,
}

/// Sign-in.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub access_token_seconds: u32,
    pub session_seconds: u32,
    pub session_idle_seconds: u32,
    pub session_short_seconds: u32,
    pub sessions_per_user: u32,
    pub password_min_length: usize,
    pub sign_up: SignUp,
    pub sign_ups_per_hour: u32,
    pub mails_per_hour: u32,
    pub workspaces_per_person: u32,
    pub key_mode: KeyMode,
}

choices! {
    /// Who may register.
    pub enum SignUp {
        Open "open",
        InviteOnly "invite_only",
        Closed "closed",
    }
}

choices! {
    /// What credentials of this deployment begin with.
    pub enum KeyMode {
        /// `gld_live_…`: production.
        Live "live",
        /// `gld_test_…`: everything else.
        Test "test",
    }
}

/// Outgoing mail.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    pub transport: MailTransport,
    pub from: String,
    /// `smtp://user:password@host:port` or `smtps://…`.
    pub smtp_url: Option<Secret<String>>,
}

choices! {
    /// How mails leave.
    pub enum MailTransport {
        Smtp "smtp",
        Mailbox "mailbox",
    }
}

/// Pages of other origins.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    pub origins: Vec<String>,
}

/// Outgoing calls to addresses that a customer named.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub allow_targets: Vec<String>,
    pub allow_plain: bool,
}

/// The operator's own Stripe account.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    pub api_base: String,
    /// `sk_…` or `rk_…`; usually from `STRIPE_SECRET_KEY`.
    pub secret_key: Option<Secret<String>>,
    /// `whsec_…`, at most two separated by a comma while one is rolled; usually from `STRIPE_WEBHOOK_SECRET`.
    pub webhook_secrets: Option<Secret<String>>,
}

impl Stripe {
    /// The signing secrets, one by one.
    pub fn signing_secrets(&self) -> Vec<Secret<String>> {
        let joined = self.webhook_secrets.as_ref().map_or("", |secrets| secrets.expose());
        let secrets = joined.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        secrets.map(|secret| Secret::new(secret.to_owned())).collect()
    }

    /// Whether the key moves real money.
    pub fn is_live(&self) -> bool {
        let key = self.secret_key.as_ref().map_or("", |key| key.expose());
        key.starts_with("sk_live_") || key.starts_with("rk_live_")
    }
}

/// Rate limits of callers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub enabled: bool,
    /// Raises every limit by this factor; benchmarks do.
    #[serde(default = "one")]
    pub factor: u32,
    /// Requests a minute from one address without a credential that is known.
    pub anonymous_per_minute: u32,
    /// How many of them may come at once.
    pub anonymous_burst: u32,
    /// Requests a minute from one address.
    pub ip_per_minute: u32,
    /// How many of them may come at once.
    pub ip_burst: u32,
}

fn one() -> u32 {
    1
}

/// Background work.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Steps of runs that one process does at once.
    pub concurrency: usize,
    pub admin_port: u16,
}

/// The run engine.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    pub sandbox: bool,
}

/// The log.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

choices! {
    /// What a log line looks like.
    pub enum LogFormat {
        Json "json",
        Text "text",
    }
}

/// Where errors are reported.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentry {
    /// Absent: nowhere. Usually from `SENTRY_DSN`.
    pub dsn: Option<Secret<String>>,
}
