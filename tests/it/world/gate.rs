//! Lets what happens in the database at the same time meet where it is to meet.

use std::{cell::Cell, time::Duration};

use diesel::{PgConnection, connection::SimpleConnection};
use futures_util::future;

use super::{
    Answer, World,
    patience::{until, within},
};

/// Something in the database that is undone when this goes, also where a test fails meanwhile: the database is another world's afterwards.
pub struct Undo<'w> {
    world: &'w World,
    sql: String,
}

impl World {
    /// Does one thing as a superuser, and the other when what it answers goes.
    pub fn meanwhile(&self, done: &str, undone: &str) -> Undo<'_> {
        self.admin(done);
        Undo {
            world: self,
            sql: undone.to_owned(),
        }
    }
}

impl World {
    /// Lets the database have no time for so many who change a row of a table into one that is so; it is called `new`.
    pub fn refuses(&self, times: u32, table: &str, so: &str) -> Undo<'_> {
        self.meanwhile(
            &format!(
                "CREATE SEQUENCE guildhall.refusals;
                 CREATE FUNCTION guildhall.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                   IF nextval('guildhall.refusals') <= {times} THEN
                     RAISE lock_not_available USING MESSAGE = 'canceling statement due to lock timeout'; END IF; RETURN NULL; END $$;
                 CREATE TRIGGER refuse AFTER UPDATE ON guildhall.{table} FOR EACH ROW WHEN ({so}) EXECUTE FUNCTION guildhall.refuse()"
            ),
            &format!(
                "DROP TRIGGER refuse ON guildhall.{table}; DROP FUNCTION guildhall.refuse(); DROP SEQUENCE guildhall.refusals"
            ),
        )
    }

    /// Whether as many were refused as it had no time for.
    pub fn has_refused(&self, times: i64) -> bool {
        self.count("SELECT last_value AS count FROM guildhall.refusals") > times
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // Whoever still works with it has to end first; for ever nobody waits.
        let sql = format!("SET lock_timeout = '20s'; {}", self.sql);
        let undone = self.world.superuser().batch_execute(&sql);
        assert!(undone.is_ok() || std::thread::panicking(), "{undone:?}: {}", self.sql);
    }
}

/// How many wait at the gate of this database.
const AT_THE_GATE: &str =
    "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Lets whoever writes to a table wait in the midst of their transaction until the gate is opened.
pub struct Gate<'w> {
    world: &'w World,
    held: PgConnection,
    trigger: Undo<'w>,
}

impl<'w> Gate<'w> {
    /// Whoever inserts a row waits.
    pub fn on_insert(world: &'w World, table: &str) -> Gate<'w> {
        Gate::close(world, table, "INSERT", "true")
    }

    /// Whoever deletes a row waits.
    pub fn on_delete(world: &'w World, table: &str) -> Gate<'w> {
        Gate::close(world, table, "DELETE", "true")
    }

    /// Whoever changes a row into one that is so waits; it is called `new`.
    pub fn on_update(world: &'w World, table: &str, so: &str) -> Gate<'w> {
        Gate::close(world, table, "UPDATE", so)
    }

    fn close(world: &'w World, table: &str, of: &str, so: &str) -> Gate<'w> {
        let trigger = world.meanwhile(
            &format!(
                "CREATE FUNCTION guildhall.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(4712); RETURN NULL; END $$;
                 CREATE TRIGGER wait AFTER {of} ON guildhall.{table} FOR EACH ROW WHEN ({so}) EXECUTE FUNCTION guildhall.wait()"
            ),
            &format!("DROP TRIGGER wait ON guildhall.{table}; DROP FUNCTION guildhall.wait()"),
        );
        let mut held = world.superuser();
        held.batch_execute("SELECT pg_advisory_lock(4712)").expect("the gate");
        Gate { world, held, trigger }
    }

    /// `one` waits at the gate; `other` begins then, and the gate is opened once it is done, or its statement that waits for a lock begins
    /// like this.
    pub async fn meet(self, one: impl Future<Output = ()>, other: impl Future<Output = ()>, waits_with: &str) {
        let Gate { world, held, trigger } = self;
        let done = Cell::new(false);
        let blocked = format!(
            "SELECT count(*) AS count FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0
             AND datname = current_database() AND query LIKE '{waits_with}%'"
        );
        let other = async {
            until("whoever waits at the gate", async || world.count(AT_THE_GATE) > 0).await;
            let opens = async {
                until("the other", async || done.get() || world.count(&blocked) > 0).await;
                drop(held);
            };
            let other = async {
                other.await;
                done.set(true);
            };
            future::join(opens, other).await;
        };
        future::join(one, other).await;
        drop(trigger);
    }
}

/// Asks until there is an answer that is none of a lock's that was waited for in vain: a slow machine takes longer than the second that it is,
/// and less than a minute.
pub async fn insist<A: IntoFuture<Output = Answer>>(ask: impl Fn() -> A) -> Answer {
    let mut last = None;
    within(Duration::from_secs(60), "another answer than 503", async || {
        last.insert(ask().await).status != 503
    })
    .await;
    last.expect("it was asked")
}
