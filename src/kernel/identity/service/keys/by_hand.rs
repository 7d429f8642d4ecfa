//! What the operator does to signing keys before their time. The audit log of `platform` tells of it: the keys sign what everybody trusts.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Keys, Use, call, moved, queries};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    audit::{self, Entry},
    entitlements::Plan,
    error::{NOT_FOUND, Result, STATE_CONFLICT},
    id::{RequestId, WorkspaceId},
    identity::model::KeyState,
};

impl Keys {
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
        let changes = json!({ "use": purpose.name(), "kid": [before.kid(), after.kid()] });
        self.note("signing_key.rotated", changes).await
    }

    /// Withdraws a key at once, with everything that it signed. An active one's spare takes over.
    ///
    /// # Errors
    /// 404 if there is no such key; the database is away.
    pub async fn revoke(&self, kid: String) -> Result<()> {
        let (keep, wanted) = (self.inner.keep, kid.clone());
        let state = self
            .inner
            .db
            .unscoped(&call("keys.revoke"), move |tx| {
                queries::keys::lock(tx)?;
                let now = tx.now()?;
                let keys = queries::keys::own(tx)?;
                let key = keys.iter().find(|key| key.kid == wanted).ok_or(NOT_FOUND)?;
                queries::keys::update(tx, &moved(key, KeyState::Compromised, now, keep))?;
                Ok(key.state.clone())
            })
            .await?;
        // Told first: whatever becomes of the rest, the key is withdrawn.
        let changes = json!({ "kid": kid, "state": [state, KeyState::Compromised.name()] });
        self.note("signing_key.revoked", changes).await?;
        self.advance(None).await?;
        // Without a spare, one is made.
        self.boot().await
    }

    async fn note(&self, action: &'static str, changes: Value) -> Result<()> {
        let request = RequestId::new(self.inner.db.clock().now()).to_string();
        let call = Arc::new(Call::internal(action, request.into()));
        let plan = Arc::new(Plan::free());
        let scope = Scope::grant(WorkspaceId::PLATFORM, Actor::System, Reach::default(), plan, call);
        let entry = Entry {
            action,
            changes,
            ..Entry::default()
        };
        let written = self.inner.db.tenant(scope, move |tx| audit::note(tx, entry));
        written.await.map(drop)
    }
}
