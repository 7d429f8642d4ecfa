//! The PostgreSQL of this run, and databases on it. `DATABASE_URL` (an administrator's; `database.admin_url`) names a server; without it one
//! is started, and ends with this process.

use std::{
    fmt::Write,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_lc_rs::digest;
use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection, dsl::sql, sql_types};
use guildhall::{
    app::{
        dev::postgres::Postgres,
        migrate::{self, Bootstrap, Passwords, Urls},
    },
    kernel::{
        config::{Config, Environment},
        secret::Secret,
    },
};

/// The server that every database of this run is on.
pub struct Server {
    admin: String,
    /// Whether it ends with us.
    own: bool,
    _postgres: Option<Postgres>,
}

/// What `config/*.toml` and the variables of this run say.
pub fn configured() -> Config {
    Config::read(Environment::Development).expect("a sound configuration")
}

/// The server. The first call may take some seconds to start it.
pub fn server() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| match configured().database.admin_url {
        Some(admin) => {
            let server = Server {
                admin: admin.expose().clone(),
                own: false,
                _postgres: None,
            };
            let checked = migrate::refuse_others_roles(&server.admin, &server.passwords());
            checked.expect("a server that serves nobody");
            server
        }
        None => {
            let postgres =
                Postgres::throwaway().expect("a PostgreSQL can be started; its message says what is missing");
            Server {
                admin: postgres.admin_url().expose().clone(),
                own: true,
                _postgres: Some(postgres),
            }
        }
    });
    &SERVER
}

impl Server {
    /// An administrator's URL, in the maintenance database.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// What the roles log in with. It follows from the administrator's URL: two runs on one server agree, and nobody else knows.
    pub fn passwords(&self) -> Passwords {
        let password = |role: &str| {
            let digest = digest::digest(
                &digest::SHA256,
                format!("{role} for tests at {}", self.admin).as_bytes(),
            );
            let password = digest.as_ref().iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a String takes everything");
                text
            });
            Some(Secret::new(password))
        };
        Passwords {
            migrator: password("migrator"),
            tenant: password("tenant"),
            kernel: password("kernel"),
            auditor: password("auditor"),
        }
    }
}

/// A name that no other database of this server has.
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "guildhall_test_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::SeqCst)
    )
}

/// A database of a test's own, removed with this value.
pub struct Database {
    /// Its name.
    pub name: String,
    /// How to reach it.
    pub urls: Urls,
    _template: Option<Arc<Template>>,
}

/// A migrated database that others are copied from.
struct Template {
    name: String,
}

impl Template {
    /// Shared by whoever needs it now. On our own server it stays for good; on another's it goes with its last user.
    fn shared() -> Arc<Template> {
        static SHARED: Mutex<Weak<Template>> = Mutex::new(Weak::new());
        static KEPT: OnceLock<Arc<Template>> = OnceLock::new();
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(template) = shared.upgrade() {
            return template;
        }
        let database = Database::empty();
        migrate::up(database.urls.migrator.expose()).expect("the migrations run");
        let template = Arc::new(Template {
            name: database.name.clone(),
        });
        // It is the template's to remove now.
        std::mem::forget(database);
        *shared = Arc::downgrade(&template);
        if server().own {
            KEPT.get_or_init(|| template.clone());
        }
        template
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        migrate::drop_database(server().admin(), &self.name).expect("the template can be removed");
    }
}

impl Database {
    /// A migrated database, copied in a fraction of a second.
    pub fn migrated() -> Database {
        let template = Template::shared();
        let name = fresh_name();
        let urls = migrate::clone_database(server().admin(), &template.name, &name, &server().passwords())
            .expect("nobody is connected to the template");
        Database {
            name,
            urls,
            _template: Some(template),
        }
    }

    /// A database that is bootstrapped and has no tables.
    pub fn empty() -> Database {
        let name = fresh_name();
        let wanted = Bootstrap {
            database: name.clone(),
            passwords: server().passwords(),
        };
        let urls =
            migrate::bootstrap(server().admin(), &wanted).expect("the administrator can make roles and databases");
        Database {
            name,
            urls,
            _template: None,
        }
    }

    /// An administrator's URL, in this database.
    pub fn admin_url(&self) -> String {
        let mut url = url::Url::parse(server().admin()).expect("the administrator's URL is a URL");
        url.set_path(&self.name);
        url.into()
    }

    /// The administrator in this database, with our search path.
    pub fn admin(&self) -> PgConnection {
        let mut conn = connect(&self.admin_url());
        run(
            &mut conn,
            "SET search_path = guildhall, public; SET client_min_messages = warning",
        );
        conn
    }

    /// A connection as `app_tenant`, past the doors.
    pub fn tenant(&self) -> PgConnection {
        walled(connect(self.urls.tenant.expose()), "app_tenant")
    }

    /// A connection as `app_kernel`, past the doors.
    pub fn kernel(&self) -> PgConnection {
        walled(connect(self.urls.kernel.expose()), "app_kernel")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = migrate::drop_database(server().admin(), &self.name) {
            eprintln!("{} stays behind: {error:#}", self.name);
        }
    }
}

pub fn connect(url: &str) -> PgConnection {
    #[expect(clippy::disallowed_methods, reason = "tests of the database go past the doors")]
    let conn = PgConnection::establish(url);
    conn.expect("the server of this run can be reached")
}

/// The connection, if row-level security holds whoever it is: with another, every test of isolation would pass.
fn walled(mut conn: PgConnection, role: &str) -> PgConnection {
    assert_eq!(text(&mut conn, "current_user").as_deref(), Some(role));
    let held = "SELECT coalesce(bool_and(row_security_active(oid)), true) FROM pg_class WHERE relrowsecurity";
    assert_eq!(
        text(&mut conn, held).as_deref(),
        Some("true"),
        "{role} is held by nothing"
    );
    conn
}

#[test]
fn a_connection_that_row_level_security_does_not_hold_is_no_ground_for_tests() {
    let database = Database::migrated();
    drop((database.tenant(), database.kernel()));
    let past_the_wall = [
        (database.admin_url(), "app_tenant"),
        (database.urls.migrator.expose().clone(), "guildhall_migrator"),
        (database.urls.kernel.expose().clone(), "app_tenant"),
    ];
    for (url, role) in past_the_wall {
        let taken = std::panic::catch_unwind(|| walled(connect(&url), role));
        assert!(taken.is_err(), "{role} was taken");
    }
}

/// Runs statements that must succeed.
pub fn run(conn: &mut PgConnection, statements: &str) {
    if let Err(error) = conn.batch_execute(statements) {
        panic!("{error}\n{statements}");
    }
}

/// What the database says to statements that must fail.
pub fn refused(conn: &mut PgConnection, statements: &str) -> String {
    match conn.batch_execute(statements) {
        Ok(()) => panic!("this should have been refused:\n{statements}"),
        Err(error) => error.to_string(),
    }
}

/// One text, from an expression.
pub fn text(conn: &mut PgConnection, expression: &str) -> Option<String> {
    let selected = diesel::select(sql::<sql_types::Nullable<sql_types::Text>>(&format!(
        "({expression})::text"
    )));
    selected
        .get_result(conn)
        .unwrap_or_else(|error| panic!("{error}\n{expression}"))
}

/// One number, from an expression.
pub fn number(conn: &mut PgConnection, expression: &str) -> i64 {
    let selected = diesel::select(sql::<sql_types::BigInt>(&format!("({expression})::bigint")));
    selected
        .get_result(conn)
        .unwrap_or_else(|error| panic!("{error}\n{expression}"))
}

/// Begins a transaction inside a workspace, as the tenant door does.
pub fn enter(conn: &mut PgConnection, workspace: &str) {
    run(
        conn,
        &format!(
            "BEGIN; SELECT set_config('app.workspace', '{workspace}', true), set_config('app.actor', 'system:', true), \
             set_config('app.reseller', 'none', true), set_config('app.customer', 'none', true)"
        ),
    );
}

/// Tenant zero.
pub const PLATFORM: &str = "00000000-0000-7000-8000-000000000001";
