//! Machines that gave no sign of life in time.

use chrono::{DateTime, Utc};
use diesel::{
    PgJsonbExpressionMethods,
    dsl::{exists, not},
    pg::Pg,
    prelude::*,
    sql_types::Bool,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    features::{
        licenses::MachineId,
        machines::model::{Machine, MachineState},
        policies::{Cull, Heartbeat},
        schema::licensing::{licenses, machines},
    },
    kernel::id::LicenseId,
};

/// The first of a licence's machines in these states whose sign of life is overdue, locked, at most so many.
pub(in crate::features::machines) fn overdue(
    conn: &mut PgConnection,
    license: LicenseId,
    before: DateTime<Utc>,
    states: &[MachineState],
    most: i64,
) -> QueryResult<Vec<Machine>> {
    machines::table
        .filter(machines::license_id.eq(license.uuid()))
        .filter(machines::state.eq_any(states))
        .filter(machines::heartbeat_due_at.lt(before))
        .order(machines::id)
        .limit(most)
        .select(Machine::as_select())
        .for_no_key_update()
        .load(conn)
}

/// Waits for no sign of life of these machines any more.
pub(in crate::features::machines) fn forget(
    conn: &mut PgConnection,
    ids: impl Iterator<Item = MachineId>,
) -> QueryResult<usize> {
    diesel::update(machines::table.filter(machines::id.eq_any(ids)))
        .set(machines::heartbeat_due_at.eq(None::<DateTime<Utc>>))
        .execute(conn)
}

/// The next licences beyond this one with a machine that is active and whose sign of life is overdue.
pub(in crate::features::machines) fn licenses_with_overdue(
    conn: &mut PgConnection,
    after: LicenseId,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<LicenseId>> {
    machines::table
        .filter(machines::license_id.gt(after.uuid()))
        .filter(machines::state.eq(MachineState::Active))
        .filter(machines::heartbeat_due_at.lt(before))
        .select(machines::license_id)
        .distinct()
        .order(machines::license_id)
        .limit(most)
        .load(conn)
}

/// The next licences of a policy beyond this one that do not keep the dead, and yet have a machine that died: when it did, they kept them.
pub(in crate::features::machines) fn licenses_with_dead(
    conn: &mut PgConnection,
    policy: Uuid,
    after: LicenseId,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<LicenseId>> {
    let dead = machines::table
        .filter(machines::license_id.eq(licenses::id))
        .filter(machines::state.eq(MachineState::Dead))
        .filter(machines::heartbeat_due_at.lt(before));
    licenses::table
        .filter(licenses::policy_id.eq(policy))
        .filter(licenses::id.gt(after.uuid()))
        .filter(lets_go())
        .filter(exists(dead))
        .order(licenses::id)
        .limit(most)
        .select(licenses::id)
        .load(conn)
}

/// The policies of those of these machines that died, though their licences do not keep the dead.
pub(in crate::features::machines) fn policies_of_dead(
    conn: &mut PgConnection,
    machines: &[Uuid],
) -> QueryResult<Vec<Uuid>> {
    let dead = machines::table
        .filter(machines::id.eq_any(machines))
        .filter(machines::state.eq(MachineState::Dead));
    licenses::table
        .filter(licenses::id.eq_any(dead.select(machines::license_id)))
        .filter(lets_go())
        .select(licenses::policy_id)
        .distinct()
        .load(conn)
}

/// Licences that do not keep the dead.
fn lets_go() -> Box<dyn BoxableExpression<licenses::table, Pg, SqlType = Bool>> {
    let rules = |rules: Value| licenses::terms.contains(json!({ "rules": rules }));
    let deactivates = rules(json!({ "heartbeat_cull": Cull::DeactivateDead }));
    Box::new(deactivates.and(not(rules(json!({ "heartbeat": Heartbeat::None })))))
}

/// Whether any machine of the workspace is to give a sign of life.
pub(in crate::features::machines) fn are_watched(conn: &mut PgConnection) -> QueryResult<bool> {
    let watched = machines::table
        .filter(machines::state.eq(MachineState::Active))
        .filter(machines::heartbeat_due_at.is_not_null());
    diesel::select(exists(watched)).get_result(conn)
}

/// Declares a machine dead as of the moment when its sign of life was due.
pub(in crate::features::machines) fn bury(
    conn: &mut PgConnection,
    id: MachineId,
    died_at: DateTime<Utc>,
) -> QueryResult<Machine> {
    diesel::update(machines::table.find(id.uuid()))
        .set((machines::state.eq(MachineState::Dead), machines::died_at.eq(died_at)))
        .returning(Machine::as_returning())
        .get_result(conn)
}

/// When a machine died.
pub(in crate::features::machines) fn died_at(
    conn: &mut PgConnection,
    id: MachineId,
) -> QueryResult<Option<DateTime<Utc>>> {
    machines::table.find(id.uuid()).select(machines::died_at).first(conn)
}
