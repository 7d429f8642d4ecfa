//! Ed25519 (RFC 8032): what licences, checkpoints and webhooks are signed with.

use anyhow::{Result, anyhow};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::kernel::{crypto::random, secret::Secret};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The private half of a key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key, and its seed: the 32 bytes that are to be sealed and kept.
    pub fn generate() -> (SigningKey, Secret<Vec<u8>>) {
        let seed = Secret::new(random::<32>().to_vec());
        let key = SigningKey::from_seed(seed.expose()).expect("any 32 bytes are a seed");
        (key, seed)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// Not 32 bytes.
    pub fn from_seed(seed: &[u8]) -> Result<SigningKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| anyhow!("not an Ed25519 seed"))?;
        Ok(SigningKey { pair })
    }

    /// The public half: 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("32 bytes")
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.pair.sign(message).as_ref().try_into().expect("64 bytes")
    }
}

/// Whether the holder of the private half of `public` signed exactly this message.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_standard_hold() {
        // RFC 8032, section 7.1, tests 1 and 3.
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let message = hex::decode(message).unwrap();
            let key = SigningKey::from_seed(&hex::decode(seed).unwrap()).unwrap();
            assert_eq!(hex::encode(key.public()), public);
            assert_eq!(hex::encode(key.sign(&message)), signature);
            assert!(verify(&key.public(), &message, &hex::decode(signature).unwrap()));
        }
    }

    #[test]
    fn no_flipped_bit_passes() {
        let (key, _) = SigningKey::generate();
        let signature = key.sign(b"message");
        assert!(verify(&key.public(), b"message", &signature));
        for bit in 0..SIGNATURE_BYTES * 8 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&key.public(), b"message", &altered), "bit {bit}");
        }
        assert!(!verify(&key.public(), b"massage", &signature));
        assert!(!verify(&SigningKey::generate().0.public(), b"message", &signature));
        assert!(!verify(&key.public(), b"message", &signature[..63]));
    }

    #[test]
    fn a_seed_brings_the_key_back() {
        let (key, seed) = SigningKey::generate();
        assert_eq!(SigningKey::from_seed(seed.expose()).unwrap().public(), key.public());
        assert!(SigningKey::from_seed(&[1; 31]).is_err());
    }
}
