//! The rules of machines.

mod heartbeat;
mod overdue;
mod short;

use anyhow::ensure;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    model::{
        ACTIVATION_PROTECTED, Activated, FINGERPRINT_TAKEN, MACHINE_ACTIVATED, MACHINE_DEACTIVATED,
        MACHINE_LIMIT_REACHED, MACHINE_RESURRECTED, MACHINE_UPDATED, Machine, MachineFilters, NewMachine,
    },
    queries::{self, NewRow, Share},
};
use crate::{
    features::{
        licenses::{self, Facts, License, MachineId, Question},
        policies::{ClientVerb, ExpirationBasis, Heartbeat, HeartbeatBasis, Rules, Uniqueness},
    },
    kernel::{
        access::Scope,
        check::tidy,
        db::{Db, Tenant},
        error::{Error, NOT_FOUND, Result, missing},
        http::{IfMatch, Software},
        id::LicenseId,
        outbox,
        page::{Page, PageQuery},
        peppers::Pepper,
    },
};

use short::Short;

pub(super) use heartbeat::beat;
pub(super) use overdue::{OFTEN, SWEEP, end_overdue, sweep_soon};

/// How many machines a refusal lists.
const LISTED: i64 = 20;

/// The HMAC of a fingerprint: all that is kept of it. Its white space at the ends and its Unicode form do not count.
pub fn fingerprint(pepper: &Pepper, text: &str) -> [u8; 32] {
    pepper.hash("machine", &tidy(text))
}

/// Who wants something of a licence: the vendor, of one that is named, or the customer's software, of its own.
#[derive(Clone, Copy)]
pub(super) enum Wanting {
    Vendor(LicenseId),
    Software { hash: [u8; 32] },
}

impl From<&Software> for Wanting {
    fn from(software: &Software) -> Wanting {
        Wanting::Software { hash: software.hash() }
    }
}

/// What is known of the licence, once its caller is admitted to it.
fn admitted(tx: &mut Tenant<'_>, who: Wanting, verb: ClientVerb, fingerprint: Option<[u8; 32]>) -> Result<Facts> {
    let question = match who {
        Wanting::Vendor(license) => Question {
            license: Some(license),
            fingerprint,
            ..Question::default()
        },
        Wanting::Software { hash } => Question {
            hash: Some(hash),
            fingerprint,
            ..Question::default()
        },
    };
    let facts = licenses::facts(tx, question)?;
    match who {
        Wanting::Vendor(_) => facts.ok_or_else(|| missing("/license_id", "licence")),
        Wanting::Software { .. } => {
            let facts = facts.ok_or(crate::kernel::access::LICENSE_UNKNOWN)?;
            licenses::admitted(&facts, verb)?;
            Ok(facts)
        }
    }
}

/// Activates a machine for a caller.
///
/// # Errors
/// As [`activate`], and what keeps the caller out.
pub(super) fn activate_for(tx: &mut Tenant<'_>, who: Wanting, new: &NewMachine, hash: [u8; 32]) -> Result<Activated> {
    let facts = admitted(tx, who, ClientVerb::Activate, Some(hash))?;
    if matches!(who, Wanting::Software { .. }) && facts.terms.rules.protected {
        return Err(ACTIVATION_PROTECTED.into());
    }
    run(tx, &facts, new, hash)
}

/// Activates a machine on a licence. The same fingerprint again takes no second place.
///
/// # Errors
/// 404, 409 `license-not-usable`, `machine-limit-reached`, `fingerprint-taken`.
pub fn activate(tx: &mut Tenant<'_>, license: LicenseId, new: &NewMachine, hash: [u8; 32]) -> Result<Activated> {
    let question = Question {
        license: Some(license),
        fingerprint: Some(hash),
        ..Question::default()
    };
    let facts = licenses::facts(tx, question)?.ok_or(NOT_FOUND)?;
    run(tx, &facts, new, hash)
}

/// Known: refreshed. Else a place is taken; if none is free, overdue machines are ended and it is tried again; if none is free still, a
/// twin may have been first. Then the machine is made; if a twin made it meanwhile, the place is given back, for its row is still ours.
fn run(tx: &mut Tenant<'_>, facts: &Facts, new: &NewMachine, hash: [u8; 32]) -> Result<Activated> {
    licenses::usable(facts)?;
    if facts.machine.is_some()
        && let Some(known) = again(tx, facts, new, hash)?
    {
        return Ok(known);
    }
    if is_first(facts) {
        queries::lock_license(tx.conn(), facts.license)?;
    }
    let share = Share::of(new.cores, new.memory_mb, new.disk_mb);
    let mut taken = queries::take(tx.conn(), facts.license, share)?;
    while !taken && overdue::reap(tx, facts)? > 0 {
        taken = queries::take(tx.conn(), facts.license, share)?;
    }
    if !taken {
        return match again(tx, facts, new, hash)? {
            Some(twin) => Ok(twin),
            None => Err(full(tx, facts.license, share)?),
        };
    }
    if !queries::is_live(tx.conn(), facts.license)? {
        // It was revoked or suspended while we waited for the place.
        licenses::usable(&anew(tx, facts.license)?)?;
    }
    let Some(machine) = enter(tx, facts, new, hash)? else {
        return_share(tx, facts.license, share)?;
        return again(tx, facts, new, hash)?.ok_or_else(|| FINGERPRINT_TAKEN.into());
    };
    Ok(Activated {
        machine,
        already_active: false,
    })
}

/// Whether the licence itself changes with this activation.
fn is_first(facts: &Facts) -> bool {
    let begins = facts.terms.rules.expiration_basis == ExpirationBasis::FromFirstActivation;
    facts.activated_at.is_none() || begins && facts.started_at.is_none()
}

/// Makes the machine whose place is taken, with all that follows from it. `None`: one with this fingerprint is there already.
fn enter(tx: &mut Tenant<'_>, facts: &Facts, new: &NewMachine, hash: [u8; 32]) -> Result<Option<Machine>> {
    let row = NewRow {
        id: MachineId::new(facts.now),
        facts,
        hash,
        unique_in: unique_in(tx, facts),
        due_at: first_due(&facts.terms.rules, facts.now),
        ip: tx.scope().call().ip.map(truncated),
        new,
    };
    let Some(machine) = queries::insert(tx.conn(), &row)? else {
        return Ok(None);
    };
    if facts.activated_at.is_none() {
        queries::first(tx.conn(), facts.license, facts.now)?;
    }
    if facts.started_at.is_none() {
        let rules = &facts.terms.rules;
        licenses::begin(tx, facts.license, rules, ExpirationBasis::FromFirstActivation)?;
    }
    outbox::emit(tx, MACHINE_ACTIVATED.of(machine.id, &machine))?;
    Ok(Some(machine))
}

/// A machine that has its place already: what is said of it is so from now on. One that was overdue begins a new generation: whoever still
/// holds the old one is told. `None`: there is no such machine.
fn again(tx: &mut Tenant<'_>, facts: &Facts, new: &NewMachine, hash: [u8; 32]) -> Result<Option<Activated>> {
    let resizes = is_resized(tx, facts, new, &hash)?;
    let Some(machine) = queries::of_fingerprint(tx.conn(), facts.license, &hash)? else {
        return Ok(None);
    };
    let new = &NewMachine {
        // Equal when we looked: whoever made it another size since then came after us, and theirs stays.
        cores: new.cores.filter(|_| resizes),
        memory_mb: new.memory_mb.filter(|_| resizes),
        disk_mb: new.disk_mb.filter(|_| resizes),
        ..new.clone()
    };
    let known = Share::from(&machine);
    let late = heartbeat::overdue(&machine, facts).is_some();
    let dead = machine.state == super::model::MachineState::Dead;
    let reborn = (late || dead).then(|| (machine.generation + 1, first_due(&facts.terms.rules, facts.now)));
    let is_other = |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
    let changes = reborn.is_some()
        || is_other(&new.name, &machine.name)
        || is_other(&new.hostname, &machine.hostname)
        || is_other(&new.platform, &machine.platform)
        || is_other(&new.external_id, &machine.external_id)
        || known.told(new) != known;
    let after = match changes {
        true => queries::refresh(tx.conn(), machine.id, new, reborn)?,
        false => machine.clone(),
    };
    let more = Share::from(&after).less(known);
    while more != Share::default() && queries::resize(tx.conn(), facts.license, more)? == 0 {
        if overdue::reap(tx, facts)? == 0 {
            return Err(full(tx, facts.license, more)?);
        }
    }
    if dead {
        outbox::emit(tx, MACHINE_RESURRECTED.of(after.id, &after).after(&machine))?;
    } else if changes {
        outbox::emit(tx, MACHINE_UPDATED.of(after.id, &after).was(&machine))?;
    }
    Ok(Some(Activated {
        machine: after,
        already_active: true,
    }))
}

/// Whether what is said of a machine's sizes is otherwise than what is known. Then its licence's counter is locked, whose turn is before the
/// machine's.
fn is_resized(tx: &mut Tenant<'_>, facts: &Facts, new: &NewMachine, hash: &[u8; 32]) -> Result<bool> {
    if Share::default().told(new) == Share::default() {
        return Ok(false);
    }
    let known = queries::share_of(tx.conn(), facts.license, hash)?;
    let resized = known.is_some_and(|known| known.told(new) != known);
    if resized {
        queries::lock_places(tx.conn(), facts.license)?;
    }
    Ok(resized)
}

/// Gives a share back. A counter that is not there is an error of ours, not a machine less.
fn return_share(tx: &mut Tenant<'_>, license: LicenseId, share: Share) -> Result<()> {
    let changed = queries::give(tx.conn(), license, share)?;
    let sound = || {
        ensure!(
            changed == 1,
            "{changed} counters of the licence {license} were given a place back"
        );
        Ok(())
    };
    Ok(sound()?)
}

/// What is known of a licence now: we may have waited since we asked.
fn anew(tx: &mut Tenant<'_>, license: LicenseId) -> Result<Facts> {
    let question = Question {
        license: Some(license),
        ..Question::default()
    };
    Ok(licenses::facts(tx, question)?.ok_or(NOT_FOUND)?)
}

/// The refusal that says what is short, and who takes it.
fn full(tx: &mut Tenant<'_>, license: LicenseId, wanted: Share) -> Result<Error> {
    let rules = anew(tx, license)?.terms.rules;
    let used = queries::taken(tx.conn(), license)?;
    let takers = queries::takers(tx.conn(), license, LISTED)?;
    let short = Short::of(&rules, used, wanted);
    Ok(MACHINE_LIMIT_REACHED
        .because(short.detail())
        .with("limit", short.limit)
        .with("used", short.used)
        .with("max", short.max)
        .with("machines", takers)
        .into())
}

/// Inside what the fingerprint has to be the only one.
fn unique_in(tx: &Tenant<'_>, facts: &Facts) -> Uuid {
    match facts.terms.rules.machine_uniqueness {
        Uniqueness::PerLicense => facts.license.uuid(),
        Uniqueness::PerPolicy => facts.policy.uuid(),
        Uniqueness::PerProduct => facts.product.uuid(),
        Uniqueness::PerWorkspace => tx.workspace().uuid(),
    }
}

/// When a machine's first sign of life is due.
fn first_due(rules: &Rules, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let watched = rules.heartbeat != Heartbeat::None && rules.heartbeat_basis == HeartbeatBasis::FromCreation;
    watched.then(|| now + TimeDelta::seconds(i64::from(rules.heartbeat_ttl_seconds)))
}

/// The network that an address is in: enough to see sharing, too little to find a person.
fn truncated(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        std::net::IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Deactivates a machine for a caller. Software may deactivate machines of its own licence.
///
/// # Errors
/// 404 also for a machine that was deactivated before.
pub(super) fn deactivate_for(
    tx: &mut Tenant<'_>,
    software: Option<&Software>,
    id: MachineId,
    seen: &IfMatch,
) -> Result<()> {
    if let Some(software) = software {
        let facts = admitted(tx, Wanting::from(software), ClientVerb::Deactivate, None)?;
        own(queries::get(tx.conn(), id)?, &facts)?;
    }
    let after = deactivate(tx, id)?;
    // The change counted the version that it was made to up by one; refused, it is taken back.
    seen.allows(after.version - 1)
}

/// A machine of this licence, or none.
fn own(machine: Machine, facts: &Facts) -> Result<Machine> {
    if machine.license_id != facts.license {
        return Err(NOT_FOUND.into());
    }
    Ok(machine)
}

/// Deactivates a machine: its place is free. Two who do it at once free one place.
///
/// # Errors
/// 404 also for a machine that was deactivated before.
pub fn deactivate(tx: &mut Tenant<'_>, id: MachineId) -> Result<Machine> {
    let now = tx.now()?;
    let machine = queries::get(tx.conn(), id)?;
    queries::lock_places(tx.conn(), machine.license_id)?;
    let machine = queries::deactivate(tx.conn(), id, now)?.ok_or(NOT_FOUND)?;
    return_share(tx, machine.license_id, Share::from(&machine))?;
    outbox::emit(tx, MACHINE_DEACTIVATED.of(id, &machine))?;
    Ok(machine)
}

/// A page of machines.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<MachineFilters>) -> Result<Page<Machine>> {
    let rows = queries::list(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |machine| {
        (machine.created_at, machine.updated_at, machine.id.uuid())
    }))
}

/// One machine, in one round trip.
pub(super) async fn show(db: &Db, scope: impl Into<Scope>, id: MachineId) -> Result<Machine> {
    db.one(scope, queries::one(id.uuid())).await
}

/// The licences that are active on what the vendor calls by this name: in `platform`, the plans that a workspace holds.
///
/// # Errors
/// 503 if the database fails.
pub fn held_by(tx: &mut Tenant<'_>, external_id: &str) -> Result<Vec<License>> {
    let ids = queries::held_by(tx.conn(), external_id)?;
    ids.into_iter().map(|id| licenses::get(tx, id)).collect()
}
