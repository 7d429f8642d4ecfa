//! Rows of policies, and of what follows from them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use serde_json::Value;

use super::model::{NewPolicy, Overrides, PolicyFilters, PolicyId, Row, Rules, Terms};
use crate::{
    any_of,
    features::{
        entitlements::Values,
        schema::licensing::{catalog_metadata, license_counters, licenses, policies, policy_entitlements},
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

/// The ways in which licences of a policy differ from it.
pub(super) fn differences(conn: &mut PgConnection, id: PolicyId) -> QueryResult<Vec<Jsonb<Overrides>>> {
    licenses::table
        .filter(licenses::policy_id.eq(id))
        .filter(licenses::state.ne("revoked"))
        .select(licenses::overrides)
        .distinct()
        .load(conn)
}

/// Gives the licences of a policy that differ in this way, and have other terms, these. Answers how many.
pub(super) fn apply(
    conn: &mut PgConnection,
    policy: &Row,
    differing: &Jsonb<Overrides>,
    terms: &Jsonb<Terms>,
) -> QueryResult<usize> {
    let those = licenses::table
        .filter(licenses::policy_id.eq(policy.id))
        .filter(licenses::state.ne("revoked"))
        .filter(licenses::overrides.eq(differing))
        .filter(licenses::terms.ne(terms));
    let ids: Vec<uuid::Uuid> = those.select(licenses::id).order(licenses::id).load(conn)?;
    diesel::update(licenses::table.filter(licenses::id.eq_any(&ids)))
        .set((licenses::terms.eq(terms), licenses::terms_version.eq(policy.version)))
        .execute(conn)?;
    limit(conn, &ids, &terms.rules)?;
    Ok(ids.len())
}

/// Sets the limits of licences. What is used already stays, and is marked where it is over: nobody is thrown off.
pub(super) fn limit(conn: &mut PgConnection, licenses: &[uuid::Uuid], rules: &Rules) -> QueryResult<()> {
    use license_counters::dsl as c;
    let most = |max| rules.overage_strategy.most(max);
    let wide = |max| most(max).map(i64::from);
    let (machines, cores) = (most(rules.max_machines), wide(rules.max_cores));
    let (memory_mb, disk_mb) = (wide(rules.max_memory_mb), wide(rules.max_disk_mb));
    // Without a limit nothing is over it.
    let unlimited = i64::MAX;
    let over = c::machines
        .gt(machines.unwrap_or(i32::MAX))
        .or(c::cores.gt(cores.unwrap_or(unlimited)))
        .or(c::memory_mb.gt(memory_mb.unwrap_or(unlimited)))
        .or(c::disk_mb.gt(disk_mb.unwrap_or(unlimited)));
    let own = c::license_counters
        .filter(c::license_id.eq_any(licenses))
        .filter(c::holder.eq(c::license_id));
    diesel::update(own)
        .set((
            c::machines_max.eq(machines),
            c::cores_max.eq(cores),
            c::memory_mb_max.eq(memory_mb),
            c::disk_mb_max.eq(disk_mb),
            c::over_limit.eq(over),
        ))
        .execute(conn)?;
    Ok(())
}
