//! Rows of `keks`.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::kernel::{
    crypto::Keyring,
    db::Kernel,
    error::Result,
    id::WorkspaceId,
    schema::{keks, workspaces},
};

/// The KEKs that are entered, oldest first.
pub(super) fn all(tx: &mut Kernel<'_>) -> Result<Vec<(String, DateTime<Utc>)>> {
    Ok(keks::table
        .order((keks::since, keks::id))
        .select((keks::id, keks::since))
        .load(tx.conn())?)
}

/// Enters the key that this process seals with, unless it is there.
///
/// # Errors
/// The database's.
pub(in crate::kernel) fn glance(tx: &mut Kernel<'_>, keyring: &Keyring) -> Result<()> {
    let entered = all(tx)?;
    note(tx, keyring, &entered)
}

/// The same for one who knows what is entered.
pub(super) fn note(tx: &mut Kernel<'_>, keyring: &Keyring, entered: &[(String, DateTime<Utc>)]) -> Result<()> {
    if !entered.iter().any(|(kek, _)| kek == keyring.current()) {
        add(tx, keyring.current())?;
        tracing::info!(
            kek = keyring.current(),
            "this process seals under a key-encryption key that was not in use"
        );
    }
    Ok(())
}

/// Enters a KEK.
pub(super) fn add(tx: &mut Kernel<'_>, kek: &str) -> Result<()> {
    diesel::insert_into(keks::table)
        .values(keks::id.eq(kek))
        .on_conflict_do_nothing()
        .execute(tx.conn())?;
    Ok(())
}

/// Takes a KEK out.
pub(super) fn remove(tx: &mut Kernel<'_>, kek: &str) -> Result<()> {
    diesel::delete(keks::table.find(kek)).execute(tx.conn())?;
    Ok(())
}

/// Every workspace, however it stands.
pub(super) fn workspaces(tx: &mut Kernel<'_>) -> Result<Vec<WorkspaceId>> {
    Ok(workspaces::table.select(workspaces::id).load(tx.conn())?)
}
