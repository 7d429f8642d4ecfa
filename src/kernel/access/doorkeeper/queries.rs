//! What the door reads.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult,
    Queryable, RunQueryDsl,
};
use serde_json::Value;

use crate::kernel::{
    id::{ApiKeyId, ResellerId, SessionId, UserId, WorkspaceId},
    schema::{api_keys, memberships, roles, sessions, users, workspace_plans, workspaces},
};

/// A membership with what the door needs of its workspace, role and plan.
#[derive(Queryable)]
pub(super) struct MembershipRow {
    pub(super) workspace_id: WorkspaceId,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) workspace_kind: String,
    pub(super) workspace_state: String,
    pub(super) role: String,
    pub(super) custom_permissions: Option<Vec<String>>,
    pub(super) reseller_id: Option<ResellerId>,
    pub(super) plan: String,
    pub(super) rank: i32,
    pub(super) access: String,
    pub(super) unpaid_since: Option<DateTime<Utc>>,
    pub(super) entitlements: Value,
}

/// A person's active memberships in workspaces that still exist.
pub(super) fn memberships(conn: &mut PgConnection, user: UserId) -> QueryResult<Vec<MembershipRow>> {
    memberships::table
        .inner_join(workspaces::table)
        .inner_join(workspace_plans::table.on(workspace_plans::workspace_id.eq(memberships::workspace_id)))
        .left_join(roles::table.on(roles::id.nullable().eq(memberships::custom_role_id)))
        .filter(memberships::user_id.eq(user))
        .filter(memberships::state.eq("active"))
        .filter(workspaces::state.ne("deleted"))
        .order(memberships::id)
        .select((
            memberships::workspace_id,
            workspaces::slug,
            workspaces::name,
            workspaces::kind,
            workspaces::state,
            memberships::role,
            roles::permissions.nullable(),
            memberships::reseller_id,
            workspace_plans::plan,
            workspace_plans::rank,
            workspace_plans::access,
            workspace_plans::unpaid_since,
            workspace_plans::entitlements,
        ))
        .load(conn)
}

/// A key with what the door needs.
#[derive(Queryable)]
pub(super) struct KeyRow {
    pub(super) id: ApiKeyId,
    pub(super) workspace_id: WorkspaceId,
    pub(super) user_id: Option<UserId>,
    pub(super) permissions: Option<Vec<String>>,
    pub(super) ip_allowlist: Vec<String>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) grace_until: Option<DateTime<Utc>>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
}

/// The key of that hash.
pub(super) fn key(conn: &mut PgConnection, hash: &[u8]) -> QueryResult<Option<KeyRow>> {
    api_keys::table
        .filter(api_keys::hash.eq(hash))
        .select((
            api_keys::id,
            api_keys::workspace_id,
            api_keys::user_id,
            api_keys::permissions,
            api_keys::ip_allowlist,
            api_keys::expires_at,
            api_keys::grace_until,
            api_keys::revoked_at,
        ))
        .first(conn)
        .optional()
}

/// A session with what the door needs.
#[derive(Queryable)]
pub(super) struct SessionRow {
    pub(super) user_id: UserId,
    pub(super) user_state: String,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) not_after: DateTime<Utc>,
    pub(super) idle_after: DateTime<Utc>,
    pub(super) auth_time: DateTime<Utc>,
    pub(super) impersonator_id: Option<UserId>,
    pub(super) last_seen_gen: i64,
    pub(super) last_seen_at: DateTime<Utc>,
}

/// The session of that id, however it stands.
pub(super) fn session(conn: &mut PgConnection, id: SessionId) -> QueryResult<Option<SessionRow>> {
    sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(id))
        .select((
            sessions::user_id,
            users::state,
            sessions::revoked_at,
            sessions::not_after,
            sessions::idle_after,
            sessions::auth_time,
            sessions::impersonator_id,
            sessions::last_seen_gen,
            sessions::last_seen_at,
        ))
        .first(conn)
        .optional()
}

/// Notes that a session was used: forward only, for the writers of several processes do not wait for each other.
pub(super) fn saw(conn: &mut PgConnection, id: SessionId, generation: i64, at: DateTime<Utc>) -> QueryResult<()> {
    diesel::update(sessions::table.find(id).filter(sessions::last_seen_gen.lt(generation)))
        .set(sessions::last_seen_gen.eq(generation))
        .execute(conn)?;
    diesel::update(sessions::table.find(id).filter(sessions::last_seen_at.lt(at)))
        .set(sessions::last_seen_at.eq(at))
        .execute(conn)?;
    Ok(())
}
