//! The configuration: `config/default.toml`, the environment's own file, a file named by `GUILDHALL_CONFIG`, then environment variables.
//! An unknown key refuses to boot, and so does what is unsafe in production; both name the key.

mod safety;
mod sections;

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fmt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use config::{Config as Layers, Environment as Variables, File, FileFormat};
use serde::Deserialize;

pub use sections::*;

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

impl Environment {
    /// As `GUILDHALL_ENV` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Environment::Development => "development",
            Environment::Production => "production",
        }
    }
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

/// The keys that hold lists: in a variable their entries are separated by commas.
const LISTS: [&str; 4] = [
    "server.own_networks",
    "server.trusted_proxies",
    "cors.origins",
    "http.allow_targets",
];

/// The process's variables.
///
/// # Errors
/// One of ours is no text. One of others' that is none is left out.
pub fn variables() -> Result<HashMap<String, String>> {
    texts(std::env::vars_os())
}

fn texts(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<HashMap<String, String>> {
    let mut texts = HashMap::new();
    for (name, value) in variables {
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                texts.insert(name, value);
            }
            _ => ensure!(!is_setting(&shown), "{shown} is no text: UTF-8 is wanted"),
        }
    }
    Ok(texts)
}

fn is_setting(name: &str) -> bool {
    name.to_ascii_uppercase().starts_with("GUILDHALL_") || ALIASES.iter().any(|(alias, _)| *alias == name)
}

impl Config {
    /// Reads the configuration of `environment` with the process's environment variables.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong type, an unsafe production setting: each names the key.
    pub fn load(environment: Environment) -> Result<Config> {
        Config::from_variables(environment, variables()?)
    }

    /// The same from the given variables.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_variables(environment: Environment, variables: HashMap<String, String>) -> Result<Config> {
        let config = Config::of(environment, variables)?;
        config.refuse_unsafe()?;
        Ok(config)
    }

    /// The configuration for what neither serves nor works: whether it is safe is not asked.
    ///
    /// # Errors
    /// As [`Config::load`], but for what is unsafe.
    pub fn read(environment: Environment) -> Result<Config> {
        Config::of(environment, variables()?)
    }

    /// The same from the given variables.
    ///
    /// # Errors
    /// As [`Config::load`], but for what is unsafe.
    pub fn of(environment: Environment, variables: HashMap<String, String>) -> Result<Config> {
        let own = match environment {
            Environment::Development => ("development.toml", include_str!("../../../config/development.toml")),
            Environment::Production => ("production.toml", include_str!("../../../config/production.toml")),
        };
        let mut layers = Layers::builder();
        for (name, embedded) in [("default.toml", include_str!("../../../config/default.toml")), own] {
            layers = layers.add_source(layer(name, &text_of(name, embedded)?)?);
        }
        if let Some(file) = variables.get("GUILDHALL_CONFIG").filter(|file| !file.is_empty()) {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("GUILDHALL_CONFIG names {file}, which cannot be read"))?;
            layers = layers.add_source(layer(file, &text)?);
        }
        for (name, key) in ALIASES {
            layers =
                layers.set_override_option(*key, variables.get(*name).filter(|value| !value.is_empty()).cloned())?;
        }
        let mut own = own_variables(variables)?;
        for key in LISTS {
            let name = format!("GUILDHALL__{}", key.to_uppercase().replace('.', "__"));
            let Some(text) = own.remove(&name) else { continue };
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            layers = layers.set_override(key, entries.collect::<Vec<_>>())?;
        }
        let source = Variables::with_prefix("GUILDHALL")
            .prefix_separator("__")
            .separator("__")
            .source(Some(own.into_iter().collect()));
        let layers = layers.add_source(source).build()?;
        let mut config: Config = serde_path_to_error::deserialize(layers)
            .map_err(|error| anyhow::anyhow!("configuration key {}: {}", error.path(), error.inner()))?;
        config.environment = environment;
        Ok(config)
    }

    /// True for what serves people.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// As a process that works and does not serve has it: the pools are the worker's.
    pub fn of_worker(mut self) -> Config {
        self.database.tenant_connections = self.database.worker_tenant_connections;
        self.database.kernel_connections = self.database.worker_kernel_connections;
        self
    }

    /// The Redis to use, if any. `off` means none.
    pub fn redis_url(&self) -> Option<&Secret<String>> {
        self.redis.url.as_ref().filter(|url| url.expose() != "off")
    }
}

/// The variables that set keys, by name.
///
/// # Errors
/// One that would set nothing: it stands below a key that has a value, is an underscore short, or not in capitals.
fn own_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<BTreeMap<String, String>> {
    let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) = variables
        .into_iter()
        .partition(|(name, _)| name.starts_with("GUILDHALL__"));
    for name in others.keys() {
        ensure!(
            !(name.to_ascii_uppercase().starts_with("GUILDHALL_") && name.contains("__")),
            "{name} sets nothing: variables that set keys are called GUILDHALL__SECTION__KEY, in capitals, with two underscores each time"
        );
    }
    for name in own.keys() {
        ensure!(
            !name.contains(|letter: char| letter.is_ascii_lowercase()),
            "{name} sets nothing: variables that set keys are in capitals"
        );
        let above = own.keys().find(|key| name.starts_with(&format!("{key}__")));
        ensure!(
            above.is_none(),
            "{name} is an unknown key: {} is a key already",
            above.map_or("", String::as_str)
        );
    }
    Ok(own)
}

/// A file's text as a layer.
///
/// # Errors
/// It is no TOML: where. It has a fraction: at which key.
fn layer(name: &str, text: &str) -> Result<File<config::FileSourceString, FileFormat>> {
    let table = toml::from_str::<toml::Table>(text).map_err(|error| {
        // What stands in the line may be a secret.
        let line = error.span().map_or(1, |at| text[..at.start].matches('\n').count() + 1);
        anyhow::anyhow!("{name} is no TOML: line {line}: {}", error.message())
    })?;
    if let Some(key) = fraction(&table) {
        bail!("configuration key {key}: {name} has a fraction there, and no key is one");
    }
    Ok(File::from_str(text, FileFormat::Toml))
}

/// A key with a fraction, which would be rounded where a whole number is wanted.
fn fraction(table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(key, value)| match value {
        toml::Value::Float(_) => Some(key.clone()),
        toml::Value::Table(below) => fraction(below).map(|below| format!("{key}.{below}")),
        _ => None,
    })
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
mod tests;
