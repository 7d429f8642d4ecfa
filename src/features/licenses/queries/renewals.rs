//! Rows of renewals.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, NullableExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl};

use crate::{features::schema::licensing::license_renewals, kernel::id::LicenseId};

/// The renewals until a date that stand, by their refs.
pub(in crate::features::licenses) fn standing_renewals(
    conn: &mut PgConnection,
    id: LicenseId,
) -> QueryResult<Vec<(String, DateTime<Utc>)>> {
    license_renewals::table
        .filter(license_renewals::license_id.eq(id.uuid()))
        .filter(license_renewals::reversed_at.is_null())
        .filter(license_renewals::until.is_not_null())
        .order(license_renewals::ref_)
        .select((license_renewals::ref_, license_renewals::until.assume_not_null()))
        .load(conn)
}
