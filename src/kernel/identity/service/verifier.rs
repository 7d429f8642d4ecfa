//! A key that verifies.

use anyhow::Context;
use jsonwebtoken::DecodingKey;

use crate::kernel::identity::model::{Algorithm, Jwk};

/// A key that tells whether an access token is ours.
pub(in crate::kernel) struct Verifier {
    pub(in crate::kernel) algorithm: Algorithm,
    pub(in crate::kernel) key: DecodingKey,
}

impl Verifier {
    /// The verifier of a public key.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub(in crate::kernel) fn of(jwk: &Jwk) -> anyhow::Result<Verifier> {
        let algorithm = Algorithm::named(&jwk.alg).context("a key of an unknown algorithm")?;
        let part = |part: &Option<String>| part.clone().context("a part of a public key is missing");
        let key = match algorithm {
            Algorithm::Rs256 => DecodingKey::from_rsa_components(&part(&jwk.n)?, &part(&jwk.e)?)?,
            Algorithm::EdDsa => DecodingKey::from_ed_components(&part(&jwk.x)?)?,
        };
        Ok(Verifier { algorithm, key })
    }
}
