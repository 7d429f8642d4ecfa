//! From the configuration to a deployment that can serve.

use std::sync::{Arc, LazyLock};

use actix_web::web::Data;
use anyhow::{Context, Result, anyhow};

use crate::{
    app::{
        api,
        health::Health,
        openapi::{self, Written},
    },
    features::billing::PlanCache,
    kernel::{
        access::{Call, Doorkeeper},
        audit::Refusals,
        clock::Clock,
        config::Config,
        crypto::Keyring,
        db::{self, Db, Sizes},
        deep,
        error::Error,
        gate::Full,
        http::{
            cors::Origins,
            front::{Acquaintances, Front},
            limits::Limits,
            operations::Operations,
            outbound::Outbound,
            problem::Prebuilt,
        },
        id::RequestId,
        identity::{Identity, Issuer, Keys},
        inbox::{self, Door},
        keks,
        mail::Mailer,
        page::Seals,
        peppers::Peppers,
        readiness::Readiness,
        redis::Redis,
        secret::Secret,
        stripe::Stripe,
        wake,
    },
};

/// Everything that a process shares.
pub struct Deployment {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub operations: Arc<Operations>,
    pub front: Data<Front>,
    pub doorkeeper: Data<Doorkeeper>,
    pub cursors: Seals,
    pub keyring: Arc<Keyring>,
    pub mailer: Mailer,
    pub documents: Arc<Written>,
    pub readiness: Arc<Readiness>,
    pub refusals: Refusals,
    pub health: Arc<Health>,
    pub door: Door,
    pub redis: Redis,
    pub limits: Limits,
    pub outbound: Outbound,
    pub peppers: Peppers,
    pub keys: Keys,
    pub identity: Data<Identity>,
    pub stripe: Stripe,
    pub plans: PlanCache,
}

impl Deployment {
    /// Wires a deployment. Nothing is reached yet.
    ///
    /// # Errors
    /// A setting that is missing or cannot be read.
    pub fn new(config: Config, clock: Clock) -> Result<Deployment> {
        deep::start()?;
        let db = database(&config, &clock)?;
        let keyring = Arc::new(keyring(&config)?);
        let operations = Arc::new(Operations::read(&api::document())?);
        let redis = redis(&config, &db)?;
        let limits = limits(&config, &redis);
        let readiness = Arc::new(Readiness::default());
        let keys = Keys::new(db.clone(), keyring.clone(), config.auth.access_token_seconds);
        let origins = Origins::new(&config.cors.origins, &config.server.public_url)?;
        let identity = Identity::new(&config, db.clone(), keys.clone(), keyring.clone(), origins.clone());
        let identity = Data::new(identity);
        let issuer = Issuer::at(&config.server.public_url);
        let mode = config.auth.key_mode;
        let doorkeeper = Data::new(Doorkeeper::new(db.clone(), clock.clone(), mode, keys.clone(), issuer));
        doorkeeper.join(&redis);
        let refusals = Refusals::new(db.clone());
        let public_url = config.server.public_url.trim_end_matches('/').to_owned();
        let front = Front {
            refusals: refusals.clone(),
            acquaintances: Acquaintances::default(),
            gate: db.gate().clone(),
            full: Prebuilt::new(&Full.into(), &public_url),
            limits: limits.clone(),
            origins,
            readiness: readiness.clone(),
            operations: operations.clone(),
            doorkeeper: doorkeeper.clone(),
            clock: clock.clone(),
            public_url,
            trusted_proxies: config.server.trusted_proxies.clone(),
        };
        let stripe = Stripe::new(Some(&config.stripe.api_base)).context("stripe.api_base is no address")?;
        let mailer = Mailer::new(&config.mail)?;
        let health = health(&config, &readiness, (&db, &redis), (&mailer, &stripe));
        Ok(Deployment {
            stripe,
            plans: PlanCache::default(),
            mailer,
            peppers: Peppers::new(db.clone(), keyring.clone()),
            door: Door::new(db.clone(), keyring.clone(), config.stripe.signing_secrets()),
            keyring,
            keys,
            identity,
            cursors: seals(&config)?,
            documents: Arc::new(openapi::in_time(front.public_url.clone())),
            health: Arc::new(health),
            readiness,
            refusals,
            redis,
            limits,
            outbound: Outbound::new(&config)?,
            front: Data::new(front),
            doorkeeper,
            operations,
            db,
            clock,
            config,
        })
    }
}

/// What the process looks at to say how it is.
fn health(
    config: &Config,
    readiness: &Arc<Readiness>,
    (db, redis): (&Db, &Redis),
    (mailer, stripe): (&Mailer, &Stripe),
) -> Health {
    Health {
        readiness: readiness.clone(),
        db: db.clone(),
        redis: redis.clone(),
        mail: mailer.standing().clone(),
        stripe: config.stripe.secret_key.is_some().then(|| stripe.standing().clone()),
        last: Default::default(),
    }
}

/// The two doors to PostgreSQL.
fn database(config: &Config, clock: &Clock) -> Result<Db> {
    let url = |url: &Option<Secret<String>>, name: &str| {
        let url = url.as_ref();
        let url = url.with_context(|| format!("{name} is not set: it is how this process reaches PostgreSQL"))?;
        db::address(name, url)
    };
    let tenant = url(&config.database.tenant_url, "DATABASE_TENANT_URL")?;
    let kernel = url(&config.database.kernel_url, "DATABASE_KERNEL_URL")?;
    let sizes = Sizes {
        tenant: config.database.tenant_connections,
        kernel: config.database.kernel_connections,
    };
    Ok(Db::open(tenant, kernel, sizes, clock.clone()))
}

/// Redis, through which processes wake each other.
fn redis(config: &Config, db: &Db) -> Result<Redis> {
    let url = config.redis_url().map(|url| url.expose().as_str());
    let redis = Redis::open(url, &config.redis.prefix, config.redis.budget())?;
    wake::join(db.wakes(), &redis);
    Ok(redis)
}

/// What is counted of callers.
fn limits(config: &Config, redis: &Redis) -> Limits {
    let limits = Limits::new(config.limits.clone(), redis.clone(), config.server.replicas);
    limits.keep_tidy();
    limits
}

/// What encrypts and decrypts what is stored.
pub(super) fn keyring(config: &Config) -> Result<Keyring> {
    let keks = secret_or_file(&config.secrets.keks, &config.secrets.keks_file).context("secrets.keks_file")?;
    let keks = keks.context(
        "secrets.keks is not set: `id:` and base64 of 32 random bytes, for example `k1:$(openssl rand -base64 32)`",
    )?;
    Keyring::parse(&keks)
}

/// What signs cursors.
fn seals(config: &Config) -> Result<Seals> {
    let signing =
        secret_or_file(&config.secrets.signing, &config.secrets.signing_file).context("secrets.signing_file")?;
    let signing = signing
        .context("secrets.signing is not set: base64 of 32 random bytes, for example from `openssl rand -base64 32`")?;
    Seals::read(&signing)
}

impl Deployment {
    /// Writes the API's description of itself, aside from the threads that serve.
    pub fn write_documents(&self) {
        let documents = self.documents.clone();
        tokio::task::spawn_blocking(move || {
            LazyLock::force(&documents);
        });
    }

    /// Makes what every deployment has: signing keys, the operator's connection to Stripe and, by a job, what the operator sells. Safe to
    /// repeat.
    ///
    /// # Errors
    /// The database cannot be reached, or is not migrated; something is sealed under a KEK that is not among the configured ones; keys that
    /// cannot be opened.
    pub async fn prepare(&self) -> Result<()> {
        self.keys.wait().await.map_err(|error| match error {
            Error::Broken(error) if error.is::<keks::Missing>() => error,
            other => anyhow!("the signing keys cannot be used: {other}"),
        })?;
        let request: Arc<str> = RequestId::new(self.clock.now()).to_string().into();
        let call = Call::internal("boot.prepare", request);
        let live = self.config.stripe.is_live();
        let made = inbox::ensure_platform(&self.db, &call, live).await;
        made.map_err(|error| anyhow!("the operator's workspace could not be prepared: {error}"))
    }
}

/// A secret from its variable, or from the file that another variable names.
///
/// # Errors
/// The file cannot be read.
pub fn secret_or_file(value: &Option<Secret<String>>, file: &Option<String>) -> Result<Option<Secret<String>>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("the secret in {file} cannot be read"))?;
            Ok(Some(Secret::new(text.trim().to_owned())))
        }
        (None, None) => Ok(None),
    }
}
