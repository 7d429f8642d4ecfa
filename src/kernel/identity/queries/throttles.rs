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

/// The count of a key, held until the transaction ends; a new one begins at zero. One statement: between an insert and a look, somebody
/// whose guess was right would have taken the row away.
pub(in crate::kernel::identity) fn lock(tx: &mut Kernel<'_>, bucket: &'static str, key: &[u8]) -> Result<Count> {
    Ok(diesel::insert_into(dsl::credential_throttles)
        .values((dsl::bucket.eq(bucket), dsl::key_hash.eq(key), dsl::failures.eq(0)))
        .on_conflict((dsl::bucket, dsl::key_hash))
        .do_update()
        .set(dsl::failures.eq(dsl::failures))
        .returning((dsl::failures, dsl::since, dsl::last_at, dsl::blocked_until))
        .get_result(tx.conn())?)
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

/// Forgets these counts.
pub(in crate::kernel::identity) fn clear(tx: &mut Kernel<'_>, bucket: &'static str, keys: &[[u8; 32]]) -> Result<()> {
    let those = dsl::credential_throttles
        .filter(dsl::bucket.eq(bucket))
        .filter(dsl::key_hash.eq_any(keys.iter().map(|key| key.as_slice())));
    diesel::delete(those).execute(tx.conn())?;
    Ok(())
}
