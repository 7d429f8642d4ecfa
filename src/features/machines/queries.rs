//! Rows of machines, and the counters that their places are taken from.

mod overdue;
mod places;

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, RunQueryDsl,
    SelectableHelper,
};
use uuid::Uuid;

pub(super) use self::{
    overdue::{
        are_watched, bury, died_at, forget, licenses_with_dead, licenses_with_overdue, overdue, policies_of_dead,
    },
    places::{Share, give, lock_places, resize, take, taken},
};
use super::model::{Machine, MachineFilters, MachineState, NewMachine, Taker};
use crate::{
    any_of,
    features::{
        licenses::{Facts, MachineId, State},
        schema::licensing::{customer_metadata, licenses, machines},
    },
    in_order_of_change,
    kernel::{
        db::ById,
        id::{Id, LicenseId},
        page::PageQuery,
    },
    tagged,
};

/// Locks a licence that is about to be changed until the commit.
pub(super) fn lock_license(conn: &mut PgConnection, license: LicenseId) -> QueryResult<()> {
    let one = licenses::table.find(license.uuid());
    one.select(licenses::id)
        .for_no_key_update()
        .first::<Uuid>(conn)
        .map(drop)
}

/// Whether a licence is live at this moment, and not as the transaction began.
pub(super) fn is_live(conn: &mut PgConnection, license: LicenseId) -> QueryResult<bool> {
    licenses::table
        .find(license.uuid())
        .select(licenses::state.eq(State::Active))
        .first(conn)
}

/// A machine as it begins.
pub(super) struct NewRow<'a> {
    pub(super) id: MachineId,
    pub(super) facts: &'a Facts,
    pub(super) hash: [u8; 32],
    pub(super) unique_in: Uuid,
    pub(super) due_at: Option<DateTime<Utc>>,
    pub(super) ip: Option<String>,
    pub(super) new: &'a NewMachine,
}

/// The machine; `None` if one with this fingerprint is there already, in the licence or wherever it must be the only one.
pub(super) fn insert(conn: &mut PgConnection, row: &NewRow<'_>) -> QueryResult<Option<Machine>> {
    let (facts, new) = (row.facts, row.new);
    let whose = (
        machines::id.eq(row.id),
        machines::license_id.eq(facts.license.uuid()),
        machines::customer_id.eq(facts.customer.map(Id::uuid)),
        machines::reseller_id.eq(facts.reseller.map(Id::uuid)),
        machines::fingerprint_hash.eq(row.hash.as_slice()),
        machines::fingerprint_start.eq(hex::encode(&row.hash[..4])),
        machines::uniqueness_scope.eq(row.unique_in),
        machines::heartbeat_due_at.eq(row.due_at),
    );
    let what = (
        machines::external_id.eq(&new.external_id),
        machines::name.eq(&new.name),
        machines::hostname.eq(&new.hostname),
        machines::platform.eq(&new.platform),
        machines::cores.eq(new.cores),
        machines::memory_mb.eq(new.memory_mb),
        machines::disk_mb.eq(new.disk_mb),
        machines::ip_truncated.eq(&row.ip),
    );
    diesel::insert_into(machines::table)
        .values((whose, what))
        .on_conflict_do_nothing()
        .returning(Machine::as_returning())
        .get_result(conn)
        .optional()
}

/// The licence's machine with this fingerprint, locked: a place that is given up meanwhile is no place.
pub(super) fn of_fingerprint(
    conn: &mut PgConnection,
    license: LicenseId,
    hash: &[u8; 32],
) -> QueryResult<Option<Machine>> {
    machines::table
        .filter(machines::license_id.eq(license.uuid()))
        .filter(machines::fingerprint_hash.eq(hash.as_slice()))
        .filter(machines::state.ne(MachineState::Deactivated))
        .select(Machine::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// What the licence's machine with this fingerprint takes of its limits at present.
pub(super) fn share_of(conn: &mut PgConnection, license: LicenseId, hash: &[u8; 32]) -> QueryResult<Option<Share>> {
    let sizes: Option<(Option<i32>, Option<i32>, Option<i32>)> = machines::table
        .filter(machines::license_id.eq(license.uuid()))
        .filter(machines::fingerprint_hash.eq(hash.as_slice()))
        .filter(machines::state.ne(MachineState::Deactivated))
        .select((machines::cores, machines::memory_mb, machines::disk_mb))
        .first(conn)
        .optional()?;
    Ok(sizes.map(|(cores, memory_mb, disk_mb)| Share::of(cores, memory_mb, disk_mb)))
}

/// Brings what is known of a machine up to date. `anew` raises its generation and begins its heartbeat again.
pub(super) fn refresh(
    conn: &mut PgConnection,
    id: MachineId,
    new: &NewMachine,
    anew: Option<(i32, Option<DateTime<Utc>>)>,
) -> QueryResult<Machine> {
    let known = (
        new.name.as_ref().map(|name| machines::name.eq(name)),
        new.hostname.as_ref().map(|name| machines::hostname.eq(name)),
        new.platform.as_ref().map(|name| machines::platform.eq(name)),
        new.external_id.as_ref().map(|id| machines::external_id.eq(id)),
        new.cores.map(|cores| machines::cores.eq(cores)),
        new.memory_mb.map(|size| machines::memory_mb.eq(size)),
        new.disk_mb.map(|size| machines::disk_mb.eq(size)),
    );
    let again = anew.map(|(generation, due_at)| {
        (
            machines::state.eq(MachineState::Active),
            machines::generation.eq(generation),
            machines::heartbeat_due_at.eq(due_at),
            machines::died_at.eq(None::<DateTime<Utc>>),
        )
    });
    diesel::update(machines::table.find(id.uuid()))
        // Something is always set, or there would be no statement; and nothing that others refer to it by, or they would wait.
        .set((known, again, machines::deactivated_at.eq(machines::deactivated_at)))
        .returning(Machine::as_returning())
        .get_result(conn)
}

/// Frees a machine's place in its own row. `None`: it was freed before.
pub(super) fn deactivate(conn: &mut PgConnection, id: MachineId, now: DateTime<Utc>) -> QueryResult<Option<Machine>> {
    let living = machines::table
        .find(id.uuid())
        .filter(machines::state.ne(MachineState::Deactivated));
    diesel::update(living)
        .set((
            machines::state.eq(MachineState::Deactivated),
            machines::deactivated_at.eq(now),
            machines::heartbeat_due_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Machine::as_returning())
        .get_result(conn)
        .optional()
}

/// Moves a machine's next due time.
pub(super) fn beat(conn: &mut PgConnection, id: MachineId, due_at: DateTime<Utc>) -> QueryResult<usize> {
    diesel::update(machines::table.find(id.uuid()))
        .set(machines::heartbeat_due_at.eq(due_at))
        .execute(conn)
}

pub(super) fn get(conn: &mut PgConnection, id: MachineId) -> QueryResult<Machine> {
    one(id.uuid()).first(conn)
}

/// The statement that reads it.
pub(super) fn one(id: Uuid) -> ById<machines::table, Machine> {
    machines::table.find(id).select(Machine::as_select())
}

/// The machine, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: MachineId) -> QueryResult<Machine> {
    let one = machines::table.find(id.uuid()).select(Machine::as_select());
    one.for_no_key_update().first(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<MachineFilters>) -> QueryResult<Vec<Machine>> {
    let filters = &query.filters;
    let licenses: Vec<Uuid> = filters.licenses.iter().map(|id| id.uuid()).collect();
    let mut rows = machines::table
        .select(Machine::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows,
        machines::license_id => licenses,
        machines::state => filters.states,
        machines::external_id => filters.external_ids);
    tagged!(rows, machines, customer_metadata, query);
    in_order_of_change!(rows, machines, query).load(conn)
}

/// How many machines a workspace's licences are active on.
pub(super) fn count(conn: &mut PgConnection) -> QueryResult<i64> {
    machines::table
        .filter(machines::state.ne(MachineState::Deactivated))
        .count()
        .get_result(conn)
}

/// The licences that are active on a machine which the vendor calls by this name.
pub(super) fn held_by(conn: &mut PgConnection, external_id: &str) -> QueryResult<Vec<LicenseId>> {
    machines::table
        .filter(machines::external_id.eq(external_id))
        .filter(machines::state.ne(MachineState::Deactivated))
        .order(machines::id)
        .select(machines::license_id)
        .load(conn)
}

/// A licence's machines, oldest first, at most so many.
pub(super) fn takers(conn: &mut PgConnection, license: LicenseId, most: i64) -> QueryResult<Vec<Taker>> {
    let rows: Vec<(MachineId, Option<String>, String, DateTime<Utc>)> = machines::table
        .filter(machines::license_id.eq(license.uuid()))
        .filter(machines::state.ne(MachineState::Deactivated))
        .order((machines::created_at, machines::id))
        .limit(most)
        .select((
            machines::id,
            machines::name,
            machines::fingerprint_start,
            machines::created_at,
        ))
        .load(conn)?;
    let taker = |(id, name, fingerprint_start, created_at)| Taker {
        id,
        name,
        fingerprint_start,
        created_at,
    };
    Ok(rows.into_iter().map(taker).collect())
}

/// Notes a licence's first activation.
pub(super) fn first(conn: &mut PgConnection, license: LicenseId, now: DateTime<Utc>) -> QueryResult<usize> {
    let new = licenses::table
        .find(license.uuid())
        .filter(licenses::activated_at.is_null());
    diesel::update(new).set(licenses::activated_at.eq(now)).execute(conn)
}
