//! Signing keys.

use diesel::{dsl::not, prelude::*};
use uuid::Uuid;

use crate::kernel::{
    db::Kernel,
    error::Result,
    identity::model::{KeyRow, KeyState, KnownKey, Use},
    schema::signing_keys::dsl,
};

/// One process at a time decides about keys.
const LOCK: i64 = 0x6b65_7973;

pub(in crate::kernel::identity) fn lock(tx: &mut Kernel<'_>) -> Result<()> {
    tx.alone(LOCK)
}

/// Every key of the deployment that still means something.
pub(in crate::kernel::identity) fn own(tx: &mut Kernel<'_>) -> Result<Vec<KeyRow>> {
    Ok(dsl::signing_keys
        .filter(dsl::workspace_id.is_null().and(not(dsl::state.eq_any(over()))))
        .order((dsl::created_at, dsl::kid))
        .select(KeyRow::as_select())
        .load(tx.conn())?)
}

/// The deployment's key of this name, whatever became of it.
pub(in crate::kernel::identity) fn named(tx: &mut Kernel<'_>, kid: &str) -> Result<Option<KeyRow>> {
    Ok(dsl::signing_keys
        .find(kid)
        .filter(dsl::workspace_id.is_null())
        .select(KeyRow::as_select())
        .first(tx.conn())
        .optional()?)
}

/// Names and states of [`own`], and of all that ever signed heads of audit logs.
pub(in crate::kernel::identity) fn own_states(tx: &mut Kernel<'_>) -> Result<Vec<(String, String)>> {
    Ok(dsl::signing_keys
        .filter(dsl::workspace_id.is_null())
        .filter(not(dsl::state.eq_any(over())).or(dsl::purpose.eq(Use::Audit.name())))
        .order((dsl::created_at, dsl::kid))
        .select((dsl::kid, dsl::state))
        .load(tx.conn())?)
}

/// Every key of a workspace that still means something.
pub(in crate::kernel::identity) fn of_workspace(
    tx: &mut Kernel<'_>,
    workspace: Uuid,
    purpose: Use,
) -> Result<Vec<KeyRow>> {
    Ok(dsl::signing_keys
        .filter(dsl::workspace_id.eq(workspace))
        .filter(dsl::purpose.eq(purpose.name()).and(not(dsl::state.eq_any(over()))))
        .order(dsl::created_at)
        .select(KeyRow::as_select())
        .load(tx.conn())?)
}

/// The deployment's keys of a use that others were told of, the forgotten and the withdrawn ones too: what they signed may be older than that.
pub(in crate::kernel::identity) fn ever(tx: &mut Kernel<'_>, purpose: Use) -> Result<Vec<KnownKey>> {
    Ok(dsl::signing_keys
        .filter(dsl::workspace_id.is_null().and(dsl::purpose.eq(purpose.name())))
        .filter(dsl::state.ne(KeyState::Staged.name()))
        .order(dsl::kid)
        .select(KnownKey::as_select())
        .load(tx.conn())?)
}

fn over() -> [&'static str; 2] {
    [KeyState::Removed.name(), KeyState::Compromised.name()]
}

/// Adds a key. One that is born active is left out if another one of its use is already.
pub(in crate::kernel::identity) fn insert(tx: &mut Kernel<'_>, key: &KeyRow) -> Result<()> {
    diesel::insert_into(dsl::signing_keys)
        .values(key)
        .on_conflict_do_nothing()
        .execute(tx.conn())?;
    Ok(())
}

/// Moves a key on, with the instants that go with it.
pub(in crate::kernel::identity) fn update(tx: &mut Kernel<'_>, key: &KeyRow) -> Result<()> {
    diesel::update(dsl::signing_keys.find(&key.kid))
        .set((
            dsl::state.eq(&key.state),
            dsl::publish_at.eq(key.publish_at),
            dsl::activate_at.eq(key.activate_at),
            dsl::retire_at.eq(key.retire_at),
            dsl::remove_at.eq(key.remove_at),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Whether a use has an active key.
pub(in crate::kernel::identity) fn has_active(tx: &mut Kernel<'_>, purpose: Use) -> Result<bool> {
    Ok(diesel::select(diesel::dsl::exists(
        dsl::signing_keys
            .filter(dsl::workspace_id.is_null().and(dsl::purpose.eq(purpose.name())))
            .filter(dsl::state.eq(KeyState::Active.name())),
    ))
    .get_result(tx.conn())?)
}
