//! The keys that are known at one moment.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;

use super::{signer::Signer, verifier::Verifier};
use crate::kernel::{
    crypto::Keyring,
    error::Result,
    identity::model::{Jwks, KeyRow, KeyState, KnownKey, Use},
};

/// What is known at one moment.
#[derive(Default)]
pub struct Shelf {
    /// Verifiers of access tokens, by the key's name.
    pub verifiers: HashMap<String, Arc<Verifier>>,
    /// The active key of each use.
    pub signers: HashMap<Use, Arc<Signer>>,
    /// What verifiers are told.
    pub jwks: Jwks,
    /// What they are told of those that sign heads of audit chains.
    pub audit_jwks: Jwks,
    /// The name and the state of every key, in their order.
    pub states: Vec<(String, String)>,
}

impl Shelf {
    /// What these rows say. `auditors` are those that ever signed heads of audit chains, `states` tells whether there is anything new.
    ///
    /// # Errors
    /// A key that cannot be opened or read.
    pub fn of(
        rows: &[KeyRow],
        auditors: &[KnownKey],
        states: Vec<(String, String)>,
        keyring: &Keyring,
    ) -> Result<Shelf> {
        let good = auditors.iter().filter(|key| !key.is_withdrawn());
        let mut shelf = Shelf {
            audit_jwks: Jwks {
                keys: good.map(KnownKey::jwk).collect::<anyhow::Result<_>>()?,
            },
            states,
            ..Shelf::default()
        };
        let access: Vec<KeyRow> = rows
            .iter()
            .filter(|row| row.purpose == Use::Access.name())
            .cloned()
            .collect();
        shelf.jwks = public(&access)?;
        for jwk in &shelf.jwks.keys {
            shelf.verifiers.insert(jwk.kid.clone(), Arc::new(Verifier::of(jwk)?));
        }
        for purpose in Use::OWN {
            let active = rows
                .iter()
                .find(|row| row.purpose == purpose.name() && row.state == KeyState::Active.name());
            if let Some(row) = active {
                shelf.signers.insert(purpose, Arc::new(Signer::open(row, keyring)?));
            }
        }
        Ok(shelf)
    }
}

/// What verifiers are told of these keys.
///
/// # Errors
/// A key that cannot be read.
pub fn public(rows: &[KeyRow]) -> anyhow::Result<Jwks> {
    let shown = rows
        .iter()
        .filter(|row| KeyState::named(&row.state).is_some_and(KeyState::is_public));
    let keys = shown.map(|row| serde_json::from_value(row.public_jwk.clone()).context("a stored public key"));
    Ok(Jwks {
        keys: keys.collect::<anyhow::Result<_>>()?,
    })
}
