//! Rows of definitions.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use uuid::Uuid;

use super::model::{Entitlement, EntitlementFilters, EntitlementId, NewEntitlement};
use crate::{
    any_of,
    features::schema::licensing::{catalog_metadata, entitlement_defs},
    in_order_of_change,
    kernel::{db::ById, page::PageQuery},
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, id: EntitlementId, new: &NewEntitlement) -> QueryResult<Entitlement> {
    diesel::insert_into(entitlement_defs::table)
        .values((entitlement_defs::id.eq(id), new))
        .returning(Entitlement::as_returning())
        .get_result(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<EntitlementFilters>) -> QueryResult<Vec<Entitlement>> {
    let mut rows = entitlement_defs::table
        .select(Entitlement::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, entitlement_defs::code => query.filters.codes);
    tagged!(rows, entitlement_defs, catalog_metadata, query);
    in_order_of_change!(rows, entitlement_defs, query).load(conn)
}

/// The definitions of these codes, as many of them as there are.
pub(super) fn of_codes(conn: &mut PgConnection, codes: &[&String]) -> QueryResult<Vec<Entitlement>> {
    entitlement_defs::table
        .filter(entitlement_defs::code.eq_any(codes))
        .select(Entitlement::as_select())
        .load(conn)
}

/// The statement that reads one.
pub(super) fn one(id: Uuid) -> ById<entitlement_defs::table, Entitlement> {
    entitlement_defs::table.find(id).select(Entitlement::as_select())
}

/// The definition, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: EntitlementId) -> QueryResult<Entitlement> {
    let one = entitlement_defs::table.find(id.uuid()).select(Entitlement::as_select());
    one.for_no_key_update().first(conn)
}

/// Writes what of a definition can change. Its code is not named: who refers to it would wait.
pub(super) fn update(conn: &mut PgConnection, id: EntitlementId, to: &NewEntitlement) -> QueryResult<Entitlement> {
    diesel::update(entitlement_defs::table.find(id.uuid()))
        .set((
            entitlement_defs::name.eq(&to.name),
            entitlement_defs::options.eq(&to.options),
            entitlement_defs::unit.eq(&to.unit),
            entitlement_defs::metadata.eq(&to.metadata),
        ))
        .returning(Entitlement::as_returning())
        .get_result(conn)
}

pub(super) fn archive(conn: &mut PgConnection, id: EntitlementId, now: DateTime<Utc>) -> QueryResult<Entitlement> {
    diesel::update(entitlement_defs::table.find(id.uuid()))
        .set(entitlement_defs::archived_at.eq(now))
        .returning(Entitlement::as_returning())
        .get_result(conn)
}
