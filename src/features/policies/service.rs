//! The rules of policies.

use anyhow::Context;

use super::{
    model::{
        Apply, NewPolicy, Overrides, POLICY_ARCHIVED, POLICY_CREATED, POLICY_UPDATED, Policy, PolicyFilters, PolicyId,
        PolicyPatch, Row, TOO_MANY_LICENSES, Terms,
    },
    queries,
};
use crate::{
    features::{
        entitlements::{self, Values},
        products,
    },
    kernel::{
        db::Tenant,
        error::{Error, FieldCode, OnConstraint, Result, STATE_CONFLICT, invalid, missing},
        http::IfMatch,
        jsonb::Jsonb,
        outbox,
        page::{Page, PageQuery},
    },
};

/// As many licences as one transaction changes.
const AT_ONCE: i64 = 1_000;

/// As much of them as it can write in time: their terms, with what differs.
const BYTES_AT_ONCE: i64 = 4 * 1024 * 1024;

/// Makes a policy.
///
/// # Errors
/// 422 if another policy of the product has the code, or if the product or an entitlement is not there; 409 if the product is archived.
pub fn create(tx: &mut Tenant<'_>, new: &NewPolicy) -> Result<Policy> {
    products::open(tx, new.product_id, "/product_id")?;
    entitlements::judge(tx, &new.entitlements, &Values::new(), "/entitlements")?;
    let id = PolicyId::new(tx.now()?);
    let row =
        queries::insert(tx.conn(), id, new).on_unique("policies_workspace_id_product_id_code_key", code_taken())?;
    queries::set_entitlements(tx.conn(), id, &new.entitlements)?;
    let policy = row.shown(new.entitlements.clone());
    outbox::emit(tx, POLICY_CREATED.of(id, &policy))?;
    Ok(policy)
}

fn code_taken() -> Error {
    let detail = "Another policy of the product has this code.";
    invalid("/code", FieldCode::NotUnique, detail)
}

/// A page of policies.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<PolicyFilters>) -> Result<Page<Policy>> {
    let rows = queries::list(tx.conn(), query)?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut values = queries::entitlements(tx.conn(), &ids)?;
    let policies = rows
        .into_iter()
        .map(|row| {
            let own = values.remove(&row.id).unwrap_or_default();
            row.shown(own)
        })
        .collect();
    Ok(query.page_of_changing(policies, |policy: &Policy| {
        (policy.created_at, policy.updated_at, policy.id.uuid())
    }))
}

/// One policy.
///
/// # Errors
/// 404.
pub fn get(tx: &mut Tenant<'_>, id: PolicyId) -> Result<Policy> {
    let row = queries::get(tx.conn(), id)?;
    shown(tx, row)
}

/// One policy, archived or not. It stays as it is until the commit.
///
/// # Errors
/// 404.
pub fn hold(tx: &mut Tenant<'_>, id: PolicyId) -> Result<Policy> {
    let row = queries::hold(tx.conn(), id)?;
    shown(tx, row)
}

fn shown(tx: &mut Tenant<'_>, row: Row) -> Result<Policy> {
    let values = queries::entitlements(tx.conn(), &[row.id])?.remove(&row.id);
    Ok(row.shown(values.unwrap_or_default()))
}

/// The policy that a body names, if licences are still issued by it. It stays as it is until the commit.
///
/// # Errors
/// 422 if there is none, 409 `state-conflict` if it or its product is archived.
pub fn open(tx: &mut Tenant<'_>, id: PolicyId, pointer: &str) -> Result<Policy> {
    let row = queries::hold(tx.conn(), id).map_err(|error| match error {
        diesel::result::Error::NotFound => missing(pointer, "policy"),
        other => other.into(),
    })?;
    if row.archived_at.is_some() {
        return Err(STATE_CONFLICT
            .because("The policy is archived: no licence is issued by it any more.")
            .with("state", "archived")
            .into());
    }
    products::open(tx, row.product_id, pointer)?;
    shown(tx, row)
}

/// The terms of a licence by this policy. Values of entitlements are judged by their definitions; what the policy grants may be said again.
///
/// # Errors
/// 422 for an override that is not acceptable.
pub fn resolve(tx: &mut Tenant<'_>, policy: &Policy, overrides: &Overrides) -> Result<Terms> {
    entitlements::judge(
        tx,
        &overrides.entitlements,
        &policy.entitlements,
        "/overrides/entitlements",
    )?;
    Ok(Terms::of(&policy.rules, &policy.entitlements, overrides))
}

/// Changes a policy, and the terms of its licences if they are to follow: of a change of its terms, unless only new ones are meant, and where all
/// are meant by name, of earlier ones, too.
///
/// # Errors
/// 404, 412, 422, 409 `too-many-licenses`.
pub(super) fn patch(
    tx: &mut Tenant<'_>,
    id: PolicyId,
    seen: &IfMatch,
    change: &PolicyPatch,
    reach: Option<Apply>,
) -> Result<Policy> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    let before = shown(tx, row)?;
    let wanted = change.apply(&NewPolicy::from(&before))?;
    entitlements::judge(tx, &wanted.entitlements, &before.entitlements, "/entitlements")?;
    let touched = wanted.entitlements != before.entitlements;
    let now = tx.now()?;
    let row = queries::update(tx.conn(), id, &wanted, touched.then_some(now))
        .on_unique("policies_workspace_id_product_id_code_key", code_taken())?;
    if touched {
        queries::set_entitlements(tx.conn(), id, &wanted.entitlements)?;
    }
    let follows = match reach {
        None => touched || row.rules != before.rules,
        Some(reach) => reach == Apply::Existing,
    };
    let moved = match follows {
        true => follow(tx, &row, &wanted.entitlements)?,
        false => 0,
    };
    if row.version == before.version && moved == 0 {
        return Ok(before);
    }
    let after = row.shown(wanted.entitlements);
    let event = POLICY_UPDATED.of(id, &after).was(&before);
    outbox::emit(tx, event.noting("licenses", (moved > 0).then_some(moved)))?;
    Ok(after)
}

/// Gives the licences of a policy its terms where they have others, of this change or of an earlier one that they did not follow. Answers how
/// many.
fn follow(tx: &mut Tenant<'_>, policy: &Row, entitlements: &Values) -> Result<i64> {
    if queries::licenses_up_to(tx.conn(), policy.id, AT_ONCE + 1)? > AT_ONCE {
        return Err(TOO_MANY_LICENSES
            .because(format!("More than {AT_ONCE} licences follow it."))
            .with("limit", AT_ONCE)
            .into());
    }
    let (mut given, mut bytes) = (Vec::new(), 0);
    for (Jsonb(overrides), licenses) in queries::differences(tx.conn(), policy.id)? {
        let terms = Terms::of(&policy.rules, entitlements, &overrides);
        let differing = queries::differing(&overrides, &terms).context("terms that cannot be written")?;
        bytes += licenses * differing.get().len() as i64;
        if bytes > BYTES_AT_ONCE {
            return Err(TOO_MANY_LICENSES
                .because("The terms of its licences and what differs for each are more than 4 MiB together.")
                .with("limit_bytes", BYTES_AT_ONCE)
                .into());
        }
        given.push(differing);
    }
    Ok(queries::follow(tx.conn(), policy, given)?)
}

/// Archives a policy. One that is archived stays as it is.
///
/// # Errors
/// 404, 412.
pub(super) fn archive(tx: &mut Tenant<'_>, id: PolicyId, seen: &IfMatch) -> Result<Policy> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    let before = shown(tx, row)?;
    if before.archived_at.is_some() {
        return Ok(before);
    }
    let now = tx.now()?;
    let row = queries::archive(tx.conn(), id, now)?;
    let policy = shown(tx, row)?;
    outbox::emit(tx, POLICY_ARCHIVED.of(id, &policy).after(&before))?;
    Ok(policy)
}
