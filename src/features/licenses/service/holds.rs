//! Suspending, reinstating, revoking.

use crate::{
    features::licenses::{
        model::{
            HoldReason, LICENSE_REINSTATED, LICENSE_REVOKED, LICENSE_SUSPENDED, License, MACHINE_DEACTIVATED, NewHold,
            Reinstatement, Revocation, Row, State, Suspension, Term,
        },
        queries,
        service::{renewal, shown},
    },
    kernel::{
        clock,
        db::Tenant,
        entitlements,
        error::{Result, STATE_CONFLICT},
        http::IfMatch,
        id::{JobId, LicenseId},
        jobs::{self, Lane, Push},
        outbox,
    },
};

/// Suspends a licence because somebody said so.
pub(in crate::features::licenses) fn suspend(
    tx: &mut Tenant<'_>,
    id: LicenseId,
    seen: &IfMatch,
    why: &Suspension,
) -> Result<License> {
    let hold = NewHold {
        note: why.note.clone(),
        ..NewHold::new(by_hand(tx, why.reason))
    };
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    place_on(tx, row, &hold)
}

/// Lifts one of a licence's holds because somebody said so.
pub(in crate::features::licenses) fn reinstate(
    tx: &mut Tenant<'_>,
    id: LicenseId,
    seen: &IfMatch,
    which: &Reinstatement,
) -> Result<License> {
    let reason = by_hand(tx, which.reason);
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    lift_from(tx, row, reason, which.reference.as_deref().unwrap_or_default())
}

/// A reseller places and lifts holds of its own only.
fn by_hand(tx: &Tenant<'_>, reason: Option<HoldReason>) -> HoldReason {
    match tx.scope().reach().reseller {
        Some(_) => HoldReason::Reseller,
        None => reason.unwrap_or(HoldReason::Manual),
    }
}

/// Places a hold: the licence is suspended as long as one is left. One that is placed already stays as it is.
///
/// # Errors
/// 404, 409 `state-conflict` if the licence is revoked.
pub fn place(tx: &mut Tenant<'_>, id: LicenseId, hold: &NewHold) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    place_on(tx, row, hold)
}

fn place_on(tx: &mut Tenant<'_>, row: Row, hold: &NewHold) -> Result<License> {
    alive(&row)?;
    let before = shown(tx, row.clone())?;
    if !queries::place(tx.conn(), &row, hold)? {
        return Ok(before);
    }
    let now = tx.now()?;
    let row = match row.state {
        State::Suspended => queries::touch(tx.conn(), row.id, now)?,
        _ => queries::suspend(tx.conn(), row.id, now)?,
    };
    let license = shown(tx, row)?;
    let event = LICENSE_SUSPENDED.of(license.id, &license).after(&before);
    outbox::emit(tx, event.noting("note", hold.note.as_deref()))?;
    Ok(license)
}

/// Lifts a hold, and no other: a payment cannot undo a dispute. One that is not there is lifted already.
///
/// # Errors
/// 404, 409 `state-conflict` if the licence is revoked.
pub fn lift(tx: &mut Tenant<'_>, id: LicenseId, reason: HoldReason, reference: &str) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    lift_from(tx, row, reason, reference)
}

fn lift_from(tx: &mut Tenant<'_>, row: Row, reason: HoldReason, reference: &str) -> Result<License> {
    alive(&row)?;
    let before = shown(tx, row.clone())?;
    if !queries::lift(tx.conn(), row.id, reason, reference)? {
        return Ok(before);
    }
    let row = match queries::is_held(tx.conn(), row.id)? {
        true => {
            let now = tx.now()?;
            queries::touch(tx.conn(), row.id, now)?
        }
        false => revive(tx, row)?,
    };
    let license = shown(tx, row)?;
    outbox::emit(tx, LICENSE_REINSTATED.of(license.id, &license).after(&before))?;
    Ok(license)
}

/// The last hold is gone. Where the suspension stopped the clock, term and renewals end that much later, each by itself: one that is taken
/// back later takes its share along. Where the term's months are counted from moves as well, so that they go on from the moved end.
fn revive(tx: &mut Tenant<'_>, row: Row) -> Result<Row> {
    let row_alive = queries::revive(tx.conn(), row.id)?;
    let Some(since) = renewal::stopped_at(&row) else {
        return Ok(row_alive);
    };
    let now = tx.now()?;
    queries::shift_renewals(tx.conn(), row.id, since, now)?;
    let by = now - since;
    let term = Term::from(&row);
    let moved = Term {
        anchor: term.anchor.map(|start| clock::later(start, by)),
        ends_at: term.ends_at.map(|end| clock::later(end, by)),
    };
    renewal::settle(tx, row.id, moved)
}

/// Refuses what is over for good.
pub(super) fn alive(row: &Row) -> Result<()> {
    if row.state == State::Revoked {
        let detail = "The licence is revoked, which is for good.";
        return Err(STATE_CONFLICT.because(detail).with("state", "revoked").into());
    }
    Ok(())
}

/// Revokes a licence because somebody said so.
pub(in crate::features::licenses) fn revoke_seen(
    tx: &mut Tenant<'_>,
    id: LicenseId,
    seen: &IfMatch,
    why: &Revocation,
) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    end(tx, row, why.note.as_deref())
}

/// Ends a licence for good, with its keys and machines. One that is revoked stays as it is.
///
/// # Errors
/// 404.
pub fn revoke(tx: &mut Tenant<'_>, id: LicenseId) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    end(tx, row, None)
}

fn end(tx: &mut Tenant<'_>, row: Row, note: Option<&str>) -> Result<License> {
    let before = shown(tx, row.clone())?;
    if row.state == State::Revoked {
        return Ok(before);
    }
    let now = tx.now()?;
    let row = queries::revoke(tx.conn(), row.id, now)?;
    entitlements::give(tx, "licenses", 1)?;
    if !end_machines(tx, row.id)? {
        let rest = Push::now(Lane::System, END_MACHINES, JobId::of(row.id.uuid(), END_MACHINES));
        jobs::push(
            tx,
            Push {
                group_id: row.id.uuid(),
                ..rest
            },
        )?;
    }
    let license = shown(tx, row)?;
    let event = LICENSE_REVOKED.of(license.id, &license).after(&before);
    outbox::emit(tx, event.noting("note", note))?;
    Ok(license)
}

/// The job that deactivates the machines of a licence that had more of them than one transaction should end.
pub(in crate::features::licenses) const END_MACHINES: &str = "licenses.end_machines";
/// How many machines a transaction ends.
const AT_ONCE: i64 = 200;

/// Deactivates the next of a revoked licence's machines and tells of each. True once none is left.
pub(in crate::features::licenses) fn end_machines(tx: &mut Tenant<'_>, id: LicenseId) -> Result<bool> {
    let now = tx.now()?;
    let ended = queries::end_machines(tx.conn(), id, now, AT_ONCE)?;
    for machine in &ended {
        outbox::emit(tx, MACHINE_DEACTIVATED.of(machine.id, machine))?;
    }
    Ok((ended.len() as i64) < AT_ONCE)
}
