//! The machines of a licence that ends.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper};
use uuid::Uuid;

use crate::{
    features::{
        licenses::model::{Machine, MachineId, MachineState},
        schema::licensing::{license_counters, machines},
    },
    kernel::id::LicenseId,
};

/// Deactivates the next of a licence's machines, at most so many, and gives their places back. The licence is locked.
pub(in crate::features::licenses) fn end_machines(
    conn: &mut PgConnection,
    license: LicenseId,
    now: DateTime<Utc>,
    most: i64,
) -> QueryResult<Vec<Machine>> {
    let counter = || license_counters::table.find((license.uuid(), license.uuid()));
    // The counter before the machines: who activates meanwhile waits, or has made a machine that is seen here.
    counter()
        .select(license_counters::holder)
        .for_no_key_update()
        .first::<Uuid>(conn)?;
    let next: Vec<MachineId> = machines::table
        .filter(machines::license_id.eq(license.uuid()))
        .filter(machines::state.ne(MachineState::Deactivated))
        .order((machines::created_at, machines::id))
        .limit(most)
        .select(machines::id)
        .load(conn)?;
    let ended: Vec<Machine> = diesel::update(machines::table.filter(machines::id.eq_any(&next)))
        .set((
            machines::state.eq(MachineState::Deactivated),
            machines::deactivated_at.eq(now),
            machines::heartbeat_due_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Machine::as_returning())
        .get_results(conn)?;
    let sum = |of: fn(&Machine) -> Option<i32>| ended.iter().filter_map(of).map(i64::from).sum::<i64>();
    let all = (ended.len() as i64) < most;
    diesel::update(counter())
        .set((
            license_counters::machines.eq(license_counters::machines - ended.len() as i32),
            license_counters::cores.eq(license_counters::cores - sum(|machine| machine.cores)),
            license_counters::memory_mb.eq(license_counters::memory_mb - sum(|machine| machine.memory_mb)),
            license_counters::disk_mb.eq(license_counters::disk_mb - sum(|machine| machine.disk_mb)),
            all.then(|| license_counters::over_limit.eq(false)),
        ))
        .execute(conn)?;
    Ok(ended)
}
