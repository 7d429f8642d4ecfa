//! What a seller's own transaction may know of its connection.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::{model::ConnectionId, queries};
use crate::kernel::{
    crypto::{Aad, Keyring},
    db::Tenant,
    error::Result,
    id::WorkspaceId,
    secret::Secret,
};

/// Where a secret of a connection stands.
pub(super) fn place(workspace: WorkspaceId, connection: ConnectionId, column: &str) -> Aad {
    Aad::new(
        Some(workspace.uuid()),
        "stripe_connections",
        column,
        connection.uuid().as_bytes(),
    )
}

/// Until when it is known that no event was missed.
///
/// # Errors
/// The database's.
pub fn reconciled_at(tx: &mut Tenant<'_>, connection: ConnectionId) -> Result<Option<DateTime<Utc>>> {
    Ok(queries::reconciled_at(tx.conn(), connection)?)
}

/// Notes that no event was missed until then.
///
/// # Errors
/// The database's.
pub fn reconciled(tx: &mut Tenant<'_>, connection: ConnectionId, until: DateTime<Utc>) -> Result<()> {
    queries::reconciled(tx.conn(), connection, until)?;
    Ok(())
}

/// The key that opens the connection's account; `None` for one that is disconnected, unknown or has none.
///
/// # Errors
/// A key that does not open under the key-encryption keys.
pub fn api_key(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    keyring: &Arc<Keyring>,
) -> Result<Option<Secret<String>>> {
    let workspace = tx.workspace();
    let Some(sealed) = queries::sealed_key(tx.conn(), connection)? else {
        return Ok(None);
    };
    let key = keyring.open(&place(workspace, connection, "key_sealed"), &sealed)?;
    let text = String::from_utf8(key.expose().clone()).context("a Stripe key is not text")?;
    Ok(Some(Secret::new(text)))
}
