//! The projection and the published list, as `app_kernel`.

use chrono::{DateTime, Utc};
use diesel::{prelude::*, query_dsl::methods};
use serde_json::Value;

use super::model::PublishedPlan;
use crate::kernel::{
    id::{CustomerId, WorkspaceId},
    schema::{billing_plans, workspace_plans, workspaces},
};

/// A workspace's row.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = workspace_plans)]
pub(super) struct Row {
    pub(super) plan: String,
    pub(super) rank: i32,
    pub(super) access: String,
    pub(super) unpaid_since: Option<DateTime<Utc>>,
    pub(super) entitlements: Value,
    pub(super) sources: Value,
    pub(super) seats: Option<i32>,
    pub(super) source_version: i64,
    pub(super) valid_until: Option<DateTime<Utc>>,
    pub(super) changed_version: i64,
    pub(super) told_version: i64,
    pub(super) told: Option<Value>,
}

pub(super) fn row(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<Option<Row>> {
    workspace_plans::table
        .find(workspace.uuid())
        .select(Row::as_select())
        .first(conn)
        .optional()
}

/// The same, locked until the end of the transaction.
pub(super) fn lock(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<Option<Row>> {
    workspace_plans::table
        .find(workspace.uuid())
        .select(Row::as_select())
        .for_update()
        .first(conn)
        .optional()
}

/// What is written of a projection.
#[derive(AsChangeset)]
#[diesel(table_name = workspace_plans, treat_none_as_null = true)]
pub(super) struct Written<'a> {
    pub(super) plan: &'a str,
    pub(super) rank: i32,
    pub(super) access: &'a str,
    pub(super) unpaid_since: Option<DateTime<Utc>>,
    pub(super) entitlements: Value,
    pub(super) sources: Value,
    pub(super) seats: Option<i32>,
    pub(super) source_version: i64,
    pub(super) valid_until: Option<DateTime<Utc>>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) changed_version: i64,
    pub(super) told: Option<Value>,
}

pub(super) fn write(conn: &mut PgConnection, workspace: WorkspaceId, new: &Written<'_>) -> QueryResult<usize> {
    diesel::update(workspace_plans::table.find(workspace.uuid()))
        .set(new)
        .execute(conn)
}

/// Workspaces beyond this one whose plan comes from no licence.
pub(super) fn without_source(conn: &mut PgConnection, after: WorkspaceId, most: i64) -> QueryResult<Vec<WorkspaceId>> {
    let ids: Vec<uuid::Uuid> = workspace_plans::table
        .filter(workspace_plans::workspace_id.gt(after.uuid()))
        .filter(workspace_plans::workspace_id.ne(WorkspaceId::PLATFORM.uuid()))
        .filter(workspace_plans::sources.eq(Value::Array(Vec::new())))
        .order(workspace_plans::workspace_id)
        .limit(most)
        .select(workspace_plans::workspace_id)
        .load(conn)?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Workspaces beyond this one whose plan comes from something that ended before that instant.
pub(super) fn overdue(
    conn: &mut PgConnection,
    after: WorkspaceId,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<WorkspaceId>> {
    let ids: Vec<uuid::Uuid> = workspace_plans::table
        .filter(workspace_plans::workspace_id.gt(after.uuid()))
        .filter(workspace_plans::valid_until.lt(before))
        .order(workspace_plans::workspace_id)
        .limit(most)
        .select(workspace_plans::workspace_id)
        .load(conn)?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Notes that the workspace was told of everything up to this version.
pub(super) fn mark_told(conn: &mut PgConnection, workspace: WorkspaceId, version: i64) -> QueryResult<usize> {
    diesel::update(workspace_plans::table.find(workspace.uuid()))
        .filter(workspace_plans::told_version.lt(version))
        .set(workspace_plans::told_version.eq(version))
        .execute(conn)
}

/// A published plan as the database holds it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = billing_plans)]
pub(super) struct Published {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) rank: i32,
    pub(super) public: bool,
    pub(super) trial_days: i32,
    pub(super) seats: String,
    pub(super) features: Value,
    pub(super) entitlements: Value,
    pub(super) prices: Value,
    pub(super) archived: bool,
}

/// Plans that are published, the smallest first.
pub(super) fn published(conn: &mut PgConnection) -> QueryResult<Vec<Published>> {
    billing_plans::table
        .order((billing_plans::rank, billing_plans::code))
        .select(Published::as_select())
        .load(conn)
}

pub(super) fn publish(
    conn: &mut PgConnection,
    plan: &PublishedPlan,
    entitlements: Value,
    prices: Value,
    at: DateTime<Utc>,
) -> QueryResult<usize> {
    let row = (
        billing_plans::name.eq(&plan.name),
        billing_plans::rank.eq(plan.rank),
        billing_plans::public.eq(plan.public),
        billing_plans::trial_days.eq(plan.trial_days),
        billing_plans::seats.eq(&plan.seats),
        billing_plans::features.eq(&plan.features),
        billing_plans::entitlements.eq(entitlements),
        billing_plans::prices.eq(prices),
        billing_plans::archived.eq(plan.archived),
        billing_plans::published_at.eq(at),
    );
    let written = diesel::insert_into(billing_plans::table)
        .values((billing_plans::code.eq(&plan.code), row.clone()))
        .on_conflict(billing_plans::code)
        .do_update()
        .set(row);
    methods::FilterDsl::filter(written, billing_plans::published_at.le(at)).execute(conn)
}

/// Removes what was no longer among the published at that time.
pub(super) fn withdraw_all_but(conn: &mut PgConnection, codes: &[&str], at: DateTime<Utc>) -> QueryResult<usize> {
    let others = billing_plans::table.filter(billing_plans::code.ne_all(codes));
    diesel::delete(others.filter(billing_plans::published_at.le(at))).execute(conn)
}

/// Whom the operator knows a workspace as.
pub(super) fn customer(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<Option<CustomerId>> {
    let found: Option<Option<CustomerId>> = workspaces::table
        .find(workspace)
        .select(workspaces::billing_customer_id)
        .first(conn)
        .optional()?;
    Ok(found.flatten())
}

pub(super) fn set_customer(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    customer: CustomerId,
) -> QueryResult<usize> {
    diesel::update(workspaces::table.find(workspace))
        .filter(workspaces::billing_customer_id.is_null())
        .set(workspaces::billing_customer_id.eq(customer))
        .execute(conn)
}
