//! Signs of life.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Wanting, admitted, deactivate, overdue::sweep_soon, own};
use crate::{
    features::{
        licenses::{self, DRIFT, Facts, MachineId},
        machines::{
            model::{Beat, LEASE_LOST, MACHINE_DEAD, MACHINE_RESURRECTED, Machine, MachineState, NewMachine, Pulse},
            queries,
        },
        policies::{ClientVerb, Cull, Heartbeat, Rules},
    },
    kernel::{
        db::Tenant,
        error::{NOT_FOUND, Result},
        http::Software,
        outbox,
    },
};

/// How far a due time must move to be worth a write.
const STEP: TimeDelta = TimeDelta::seconds(30);

/// What a sign of life came to. A refusal that has changed something must still commit.
pub(in crate::features::machines) enum Heard {
    /// The machine lives.
    Alive(Pulse),
    /// This activation of it is over.
    Lost,
}

impl Heard {
    pub(in crate::features::machines) fn into_result(self) -> Result<Pulse> {
        match self {
            Heard::Alive(pulse) => Ok(pulse),
            Heard::Lost => Err(LEASE_LOST.into()),
        }
    }
}

/// Hears a sign of life.
///
/// # Errors
/// 404 for a machine that is not there, or not of the software's licence.
pub(in crate::features::machines) fn beat(
    tx: &mut Tenant<'_>,
    software: Option<&Software>,
    id: MachineId,
    beat: &Beat,
) -> Result<Heard> {
    let machine = queries::get(tx.conn(), id)?;
    let facts = match software {
        Some(software) => {
            let facts = admitted(tx, Wanting::from(software), ClientVerb::Heartbeat, None)?;
            own(machine.clone(), &facts)?;
            facts
        }
        None => licenses::facts(
            tx,
            licenses::Question {
                license: Some(machine.license_id),
                ..licenses::Question::default()
            },
        )?
        .ok_or(NOT_FOUND)?,
    };
    if facts.terms.rules.heartbeat_cull == Cull::DeactivateDead && overdue(&machine, &facts).is_some() {
        // It may have to give its place back, whose lock comes before its own.
        queries::lock_places(tx.conn(), machine.license_id)?;
    }
    let machine = queries::lock(tx.conn(), id)?;
    hear(tx, &facts, machine, beat.generation)
}

/// Since when a machine's sign of life is overdue. A policy that asks for none any more waits for none.
pub(super) fn overdue(machine: &Machine, facts: &Facts) -> Option<DateTime<Utc>> {
    let due = machine.heartbeat_due_at.filter(|due| *due + DRIFT < facts.now);
    due.filter(|_| facts.terms.rules.heartbeat != Heartbeat::None)
}

/// Declares a machine dead as of the moment when its sign of life was due.
pub(super) fn bury(tx: &mut Tenant<'_>, id: MachineId, due: DateTime<Utc>) -> Result<Machine> {
    let machine = queries::bury(tx.conn(), id, due)?;
    outbox::emit(tx, MACHINE_DEAD.of(machine.id, &machine))?;
    Ok(machine)
}

fn hear(tx: &mut Tenant<'_>, facts: &Facts, machine: Machine, generation: i32) -> Result<Heard> {
    let rules = &facts.terms.rules;
    if machine.state == MachineState::Deactivated || generation != machine.generation {
        return Ok(Heard::Lost);
    }
    let late = overdue(&machine, facts);
    match (machine.state, late, rules.heartbeat_cull) {
        (MachineState::Dead, ..) => {
            let died_at = queries::died_at(tx.conn(), machine.id)?.unwrap_or(facts.now);
            revive(tx, facts, machine, died_at)
        }
        (_, Some(_), Cull::DeactivateDead) => {
            deactivate(tx, machine.id)?;
            Ok(Heard::Lost)
        }
        (_, Some(due), Cull::KeepDead) => {
            let machine = bury(tx, machine.id, due)?;
            revive(tx, facts, machine, due)
        }
        (_, None, _) => alive(tx, rules, facts.now, machine),
    }
}

/// When the next sign of life is due; `None`: the policy wants none.
fn next_due(rules: &Rules, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let watched = rules.heartbeat != Heartbeat::None;
    watched.then(|| now + TimeDelta::seconds(i64::from(rules.heartbeat_ttl_seconds)))
}

fn alive(tx: &mut Tenant<'_>, rules: &Rules, now: DateTime<Utc>, machine: Machine) -> Result<Heard> {
    let Some(due_at) = next_due(rules, now) else {
        return Ok(Heard::Alive(Pulse {
            due_at: None,
            generation: machine.generation,
        }));
    };
    let moves = machine.heartbeat_due_at.is_none_or(|known| known + STEP <= due_at);
    if moves {
        queries::beat(tx.conn(), machine.id, due_at)?;
    }
    if machine.heartbeat_due_at.is_none() {
        sweep_soon(tx)?;
    }
    Ok(Heard::Alive(Pulse {
        due_at: Some(if moves {
            due_at
        } else {
            machine.heartbeat_due_at.unwrap_or(due_at)
        }),
        generation: machine.generation,
    }))
}

/// A dead machine comes back within its window, as a new generation.
fn revive(tx: &mut Tenant<'_>, facts: &Facts, machine: Machine, died_at: DateTime<Utc>) -> Result<Heard> {
    let rules = &facts.terms.rules;
    let in_time = rules
        .heartbeat_resurrection
        .window()
        .is_none_or(|window| facts.now <= died_at + window);
    if !in_time || rules.heartbeat_resurrection.window() == Some(TimeDelta::zero()) {
        return Ok(Heard::Lost);
    }
    let anew = Some((machine.generation + 1, next_due(rules, facts.now)));
    let before = machine;
    let machine = queries::refresh(tx.conn(), before.id, &NewMachine::default(), anew)?;
    outbox::emit(tx, MACHINE_RESURRECTED.of(machine.id, &machine).after(&before))?;
    Ok(Heard::Alive(Pulse {
        due_at: machine.heartbeat_due_at,
        generation: machine.generation,
    }))
}
