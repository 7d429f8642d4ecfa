//! What the operator does to signing keys before their time. The audit log of `platform` tells of it: the keys sign what everybody trusts.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Keys, Use, call, moved, queries};
use crate::kernel::{
    access::Call,
    audit::{self, Entry},
    db::Kernel,
    error::{NOT_FOUND, Result, STATE_CONFLICT},
    id::{RequestId, WorkspaceId},
    identity::{
        model::{KeyRow, KeyState},
        service::lifecycle::Steps,
    },
};

/// A signing key as the operator is shown it.
pub struct Listed {
    /// What names it.
    pub kid: String,
    /// What it signs: `access`, `audit`, `webhook`.
    pub purpose: String,
    /// `staged`, `published`, `active` or `retiring`.
    pub state: String,
    /// Since when; `None` while it is staged.
    pub since: Option<DateTime<Utc>>,
}

impl Keys {
    /// The keys of the deployment that still mean something, in the order in which they were made.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let rows = self.inner.db.unscoped(&call("keys.list"), queries::keys::own).await?;
        let is_staged = |row: &KeyRow| row.state == KeyState::Staged.name();
        let listed = |row: KeyRow| Listed {
            since: row
                .retire_at
                .or(row.activate_at)
                .or(row.publish_at.filter(|_| !is_staged(&row))),
            kid: row.kid,
            purpose: row.purpose,
            state: row.state,
        };
        Ok(rows.into_iter().map(listed).collect())
    }

    /// Lets the spare of a use take over before its time.
    ///
    /// # Errors
    /// 409 `state-conflict` while the spare is not known for long enough; the database is away.
    pub async fn rotate(&self, purpose: Use) -> Result<()> {
        let before = self.active(purpose).await?;
        self.advance(Some(purpose)).await?;
        let after = self.active(purpose).await?;
        if after.kid() == before.kid() {
            return Err(STATE_CONFLICT
                .because("Verifiers have not known the spare for fifteen minutes yet.")
                .into());
        }
        Ok(())
    }

    /// Withdraws a key at once, with everything that it signed. An active one's spare takes over. Done twice, it is done once.
    ///
    /// # Errors
    /// 404 if there is no such key; the database is away.
    pub async fn revoke(&self, kid: String) -> Result<()> {
        let keep = self.inner.keep;
        self.inner
            .db
            .unscoped(&call("keys.revoke"), move |tx| {
                queries::keys::lock(tx)?;
                let now = tx.now()?;
                let key = queries::keys::named(tx, &kid)?.ok_or(NOT_FOUND)?;
                if key.state == KeyState::Compromised.name() {
                    return Ok(());
                }
                queries::keys::update(tx, &moved(&key, KeyState::Compromised, now, keep))?;
                let changes = json!({ "kid": kid, "state": [key.state, KeyState::Compromised.name()] });
                note(tx, "signing_key.revoked", changes)
            })
            .await?;
        self.advance(None).await?;
        // Without a spare, one is made.
        self.boot().await
    }
}

/// That the operator let the spare of a use take over.
pub(super) fn note_rotation(tx: &mut Kernel<'_>, purpose: Use, keys: &[KeyRow], steps: &Steps) -> Result<()> {
    let active = keys
        .iter()
        .find(|key| key.purpose == purpose.name() && key.state == KeyState::Active.name());
    let next = steps.changed.iter().find(|(_, state)| *state == KeyState::Active);
    let Some((next, _)) = next else { return Ok(()) };
    let changes = json!({ "use": purpose.name(), "kid": [active.map(|key| &key.kid), next] });
    note(tx, "signing_key.rotated", changes)
}

fn note(tx: &mut Kernel<'_>, action: &'static str, changes: Value) -> Result<()> {
    let now = tx.now()?;
    let call = Call::internal(action, RequestId::new(now).to_string().into());
    let entry = Entry {
        action,
        changes,
        ..Entry::default()
    };
    audit::note_in(tx, WorkspaceId::PLATFORM, &call, entry).map(drop)
}
