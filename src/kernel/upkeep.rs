//! What keeps the database as small and as ready as it should be: partitions made ahead, and rows removed whose time is over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, dsl::not};
use uuid::Uuid;

use crate::kernel::{
    access::Call,
    db::{Db, Kernel},
    error::Result,
    jobs::Runner,
    metrics,
    schema::{
        credential_throttles, entitlement_counters, external_denied_sids, idempotency_keys, mails, oauth_flows,
        one_time_tokens, outbox_dead, pending_registrations, security_events, sessions, user_devices,
        user_idempotency_keys, workspace_slugs,
    },
};

/// Rows that one transaction removes at most: nobody waits long behind it.
const BATCH: i64 = 1_000;

/// Does both in this process.
pub fn register(runner: &mut Runner, db: &Db) {
    let (partitions_of, strays_of, sweeps_of) = (db.clone(), db.clone(), db.clone());
    runner.every(Duration::from_secs(6 * 3_600), "upkeep.partitions", move || {
        partitions(partitions_of.clone())
    });
    runner.every(Duration::from_secs(60), "upkeep.strays", move || {
        let db = strays_of.clone();
        async move { measure(&db).await }
    });
    runner.every(Duration::from_secs(3_600), "upkeep.sweep", move || {
        let db = sweeps_of.clone();
        async move { sweep(&db).await.map(drop) }
    });
}

diesel::define_sql_function! {
    /// Makes the partitions of this month and the next three, and drops those that are too old. Answers how many it made.
    fn partitions_keep(parent: diesel::sql_types::Text) -> diesel::sql_types::Integer;
}

diesel::define_sql_function! {
    /// How many rows lie in the default partition of a table.
    fn stray_rows(parent: diesel::sql_types::Text) -> diesel::sql_types::BigInt;
}

/// The tables that grow by time.
const PARTITIONED: [&str; 4] = ["outbox", "audit_log", "webhook_deliveries", "webhook_attempts"];

/// Makes partitions ahead, each table in a transaction of its own: it locks the table for a moment.
///
/// # Errors
/// The database's.
pub async fn partitions(db: Db) -> Result<()> {
    for table in PARTITIONED {
        let made: i32 = db
            .unscoped(&call("upkeep.partitions"), move |tx| {
                Ok(diesel::select(partitions_keep(table)).get_result(tx.conn())?)
            })
            .await?;
        if made > 0 {
            tracing::info!(table, made, "partitions made");
        }
    }
    measure(&db).await
}

async fn measure(db: &Db) -> Result<()> {
    for (table, rows) in strays(db).await? {
        metrics::STRAY_ROWS.with_label_values(&[table]).set(rows);
    }
    Ok(())
}

/// By table: the rows that lie in its default partition because there was no other when they came. One is a worker's fault that made none
/// ahead. A month's are moved when its partition is made; those of months that are over stay there, and are not dropped with age.
///
/// # Errors
/// The database's.
pub async fn strays(db: &Db) -> Result<[(&'static str, i64); 4]> {
    db.unscoped(&call("upkeep.strays"), |tx| {
        let mut strays = PARTITIONED.map(|table| (table, 0));
        for (table, rows) in &mut strays {
            *rows = diesel::select(stray_rows(*table)).get_result(tx.conn())?;
        }
        Ok(strays)
    })
    .await
}

/// Removes a batch of rows whose time was over before the given instant, and answers how many.
type Sweep = fn(&mut Kernel<'_>, DateTime<Utc>) -> Result<usize>;

/// By table: how long a row is kept past its end, in hours, and what removes it.
const SWEEPS: [(&str, i64, Sweep); 14] = [
    ("pending_registrations", 0, registrations),
    ("one_time_tokens", 24, tokens),
    ("oauth_flows", 1, flows),
    ("user_devices", 0, devices),
    ("sessions", 72, ended_sessions),
    ("credential_throttles", 24, throttles),
    ("external_denied_sids", 0, denied),
    ("user_idempotency_keys", 0, personal_answers),
    ("idempotency_keys", 0, answers),
    ("workspace_slugs", 0, former_slugs),
    // As long as the event itself: what cannot be looked at any more cannot be mended.
    ("outbox_dead", 90 * 24, dead_events),
    // A mail holds an address; a year tells an owner enough of their account.
    ("mails", 90 * 24, mails),
    ("security_events", 366 * 24, security_events),
    // Thirteen months: last year's month beside this year's.
    ("entitlement_counters", 13 * 31 * 24, counters),
];

/// Removes what is over, in batches, and answers how many rows that were.
///
/// # Errors
/// The database's; what was removed by then stays removed.
pub async fn sweep(db: &Db) -> Result<usize> {
    let mut all = 0;
    for (table, hours, sweep) in SWEEPS {
        loop {
            let removed = db
                .unscoped(&call("upkeep.sweep"), move |tx| {
                    let before = tx.now()? - chrono::Duration::hours(hours);
                    sweep(tx, before)
                })
                .await?;
            all += removed;
            if removed < BATCH as usize {
                break;
            }
            tracing::debug!(table, removed, "swept");
        }
    }
    Ok(all)
}

fn call(operation: &'static str) -> Call {
    Call::internal(operation, operation.into())
}

/// The rows of the batch are locked first, and those that somebody holds are left for the next time.
macro_rules! by_id {
    ($sweep:ident, $table:ident, $ends:ident) => {
        fn $sweep(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
            let doomed: Vec<Uuid> = $table::table
                .filter($table::$ends.lt(before))
                .order($table::$ends)
                .limit(BATCH)
                .select($table::id)
                .for_update()
                .skip_locked()
                .load(tx.conn())?;
            Ok(diesel::delete($table::table.filter($table::id.eq_any(doomed))).execute(tx.conn())?)
        }
    };
}

by_id!(registrations, pending_registrations, expires_at);
by_id!(tokens, one_time_tokens, expires_at);
by_id!(flows, oauth_flows, expires_at);
by_id!(devices, user_devices, expires_at);
by_id!(security_events, security_events, created_at);

/// A session is over when it was revoked, or at its greatest age at the latest. One that was merely forgotten is dead long before, but stays
/// until then: an index on its idle end would make every refresh dearer.
fn ended_sessions(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
    use diesel::BoolExpressionMethods;
    let over = sessions::not_after.lt(before).or(sessions::revoked_at.lt(before));
    let doomed: Vec<Uuid> = sessions::table
        .filter(over)
        .limit(BATCH)
        .select(sessions::id)
        .for_update()
        .skip_locked()
        .load(tx.conn())?;
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(doomed))).execute(tx.conn())?)
}

/// Tables without an id of their own: up to the instant at which the batch is full.
macro_rules! by_time {
    ($sweep:ident, $table:ident, $ends:ident) => {
        fn $sweep(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
            let full: Option<DateTime<Utc>> = $table::table
                .filter($table::$ends.lt(before))
                .order($table::$ends)
                .select($table::$ends)
                .offset(BATCH - 1)
                .first(tx.conn())
                .optional()?;
            let rows = $table::table.filter($table::$ends.le(full.unwrap_or(before)));
            Ok(diesel::delete(rows).execute(tx.conn())?)
        }
    };
}

by_time!(throttles, credential_throttles, last_at);
by_time!(denied, external_denied_sids, until);
by_time!(personal_answers, user_idempotency_keys, expires_at);
by_time!(answers, idempotency_keys, expires_at);
by_time!(dead_events, outbox_dead, died_at);

/// What leads nowhere any more is anybody's. Workspaces give up few names.
fn former_slugs(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
    Ok(diesel::delete(workspace_slugs::table.filter(workspace_slugs::until.lt(before))).execute(tx.conn())?)
}

/// Mails that have left, or never will.
fn mails(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
    let over = || mails::table.filter(mails::state.ne("queued"));
    let full: Option<DateTime<Utc>> = over()
        .filter(mails::created_at.lt(before))
        .order(mails::created_at)
        .select(mails::created_at)
        .offset(BATCH - 1)
        .first(tx.conn())
        .optional()?;
    let doomed = over().filter(mails::created_at.le(full.unwrap_or(before)));
    Ok(diesel::delete(doomed).execute(tx.conn())?)
}

/// Stocks have no period and stay.
fn counters(tx: &mut Kernel<'_>, before: DateTime<Utc>) -> Result<usize> {
    let month = before.format("%Y-%m").to_string();
    let old = entitlement_counters::table
        .filter(not(entitlement_counters::period_key.eq("")))
        .filter(entitlement_counters::period_key.lt(month));
    Ok(diesel::delete(old).execute(tx.conn())?)
}
