//! Rows of `keks`.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};
use uuid::Uuid;

use crate::kernel::{
    crypto::Keyring,
    db::Kernel,
    error::Result,
    id::WorkspaceId,
    schema::{keks, workspaces},
};

/// A KEK that is entered.
#[derive(Queryable, Selectable)]
#[diesel(table_name = keks)]
pub(super) struct Entered {
    pub(super) id: String,
    pub(super) since: DateTime<Utc>,
    /// Whoever takes it out unless a process says that it seals with it.
    trial: Option<Uuid>,
}

/// The KEKs that are entered, oldest first.
pub(super) fn all(tx: &mut Kernel<'_>) -> Result<Vec<Entered>> {
    Ok(keks::table
        .order((keks::since, keks::id))
        .select(Entered::as_select())
        .load(tx.conn())?)
}

/// The same, and nobody enters another one until the commit.
pub(super) fn lock(tx: &mut Kernel<'_>) -> Result<Vec<Entered>> {
    tx.alone(LOCK)?;
    all(tx)
}

/// One process at a time enters a KEK: the next one sees it.
const LOCK: i64 = 0x6b65_6b73;

/// Enters the key that this process seals with, unless it is there and stays.
///
/// # Errors
/// The database's.
pub(in crate::kernel) fn glance(tx: &mut Kernel<'_>, keyring: &Keyring) -> Result<()> {
    let entered = all(tx)?;
    note(tx, keyring, &entered)
}

/// The same for one who knows what is entered.
pub(super) fn note(tx: &mut Kernel<'_>, keyring: &Keyring, entered: &[Entered]) -> Result<()> {
    let stays = |one: &Entered| one.id == keyring.current() && one.trial.is_none();
    if !entered.iter().any(stays) {
        tx.alone(LOCK)?;
        add(tx, keyring.current())?;
        tracing::info!(
            kek = keyring.current(),
            "this process seals under a key-encryption key that was not in use, or about to be taken out"
        );
    }
    Ok(())
}

/// Enters a KEK, and whoever was to take it out does not.
pub(super) fn add(tx: &mut Kernel<'_>, kek: &str) -> Result<()> {
    diesel::insert_into(keks::table)
        .values(keks::id.eq(kek))
        .on_conflict(keks::id)
        .do_update()
        .set(keks::trial.eq(None::<Uuid>))
        .execute(tx.conn())?;
    Ok(())
}

/// Announces that a KEK is to be taken out, if nobody has. Answers which trial it is.
pub(super) fn announce(tx: &mut Kernel<'_>, kek: &str, trial: Uuid) -> Result<Option<Uuid>> {
    diesel::update(keks::table.find(kek).filter(keks::trial.is_null()))
        .set(keks::trial.eq(trial))
        .execute(tx.conn())?;
    let row = keks::table.find(kek).select(keks::trial);
    Ok(row.first(tx.conn()).optional()?.flatten())
}

/// Takes a KEK out, unless somebody has said otherwise since that was announced. Whether this did it.
pub(super) fn remove(tx: &mut Kernel<'_>, kek: &str, trial: Option<Uuid>) -> Result<bool> {
    let announced = keks::table.find(kek).filter(keks::trial.eq(trial));
    Ok(diesel::delete(announced).execute(tx.conn())? > 0)
}

/// Whether a KEK is entered.
pub(super) fn is_entered(tx: &mut Kernel<'_>, kek: &str) -> Result<bool> {
    Ok(diesel::select(diesel::dsl::exists(keks::table.find(kek))).get_result(tx.conn())?)
}

/// Every workspace, however it stands.
pub(super) fn workspaces(tx: &mut Kernel<'_>) -> Result<Vec<WorkspaceId>> {
    Ok(workspaces::table.select(workspaces::id).load(tx.conn())?)
}
