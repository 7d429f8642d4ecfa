//! Statements about agents, versions, labels and plans.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, PgConnection, QueryDsl,
    QueryResult, RunQueryDsl, SelectableHelper, define_sql_function,
    sql_types::{Array, Binary},
};
use serde_json::Value;

use super::model::{
    AgentFilters, AgentId, Label, NewRow, NewVersionRow, Row, SummaryRow, VersionFilters, VersionNumber, VersionRow,
    VersionSummaryRow,
};
use crate::{
    any_of,
    features::schema::runs::{agent_labels, agent_metadata, agent_versions, agents, run_plans},
    in_order, in_order_of_change,
    kernel::page::PageQuery,
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> QueryResult<Row> {
    diesel::insert_into(agents::table)
        .values(new)
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn find(conn: &mut PgConnection, id: AgentId) -> QueryResult<Row> {
    agents::table.find(id.uuid()).select(Row::as_select()).first(conn)
}

/// The agent, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: AgentId) -> QueryResult<Row> {
    agents::table
        .find(id.uuid())
        .select(Row::as_select())
        .for_no_key_update()
        .first(conn)
}

pub(super) fn slug_is_taken(conn: &mut PgConnection, slug: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(agents::table.filter(agents::slug.eq(slug)))).get_result(conn)
}

/// Writes everything of an agent that can change.
pub(super) fn update(conn: &mut PgConnection, row: &Row) -> QueryResult<Row> {
    diesel::update(agents::table.find(row.id.uuid()))
        .set((
            agents::name.eq(&row.name),
            agents::slug.eq(&row.slug),
            agents::description.eq(&row.description),
            agents::framework.eq(row.framework),
            agents::config.eq(&row.config),
            agents::draft_sha256.eq(&row.draft_sha256),
            agents::draft_problems.eq(&row.draft_problems),
            agents::latest.eq(row.latest),
            agents::latest_sha256.eq(&row.latest_sha256),
            agents::state.eq(row.state),
            agents::metadata.eq(&row.metadata),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn delete(conn: &mut PgConnection, id: AgentId) -> QueryResult<usize> {
    diesel::delete(agents::table.find(id.uuid())).execute(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<AgentFilters>) -> QueryResult<Vec<SummaryRow>> {
    let mut rows = agents::table
        .select(SummaryRow::as_select())
        .limit(query.fetch())
        .into_boxed();
    let filters = &query.filters;
    any_of!(rows, agents::state => filters.states, agents::framework => filters.frameworks);
    tagged!(rows, agents, agent_metadata, query);
    in_order_of_change!(rows, agents, query).load(conn)
}

/// The labels of one agent.
pub(super) fn labels(conn: &mut PgConnection, agent: AgentId) -> QueryResult<Vec<Label>> {
    agent_labels::table
        .filter(agent_labels::agent_id.eq(agent.uuid()))
        .order(agent_labels::label)
        .select(Label::as_select())
        .load(conn)
}

/// Which version each label of these agents means.
pub(super) fn labels_of(
    conn: &mut PgConnection,
    agents: &[AgentId],
) -> QueryResult<BTreeMap<AgentId, BTreeMap<String, VersionNumber>>> {
    let ids: Vec<_> = agents.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(AgentId, String, VersionNumber)> = agent_labels::table
        .filter(agent_labels::agent_id.eq_any(ids))
        .select((agent_labels::agent_id, agent_labels::label, agent_labels::number))
        .load(conn)?;
    let mut labels = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (agent, label, number) in rows {
        labels.entry(agent).or_default().insert(label, number);
    }
    Ok(labels)
}

pub(super) fn label(conn: &mut PgConnection, agent: AgentId, label: &str) -> QueryResult<Option<Label>> {
    agent_labels::table
        .find((agent.uuid(), label))
        .select(Label::as_select())
        .first(conn)
        .optional()
}

/// Points a label at a version; where it pointed before is remembered.
pub(super) fn move_label(
    conn: &mut PgConnection,
    agent: AgentId,
    label: &str,
    number: VersionNumber,
) -> QueryResult<Label> {
    let moved = diesel::update(agent_labels::table.find((agent.uuid(), label)))
        .set((
            agent_labels::previous.eq(agent_labels::number.nullable()),
            agent_labels::number.eq(number),
        ))
        .returning(Label::as_returning())
        .get_result(conn)
        .optional()?;
    match moved {
        Some(label) => Ok(label),
        None => diesel::insert_into(agent_labels::table)
            .values((
                agent_labels::agent_id.eq(agent),
                agent_labels::label.eq(label),
                agent_labels::number.eq(number),
            ))
            .returning(Label::as_returning())
            .get_result(conn),
    }
}

pub(super) fn delete_label(conn: &mut PgConnection, agent: AgentId, label: &str) -> QueryResult<usize> {
    diesel::delete(agent_labels::table.find((agent.uuid(), label))).execute(conn)
}

pub(super) fn insert_version(conn: &mut PgConnection, new: &NewVersionRow<'_>) -> QueryResult<VersionRow> {
    diesel::insert_into(agent_versions::table)
        .values(new)
        .returning(VersionRow::as_returning())
        .get_result(conn)
}

pub(super) fn version(conn: &mut PgConnection, agent: AgentId, number: VersionNumber) -> QueryResult<VersionRow> {
    agent_versions::table
        .find((agent.uuid(), number))
        .select(VersionRow::as_select())
        .first(conn)
}

pub(super) fn retire(
    conn: &mut PgConnection,
    agent: AgentId,
    number: VersionNumber,
    now: DateTime<Utc>,
) -> QueryResult<VersionRow> {
    diesel::update(agent_versions::table.find((agent.uuid(), number)))
        .set(agent_versions::retired_at.eq(now))
        .returning(VersionRow::as_returning())
        .get_result(conn)
}

pub(super) fn versions(
    conn: &mut PgConnection,
    agent: AgentId,
    query: &PageQuery<VersionFilters>,
) -> QueryResult<Vec<VersionSummaryRow>> {
    let rows = agent_versions::table
        .filter(agent_versions::agent_id.eq(agent.uuid()))
        .select(VersionSummaryRow::as_select())
        .limit(query.fetch())
        .into_boxed();
    in_order!(rows, agent_versions, query).load(conn)
}

/// Keeps a plan under its name. One that is there already is the same one.
pub(super) fn keep_plan(
    conn: &mut PgConnection,
    sha256: &[u8],
    ir: i32,
    body: &Value,
    size: i32,
) -> QueryResult<usize> {
    diesel::insert_into(run_plans::table)
        .values((
            run_plans::sha256.eq(sha256),
            run_plans::ir.eq(ir),
            run_plans::body.eq(body),
            run_plans::size.eq(size),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
}

/// The names of the plans of an agent's versions.
pub(super) fn plans_of(conn: &mut PgConnection, agent: AgentId) -> QueryResult<Vec<Vec<u8>>> {
    agent_versions::table
        .filter(agent_versions::agent_id.eq(agent.uuid()))
        .select(agent_versions::plan_sha256)
        .distinct()
        .load(conn)
}

define_sql_function! {
    fn plans_forget(names: Array<Binary>) -> BigInt;
}

/// Removes those of these plans that no version is a name for and no run has need of, and answers how many.
pub(super) fn forget_plans(conn: &mut PgConnection, names: &[Vec<u8>]) -> QueryResult<i64> {
    diesel::select(plans_forget(names)).get_result(conn)
}

pub(super) fn plan(conn: &mut PgConnection, sha256: &[u8]) -> QueryResult<Value> {
    run_plans::table.find(sha256).select(run_plans::body).first(conn)
}
