//! The rules of licences.

mod envelope;
pub(super) mod holds;
pub(super) mod renewal;
mod status;
pub(super) mod validation;
mod verdict;

use chrono::{DateTime, TimeDelta, Utc};

use self::status::Standing;
use super::{
    model::{
        CustomerChoice, Issue, IssuedLicense, KeyMark, KeyRotation, LICENSE_ISSUED, LICENSE_KEY_ROTATED,
        LICENSE_UPDATED, License, LicenseDetails, LicenseFilters, LicensePatch, NewLicense, POLICY_NOT_ALLOCATED, Row,
        State, Via,
    },
    queries::{self, NewRow},
};
use crate::{
    features::{
        customers,
        policies::{self, ExpirationBasis, Rules},
    },
    kernel::{
        access::Actor,
        clock,
        db::Tenant,
        directory, entitlements,
        error::{EXTERNAL_ID_TAKEN, FieldCode, OnConstraint, Result, invalid},
        http::IfMatch,
        id::{Id, LicenseId},
        outbox,
        page::{Page, PageQuery},
        secret::Token,
    },
};

pub(super) use holds::{END_MACHINES, end_machines};
pub use holds::{lift, place, revoke};
pub use renewal::{renew, renewals, reverse_renewal};
pub use validation::{admitted, facts, usable};
pub use verdict::DRIFT;

/// Issues a licence that a caller asked for.
///
/// # Errors
/// As [`issue`], and 422 for a customer that there is not.
pub(super) fn create(tx: &mut Tenant<'_>, new: &NewLicense, key: &Token) -> Result<IssuedLicense> {
    let customer = match &new.customer {
        None => None,
        Some(CustomerChoice::Known(id)) => Some(customers::named(tx, *id, "/customer")?.id),
        Some(CustomerChoice::Person(person)) => {
            Some(customers::find_or_create(tx, &person.email, person.name.as_deref())?.id)
        }
    };
    let via = match tx.scope().actor() {
        Actor::User { .. } => Via::Manual,
        _ => Via::Api,
    };
    let wanted = Issue {
        customer,
        overrides: new.overrides.clone(),
        name: new.name.clone(),
        starts_at: new.starts_at,
        public_metadata: new.public_metadata.clone(),
        metadata: new.metadata.clone(),
        external_id: new.external_id.clone(),
        ..Issue::by(new.policy_id, via)
    };
    issue(tx, &wanted, key)
}

/// Issues a licence. `key` was minted for it; it is in the answer, and nowhere else: what is kept is its hash.
///
/// # Errors
/// 402 `plan-limit-reached`; 403 `policy-not-allocated` for a reseller; 409 `external-id-taken`; 409 `state-conflict` and 422 if there is
/// no such policy to issue by. What was paid for or promised is made whatever the plan says, and by an archived policy too.
pub fn issue(tx: &mut Tenant<'_>, wanted: &Issue, key: &Token) -> Result<IssuedLicense> {
    if tx.scope().reach().reseller.is_some() {
        return Err(POLICY_NOT_ALLOCATED.into());
    }
    let promised = matches!(wanted.via, Via::Payment | Via::Redemption);
    let policy = if promised {
        policies::hold(tx, wanted.policy)?
    } else {
        policies::open(tx, wanted.policy, "/policy_id")?
    };
    let terms = policies::resolve(tx, &policy, &wanted.overrides)?;
    if promised {
        entitlements::count(tx, "licenses", 1)?;
    } else {
        entitlements::take(tx, "licenses", 1)?;
        // A customer's activation is never refused; this is where it is felt.
        entitlements::within(tx, "machines")?;
    }
    let now = tx.now()?;
    let started_at = match terms.rules.expiration_basis {
        ExpirationBasis::FromCreation => Some(wanted.starts_at.map_or(now, |start| start.max(now))),
        _ => None,
    };
    let expires_at = wanted.expires_at.or_else(|| end_of_term(&terms.rules, started_at?));
    if expires_at > Some(clock::LAST) {
        let detail = "The term would end after the year 9999.";
        return Err(invalid("/starts_at", FieldCode::TooLarge, detail));
    }
    let new = NewRow {
        id: LicenseId::new(now),
        policy: &policy,
        issue: wanted,
        terms: &terms,
        started_at,
        expires_at,
    };
    let row = queries::insert(tx.conn(), &new).on_unique("licenses_workspace_id_external_id_key", EXTERNAL_ID_TAKEN)?;
    enter_key(tx, &row, key)?;
    let license = shown(tx, row)?;
    outbox::emit(tx, LICENSE_ISSUED.of(license.id, &license))?;
    Ok(IssuedLicense {
        license,
        key: key.expose().to_owned(),
    })
}

/// When a term that begins then ends; `None`: never.
fn end_of_term(rules: &Rules, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
    rules.term()?.after(start, 1)
}

fn enter_key(tx: &mut Tenant<'_>, license: &Row, key: &Token) -> Result<()> {
    let id = Id::<KeyMark>::new(tx.now()?);
    queries::insert_key(tx.conn(), id, license, &key.digest(), &key.start())?;
    directory::add(
        tx,
        &directory::Key {
            hash: key.digest(),
            id: id.uuid(),
            license: license.id,
            product: license.product_id.uuid(),
        },
    )
}

/// Gives a licence a new key, which is in the answer and nowhere else. The one before goes on for its overlap; one that overlapped with it
/// already ends now.
///
/// # Errors
/// 404, 412, 409 `state-conflict` if the licence is revoked.
pub(super) fn rotate(
    tx: &mut Tenant<'_>,
    id: LicenseId,
    seen: &IfMatch,
    wanted: &KeyRotation,
    key: &Token,
) -> Result<IssuedLicense> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    holds::alive(&row)?;
    let before = shown(tx, row.clone())?;
    let now = tx.now()?;
    let until = now + TimeDelta::seconds(i64::from(wanted.overlap_seconds));
    queries::retire_key(tx.conn(), id, now, until)?;
    enter_key(tx, &row, key)?;
    let row = queries::touch(tx.conn(), id, now)?;
    let license = shown(tx, row)?;
    outbox::emit(tx, LICENSE_KEY_ROTATED.of(id, &license).after(&before))?;
    Ok(IssuedLicense {
        license,
        key: key.expose().to_owned(),
    })
}

/// Changes what a licence is called and what is noted with it.
///
/// # Errors
/// 404, 412, 422, 409 `external-id-taken`.
pub(super) fn patch(tx: &mut Tenant<'_>, id: LicenseId, seen: &IfMatch, change: &LicensePatch) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    let wanted = change.apply(&LicenseDetails::from(&row))?;
    let before = shown(tx, row)?;
    let row = queries::describe(tx.conn(), id, &wanted)
        .on_unique("licenses_workspace_id_external_id_key", EXTERNAL_ID_TAKEN)?;
    let after = shown(tx, row)?;
    if after.version != before.version {
        outbox::emit(tx, LICENSE_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}

/// A page of licences.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<LicenseFilters>) -> Result<Page<License>> {
    let rows = queries::list(tx.conn(), query)?;
    let page = query.page_of_changing(rows, |row| (row.created_at, row.updated_at, row.id.uuid()));
    Ok(Page {
        data: all_shown(tx, page.data)?,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
    })
}

/// One licence.
///
/// # Errors
/// 404.
pub fn get(tx: &mut Tenant<'_>, id: LicenseId) -> Result<License> {
    let row = queries::get(tx.conn(), id)?;
    shown(tx, row)
}

/// One licence, which nobody else changes until the commit.
///
/// # Errors
/// 404.
pub fn hold(tx: &mut Tenant<'_>, id: LicenseId) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    shown(tx, row)
}

/// A licence's row, for what follows from it.
///
/// # Errors
/// 404.
pub fn row_of(tx: &mut Tenant<'_>, id: LicenseId) -> Result<Row> {
    Ok(queries::get(tx.conn(), id)?)
}

fn shown(tx: &mut Tenant<'_>, row: Row) -> Result<License> {
    let mut one = all_shown(tx, vec![row])?;
    Ok(one.remove(0))
}

fn all_shown(tx: &mut Tenant<'_>, rows: Vec<Row>) -> Result<Vec<License>> {
    let now = tx.now()?;
    let ids: Vec<_> = rows.iter().map(|row| row.id.uuid()).collect();
    let mut starts = queries::key_starts(tx.conn(), &ids)?;
    let suspended: Vec<_> = rows
        .iter()
        .filter(|row| row.state == State::Suspended)
        .map(|row| row.id.uuid())
        .collect();
    let mut holds = match suspended.is_empty() {
        true => Default::default(),
        false => queries::holds(tx.conn(), &suspended)?,
    };
    let show = |row: Row| License {
        status: Standing::from(&row).status(now),
        holds: holds.remove(&row.id.uuid()).unwrap_or_default(),
        key_start: starts.remove(&row.id.uuid()),
        id: row.id,
        product_id: row.product_id,
        policy_id: row.policy_id,
        customer_id: row.customer_id,
        reseller_id: row.reseller_id,
        name: row.name,
        terms: row.terms.0,
        terms_version: row.terms_version,
        overrides: row.overrides.0,
        starts_at: row.starts_at,
        started_at: row.started_at,
        expires_at: row.expires_at,
        last_validated_at: row.last_validated_at,
        activated_at: row.activated_at,
        revoked_at: row.revoked_at,
        issued_via: row.issued_via,
        source_ref: row.source_ref,
        public_metadata: row.public_metadata.0,
        metadata: row.metadata.0,
        external_id: row.external_id,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(show).collect())
}

/// Begins the term of a licence whose policy lets it begin with this, once: whoever comes first. Answers whether it began now.
///
/// # Errors
/// 503 if the database fails.
pub fn begin(tx: &mut Tenant<'_>, id: LicenseId, rules: &Rules, with: ExpirationBasis) -> Result<bool> {
    if rules.expiration_basis != with {
        return Ok(false);
    }
    let now = tx.now()?;
    let row = queries::lock(tx.conn(), id)?;
    if row.started_at.is_some() {
        return Ok(false);
    }
    // What was paid for or set before counts on.
    let term_ends_at = row.term_ends_at.or_else(|| end_of_term(rules, now));
    let until = queries::renewed_until(tx.conn(), id)?;
    queries::begin(tx.conn(), id, now, term_ends_at, term_ends_at.max(until))?;
    Ok(true)
}
