//! Rows of keys. The tenant's role cannot read a hash: it writes one and never sees it again.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};

use super::model::{ApiKey, ApiKeyFilters};
use crate::{
    any_of, in_order_of_change,
    kernel::{
        http::front::API_VERSION,
        id::{ApiKeyId, UserId, WorkspaceId},
        page::PageQuery,
        schema::{api_keys, memberships, workspaces},
    },
};

/// A key as it begins.
pub(super) struct NewKey<'a> {
    pub(super) id: ApiKeyId,
    pub(super) owner: UserId,
    pub(super) name: &'a str,
    pub(super) hash: &'a [u8],
    pub(super) start: &'a str,
    pub(super) permissions: Option<&'a Vec<String>>,
    pub(super) ip_allowlist: &'a [String],
    pub(super) expires_at: DateTime<Utc>,
    pub(super) reseller: Option<uuid::Uuid>,
}

pub(super) fn insert(conn: &mut PgConnection, key: &NewKey<'_>) -> QueryResult<ApiKey> {
    let row = (
        api_keys::id.eq(key.id),
        api_keys::owner_type.eq("user"),
        api_keys::owner_id.eq(key.owner),
        api_keys::reseller_id.eq(key.reseller),
        api_keys::name.eq(key.name),
        api_keys::hash.eq(key.hash),
        api_keys::start.eq(key.start),
        api_keys::permissions.eq(key.permissions),
        api_keys::ip_allowlist.eq(key.ip_allowlist),
        api_keys::api_version.eq(API_VERSION),
        api_keys::expires_at.eq(key.expires_at),
    );
    diesel::insert_into(api_keys::table)
        .values(row)
        .returning(ApiKey::as_returning())
        .get_result(conn)
}

/// How many keys of the workspace could be used now. Whoever makes another one meanwhile waits.
pub(super) fn count_living(conn: &mut PgConnection, workspace: WorkspaceId, now: DateTime<Utc>) -> QueryResult<i64> {
    workspaces::table
        .find(workspace)
        .select(workspaces::id)
        .for_no_key_update()
        .first::<WorkspaceId>(conn)?;
    api_keys::table
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::expires_at.gt(now))
        .count()
        .get_result(conn)
}

/// Whether the person is in the workspace.
pub(super) fn is_member(conn: &mut PgConnection, user: UserId) -> QueryResult<bool> {
    let active = memberships::table
        .filter(memberships::user_id.eq(user))
        .filter(memberships::state.eq("active"));
    diesel::select(diesel::dsl::exists(active)).get_result(conn)
}

/// A page of living keys; `owner` narrows to one person's.
pub(super) fn list(
    conn: &mut PgConnection,
    owner: Option<UserId>,
    query: &PageQuery<ApiKeyFilters>,
) -> QueryResult<Vec<ApiKey>> {
    let mut rows = api_keys::table
        .filter(api_keys::revoked_at.is_null())
        .select(ApiKey::as_select())
        .limit(query.fetch())
        .into_boxed();
    if let Some(owner) = owner {
        rows = rows.filter(api_keys::owner_id.eq(owner));
    }
    any_of!(rows, api_keys::owner_id => query.filters.owners);
    in_order_of_change!(rows, api_keys, query).load(conn)
}

/// A living key.
pub(super) fn get(conn: &mut PgConnection, id: ApiKeyId) -> QueryResult<ApiKey> {
    let living = api_keys::table
        .filter(api_keys::id.eq(id))
        .filter(api_keys::revoked_at.is_null());
    living.select(ApiKey::as_select()).first(conn)
}

/// The same, locked until the end of the transaction.
pub(super) fn lock(conn: &mut PgConnection, id: ApiKeyId) -> QueryResult<ApiKey> {
    let living = api_keys::table
        .filter(api_keys::id.eq(id))
        .filter(api_keys::revoked_at.is_null());
    living.select(ApiKey::as_select()).for_no_key_update().first(conn)
}

pub(super) fn update(
    conn: &mut PgConnection,
    id: ApiKeyId,
    name: &str,
    permissions: Option<&Vec<String>>,
    addresses: &[String],
) -> QueryResult<ApiKey> {
    diesel::update(api_keys::table.filter(api_keys::id.eq(id)))
        .set((
            api_keys::name.eq(name),
            api_keys::permissions.eq(permissions),
            api_keys::ip_allowlist.eq(addresses),
        ))
        .returning(ApiKey::as_returning())
        .get_result(conn)
}

pub(super) fn revoke(conn: &mut PgConnection, id: ApiKeyId, now: DateTime<Utc>, reason: &str) -> QueryResult<ApiKey> {
    diesel::update(
        api_keys::table
            .filter(api_keys::id.eq(id))
            .filter(api_keys::revoked_at.is_null()),
    )
    .set((api_keys::revoked_at.eq(now), api_keys::revoke_reason.eq(reason)))
    .returning(ApiKey::as_returning())
    .get_result(conn)
}

/// Revokes the living keys of a person, and answers which.
pub(super) fn revoke_all_of(
    conn: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
    reason: &str,
) -> QueryResult<Vec<ApiKey>> {
    diesel::update(
        api_keys::table
            .filter(api_keys::user_id.eq(user))
            .filter(api_keys::revoked_at.is_null()),
    )
    .set((api_keys::revoked_at.eq(now), api_keys::revoke_reason.eq(reason)))
    .returning(ApiKey::as_returning())
    .get_results(conn)
}
