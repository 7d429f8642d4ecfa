//! One transaction at a time.

use diesel::{dsl::select, prelude::*, sql_types::BigInt};

use crate::kernel::crypto;

diesel::define_sql_function! {
    /// Held until the transaction ends. It returns nothing, which SQL can still compare.
    fn pg_advisory_xact_lock(key: BigInt) -> Nullable<Text>;
}
diesel::define_sql_function! {
    /// The same, if nobody else holds it.
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
}

/// Waits until no other transaction goes on under this number, and keeps others from it until the commit.
pub(super) fn alone(conn: &mut PgConnection, number: i64) -> QueryResult<()> {
    let held = pg_advisory_xact_lock(number).is_not_null();
    select(held).get_result::<bool>(conn).map(drop)
}

/// Whether two connections lead to one database: a lock is its database's, so what one of them holds the other does not get.
pub(super) fn are_one(one: &mut PgConnection, other: &mut PgConnection) -> QueryResult<bool> {
    let number = i64::from_be_bytes(crypto::random());
    one.transaction(|one| {
        alone(one, number)?;
        other.transaction(|other| {
            select(pg_try_advisory_xact_lock(number))
                .get_result::<bool>(other)
                .map(|got| !got)
        })
    })
}
