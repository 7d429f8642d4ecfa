//! Cryptography, all of it from aws-lc-rs: hashes, comparisons, random bytes, signatures, and encryption at rest
//! ([`envelope`]).

mod ed25519;
mod envelope;
mod rsa;

use aws_lc_rs::{constant_time, digest, hmac as mac, rand};

pub use ed25519::{SIGNATURE_BYTES, SigningKey, verify};
pub use envelope::{Aad, Keyring, Sealed, Unreadable};
pub use rsa::RsaKey;

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 is 32 bytes")
}

/// HMAC-SHA256.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    mac::sign(&mac::Key::new(mac::HMAC_SHA256, key), message)
        .as_ref()
        .try_into()
        .expect("HMAC-SHA256 is 32 bytes")
}

/// Whether two byte strings are the same, in a time that does not tell where they differ. Their lengths are no secret.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Random bytes from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standards() {
        // FIPS 180-4, "abc"; RFC 4231, test case 2.
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn what_differs_anywhere_is_not_equal() {
        assert!(equal(b"same", b"same"));
        assert!(!equal(b"same", b"sama") && !equal(b"same", b"Same") && !equal(b"same", b"sam"));
    }

    #[test]
    fn random_bytes_are_not_repeated() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
