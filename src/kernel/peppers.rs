//! What makes a workspace's fingerprints its own. They are kept as HMACs under a secret of the workspace that only this process can open: a
//! stolen table can be neither searched for a known computer nor joined with another workspace's.

use std::sync::Arc;

use anyhow::Context;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};
use moka::sync::Cache;

use crate::{
    kernel::{
        access::{Call, Class},
        crypto::{self, Aad, Keyring, Sealed},
        db::{Db, Kernel},
        error::Result,
        id::WorkspaceId,
        keks::Part,
        schema::workspace_peppers,
        secret::Secret,
    },
    sealed_column,
};

/// A workspace's pepper, opened.
pub struct Pepper(Secret<Vec<u8>>);

impl Pepper {
    /// The HMAC of a text. What it is of (`machine`, `component`) is part of it: equal texts of two kinds are not equal. No kind has a U+0000,
    /// which ends it.
    pub fn hash(&self, kind: &'static str, text: &str) -> [u8; 32] {
        crypto::hmac(self.0.expose(), format!("{kind}\0{text}").as_bytes())
    }

    /// A pepper of nobody's, for tests.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Pepper {
        Pepper(Secret::new(bytes.to_vec()))
    }
}

/// The peppers of this process. They never change, so one that was read is kept.
#[derive(Clone)]
pub struct Peppers {
    db: Db,
    keyring: Arc<Keyring>,
    known: Cache<WorkspaceId, Arc<Pepper>>,
}

impl Peppers {
    /// The peppers of this database.
    pub fn new(db: Db, keyring: Arc<Keyring>) -> Peppers {
        let known = Cache::builder().max_capacity(10_000).build();
        Peppers { db, keyring, known }
    }

    /// A workspace's pepper, made when it is first wanted. Fetch it before a transaction begins.
    ///
    /// # Errors
    /// The database is away, or the pepper is sealed under a KEK that this process was not given.
    pub async fn of(&self, call: &Call, workspace: WorkspaceId) -> Result<Arc<Pepper>> {
        if let Some(known) = self.known.get(&workspace) {
            return Ok(known);
        }
        let call = Call {
            class: Class::Credential,
            read_only: false,
            ..call.clone()
        };
        let keyring = self.keyring.clone();
        let pepper = self
            .db
            .unscoped(&call, move |tx| {
                if let Some(stored) = find(tx, workspace, &keyring)? {
                    return Ok(stored);
                }
                let fresh = keyring.seal(&place(workspace), &crypto::random::<32>());
                insert(tx, workspace, &fresh, keyring.current())?;
                // Another process may have been first: what is stored counts.
                Ok(find(tx, workspace, &keyring)?.context("a workspace's pepper was just stored")?)
            })
            .await?;
        let pepper = Arc::new(pepper);
        self.known.insert(workspace, pepper.clone());
        Ok(pepper)
    }
}

/// What the KEKs of peppers wrap.
pub(in crate::kernel) const SEALED: Part = Part::of::<Sealing>();

sealed_column!(
    Sealing, kernel, workspace_peppers.pepper_sealed and kek_id, (workspace_id: WorkspaceId), (),
    |(workspace,), ()| place(*workspace)
);

fn place(workspace: WorkspaceId) -> Aad {
    Aad::new(
        Some(workspace.uuid()),
        "workspace_peppers",
        "pepper_sealed",
        workspace.uuid().as_bytes(),
    )
}

fn find(tx: &mut Kernel<'_>, workspace: WorkspaceId, keyring: &Keyring) -> Result<Option<Pepper>> {
    let sealed: Option<Sealed> = workspace_peppers::table
        .find(workspace.uuid())
        .select(workspace_peppers::pepper_sealed)
        .first(tx.conn())
        .optional()?;
    let opened = sealed
        .map(|sealed| keyring.open(&place(workspace), &sealed))
        .transpose()?;
    Ok(opened.map(Pepper))
}

fn insert(tx: &mut Kernel<'_>, workspace: WorkspaceId, sealed: &Sealed, kek: &str) -> Result<()> {
    let row = (
        workspace_peppers::workspace_id.eq(workspace.uuid()),
        workspace_peppers::pepper_sealed.eq(sealed),
        workspace_peppers::kek_id.eq(kek),
    );
    diesel::insert_into(workspace_peppers::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(tx.conn())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_equal_to_itself_only_in_its_own_workspace_and_kind() {
        let (ours, theirs) = (Pepper::of_bytes(&[1; 32]), Pepper::of_bytes(&[2; 32]));
        let hash = ours.hash("machine", "00:1b:44:11:3a:b7");
        assert_eq!(hash, ours.hash("machine", "00:1b:44:11:3a:b7"));
        assert_ne!(hash, ours.hash("component", "00:1b:44:11:3a:b7"));
        assert_ne!(hash, theirs.hash("machine", "00:1b:44:11:3a:b7"));
    }
}
