//! One PostgreSQL and one Redis for all tests of a run, and the databases that worlds borrow.

use std::{
    sync::{Condvar, LazyLock, Mutex, PoisonError},
    thread,
};

use guildhall::{
    app::{
        dev::{Home, postgres::Postgres, redis::Redis},
        migrate::{self, Bootstrap, Passwords},
    },
    kernel::secret::Secret,
};

/// A database that nobody else uses until it is given back.
pub struct Database {
    pub admin_url: String,
    pub tenant_url: String,
    pub kernel_url: String,
    slot: Option<Slot>,
}

struct Slot {
    name: String,
}

struct Stack {
    /// Ends with the process, however that ends.
    _postgres: Option<Postgres>,
    redis: Option<Redis>,
    admin_url: String,
    template: String,
    databases: Mutex<Databases>,
    given_back: Condvar,
}

#[derive(Default)]
struct Databases {
    free: Vec<Slot>,
    made: usize,
}

/// How many databases there are at most: more tests than this never run at once.
const MOST: usize = 6;

static STACK: LazyLock<Stack> = LazyLock::new(start);

fn passwords() -> Passwords {
    let password = || Some(Secret::new("only-for-tests".to_owned()));
    Passwords {
        migrator: password(),
        tenant: password(),
        kernel: password(),
        auditor: password(),
    }
}

fn start() -> Stack {
    let given = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let postgres = given
        .is_none()
        .then(|| Postgres::throwaway().expect("a PostgreSQL for the tests"));
    let admin_url = given.unwrap_or_else(|| postgres.as_ref().expect("just started").tcp_url().expose().clone());
    let redis = match std::env::var("REDIS").as_deref() {
        Ok("off") => None,
        _ => Redis::start(&Home::find().expect("a place for our files")).expect("a Redis that starts"),
    };
    let template = format!("guildhall_template_{}", std::process::id());
    let urls = migrate::bootstrap(
        &admin_url,
        &Bootstrap {
            database: template.clone(),
            passwords: passwords(),
        },
    )
    .expect("roles and a database");
    migrate::up(urls.migrator.expose()).expect("migrations that run");
    Stack {
        _postgres: postgres,
        redis,
        admin_url,
        template,
        databases: Mutex::default(),
        given_back: Condvar::new(),
    }
}

/// Where the tests' Redis is, unless there is none or `REDIS=off`.
pub fn redis_url() -> Option<String> {
    STACK.redis.as_ref().map(|redis| redis.url().expose().clone())
}

/// Waits for a database.
pub fn borrow() -> Database {
    let mut databases = STACK.databases.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = loop {
        if let Some(slot) = databases.free.pop() {
            break slot;
        }
        if databases.made < MOST {
            databases.made += 1;
            let name = format!("guildhall_test_{}_{}", std::process::id(), databases.made);
            migrate::clone_database(&STACK.admin_url, &STACK.template, &name, &passwords())
                .expect("a copy of the template");
            break Slot { name };
        }
        databases = STACK.given_back.wait(databases).unwrap_or_else(PoisonError::into_inner);
    };
    drop(databases);
    let url = |role: &str| {
        let mut url = reqwest::Url::parse(&STACK.admin_url).expect("a URL");
        url.set_path(&slot.name);
        url.set_username(role).expect("a role");
        url.set_password(Some("only-for-tests")).expect("a password");
        url.to_string()
    };
    let mut admin = reqwest::Url::parse(&STACK.admin_url).expect("a URL");
    admin.set_path(&slot.name);
    Database {
        admin_url: admin.to_string(),
        tenant_url: url("app_tenant"),
        kernel_url: url("app_kernel"),
        slot: Some(slot),
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let slot = self.slot.take().expect("given back once");
        let mut databases = STACK.databases.lock().unwrap_or_else(PoisonError::into_inner);
        if thread::panicking() {
            // Whatever a failed test left behind is nobody else's trouble.
            let _ = migrate::drop_database(&STACK.admin_url, &slot.name);
            databases.made -= 1;
        } else {
            databases.free.push(slot);
        }
        STACK.given_back.notify_one();
    }
}
