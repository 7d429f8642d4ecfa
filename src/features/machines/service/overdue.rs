//! Machines that gave no sign of life in time: what becomes of them, so many a transaction.

use chrono::TimeDelta;

use super::{heartbeat::bury, return_share};
use crate::{
    features::{
        licenses::{self, DRIFT, Facts, Question},
        machines::{
            model::{MACHINE_DEACTIVATED, MachineState},
            queries::{self, Share},
        },
        policies::{Cull, Heartbeat},
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::{JobId, LicenseId},
        jobs::{Lane, OnExists, Push, push},
        outbox,
    },
};

/// The job that ends what is overdue, though nobody wants its place.
pub(in crate::features::machines) const SWEEP: &str = "machines.sweep";
/// It looks this often while any machine of the workspace is to give signs of life.
pub(in crate::features::machines) const OFTEN: TimeDelta = TimeDelta::minutes(15);
/// How many machines a transaction ends: the licence's activations wait for it.
const AT_ONCE: i64 = 500;

/// Has the workspace swept within [`OFTEN`], for a machine that is to give signs of life from now on. Comes last in the transaction.
pub(in crate::features::machines) fn sweep_soon(tx: &mut Tenant<'_>) -> Result<()> {
    let due = tx.now()? + OFTEN;
    let job = JobId::of(tx.workspace().uuid(), SWEEP);
    let sweep = Push {
        due: Some(due),
        on_exists: OnExists::Sooner,
        ..Push::now(Lane::Slow, SWEEP, job)
    };
    push(tx, sweep)
}

/// Ends the next of what is overdue on a licence, as its policy says: its machines give their places back, or are dead and keep them, or are
/// waited for no more. True if more may be left.
///
/// # Errors
/// 403 `workspace-suspended` when the vendor is barred for abuse.
pub(in crate::features::machines) fn end_overdue(tx: &mut Tenant<'_>, license: LicenseId) -> Result<bool> {
    let question = Question {
        license: Some(license),
        ..Question::default()
    };
    let Some(facts) = licenses::facts(tx, question)? else {
        return Ok(false);
    };
    let rules = &facts.terms.rules;
    let ended = match (rules.heartbeat, rules.heartbeat_cull) {
        (Heartbeat::None, _) => forget(tx, &facts)?,
        (_, Cull::DeactivateDead) => reap(tx, &facts)?,
        (_, Cull::KeepDead) => bury_next(tx, &facts)?,
    };
    Ok(ended >= AT_ONCE)
}

/// Deactivates the next of what is overdue on this licence, if its policy says so. Answers how many places became free.
pub(super) fn reap(tx: &mut Tenant<'_>, facts: &Facts) -> Result<i64> {
    let rules = &facts.terms.rules;
    if rules.heartbeat == Heartbeat::None || rules.heartbeat_cull != Cull::DeactivateDead {
        return Ok(0);
    }
    queries::lock_places(tx.conn(), facts.license)?;
    let mut freed = Share::default();
    // Those, too, that were declared dead while the dead kept their places.
    let states = [MachineState::Active, MachineState::Dead];
    for overdue in queries::overdue(tx.conn(), facts.license, facts.now - DRIFT, &states, AT_ONCE)? {
        if let Some(machine) = queries::deactivate(tx.conn(), overdue.id, facts.now)? {
            freed = freed.and(Share::from(&machine));
            outbox::emit(tx, MACHINE_DEACTIVATED.of(machine.id, &machine))?;
        }
    }
    if freed.machines > 0 {
        return_share(tx, facts.license, freed)?;
    }
    Ok(i64::from(freed.machines))
}

/// Declares dead the next of what is overdue on a licence whose dead machines keep their places. Answers how many.
fn bury_next(tx: &mut Tenant<'_>, facts: &Facts) -> Result<i64> {
    let before = facts.now - DRIFT;
    let overdue = queries::overdue(tx.conn(), facts.license, before, &[MachineState::Active], AT_ONCE)?;
    for machine in &overdue {
        if let Some(due) = machine.heartbeat_due_at {
            bury(tx, machine.id, due)?;
        }
    }
    Ok(overdue.len() as i64)
}

/// Waits no more for the next of what is overdue on a licence whose policy asks for no signs of life any more. Answers for how many.
fn forget(tx: &mut Tenant<'_>, facts: &Facts) -> Result<i64> {
    let before = facts.now - DRIFT;
    let overdue = queries::overdue(tx.conn(), facts.license, before, &[MachineState::Active], AT_ONCE)?;
    queries::forget(tx.conn(), overdue.iter().map(|machine| machine.id))?;
    Ok(overdue.len() as i64)
}
