//! How the database is doing, for `guildhall doctor`.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{count_star, min, sum},
    prelude::*,
};

use crate::kernel::{
    access::Call,
    db::Db,
    error::Result,
    schema::{outbox_dead, outbox_queue},
    upkeep,
};

diesel::table! {
    /// How much of each lane's work every workspace has.
    workspace_slots (lane, workspace_id) {
        lane -> Text,
        workspace_id -> Uuid,
        ready -> Integer,
        running -> Integer,
    }
}

diesel::table! {
    /// Jobs that a worker holds.
    run_leases (job_id) {
        job_id -> Uuid,
        expires_at -> Timestamptz,
    }
}

/// What waits, and what time it is there.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Events that the relay has not handed on, and since when the oldest is due.
    pub events: (i64, Option<DateTime<Utc>>),
    /// Events that a consumer could not take in ten tries.
    pub dead_events: i64,
    /// Jobs that are ready, and that run.
    pub jobs: (i64, i64),
    /// Jobs whose worker has not been heard of and that nobody has taken back.
    pub lost_leases: i64,
    /// Rows in default partitions, by table.
    pub strays: [(&'static str, i64); 4],
}

/// Reads them.
///
/// # Errors
/// 503 if the database cannot be reached.
pub async fn read(db: &Db) -> Result<Vitals> {
    let call = Call::internal("vitals_read", "vitals".into());
    let strays = upkeep::strays(db).await?;
    db.unscoped(&call, move |tx| {
        let now = tx.now()?;
        let (ready, running): (Option<i64>, Option<i64>) = workspace_slots::table
            .select((sum(workspace_slots::ready), sum(workspace_slots::running)))
            .get_result(tx.conn())?;
        Ok(Vitals {
            now,
            events: outbox_queue::table
                .select((count_star(), min(outbox_queue::due_at)))
                .get_result(tx.conn())?,
            dead_events: outbox_dead::table
                .select(diesel::dsl::count(outbox_dead::event_id))
                .get_result(tx.conn())?,
            jobs: (ready.unwrap_or(0), running.unwrap_or(0)),
            lost_leases: run_leases::table
                .filter(run_leases::expires_at.lt(now - chrono::Duration::seconds(30)))
                .count()
                .get_result(tx.conn())?,
            strays,
        })
    })
    .await
}
