//! RS256 keys (RSASSA-PKCS1-v1_5 with SHA-256, 2,048 bits): what access tokens are signed with, because every library knows them.

use anyhow::{Result, anyhow};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};

use crate::kernel::secret::Secret;

/// The private half of a key.
pub struct RsaKey {
    pair: RsaKeyPair,
}

impl RsaKey {
    /// A new key, and its PKCS#8 document: what is to be sealed and kept. Takes some tenths of a second.
    ///
    /// # Errors
    /// No random bytes.
    pub fn generate() -> Result<(RsaKey, Secret<Vec<u8>>)> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key could be made"))?;
        let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| anyhow!("an RSA key could not be written"))?;
        let document = Secret::new(document.as_ref().to_vec());
        Ok((RsaKey { pair }, document))
    }

    /// The key of a PKCS#8 document.
    ///
    /// # Errors
    /// Not such a document.
    pub fn from_pkcs8(document: &[u8]) -> Result<RsaKey> {
        let pair = RsaKeyPair::from_pkcs8(document).map_err(|error| anyhow!("not an RSA key: {error}"))?;
        Ok(RsaKey { pair })
    }

    /// Modulus and exponent of the public half, big-endian without leading zeros.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let public = self.pair.public_key();
        (
            public.modulus().big_endian_without_leading_zero().to_vec(),
            public.exponent().big_endian_without_leading_zero().to_vec(),
        )
    }

    /// Signs a message.
    ///
    /// # Errors
    /// No random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn a_document_brings_the_key_back_and_its_public_half_verifies() {
        let (key, document) = RsaKey::generate().unwrap();
        let again = RsaKey::from_pkcs8(document.expose()).unwrap();
        let (n, e) = key.public();
        assert_eq!((n.len(), e.as_slice()), (256, [1, 0, 1].as_slice()));
        assert_eq!(again.public(), (n.clone(), e.clone()));
        let public = RsaPublicKeyComponents { n, e };
        let signature = again.sign(b"message").unwrap();
        assert!(
            public
                .verify(&RSA_PKCS1_2048_8192_SHA256, b"message", &signature)
                .is_ok()
        );
        assert!(
            public
                .verify(&RSA_PKCS1_2048_8192_SHA256, b"massage", &signature)
                .is_err()
        );
        assert!(RsaKey::from_pkcs8(b"no document").is_err());
    }
}
