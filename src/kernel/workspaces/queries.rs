//! Rows of workspaces and memberships.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, OptionalExtension, PgConnection, PgExpressionMethods,
    QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use serde_json::Value;

use super::model::{Member, MemberFilters, OwnWorkspaceFilters, Workspace};
use crate::{
    any_of, in_order_of_change,
    kernel::{
        entitlements::Plan,
        id::{MembershipId, UserId, WorkspaceId},
        page::PageQuery,
        schema::{memberships, roles, users, workspace_plans, workspace_slugs, workspaces},
    },
};

/// Who makes the workspace: name, address, picture. Locked: of two that one person makes at once, the second waits.
pub(super) fn founder(conn: &mut PgConnection, user: UserId) -> QueryResult<(String, Option<String>, Option<String>)> {
    users::table
        .find(user)
        .select((users::display_name, users::email, users::avatar_url))
        .for_no_key_update()
        .first(conn)
}

/// How many workspaces on a plan of that rank or a lower one a person owns.
pub(super) fn count_owned(conn: &mut PgConnection, user: UserId, rank: i32) -> QueryResult<i64> {
    memberships::table
        .inner_join(workspaces::table)
        .inner_join(workspace_plans::table.on(workspace_plans::workspace_id.eq(memberships::workspace_id)))
        .filter(memberships::user_id.eq(user))
        .filter(memberships::role.eq("owner").and(memberships::state.eq("active")))
        .filter(workspaces::kind.eq("standard").and(workspaces::state.ne("deleted")))
        .filter(workspace_plans::rank.le(rank))
        .count()
        .get_result(conn)
}

pub(super) fn insert_workspace(conn: &mut PgConnection, id: WorkspaceId, slug: &str, name: &str) -> QueryResult<usize> {
    let row = (
        workspaces::id.eq(id),
        workspaces::slug.eq(slug),
        workspaces::name.eq(name),
        workspaces::seats_used.eq(1),
    );
    diesel::insert_into(workspaces::table).values(row).execute(conn)
}

/// Takes a slug for a workspace that is about to be made. False if another has it, or gave it up lately.
pub(super) fn claim_slug(conn: &mut PgConnection, id: WorkspaceId, slug: &str) -> QueryResult<bool> {
    let row = (workspace_slugs::workspace_id.eq(id), workspace_slugs::slug.eq(slug));
    let claimed = diesel::insert_into(workspace_slugs::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(claimed == 1)
}

/// Takes a slug for the workspace (again), or gives it up: then it leads here until that instant.
pub(super) fn mark_slug(conn: &mut PgConnection, slug: &str, until: Option<DateTime<Utc>>) -> QueryResult<usize> {
    diesel::insert_into(workspace_slugs::table)
        .values((workspace_slugs::slug.eq(slug), workspace_slugs::until.eq(until)))
        .on_conflict((workspace_slugs::workspace_id, workspace_slugs::slug))
        .do_update()
        .set(workspace_slugs::until.eq(until))
        .execute(conn)
}

/// How many slugs that the workspace gave up still lead to it.
pub(super) fn count_former_slugs(conn: &mut PgConnection, now: DateTime<Utc>) -> QueryResult<i64> {
    workspace_slugs::table
        .filter(workspace_slugs::until.gt(now))
        .count()
        .get_result(conn)
}

pub(super) fn workspace(conn: &mut PgConnection, id: WorkspaceId) -> QueryResult<Workspace> {
    workspaces::table.find(id).select(Workspace::as_select()).first(conn)
}

/// The same, locked until the end of the transaction.
pub(super) fn lock_workspace(conn: &mut PgConnection, id: WorkspaceId) -> QueryResult<Workspace> {
    workspaces::table
        .find(id)
        .select(Workspace::as_select())
        .for_no_key_update()
        .first(conn)
}

pub(super) fn update_workspace(
    conn: &mut PgConnection,
    id: WorkspaceId,
    name: &str,
    slug: &str,
) -> QueryResult<Workspace> {
    diesel::update(workspaces::table.find(id))
        .set((workspaces::name.eq(name), workspaces::slug.eq(slug)))
        .returning(Workspace::as_returning())
        .get_result(conn)
}

/// The plan that a workspace begins with. `seats`: `None` is no limit.
pub(super) fn insert_plan(
    conn: &mut PgConnection,
    id: WorkspaceId,
    plan: &Plan,
    entitlements: Value,
    seats: Option<i32>,
) -> QueryResult<usize> {
    let row = (
        workspace_plans::workspace_id.eq(id),
        workspace_plans::plan.eq(&plan.code),
        workspace_plans::rank.eq(plan.rank),
        workspace_plans::entitlements.eq(entitlements),
        workspace_plans::seats.eq(seats),
    );
    diesel::insert_into(workspace_plans::table).values(row).execute(conn)
}

/// A membership as it begins.
pub(super) struct NewMember<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) id: MembershipId,
    pub(super) user: UserId,
    pub(super) display_name: &'a str,
    pub(super) email: Option<&'a str>,
    pub(super) avatar_url: Option<&'a str>,
    pub(super) role: &'static str,
}

impl NewMember<'_> {
    /// What everybody will see of it.
    pub(super) fn as_it_begins(&self, now: DateTime<Utc>) -> Member {
        Member {
            id: self.id,
            user_id: self.user,
            display_name: self.display_name.to_owned(),
            email: self.email.map(str::to_owned),
            role: self.role.to_owned(),
            custom_role_id: None,
            state: "active".into(),
            joined_at: now,
            last_active_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

pub(super) fn insert_member(conn: &mut PgConnection, member: &NewMember<'_>) -> QueryResult<usize> {
    let row = (
        memberships::workspace_id.eq(member.workspace),
        memberships::id.eq(member.id),
        memberships::user_id.eq(member.user),
        memberships::display_name.eq(member.display_name),
        memberships::email.eq(member.email),
        memberships::avatar_url.eq(member.avatar_url),
        memberships::role.eq(member.role),
    );
    diesel::insert_into(memberships::table).values(row).execute(conn)
}

/// A person's workspaces and their roles there.
pub(super) fn of_person(conn: &mut PgConnection, user: UserId) -> QueryResult<Vec<(Workspace, String)>> {
    memberships::table
        .inner_join(workspaces::table)
        .filter(memberships::user_id.eq(user))
        .filter(memberships::state.eq("active"))
        .filter(workspaces::state.ne("deleted"))
        .order(memberships::id)
        .select((Workspace::as_select(), memberships::role))
        .load(conn)
}

/// A page of them. However many there are, only a person's own are read.
pub(super) fn page_of_person(
    conn: &mut PgConnection,
    user: UserId,
    query: &PageQuery<OwnWorkspaceFilters>,
) -> QueryResult<Vec<(Workspace, String)>> {
    let rows = memberships::table
        .inner_join(workspaces::table)
        .filter(memberships::user_id.eq(user))
        .filter(memberships::state.eq("active"))
        .filter(workspaces::state.ne("deleted"))
        .select((Workspace::as_select(), memberships::role))
        .limit(query.fetch())
        .into_boxed();
    in_order_of_change!(rows, workspaces, query).load(conn)
}

/// A page of members.
pub(super) fn members(conn: &mut PgConnection, query: &PageQuery<MemberFilters>) -> QueryResult<Vec<Member>> {
    let mut rows = memberships::table
        .select(Member::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, memberships::role => query.filters.roles, memberships::state => query.filters.states);
    if query.filters.states.is_empty() {
        rows = rows.filter(memberships::state.ne("removed"));
    }
    in_order_of_change!(rows, memberships, query).load(conn)
}

pub(super) fn member(conn: &mut PgConnection, id: MembershipId) -> QueryResult<Member> {
    memberships::table
        .filter(memberships::id.eq(id))
        .select(Member::as_select())
        .first(conn)
}

pub(super) fn member_of(conn: &mut PgConnection, user: UserId) -> QueryResult<Option<Member>> {
    memberships::table
        .filter(memberships::user_id.eq(user))
        .select(Member::as_select())
        .first(conn)
        .optional()
}

/// Takes a seat.
pub(super) fn take_seat(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<usize> {
    diesel::update(workspaces::table.find(workspace))
        .set(workspaces::seats_used.eq(workspaces::seats_used + 1))
        .execute(conn)
}

/// Every active owner, the first one first.
pub(super) fn owners(conn: &mut PgConnection) -> QueryResult<Vec<Member>> {
    memberships::table
        .filter(memberships::role.eq("owner"))
        .filter(memberships::state.eq("active"))
        .order(memberships::id)
        .select(Member::as_select())
        .load(conn)
}

/// Locks every active owner in a fixed order, so that two who go at once cannot both go.
pub(super) fn lock_owners(conn: &mut PgConnection) -> QueryResult<Vec<MembershipId>> {
    memberships::table
        .filter(memberships::role.eq("owner"))
        .filter(memberships::state.eq("active"))
        .order(memberships::id)
        .select(memberships::id)
        .for_no_key_update()
        .load(conn)
}

pub(super) fn lock_member(conn: &mut PgConnection, id: MembershipId) -> QueryResult<Member> {
    memberships::table
        .filter(memberships::id.eq(id))
        .select(Member::as_select())
        .for_no_key_update()
        .first(conn)
}

pub(super) fn set_role(conn: &mut PgConnection, id: MembershipId, role: &str) -> QueryResult<Member> {
    diesel::update(memberships::table.filter(memberships::id.eq(id)))
        .set((
            memberships::role.eq(role),
            memberships::custom_role_id.eq(None::<uuid::Uuid>),
            memberships::reseller_id.eq(None::<uuid::Uuid>),
        ))
        .returning(Member::as_returning())
        .get_result(conn)
}

pub(super) fn remove_member(conn: &mut PgConnection, id: MembershipId) -> QueryResult<Member> {
    diesel::update(
        memberships::table
            .filter(memberships::id.eq(id))
            .filter(memberships::state.is_distinct_from("removed")),
    )
    .set(memberships::state.eq("removed"))
    .returning(Member::as_returning())
    .get_result(conn)
}

/// Gives a seat back.
pub(super) fn free_seat(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<usize> {
    diesel::update(workspaces::table.find(workspace))
        .set(workspaces::seats_used.eq(workspaces::seats_used - 1))
        .execute(conn)
}

pub(super) fn custom_roles(conn: &mut PgConnection) -> QueryResult<Vec<(String, String, Vec<String>)>> {
    roles::table
        .order(roles::key)
        .select((roles::key, roles::name, roles::permissions))
        .load(conn)
}
