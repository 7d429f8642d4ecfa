//! Rows of licences, keys, holds, renewals and counters.

mod holds;
mod keys;
mod machines;
mod renewals;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, PgConnection, QueryDsl,
    QueryResult, RunQueryDsl, SelectableHelper,
    dsl::{exists, max, select},
    sql_types::{Array, Binary, Nullable, Text, Uuid as UuidSql},
};
use uuid::Uuid;

pub(super) use self::{
    holds::{holds, is_held, lift, place},
    keys::{insert_key, key_starts, retire_key},
    machines::end_machines,
    renewals::standing_renewals,
};
use super::model::{
    Facts, FactsSql, Issue, License, LicenseDetails, LicenseFilters, Question, Renewal, RenewalTerm, Row, State, Term,
};
use crate::{
    any_of,
    features::{
        policies::{Policy, Terms},
        schema::licensing::{
            customer_metadata, license_counters, license_holds, license_keys, license_renewals, licenses,
        },
    },
    in_order_of_change,
    kernel::{
        clock,
        db::Context,
        id::{CustomerId, Id, LicenseId},
        jsonb::Jsonb,
        page::PageQuery,
    },
    tagged,
};

diesel::define_sql_function! {
    /// Everything that a verdict stands on.
    fn license_facts(hash: Nullable<Binary>, license: Nullable<UuidSql>, machine: Nullable<UuidSql>, fingerprint: Nullable<Binary>) -> Nullable<Record<FactsSql>>;
}
diesel::define_sql_function! {
    /// The same outside of a transaction: it enters the context itself.
    fn license_glance(context: Array<Nullable<Text>>, hash: Nullable<Binary>, license: Nullable<UuidSql>, machine: Nullable<UuidSql>, fingerprint: Nullable<Binary>) -> Nullable<Record<FactsSql>>;
}

type Hash = Option<Vec<u8>>;
type Glance = select<license_glance<Vec<Option<String>>, Hash, Option<Uuid>, Option<Uuid>, Hash>>;

/// The statement of [`Db::ask`](crate::kernel::db::Db::ask) for a question.
pub(super) fn glance(context: Context, question: Question) -> Glance {
    diesel::select(license_glance(
        context.into_array(),
        question.hash.map(Vec::from),
        question.license.map(Id::uuid),
        question.machine.map(Id::uuid),
        question.fingerprint.map(Vec::from),
    ))
}

/// The answer to a question, inside a transaction.
pub(super) fn facts(conn: &mut PgConnection, question: Question) -> QueryResult<Option<Facts>> {
    diesel::select(license_facts(
        question.hash.map(Vec::from),
        question.license.map(Id::uuid),
        question.machine.map(Id::uuid),
        question.fingerprint.map(Vec::from),
    ))
    .get_result(conn)
}

/// A licence as it begins.
pub(super) struct NewRow<'a> {
    pub(super) id: LicenseId,
    pub(super) policy: &'a Policy,
    pub(super) issue: &'a Issue,
    pub(super) terms: &'a Terms,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// The licence, and what is used of its limits: nothing yet.
pub(super) fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> QueryResult<Row> {
    let (issue, rules) = (new.issue, &new.terms.rules);
    let what = (
        licenses::id.eq(new.id.uuid()),
        licenses::product_id.eq(new.policy.product_id),
        licenses::policy_id.eq(new.policy.id),
        licenses::customer_id.eq(issue.customer.map(Id::uuid)),
        licenses::name.eq(&issue.name),
        licenses::terms.eq(Jsonb(new.terms)),
        licenses::terms_version.eq(new.policy.version),
        licenses::overrides.eq(Jsonb(&issue.overrides)),
    );
    let when = (
        licenses::starts_at.eq(issue.starts_at),
        licenses::started_at.eq(new.started_at),
        licenses::term_ends_at.eq(new.expires_at),
        licenses::expires_at.eq(new.expires_at),
    );
    let whence = (
        licenses::issued_via.eq(issue.via),
        licenses::source_ref.eq(&issue.source_ref),
        licenses::public_metadata.eq(Jsonb(&issue.public_metadata)),
        licenses::metadata.eq(Jsonb(&issue.metadata)),
        licenses::external_id.eq(&issue.external_id),
    );
    let row: Row = diesel::insert_into(licenses::table)
        .values((what, when, whence))
        .returning(Row::as_returning())
        .get_result(conn)?;
    let most = |limit| rules.overage_strategy.most(limit);
    let counters = (
        license_counters::license_id.eq(new.id.uuid()),
        license_counters::holder.eq(new.id.uuid()),
        license_counters::customer_id.eq(issue.customer.map(Id::uuid)),
        license_counters::machines_max.eq(most(rules.max_machines)),
        license_counters::cores_max.eq(most(rules.max_cores).map(i64::from)),
        license_counters::memory_mb_max.eq(most(rules.max_memory_mb).map(i64::from)),
        license_counters::disk_mb_max.eq(most(rules.max_disk_mb).map(i64::from)),
    );
    diesel::insert_into(license_counters::table)
        .values(counters)
        .execute(conn)?;
    Ok(row)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<LicenseFilters>) -> QueryResult<Vec<Row>> {
    let filters = &query.filters;
    let customers: Vec<Uuid> = filters.customers.iter().map(|id: &CustomerId| id.uuid()).collect();
    let mut rows = licenses::table
        .select(Row::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows,
        licenses::product_id => filters.products,
        licenses::policy_id => filters.policies,
        licenses::customer_id => customers,
        licenses::external_id => filters.external_ids);
    if !filters.key_starts.is_empty() {
        let keys = license_keys::table
            .filter(license_keys::license_id.eq(licenses::id))
            .filter(license_keys::start.eq_any(&filters.key_starts));
        rows = rows.filter(exists(keys));
    }
    if let Some(time) = filters.expires_before {
        rows = rows.filter(licenses::expires_at.lt(time));
    }
    tagged!(rows, licenses, customer_metadata, query);
    in_order_of_change!(rows, licenses, query).load(conn)
}

pub(super) fn get(conn: &mut PgConnection, id: LicenseId) -> QueryResult<Row> {
    licenses::table.find(id.uuid()).select(Row::as_select()).first(conn)
}

/// The licence, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: LicenseId) -> QueryResult<Row> {
    let one = licenses::table.find(id.uuid()).select(Row::as_select());
    one.for_no_key_update().first(conn)
}

/// Notes that a licence's keys or holds changed, so that its version does.
pub(super) fn touch(conn: &mut PgConnection, id: LicenseId, now: DateTime<Utc>) -> QueryResult<Row> {
    diesel::update(licenses::table.find(id.uuid()))
        .set(licenses::touched_at.eq(now))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Writes what may change of a licence without changing what it is worth.
pub(super) fn describe(conn: &mut PgConnection, id: LicenseId, to: &LicenseDetails) -> QueryResult<Row> {
    diesel::update(licenses::table.find(id.uuid()))
        .set(to)
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn suspend(conn: &mut PgConnection, id: LicenseId, now: DateTime<Utc>) -> QueryResult<Row> {
    diesel::update(licenses::table.find(id.uuid()))
        .set((licenses::state.eq(State::Suspended), licenses::suspended_at.eq(now)))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Lets a licence live again.
pub(super) fn revive(conn: &mut PgConnection, id: LicenseId) -> QueryResult<Row> {
    diesel::update(licenses::table.find(id.uuid()))
        .set((
            licenses::state.eq(State::Active),
            licenses::suspended_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Moves what stands of renewals until a date after `since` on: each by what was left of the stop when it was made.
pub(super) fn shift_renewals(
    conn: &mut PgConnection,
    id: LicenseId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let standing: Vec<(String, Option<DateTime<Utc>>, DateTime<Utc>)> = license_renewals::table
        .filter(license_renewals::license_id.eq(id.uuid()))
        .filter(license_renewals::reversed_at.is_null())
        .filter(license_renewals::until.gt(since))
        .select((
            license_renewals::ref_,
            license_renewals::until,
            license_renewals::created_at,
        ))
        .load(conn)?;
    for (reference, until, made_at) in standing {
        let by = now - since.max(made_at);
        diesel::update(license_renewals::table.find((id.uuid(), reference)))
            .set(license_renewals::until.eq(until.map(|until| clock::later(until, by))))
            .execute(conn)?;
    }
    Ok(())
}

/// Ends a licence with its keys and holds.
pub(super) fn revoke(conn: &mut PgConnection, id: LicenseId, now: DateTime<Utc>) -> QueryResult<Row> {
    diesel::update(license_keys::table.filter(license_keys::license_id.eq(id.uuid())))
        .set((license_keys::state.eq("dead"), license_keys::ends_at.eq(now)))
        .execute(conn)?;
    diesel::delete(license_holds::table.filter(license_holds::license_id.eq(id.uuid()))).execute(conn)?;
    diesel::update(licenses::table.find(id.uuid()))
        .set((
            licenses::state.eq(State::Revoked),
            licenses::revoked_at.eq(now),
            licenses::suspended_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Notes a renewal. False if the same one was noted before.
pub(super) fn insert_renewal(conn: &mut PgConnection, license: &License, renewal: &Renewal) -> QueryResult<bool> {
    let (kind, until, periods) = match renewal.term {
        RenewalTerm::Until(until) => ("until", Some(until), None),
        RenewalTerm::Periods(periods) => ("periods", None, Some(periods)),
    };
    let row = (
        license_renewals::license_id.eq(license.id.uuid()),
        license_renewals::customer_id.eq(license.customer_id.map(Id::uuid)),
        license_renewals::reseller_id.eq(license.reseller_id.map(Id::uuid)),
        license_renewals::ref_.eq(&renewal.reference),
        license_renewals::kind.eq(kind),
        license_renewals::until.eq(until),
        license_renewals::periods.eq(periods),
    );
    let noted = diesel::insert_into(license_renewals::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(noted == 1)
}

/// Reverses a renewal until a date. False if there is none that stands.
pub(super) fn reverse_renewal(
    conn: &mut PgConnection,
    id: LicenseId,
    reference: &str,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let standing = license_renewals::table
        .find((id.uuid(), reference))
        .filter(license_renewals::kind.eq("until"))
        .filter(license_renewals::reversed_at.is_null());
    let reversed = diesel::update(standing)
        .set(license_renewals::reversed_at.eq(now))
        .execute(conn)?;
    Ok(reversed == 1)
}

/// The latest date until which a licence was renewed by what was not reversed.
pub(super) fn renewed_until(conn: &mut PgConnection, id: LicenseId) -> QueryResult<Option<DateTime<Utc>>> {
    license_renewals::table
        .filter(license_renewals::license_id.eq(id.uuid()))
        .filter(license_renewals::reversed_at.is_null())
        .select(max(license_renewals::until))
        .first(conn)
}

/// Sets where the term ends and when the licence expires.
pub(super) fn prolong(
    conn: &mut PgConnection,
    id: LicenseId,
    term: Term,
    expires_at: Option<DateTime<Utc>>,
) -> QueryResult<Row> {
    diesel::update(licenses::table.find(id.uuid()))
        .set((
            licenses::term_anchor.eq(term.anchor),
            licenses::term_ends_at.eq(term.ends_at),
            licenses::expires_at.eq(expires_at),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Begins the term. The licence is locked, and its term had not begun.
pub(super) fn begin(
    conn: &mut PgConnection,
    id: LicenseId,
    now: DateTime<Utc>,
    term_ends_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
) -> QueryResult<usize> {
    diesel::update(licenses::table.find(id.uuid()))
        .set((
            licenses::started_at.eq(now),
            licenses::term_ends_at.eq(term_ends_at),
            licenses::expires_at.eq(expires_at),
        ))
        .execute(conn)
}

/// Locks a licence if nobody else has.
pub(super) fn try_lock(conn: &mut PgConnection, id: LicenseId) -> QueryResult<bool> {
    let locked = licenses::table
        .find(id.uuid())
        .select(licenses::id)
        .for_no_key_update()
        .skip_locked()
        .first::<LicenseId>(conn)
        .optional()?;
    Ok(locked.is_some())
}

/// Notes when a licence was last asked about.
pub(super) fn seen(conn: &mut PgConnection, id: LicenseId, now: DateTime<Utc>) -> QueryResult<usize> {
    let older = licenses::last_validated_at
        .is_null()
        .or(licenses::last_validated_at.lt(now).assume_not_null());
    diesel::update(licenses::table.find(id.uuid()).filter(older))
        .set(licenses::last_validated_at.eq(now))
        .execute(conn)
}
