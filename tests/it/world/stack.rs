//! One PostgreSQL and one Redis for all tests of a run, and the databases that worlds borrow.

use std::{
    ops::Deref,
    sync::{Condvar, LazyLock, Mutex, PoisonError},
    thread,
};

use guildhall::app::dev::{Home, redis::Redis};

use crate::database::{Database, configured};

/// A database that nobody else uses until it is given back.
pub struct Borrowed {
    database: Option<Database>,
    /// Whether others use it afterwards.
    back: bool,
}

struct Databases {
    free: Vec<Database>,
    made: usize,
}

/// How many databases there are at most: more tests than this never run at once.
const MOST: usize = 6;

static DATABASES: Mutex<Databases> = Mutex::new(Databases {
    free: Vec::new(),
    made: 0,
});
static GIVEN_BACK: Condvar = Condvar::new();

static REDIS: LazyLock<Option<Redis>> =
    LazyLock::new(|| Redis::start(&Home::find().expect("a place for our files")).expect("a Redis that starts"));

/// Where the tests' Redis is: the one that `REDIS_URL` (`redis.url`) names, else one of this run. None, if there is none or `REDIS=off`.
pub fn redis_url() -> Option<String> {
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| Some(configured().redis.url?.expose().clone()));
    match (std::env::var("REDIS").as_deref(), NAMED.as_deref()) {
        (Ok("off"), _) | (_, Some("off")) => None,
        (_, Some(named)) => Some(named.to_owned()),
        (_, None) => REDIS.as_ref().map(|redis| redis.url().expose().clone()),
    }
}

/// Waits for a database.
pub fn borrow() -> Borrowed {
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(database) = databases.free.pop() {
            return Borrowed::lent(database);
        }
        if databases.made < MOST {
            databases.made += 1;
            drop(databases);
            return Borrowed::lent(Database::migrated());
        }
        databases = GIVEN_BACK.wait(databases).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Borrowed {
    fn lent(database: Database) -> Borrowed {
        Borrowed {
            database: Some(database),
            back: true,
        }
    }

    /// A database that is nobody else's, before or after.
    pub fn apart(database: Database) -> Borrowed {
        Borrowed {
            database: Some(database),
            back: false,
        }
    }
}

impl Deref for Borrowed {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.database.as_ref().expect("it is given back only once")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let database = self.database.take().expect("it is given back only once");
        if !self.back {
            return;
        }
        let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
        if thread::panicking() {
            // Whatever a failed test left behind is nobody else's trouble: the database goes.
            databases.made -= 1;
        } else {
            databases.free.push(database);
        }
        GIVEN_BACK.notify_one();
    }
}
