//! Rows of policies, and of what follows from them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
    define_sql_function,
    dsl::count_star,
    sql_types::{BigInt, Jsonb as SqlJsonb, Uuid as SqlUuid},
};
use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::model::{NewPolicy, Overrides, PolicyFilters, PolicyId, Row, Terms};
use crate::{
    any_of,
    features::{
        entitlements::Values,
        schema::licensing::{catalog_metadata, licenses, policies, policy_entitlements},
    },
    in_order_of_change,
    kernel::{jsonb::Jsonb, page::PageQuery},
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, id: PolicyId, new: &NewPolicy) -> QueryResult<Row> {
    let head = (
        policies::id.eq(id),
        policies::product_id.eq(new.product_id),
        policies::code.eq(&new.code),
        policies::name.eq(&new.name),
        policies::rank.eq(new.rank),
        policies::metadata.eq(Jsonb(&new.metadata)),
    );
    diesel::insert_into(policies::table)
        .values((head, new.rules()))
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<PolicyFilters>) -> QueryResult<Vec<Row>> {
    let mut rows = policies::table
        .select(Row::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, policies::product_id => query.filters.products, policies::code => query.filters.codes);
    tagged!(rows, policies, catalog_metadata, query);
    in_order_of_change!(rows, policies, query).load(conn)
}

pub(super) fn get(conn: &mut PgConnection, id: PolicyId) -> QueryResult<Row> {
    policies::table.find(id.uuid()).select(Row::as_select()).first(conn)
}

/// The policy as it stays until the commit: others may issue by it, and nobody changes it meanwhile.
pub(super) fn hold(conn: &mut PgConnection, id: PolicyId) -> QueryResult<Row> {
    let one = policies::table.find(id.uuid()).select(Row::as_select());
    one.for_share().first(conn)
}

/// The policy, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: PolicyId) -> QueryResult<Row> {
    let one = policies::table.find(id.uuid()).select(Row::as_select());
    one.for_no_key_update().first(conn)
}

/// Writes everything of a policy that can change. `touched` marks that its entitlements did.
pub(super) fn update(
    conn: &mut PgConnection,
    id: PolicyId,
    to: &NewPolicy,
    touched: Option<DateTime<Utc>>,
) -> QueryResult<Row> {
    let head = (
        policies::code.eq(&to.code),
        policies::name.eq(&to.name),
        policies::rank.eq(to.rank),
        policies::metadata.eq(Jsonb(&to.metadata)),
        touched.map(|now| policies::entitlements_changed_at.eq(now)),
    );
    diesel::update(policies::table.find(id.uuid()))
        .set((head, to.rules()))
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn archive(conn: &mut PgConnection, id: PolicyId, now: DateTime<Utc>) -> QueryResult<Row> {
    diesel::update(policies::table.find(id.uuid()))
        .set(policies::archived_at.eq(now))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// What these policies entitle to.
pub(super) fn entitlements(conn: &mut PgConnection, ids: &[PolicyId]) -> QueryResult<BTreeMap<PolicyId, Values>> {
    let rows: Vec<(PolicyId, String, Option<Value>)> = policy_entitlements::table
        .filter(policy_entitlements::policy_id.eq_any(ids))
        .select((
            policy_entitlements::policy_id,
            policy_entitlements::code,
            policy_entitlements::value,
        ))
        .load(conn)?;
    let mut found = BTreeMap::<_, Values>::new();
    for (policy, code, value) in rows {
        found
            .entry(policy)
            .or_default()
            .insert(code, value.unwrap_or(Value::Null));
    }
    Ok(found)
}

/// Replaces what a policy entitles to.
pub(super) fn set_entitlements(conn: &mut PgConnection, id: PolicyId, values: &Values) -> QueryResult<()> {
    diesel::delete(policy_entitlements::table.filter(policy_entitlements::policy_id.eq(id))).execute(conn)?;
    let rows: Vec<_> = values
        .iter()
        .map(|(code, value)| {
            (
                policy_entitlements::policy_id.eq(id),
                policy_entitlements::code.eq(code),
                policy_entitlements::value.eq(value),
            )
        })
        .collect();
    diesel::insert_into(policy_entitlements::table)
        .values(rows)
        .execute(conn)?;
    Ok(())
}

/// How many licences follow a policy, counted up to `most`.
pub(super) fn licenses_up_to(conn: &mut PgConnection, id: PolicyId, most: i64) -> QueryResult<i64> {
    let some: Vec<uuid::Uuid> = licenses::table
        .filter(licenses::policy_id.eq(id))
        .filter(licenses::state.ne("revoked"))
        .limit(most)
        .select(licenses::id)
        .load(conn)?;
    Ok(some.len() as i64)
}

/// The ways in which licences of a policy differ from it, each with how many do so.
pub(super) fn differences(conn: &mut PgConnection, id: PolicyId) -> QueryResult<Vec<(Jsonb<Overrides>, i64)>> {
    licenses::table
        .filter(licenses::policy_id.eq(id))
        .filter(licenses::state.ne("revoked"))
        .group_by(licenses::overrides)
        .select((licenses::overrides, count_star()))
        .load(conn)
}

/// What is said of those licences of a policy that differ from it in one way.
#[derive(Serialize)]
struct Differing<'a> {
    overrides: &'a Overrides,
    terms: &'a Terms,
    machines: Option<i32>,
    cores: Option<i32>,
    memory_mb: Option<i32>,
    disk_mb: Option<i32>,
}

/// The terms and limits of licences that differ in this way, as [`follow`] wants them.
pub(super) fn differing(overrides: &Overrides, terms: &Terms) -> serde_json::Result<Box<RawValue>> {
    let rules = &terms.rules;
    let most = |max| rules.overage_strategy.most(max);
    to_raw_value(&Differing {
        overrides,
        terms,
        machines: most(rules.max_machines),
        cores: most(rules.max_cores),
        memory_mb: most(rules.max_memory_mb),
        disk_mb: most(rules.max_disk_mb),
    })
}

define_sql_function! {
    fn policy_follow(policy: SqlUuid, version: BigInt, given: SqlJsonb) -> BigInt;
}

/// Gives the licences of a policy their terms and limits, where they have others. Answers how many.
pub(super) fn follow(conn: &mut PgConnection, policy: &Row, given: Vec<Box<RawValue>>) -> QueryResult<i64> {
    diesel::select(policy_follow(policy.id.uuid(), policy.version, Jsonb(given))).get_result(conn)
}
