//! A key that signs: made, sealed for the database, and opened again.

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::kernel::{
    crypto::{Aad, Keyring, RsaKey, SigningKey, sha256},
    error::Result,
    identity::model::{Algorithm, Jwk, KeyRow, KeyState, Use},
};

/// A key that signs. Fetched before a transaction begins: it needs no database.
pub struct Signer {
    jwk: Jwk,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKey),
    Ed(SigningKey),
}

impl Signer {
    /// Makes a key, and the row that keeps it. It is born staged.
    ///
    /// # Errors
    /// No random bytes.
    pub(in crate::kernel::identity) fn generate(
        workspace: Option<Uuid>,
        purpose: Use,
        keys: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<(Signer, KeyRow)> {
        let (pair, private) = match purpose.algorithm() {
            Algorithm::Rs256 => RsaKey::generate().map(|(key, document)| (Pair::Rsa(key), document))?,
            Algorithm::EdDsa => {
                let (key, seed) = SigningKey::generate();
                (Pair::Ed(key), seed)
            }
        };
        let jwk = pair.jwk();
        let row = KeyRow {
            workspace_id: workspace,
            purpose: purpose.name().into(),
            alg: jwk.alg.clone(),
            public_jwk: serde_json::to_value(&jwk).context("a key is plain JSON")?,
            private_sealed: keys.seal(&place(workspace, &jwk.kid), private.expose()),
            kek_id: keys.current().into(),
            state: KeyState::Staged.name().into(),
            publish_at: Some(now),
            activate_at: None,
            retire_at: None,
            remove_at: None,
            kid: jwk.kid.clone(),
        };
        Ok((Signer { jwk, pair }, row))
    }

    /// Opens a stored key.
    ///
    /// # Errors
    /// Its KEK is missing, or it is not what was stored.
    pub(in crate::kernel::identity) fn open(row: &KeyRow, keys: &Keyring) -> Result<Signer> {
        let private = keys.open(&place(row.workspace_id, &row.kid), &row.private_sealed)?;
        let algorithm = Algorithm::named(&row.alg).with_context(|| format!("no algorithm {}", row.alg))?;
        let pair = match algorithm {
            Algorithm::Rs256 => Pair::Rsa(RsaKey::from_pkcs8(private.expose())?),
            Algorithm::EdDsa => Pair::Ed(SigningKey::from_seed(private.expose())?),
        };
        let jwk = pair.jwk();
        let matches = move || {
            ensure!(
                jwk.kid == row.kid,
                "signing key {} is sealed with another private half",
                row.kid
            );
            Ok(jwk)
        };
        Ok(Signer { jwk: matches()?, pair })
    }

    /// What names the key in the head of what it signs.
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// How it signs, as JOSE spells it.
    pub fn algorithm(&self) -> &str {
        &self.jwk.alg
    }

    /// Its public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs a message.
    ///
    /// # Errors
    /// No random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(match &self.pair {
            Pair::Rsa(key) => key.sign(message)?,
            Pair::Ed(key) => key.sign(message).to_vec(),
        })
    }
}

impl Pair {
    /// The public half, named by its thumbprint (RFC 7638): a key has one name, wherever it is.
    fn jwk(&self) -> Jwk {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let named = |thumbprint: serde_json::Value| text(&sha256(thumbprint.to_string().as_bytes()));
        let (kid, kty, alg, [n, e, crv, x]) = match self {
            Pair::Rsa(key) => {
                let (n, e) = key.public();
                let (n, e) = (text(&n), text(&e));
                let kid = named(json!({ "e": e, "kty": "RSA", "n": n }));
                (kid, "RSA", Algorithm::Rs256, [Some(n), Some(e), None, None])
            }
            Pair::Ed(key) => {
                let x = text(&key.public());
                let kid = named(json!({ "crv": "Ed25519", "kty": "OKP", "x": x }));
                (
                    kid,
                    "OKP",
                    Algorithm::EdDsa,
                    [None, None, Some("Ed25519".into()), Some(x)],
                )
            }
        };
        let (kty, alg, purpose) = (kty.into(), alg.name().into(), "sig".into());
        Jwk {
            kty,
            kid,
            alg,
            purpose,
            n,
            e,
            crv,
            x,
        }
    }
}

/// Where the private half of a key stands.
pub fn place(workspace: Option<Uuid>, kid: &str) -> Aad {
    Aad::new(workspace, "signing_keys", "private_sealed", kid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{clock::Clock, crypto};

    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        // RFC 8037, appendix A.3.
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let jwk = Pair::Ed(SigningKey::from_seed(&seed).unwrap()).jwk();
        assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_stored_key_signs_as_before_and_only_where_it_was_stored() {
        let keys = Keyring::random();
        let workspace = Uuid::from_u128(7);
        let (signer, mut row) = Signer::generate(Some(workspace), Use::License, &keys, Clock::system().now()).unwrap();
        let opened = Signer::open(&row, &keys).unwrap();
        assert_eq!((opened.kid(), opened.algorithm()), (signer.kid(), "EdDSA"));
        let public = URL_SAFE_NO_PAD.decode(opened.jwk().x.as_ref().unwrap()).unwrap();
        assert!(crypto::verify(
            &public.try_into().unwrap(),
            b"message",
            &signer.sign(b"message").unwrap()
        ));

        row.workspace_id = Some(Uuid::from_u128(8));
        assert!(Signer::open(&row, &keys).is_err());
        row.workspace_id = Some(workspace);
        row.kid = "another".into();
        assert!(Signer::open(&row, &keys).is_err());
    }
}
