//! What only an administrator can do, once a cluster and once a database: roles, the database, its schema and extensions, and taking
//! from PUBLIC what PostgreSQL gives it. Safe to repeat, and safe to race.

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use diesel::{PgConnection, QueryDsl, RunQueryDsl, connection::SimpleConnection, dsl, prelude::*};

use super::connection::{address, connect, database_of, identifier, text};
use crate::kernel::secret::Secret;

/// What to make.
pub struct Bootstrap {
    /// The database's name.
    pub database: String,
    /// Passwords of the roles that log in.
    pub passwords: Passwords,
}

/// Passwords by role. `None` leaves what is: roles belong to the whole cluster, and another deployment may use them.
#[derive(Default)]
pub struct Passwords {
    /// Of `guildhall_migrator`.
    pub migrator: Option<Secret<String>>,
    /// Of `app_tenant`.
    pub tenant: Option<Secret<String>>,
    /// Of `app_kernel`.
    pub kernel: Option<Secret<String>>,
    /// Of `guildhall_auditor`.
    pub auditor: Option<Secret<String>>,
}

/// How to reach a database as each role. A password that was not given is not in its URL.
pub struct Urls {
    /// As `guildhall_migrator`: migrations.
    pub migrator: Secret<String>,
    /// As `app_tenant`: inside a workspace.
    pub tenant: Secret<String>,
    /// As `app_kernel`: before one.
    pub kernel: Secret<String>,
    /// As `guildhall_auditor`: reads everything, writes nothing.
    pub auditor: Secret<String>,
}

/// Serialises bootstraps of one cluster: they change rows that its databases share.
const LOCK: i64 = 0x626f_6f74_7374_7261;

/// The extensions that the schema uses. The catalogue gate refuses any other.
const EXTENSIONS: [&str; 1] = ["citext"];

/// The roles that may connect, and those that use what is in the schema.
const CONNECTING: &str =
    "app_tenant, app_kernel, guildhall_migrator, guildhall_auditor, guildhall_backup, guildhall_monitor";
const USING: &str = "app_tenant, app_kernel, guildhall_owner, guildhall_migrator, guildhall_keeper, guildhall_auditor, guildhall_backup";

const ROLES: &str = include_str!("roles.sql");
const INSIDE: &str = include_str!("inside.sql");

/// Makes roles and database, or brings them to what they should be. Answers how to reach the database as each role.
///
/// # Errors
/// An administrator's URL that does not work, or that is not allowed to make roles.
pub fn bootstrap(admin_url: &str, wanted: &Bootstrap) -> Result<Urls> {
    of_its_own(&wanted.database)?;
    let mut server = server(admin_url)?;
    server
        .batch_execute(ROLES)
        .context("roles could not be made: the URL must be of a superuser")?;
    for (role, password) in wanted.passwords.by_role() {
        if let Some(password) = password {
            let verifier = scram_verifier(password.expose())?;
            server
                .batch_execute(&format!("ALTER ROLE {} PASSWORD {}", identifier(role), text(&verifier)))
                .with_context(|| format!("the password of {role} could not be set"))?;
        }
    }
    if !exists(&mut server, &wanted.database)? {
        create(&mut server, &wanted.database, "template0 ENCODING 'UTF8'")?;
    }
    close(&mut server, &wanted.database)?;

    let mut inside = connect(&address(admin_url, &wanted.database, None)?)?;
    // Migrations change the rights on the schema too; two at once would be `tuple concurrently updated`.
    inside.batch_execute(&format!(
        "SET client_min_messages = warning; SET statement_timeout = 0; SELECT pg_advisory_lock({})",
        super::LOCK
    ))?;
    for extension in EXTENSIONS {
        inside
            .batch_execute(&format!(
                "CREATE EXTENSION IF NOT EXISTS {} SCHEMA public",
                identifier(extension)
            ))
            .with_context(|| {
                format!("extension {extension} could not be made: is PostgreSQL's contrib package installed?")
            })?;
    }
    inside
        .batch_execute(INSIDE)
        .context("PUBLIC's rights could not be taken")?;
    inside.batch_execute(&format!(
        "GRANT USAGE ON SCHEMA guildhall, public TO {USING}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {USING}"
    ))?;
    urls(admin_url, &wanted.database, &wanted.passwords)
}

/// Refuses roles that somebody else gave a password: whoever logs in with it would be locked out by a new one.
///
/// # Errors
/// Roles of somebody else, or a server that cannot be reached.
pub fn refuse_others_roles(admin_url: &str, passwords: &Passwords) -> Result<()> {
    let maintenance = maintenance(admin_url)?;
    let mut server = connect(&address(admin_url, maintenance, None)?)?;
    for (role, password) in passwords.by_role() {
        let Some(password) = password else { continue };
        let named = pg_authid::table.filter(pg_authid::rolname.eq(role).and(pg_authid::rolpassword.is_not_null()));
        let has_one: bool = diesel::select(dsl::exists(named)).get_result(&mut server)?;
        let login = (role, Some(password.expose().as_str()));
        if has_one && let Err(error) = connect(&address(admin_url, maintenance, Some(login))?) {
            bail!(
                "this PostgreSQL serves another Guildhall: its role {role} has a password that is not ours, and a new one would lock that \
                 deployment out. Name a server of its own, or, if nobody uses the role any more, ALTER ROLE {role} PASSWORD NULL. PostgreSQL \
                 says: {error:#}"
            );
        }
    }
    Ok(())
}

/// A copy of a database, made in a fraction of a second. Nobody may be connected to the original.
///
/// # Errors
/// A name that is taken, or an original in use.
pub fn clone_database(admin_url: &str, original: &str, name: &str, passwords: &Passwords) -> Result<Urls> {
    of_its_own(name)?;
    let mut server = connect(&address(admin_url, maintenance(admin_url)?, None)?)?;
    create(&mut server, name, &identifier(original))?;
    // Rights on the database itself are not part of the copy.
    close(&mut server, name)?;
    urls(admin_url, name, passwords)
}

/// Removes a database and whoever is connected to it. One that is not there is no error.
///
/// # Errors
/// A server that cannot be reached.
pub fn drop_database(admin_url: &str, name: &str) -> Result<()> {
    let mut server = connect(&address(admin_url, maintenance(admin_url)?, None)?)?;
    server.batch_execute("SET client_min_messages = warning")?;
    // By itself: several statements in one message are one transaction, which this must not be in.
    server.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name)))?;
    Ok(())
}

impl Passwords {
    fn by_role(&self) -> [(&'static str, &Option<Secret<String>>); 4] {
        [
            ("guildhall_migrator", &self.migrator),
            ("app_tenant", &self.tenant),
            ("app_kernel", &self.kernel),
            ("guildhall_auditor", &self.auditor),
        ]
    }
}

fn urls(admin_url: &str, database: &str, passwords: &Passwords) -> Result<Urls> {
    let [migrator, tenant, kernel, auditor] = passwords.by_role().map(|(role, password)| {
        let password = password.as_ref().map(|password| password.expose().as_str());
        address(admin_url, database, Some((role, password))).map(Secret::new)
    });
    Ok(Urls {
        migrator: migrator?,
        tenant: tenant?,
        kernel: kernel?,
        auditor: auditor?,
    })
}

/// Advisory locks belong to a database, so everybody must meet in the same one.
fn maintenance(admin_url: &str) -> Result<&'static str> {
    match connect(&address(admin_url, "postgres", None)?) {
        Ok(_) => Ok("postgres"),
        Err(_) if database_of(admin_url)? == "template1" => Ok("template1"),
        Err(error) => Err(error),
    }
}

/// A connection that bootstraps alone in its cluster, until it closes.
fn server(admin_url: &str) -> Result<PgConnection> {
    let mut server = connect(&address(admin_url, maintenance(admin_url)?, None)?)?;
    server.batch_execute(&format!(
        "SET client_min_messages = warning; SET statement_timeout = 0; SELECT pg_advisory_lock({LOCK})"
    ))?;
    Ok(server)
}

diesel::table! {
    /// Databases of the cluster.
    pg_catalog.pg_database (oid) {
        oid -> Oid,
        datname -> Text,
    }
}

diesel::table! {
    /// Roles of the cluster. Readable by a superuser.
    pg_catalog.pg_authid (oid) {
        oid -> Oid,
        rolname -> Text,
        rolpassword -> Nullable<Text>,
    }
}

fn exists(server: &mut PgConnection, database: &str) -> Result<bool> {
    let named = pg_database::table.filter(pg_database::datname.eq(database));
    Ok(diesel::select(dsl::exists(named)).get_result(server)?)
}

/// Refuses the databases that a server comes with.
fn of_its_own(database: &str) -> Result<()> {
    ensure!(
        !matches!(database, "" | "postgres" | "template0" | "template1"),
        "{database:?} cannot be Guildhall's database: name one of its own"
    );
    Ok(())
}

/// `template` is an identifier already, with what may follow it.
fn create(server: &mut PgConnection, database: &str, template: &str) -> Result<()> {
    let made = server.batch_execute(&format!(
        "CREATE DATABASE {} OWNER guildhall_owner TEMPLATE {template}",
        identifier(database)
    ));
    made.with_context(|| format!("database {database} could not be made"))
}

/// Takes CONNECT, CREATE and TEMP on the database from everybody, and gives CONNECT to those who need it.
fn close(server: &mut PgConnection, database: &str) -> Result<()> {
    let database = identifier(database);
    server.batch_execute(&format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {CONNECTING}"
    ))?;
    Ok(())
}

/// What PostgreSQL stores of a password (RFC 5803), computed here so that no statement, and so no log, holds the password itself.
fn scram_verifier(password: &str) -> Result<String> {
    const ROUNDS: std::num::NonZeroU32 = std::num::NonZeroU32::new(4_096).expect("not zero");
    if password.is_empty() || !password.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("a database password must be printable ASCII without spaces");
    }
    let mut salt = [0; 16];
    rand::fill(&mut salt)?;
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&salted, b"Client Key").as_ref());
    let server = hmac::sign(&salted, b"Server Key");
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    Ok(format!(
        "SCRAM-SHA-256${ROUNDS}:{}${}:{}",
        base64(&salt),
        base64(stored.as_ref()),
        base64(server.as_ref())
    ))
}
