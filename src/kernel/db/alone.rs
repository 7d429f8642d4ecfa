//! One transaction at a time.

use diesel::{dsl::select, prelude::*, sql_types::BigInt};

diesel::define_sql_function! {
    /// Held until the transaction ends. It returns nothing, which SQL can still compare.
    fn pg_advisory_xact_lock(key: BigInt) -> Nullable<Text>;
}

/// Waits until no other transaction goes on under this number, and keeps others from it until the commit.
pub(super) fn alone(conn: &mut PgConnection, number: i64) -> QueryResult<()> {
    let held = pg_advisory_xact_lock(number).is_not_null();
    select(held).get_result::<bool>(conn).map(drop)
}
