//! Rows of holds: why a licence is suspended.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, dsl::exists};
use uuid::Uuid;

use crate::{
    features::{
        licenses::model::{Hold, HoldReason, NewHold, Row},
        schema::licensing::license_holds,
    },
    kernel::id::{Id, LicenseId},
};

/// Why these licences are suspended, oldest hold first.
pub(in crate::features::licenses) fn holds(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<HashMap<Uuid, Vec<Hold>>> {
    type Placed = (Uuid, HoldReason, String, Option<String>, DateTime<Utc>);
    let rows: Vec<Placed> = license_holds::table
        .filter(license_holds::license_id.eq_any(ids))
        .order((license_holds::placed_at, license_holds::reason, license_holds::ref_))
        .select((
            license_holds::license_id,
            license_holds::reason,
            license_holds::ref_,
            license_holds::note,
            license_holds::placed_at,
        ))
        .load(conn)?;
    let mut found = HashMap::<_, Vec<_>>::new();
    for (license, reason, reference, note, placed_at) in rows {
        found.entry(license).or_default().push(Hold {
            reason,
            reference: Some(reference).filter(|reference| !reference.is_empty()),
            note,
            placed_at,
        });
    }
    Ok(found)
}

/// Places a hold. False if the same one is placed already.
pub(in crate::features::licenses) fn place(
    conn: &mut PgConnection,
    license: &Row,
    hold: &NewHold,
) -> QueryResult<bool> {
    let row = (
        license_holds::license_id.eq(license.id.uuid()),
        license_holds::customer_id.eq(license.customer_id.map(Id::uuid)),
        license_holds::reseller_id.eq(license.reseller_id.map(Id::uuid)),
        license_holds::reason.eq(hold.reason),
        license_holds::ref_.eq(&hold.reference),
        license_holds::note.eq(&hold.note),
    );
    let placed = diesel::insert_into(license_holds::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(placed == 1)
}

/// Lifts a hold. False if there is no such hold.
pub(in crate::features::licenses) fn lift(
    conn: &mut PgConnection,
    id: LicenseId,
    reason: HoldReason,
    reference: &str,
) -> QueryResult<bool> {
    let one = license_holds::table.find((id.uuid(), reason, reference));
    Ok(diesel::delete(one).execute(conn)? == 1)
}

pub(in crate::features::licenses) fn is_held(conn: &mut PgConnection, id: LicenseId) -> QueryResult<bool> {
    diesel::select(exists(
        license_holds::table.filter(license_holds::license_id.eq(id.uuid())),
    ))
    .get_result(conn)
}
