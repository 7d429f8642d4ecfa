//! Rows of keys.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl};
use uuid::Uuid;

use crate::{
    features::{
        licenses::model::{KeyMark, Row},
        schema::licensing::license_keys,
    },
    kernel::id::{Id, LicenseId},
};

/// A licence's key, by its hash.
pub(in crate::features::licenses) fn insert_key(
    conn: &mut PgConnection,
    id: Id<KeyMark>,
    license: &Row,
    hash: &[u8],
    start: &str,
) -> QueryResult<()> {
    let row = (
        license_keys::id.eq(id),
        license_keys::license_id.eq(license.id.uuid()),
        license_keys::product_id.eq(license.product_id),
        license_keys::customer_id.eq(license.customer_id.map(Id::uuid)),
        license_keys::reseller_id.eq(license.reseller_id.map(Id::uuid)),
        license_keys::key_hash.eq(hash),
        license_keys::start.eq(start),
    );
    diesel::insert_into(license_keys::table).values(row).execute(conn)?;
    Ok(())
}

/// How the current keys of these licences begin.
pub(in crate::features::licenses) fn key_starts(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<HashMap<Uuid, String>> {
    let rows: Vec<(Uuid, String)> = license_keys::table
        .filter(license_keys::license_id.eq_any(ids))
        .filter(license_keys::state.eq("current"))
        .select((license_keys::license_id, license_keys::start))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Lets the current key overlap with the next until then, and ends the one that did so far. At once if that is now.
pub(in crate::features::licenses) fn retire_key(
    conn: &mut PgConnection,
    id: LicenseId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<()> {
    let own = license_keys::table.filter(license_keys::license_id.eq(id.uuid()));
    diesel::update(own.filter(license_keys::state.eq("overlapping")))
        .set((license_keys::state.eq("dead"), license_keys::ends_at.eq(now)))
        .execute(conn)?;
    let state = if until > now { "overlapping" } else { "dead" };
    diesel::update(own.filter(license_keys::state.eq("current")))
        .set((license_keys::state.eq(state), license_keys::ends_at.eq(until)))
        .execute(conn)?;
    Ok(())
}
