//! The configuration: `config/default.toml`, the environment's own file, a file named by `GUILDHALL_CONFIG`, then environment variables.
//! An unknown key refuses to boot, and so does what is unsafe in production; both name the key.

use std::{fmt, net::IpAddr, path::Path};

use anyhow::{Context, Result, bail, ensure};
use config::{Config as Layers, Environment as Variables, File, FileFormat};
use ipnet::IpNet;
use serde::Deserialize;

use crate::kernel::secret::Secret;

/// Where this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// `guildhall dev` and the tests.
    Development,
    /// Anything that serves people.
    Production,
}

/// Everything that can be set.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where this process runs: from `GUILDHALL_ENV`.
    #[serde(skip, default = "production")]
    pub environment: Environment,
    pub server: Server,
    pub database: Database,
    pub redis: Redis,
    #[serde(default)]
    pub secrets: Secrets,
    pub auth: Auth,
    pub mail: Mail,
    pub cors: Cors,
    pub http: Http,
    pub stripe: Stripe,
    pub limits: Limits,
    pub worker: Worker,
    pub runs: Runs,
    pub log: Log,
    #[serde(default)]
    pub sentry: Sentry,
}

fn production() -> Environment {
    Environment::Production
}

/// The HTTP server.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: IpAddr,
    pub port: u16,
    pub admin_host: IpAddr,
    pub admin_port: u16,
    pub public_url: String,
    pub workers: usize,
    pub trusted_proxies: Vec<IpNet>,
    pub drain_seconds: u64,
    pub replicas: u32,
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
    pub key_mode: KeyMode,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUp {
    Open,
    InviteOnly,
    Closed,
}

/// What credentials of this deployment begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyMode {
    /// `gld_live_…`: production.
    Live,
    /// `gld_test_…`: everything else.
    Test,
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

/// How mails leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTransport {
    Smtp,
    Mailbox,
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
    pub concurrency: usize,
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

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
}

/// Where errors are reported.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentry {
    /// Absent: nowhere. Usually from `SENTRY_DSN`.
    pub dsn: Option<Secret<String>>,
}

/// Short names that other programs use too, and the keys they set.
const ALIASES: &[(&str, &str)] = &[
    ("DATABASE_TENANT_URL", "database.tenant_url"),
    ("DATABASE_KERNEL_URL", "database.kernel_url"),
    ("DATABASE_MIGRATOR_URL", "database.migrator_url"),
    ("DATABASE_URL", "database.admin_url"),
    ("REDIS_URL", "redis.url"),
    ("STRIPE_SECRET_KEY", "stripe.secret_key"),
    ("STRIPE_WEBHOOK_SECRET", "stripe.webhook_secrets"),
    ("SENTRY_DSN", "sentry.dsn"),
    ("GUILDHALL_REPLICAS", "server.replicas"),
];

impl Config {
    /// Reads the configuration of `environment` with the process's environment variables.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong type, an unsafe production setting: each names the key.
    pub fn load(environment: Environment) -> Result<Config> {
        Config::from_variables(environment, std::env::vars().collect())
    }

    /// The same from the given variables.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_variables(
        environment: Environment,
        variables: std::collections::HashMap<String, String>,
    ) -> Result<Config> {
        let own = match environment {
            Environment::Development => ("development.toml", include_str!("../../config/development.toml")),
            Environment::Production => ("production.toml", include_str!("../../config/production.toml")),
        };
        let mut layers = Layers::builder();
        for (name, embedded) in [("default.toml", include_str!("../../config/default.toml")), own] {
            layers = layers.add_source(File::from_str(&text_of(name, embedded)?, FileFormat::Toml));
        }
        if let Some(file) = variables.get("GUILDHALL_CONFIG") {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("GUILDHALL_CONFIG names {file}, which cannot be read"))?;
            layers = layers.add_source(File::from_str(&text, FileFormat::Toml));
        }
        for (name, key) in ALIASES {
            layers =
                layers.set_override_option(*key, variables.get(*name).filter(|value| !value.is_empty()).cloned())?;
        }
        let own: std::collections::HashMap<_, _> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("GUILDHALL__"))
            .collect();
        let lists = ["server.trusted_proxies", "cors.origins", "http.allow_targets"];
        let mut source = Variables::with_prefix("GUILDHALL")
            .prefix_separator("__")
            .separator("__")
            .source(Some(own));
        source = lists
            .iter()
            .fold(source.try_parsing(true).list_separator(","), |source, key| {
                source.with_list_parse_key(key)
            });
        let layers = layers.add_source(source).build()?;
        let mut config: Config = serde_path_to_error::deserialize(layers)
            .map_err(|error| anyhow::anyhow!("configuration key {}: {}", error.path(), error.inner()))?;
        config.environment = environment;
        config.refuse_unsafe()?;
        Ok(config)
    }

    /// True for what serves people.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// The Redis to use, if any. `off` means none.
    pub fn redis_url(&self) -> Option<&Secret<String>> {
        self.redis.url.as_ref().filter(|url| url.expose() != "off")
    }

    fn refuse_unsafe(&self) -> Result<()> {
        ensure!(
            self.auth.password_min_length >= 8,
            "auth.password_min_length: the floor is 8"
        );
        ensure!(self.server.replicas >= 1, "server.replicas: at least 1");
        ensure!(self.limits.factor >= 1, "limits.factor: at least 1");
        if !self.is_production() {
            return Ok(());
        }
        let unsafe_keys = [
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
                "limits.enabled",
                !self.limits.enabled,
                "leaves the server without rate limits",
            ),
            (
                "stripe.api_base",
                self.stripe.api_base != "https://api.stripe.com",
                "sends payments elsewhere",
            ),
        ];
        match unsafe_keys.iter().find(|(_, found, _)| *found) {
            Some((key, _, why)) => bail!("configuration key {key} is not safe in production: it {why}"),
            None => Ok(()),
        }
    }
}

/// The file beside the working directory if it is there, else the copy in the binary.
fn text_of(name: &str, embedded: &str) -> Result<String> {
    let path = Path::new("config").join(name);
    if path.exists() {
        return std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()));
    }
    Ok(embedded.to_owned())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: Environment, variables: &[(&str, &str)]) -> Result<Config> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::from_variables(environment, variables)
    }

    fn refusal(environment: Environment, variables: &[(&str, &str)]) -> String {
        format!("{:#}", load(environment, variables).expect_err("refused"))
    }

    #[test]
    fn the_environment_overrides_the_files() {
        let config = load(
            Environment::Development,
            &[
                ("GUILDHALL__SERVER__PORT", "8081"),
                ("GUILDHALL__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1/32"),
                ("DATABASE_TENANT_URL", "postgres://a"),
                ("REDIS_URL", "off"),
            ],
        )
        .expect("acceptable");
        assert_eq!(config.server.port, 8081);
        assert_eq!(config.server.trusted_proxies.len(), 2);
        assert!(
            config
                .database
                .tenant_url
                .as_ref()
                .is_some_and(|url| url.expose() == "postgres://a")
        );
        assert!(config.redis_url().is_none());
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert!(refusal(Environment::Development, &[("GUILDHALL__SERVER__PROT", "1")]).contains("prot"));
        assert!(refusal(Environment::Development, &[("GUILDHALL__SERVRE__PORT", "1")]).contains("servre"));
        assert!(refusal(Environment::Development, &[("GUILDHALL__SERVER__PORT", "high")]).contains("server.port"));
    }

    #[test]
    fn production_refuses_what_is_unsafe_and_names_it() {
        let https = ("GUILDHALL__SERVER__PUBLIC_URL", "https://api.example.com");
        load(Environment::Production, &[https]).expect("safe");
        for (variable, value, key) in [
            ("GUILDHALL__HTTP__ALLOW_TARGETS", "127.0.0.0/8", "http.allow_targets"),
            ("GUILDHALL__HTTP__ALLOW_PLAIN", "true", "http.allow_plain"),
            ("GUILDHALL__RUNS__SANDBOX", "true", "runs.sandbox"),
            ("GUILDHALL__MAIL__TRANSPORT", "mailbox", "mail.transport"),
            ("GUILDHALL__AUTH__KEY_MODE", "test", "auth.key_mode"),
            (
                "GUILDHALL__SERVER__PUBLIC_URL",
                "http://api.example.com",
                "server.public_url",
            ),
            ("GUILDHALL__LIMITS__ENABLED", "false", "limits.enabled"),
            ("GUILDHALL__AUTH__PASSWORD_MIN_LENGTH", "6", "auth.password_min_length"),
        ] {
            assert!(
                refusal(Environment::Production, &[https, (variable, value)]).contains(key),
                "{key}"
            );
        }
    }
}
