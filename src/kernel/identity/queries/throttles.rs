//! Guesses, counted.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::kernel::{db::Kernel, error::Result, schema::credential_throttles::dsl};

/// How many there were.
#[derive(Clone, Debug, PartialEq, Queryable)]
pub(in crate::kernel::identity) struct Count {
    pub(in crate::kernel::identity) failures: i32,
    pub(in crate::kernel::identity) since: DateTime<Utc>,
    pub(in crate::kernel::identity) last_at: DateTime<Utc>,
    pub(in crate::kernel::identity) blocked_until: Option<DateTime<Utc>>,
}

/// The count of a key, held until the transaction ends; a new one begins at zero.
pub(in crate::kernel::identity) fn lock(tx: &mut Kernel<'_>, bucket: &'static str, key: &[u8]) -> Result<Count> {
    diesel::insert_into(dsl::credential_throttles)
        .values((dsl::bucket.eq(bucket), dsl::key_hash.eq(key), dsl::failures.eq(0)))
        .on_conflict_do_nothing()
        .execute(tx.conn())?;
    Ok(dsl::credential_throttles
        .find((bucket, key))
        .for_update()
        .select((dsl::failures, dsl::since, dsl::last_at, dsl::blocked_until))
        .first(tx.conn())?)
}

/// Stores a count.
pub(in crate::kernel::identity) fn store(
    tx: &mut Kernel<'_>,
    bucket: &'static str,
    key: &[u8],
    count: &Count,
) -> Result<()> {
    diesel::update(dsl::credential_throttles.find((bucket, key)))
        .set((
            dsl::failures.eq(count.failures),
            dsl::since.eq(count.since),
            dsl::last_at.eq(count.last_at),
            dsl::blocked_until.eq(count.blocked_until),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Forgets a count.
pub(in crate::kernel::identity) fn clear(tx: &mut Kernel<'_>, bucket: &'static str, key: &[u8]) -> Result<()> {
    diesel::delete(dsl::credential_throttles.find((bucket, key))).execute(tx.conn())?;
    Ok(())
}
