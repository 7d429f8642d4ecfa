//! What a development stack consists of before anything is served: servers, a migrated database, a Stripe, a configuration.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, TcpListener},
};

use anyhow::{Context, Result, bail};
use url::Url;

use super::{console, home::Home, postgres::Postgres, redis::Redis, secrets::Secrets};
use crate::{
    app::migrate::{self, Bootstrap, Passwords},
    kernel::{
        config::{Config, Environment, variables},
        http::outbound,
        secret::Secret,
    },
};

/// The database of a stack on a server that was given without one.
const DATABASE: &str = "guildhall";

/// What is said where there is none.
const NO_REDIS: &str = "no Redis here: limits and hints stay in this process";

/// Everything that serving needs. The servers end when it is dropped.
pub(super) struct Stack {
    pub(super) config: Config,
    /// How an administrator reaches the database, for `--status`.
    pub(super) database: Secret<String>,
    /// Where Redis is, if there is one.
    pub(super) redis_url: Option<Secret<String>>,
    /// Of the API.
    pub(super) socket: TcpListener,
    /// Of metrics and detailed readiness.
    pub(super) admin_socket: TcpListener,
    /// Where the Stripe stub will be, unless a real account is configured.
    pub(super) stripe_socket: Option<TcpListener>,
    _servers: Servers,
}

struct Servers {
    _redis: Option<Redis>,
    _postgres: Option<Postgres>,
}

/// The variables of its shell. An empty one is none: it names no server and no account.
///
/// # Errors
/// As [`variables`].
pub(super) fn given() -> Result<HashMap<String, String>> {
    let mut given = variables()?;
    given.retain(|_, value| !value.is_empty());
    Ok(given)
}

/// Starts the servers and migrates the database. Those that the configuration names (`DATABASE_URL`, `REDIS_URL`) stand in their place.
pub(super) fn prepare(home: &Home, secrets: &Secrets, port: Option<u16>) -> Result<Stack> {
    let mut variables = given()?;
    let named = Config::of(Environment::Development, variables.clone())?;
    let (admin_url, postgres) = database_server(home, named.database.admin_url.clone())?;
    let (redis_url, redis_process) = redis_server(home, named.redis.url.clone())?;
    let urls = console::step("preparing the database", || {
        migrated(&admin_url, secrets, postgres.is_some())
    })?;

    let mut database = Url::parse(admin_url.expose())?;
    database.set_path(&database_of(&admin_url)?);
    let database = database.to_string();

    tell_of_others(&named, &urls, secrets)?;
    variables.extend(own(&urls, secrets));
    let redis = redis_url.as_ref().map_or("off", |url| url.expose().as_str());
    variables.insert("REDIS_URL".into(), redis.to_owned());
    variables
        .entry("GUILDHALL__LOG__LEVEL".into())
        .or_insert_with(|| "info,actix_server=warn".into());
    let stripe_socket = match named.stripe.secret_key {
        Some(_) => None,
        None => stripe(&mut variables, secrets)?,
    };

    let wanted = Config::from_variables(Environment::Development, variables.clone())?;
    let given = port.or(variables.get("GUILDHALL__SERVER__PORT").map(|_| wanted.server.port));
    let socket = listen(wanted.server.host, wanted.server.port, given)?;
    let admin_given = variables
        .get("GUILDHALL__SERVER__ADMIN_PORT")
        .map(|_| wanted.server.admin_port);
    let admin_socket = listen(wanted.server.admin_host, wanted.server.admin_port, admin_given)?;
    variables.insert(
        "GUILDHALL__SERVER__PORT".into(),
        socket.local_addr()?.port().to_string(),
    );
    variables.insert(
        "GUILDHALL__SERVER__ADMIN_PORT".into(),
        admin_socket.local_addr()?.port().to_string(),
    );
    if !outbound::is_open(socket.local_addr()?.port()) {
        console::note(
            "no webhook is ever sent to this port, so the hook catcher hears nothing: --port names another one",
        );
    }
    variables.insert("GUILDHALL__SERVER__PUBLIC_URL".into(), address(&socket)?);
    Ok(Stack {
        config: Config::from_variables(Environment::Development, variables)?,
        database: Secret::new(database),
        redis_url,
        socket,
        admin_socket,
        stripe_socket,
        _servers: Servers {
            _redis: redis_process,
            _postgres: postgres,
        },
    })
}

/// What only this stack can know, whatever else its shell does.
fn own(urls: &migrate::Urls, secrets: &Secrets) -> [(String, String); 5] {
    [
        ("DATABASE_TENANT_URL", urls.tenant.expose()),
        ("DATABASE_KERNEL_URL", urls.kernel.expose()),
        ("DATABASE_MIGRATOR_URL", urls.migrator.expose()),
        ("GUILDHALL__SECRETS__KEKS", &secrets.keks),
        ("GUILDHALL__SECRETS__SIGNING", &secrets.signing),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
}

/// A deployment's doors, secrets and address lead to that deployment, and are not used: whoever named them is told.
fn tell_of_others(named: &Config, urls: &migrate::Urls, own: &Secrets) -> Result<()> {
    let (doors, secrets) = (&named.database, &named.secrets);
    let other = |given: &Option<Secret<String>>, own: &str| given.as_ref().is_some_and(|given| given.expose() != own);
    let usual = Config::from_variables(Environment::Development, HashMap::new())?;
    for (key, is_other) in [
        ("database.tenant_url", other(&doors.tenant_url, urls.tenant.expose())),
        ("database.kernel_url", other(&doors.kernel_url, urls.kernel.expose())),
        (
            "database.migrator_url",
            other(&doors.migrator_url, urls.migrator.expose()),
        ),
        ("secrets.keks", other(&secrets.keks, &own.keks)),
        ("secrets.keks_file", secrets.keks_file.is_some()),
        ("secrets.signing", other(&secrets.signing, &own.signing)),
        ("secrets.signing_file", secrets.signing_file.is_some()),
        ("server.public_url", named.server.public_url != usual.server.public_url),
    ] {
        if is_other {
            console::note(&format!("{key} is not used here: the stack has its own"));
        }
    }
    Ok(())
}

fn database_server(home: &Home, named: Option<Secret<String>>) -> Result<(Secret<String>, Option<Postgres>)> {
    if let Some(url) = named {
        console::note("using the PostgreSQL of DATABASE_URL (database.admin_url)");
        return Ok((url, None));
    }
    let postgres = console::step("starting PostgreSQL", || {
        let postgres = Postgres::kept(home)?;
        let outcome = format!("PostgreSQL {} on port {}", postgres.version(), postgres.port());
        Ok((postgres, outcome))
    })?;
    Ok((postgres.admin_url(), Some(postgres)))
}

fn redis_server(home: &Home, named: Option<Secret<String>>) -> Result<(Option<Secret<String>>, Option<Redis>)> {
    if let Some(url) = named {
        if url.expose() == "off" {
            console::note(&format!("REDIS_URL is off: {NO_REDIS}"));
            return Ok((None, None));
        }
        console::note("using the Redis of REDIS_URL (redis.url)");
        return Ok((Some(url), None));
    }
    let redis = console::step("starting Redis", || {
        let redis = Redis::start(home)?;
        let outcome = match &redis {
            Some(redis) => format!("Redis on port {}", redis.port()),
            None => NO_REDIS.to_owned(),
        };
        Ok((redis, outcome))
    })?;
    Ok((redis.as_ref().map(Redis::url), redis))
}

/// Makes roles and database where they are missing, and brings the schema to this binary's.
fn migrated(admin_url: &Secret<String>, secrets: &Secrets, is_own: bool) -> Result<(migrate::Urls, String)> {
    let password = || Some(Secret::new(secrets.database.clone()));
    let passwords = Passwords {
        migrator: password(),
        tenant: password(),
        kernel: password(),
        auditor: password(),
    };
    let wanted = Bootstrap {
        database: database_of(admin_url)?,
        passwords,
    };
    let ours = migrate::refuse_others_roles(admin_url.expose(), &wanted.passwords);
    if is_own {
        ours.context("secrets.json is not the one that this stack's PostgreSQL was made with; `guildhall dev --reset` starts over")?;
    } else {
        ours?;
    }
    let urls = migrate::bootstrap(admin_url.expose(), &wanted)?;
    let ran = migrate::up(urls.migrator.expose())?;
    let outcome = match ran.len() {
        0 => "database up to date".to_owned(),
        count => format!("database migrated, {count} migrations"),
    };
    Ok((urls, outcome))
}

/// The database that a URL names, unless it is one that every server has.
fn database_of(admin_url: &Secret<String>) -> Result<String> {
    let url = Url::parse(admin_url.expose())
        .context("DATABASE_URL (database.admin_url) is no URL; expected postgres://user:password@host:5432/database")?;
    Ok(match url.path().trim_start_matches('/') {
        "" | "postgres" | "template1" => DATABASE.to_owned(),
        named => named.to_owned(),
    })
}

/// Points the configuration, which names no account, to a Stripe of our own.
fn stripe(variables: &mut HashMap<String, String>, secrets: &Secrets) -> Result<Option<TcpListener>> {
    if cfg!(not(feature = "stripe-stub")) {
        return Ok(None);
    }
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    variables.insert("GUILDHALL__STRIPE__API_BASE".into(), address(&socket)?);
    #[cfg(feature = "stripe-stub")]
    variables.insert("STRIPE_SECRET_KEY".into(), super::stripe::KEY.into());
    variables.insert("STRIPE_WEBHOOK_SECRET".into(), secrets.stripe_webhook.clone());
    Ok(Some(socket))
}

/// Listens on the port that was asked for, or on the usual one and, where that is taken, on another.
fn listen(host: IpAddr, usual: u16, given: Option<u16>) -> Result<TcpListener> {
    if let Some(port) = given {
        return TcpListener::bind((host, port)).with_context(|| format!("port {port} of {host} cannot be had"));
    }
    for port in (usual..usual.saturating_add(20)).chain([0]) {
        if let Ok(socket) = TcpListener::bind((host, port)) {
            if port != usual {
                console::note(&format!("port {usual} is taken: using {}", socket.local_addr()?.port()));
            }
            return Ok(socket);
        }
    }
    bail!("no port of {host} can be had")
}

/// How a browser on this machine reaches a socket.
pub(super) fn address(socket: &TcpListener) -> Result<String> {
    let mut address = socket.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over_unless_it_was_asked_for() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (host, port) = (
            IpAddr::from(Ipv4Addr::LOCALHOST),
            taken.local_addr().expect("an address").port(),
        );
        let other = listen(host, port, None).expect("another");
        assert_ne!(other.local_addr().expect("an address").port(), port);
        let refusal = listen(host, port, Some(port)).expect_err("taken").to_string();
        assert!(refusal.contains(&port.to_string()), "{refusal}");
    }

    #[test]
    fn a_database_of_every_server_is_not_ours() {
        let of = |url: &str| database_of(&Secret::new(url.to_owned())).expect("a URL");
        assert_eq!(of("postgres://root@db:6000/postgres"), "guildhall");
        assert_eq!(of("postgres://root@db"), "guildhall");
        assert_eq!(of("postgres://root@db/mine?sslmode=require"), "mine");
    }
}
