//! What the door reads.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, PgConnection,
    QueryDsl, QueryResult, Queryable, RunQueryDsl, dsl::exists,
};
use serde_json::Value;

use super::sightings::SIGHT;
use crate::kernel::{
    id::{ApiKeyId, MembershipId, ResellerId, SessionId, UserId, WorkspaceId},
    schema::{api_keys, memberships, roles, sessions, users, workspace_plans, workspace_slugs, workspaces},
};

/// A membership with what the door needs of its workspace, role and plan.
#[derive(Queryable)]
pub(super) struct MembershipRow {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: MembershipId,
    pub(super) last_active_at: Option<DateTime<Utc>>,
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

/// A person's active memberships in workspaces that still exist. Somebody who is suspended or gone has none; one who is about to go may
/// still be brought back.
pub(super) fn memberships(conn: &mut PgConnection, user: UserId) -> QueryResult<Vec<MembershipRow>> {
    memberships::table
        .inner_join(workspaces::table)
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .inner_join(workspace_plans::table.on(workspace_plans::workspace_id.eq(memberships::workspace_id)))
        .left_join(roles::table.on(roles::id.nullable().eq(memberships::custom_role_id)))
        .filter(memberships::user_id.eq(user))
        .filter(memberships::state.eq("active"))
        .filter(users::state.eq_any(["active", "deleting"]))
        .filter(workspaces::state.ne("deleted"))
        .order(memberships::id)
        .select((
            memberships::workspace_id,
            memberships::id,
            memberships::last_active_at,
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

/// Slugs that these workspaces gave up and that still lead to them.
pub(super) fn former_slugs(
    conn: &mut PgConnection,
    workspaces: &[WorkspaceId],
    now: DateTime<Utc>,
) -> QueryResult<Vec<(WorkspaceId, String)>> {
    workspace_slugs::table
        .filter(workspace_slugs::workspace_id.eq_any(workspaces))
        .filter(workspace_slugs::until.gt(now))
        .select((workspace_slugs::workspace_id, workspace_slugs::slug))
        .load(conn)
}

/// Whether a slug leads to this workspace: its own, or one that it gave up lately.
pub(super) fn leads_to(
    conn: &mut PgConnection,
    slug: &str,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = workspaces::table.find(workspace).filter(workspaces::slug.eq(slug));
    let former = workspace_slugs::table
        .find((workspace, slug))
        .filter(workspace_slugs::until.gt(now));
    diesel::select(exists(own).or(exists(former))).get_result(conn)
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
    pub(super) last_used_at: Option<DateTime<Utc>>,
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
            api_keys::last_used_at,
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

/// Notes that a key was used: once a minute at most, and not at all while somebody changes the key.
pub(super) fn used_key(
    conn: &mut PgConnection,
    (workspace, id): (WorkspaceId, ApiKeyId),
    at: DateTime<Utc>,
    ip: Option<String>,
) -> QueryResult<()> {
    let same = || api_keys::table.filter(api_keys::workspace_id.eq(workspace).and(api_keys::id.eq(id)));
    let due = api_keys::last_used_at
        .is_null()
        .or(api_keys::last_used_at.le(at - SIGHT));
    let free: Option<ApiKeyId> = same()
        .filter(due)
        .select(api_keys::id)
        .for_no_key_update()
        .skip_locked()
        .first(conn)
        .optional()?;
    if free.is_some() {
        diesel::update(same())
            .set((api_keys::last_used_at.eq(at), api_keys::last_used_ip.eq(ip)))
            .execute(conn)?;
    }
    Ok(())
}

/// Notes that a member was here: once a minute at most, and not at all while somebody changes the membership.
pub(super) fn was_here(
    conn: &mut PgConnection,
    (workspace, id): (WorkspaceId, MembershipId),
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let same = || memberships::table.filter(memberships::workspace_id.eq(workspace).and(memberships::id.eq(id)));
    let due = memberships::last_active_at
        .is_null()
        .or(memberships::last_active_at.le(at - SIGHT));
    let free: Option<MembershipId> = same()
        .filter(due)
        .select(memberships::id)
        .for_no_key_update()
        .skip_locked()
        .first(conn)
        .optional()?;
    if free.is_some() {
        diesel::update(same())
            .set(memberships::last_active_at.eq(at))
            .execute(conn)?;
    }
    Ok(())
}
