//! The keys of cursors: the first one signs, and the others are those that signed before it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{constant_time, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::kernel::secret::Secret;

/// How much of an HMAC a cursor carries, in bytes.
pub(super) const TAG: usize = 16;

/// Signs cursors, and tells its own. Copies share the keys.
#[derive(Clone)]
pub struct Seals(Arc<[hmac::Key]>);

impl Seals {
    /// Reads keys as the configuration has them: base64 of at least 32 random bytes each, separated by commas.
    ///
    /// # Errors
    /// None at all, or one that is no base64 or too short.
    pub fn read(keys: &Secret<String>) -> Result<Seals> {
        let keys = keys.expose().split(',').map(|key| {
            let key = STANDARD.decode(key.trim()).context("secrets.signing is not base64")?;
            ensure!(key.len() >= 32, "a key of secrets.signing is shorter than 32 bytes");
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
        });
        Ok(Seals(keys.collect::<Result<_>>()?))
    }

    /// What the newest key puts under a text.
    pub(super) fn sign(&self, text: &[u8]) -> [u8; TAG] {
        // `read` makes none without a key.
        tag(&self.0[0], text)
    }

    /// True if any of the keys put it there.
    pub(super) fn is_genuine(&self, text: &[u8], given: &[u8]) -> bool {
        let is_of = |key| constant_time::verify_slices_are_equal(&tag(key, text), given).is_ok();
        self.0.iter().any(is_of)
    }
}

fn tag(key: &hmac::Key, text: &[u8]) -> [u8; TAG] {
    hmac::sign(key, text).as_ref()[..TAG].try_into().expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(keys: &str) -> Result<Seals> {
        Seals::read(&Secret::new(keys.to_owned()))
    }

    #[test]
    fn a_key_that_was_replaced_still_verifies_and_one_that_is_gone_does_not() {
        let [old, new] = [[1; 32], [2; 32]].map(|key| STANDARD.encode(key));
        let before = seals(&format!(" {old}\n")).expect("a key");
        let both = seals(&format!("{new}, {old}")).expect("two keys");
        let after = seals(&new).expect("a key");
        let tag = before.sign(b"text");
        assert!(before.is_genuine(b"text", &tag) && both.is_genuine(b"text", &tag));
        assert!(!after.is_genuine(b"text", &tag));
        assert!(after.is_genuine(b"text", &both.sign(b"text")), "the first signs");
        for other in [b"Text".as_slice(), b""] {
            assert!(!both.is_genuine(other, &tag));
        }
        assert!(!both.is_genuine(b"text", &tag[..15]));
    }

    #[test]
    fn no_key_a_short_one_and_no_base64_are_refused() {
        for keys in ["", "c2hvcnQ=", "%", &format!("{},", STANDARD.encode([1; 32]))] {
            assert!(seals(keys).is_err(), "{keys:?}");
        }
    }
}
