//! The one envelope of everything that is signed: `{tag}{version}.{kid}.{payload}.{signature}`, payload and signature in base64url, the
//! signature over the ASCII of the first three parts. The tag keeps what is signed for one purpose from standing for another, and the key's
//! name stands outside, so that a reader verifies before it parses.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::kernel::error::Result;

/// A verdict.
pub(super) const VERDICT: &str = "gldv1";

/// Signs a payload.
///
/// # Errors
/// Whatever keeps the key from signing.
pub(super) fn seal(
    tag: &str,
    kid: &str,
    payload: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<String> {
    let body = serde_json::to_vec(payload).map_err(anyhow::Error::from)?;
    let mut text = String::with_capacity(tag.len() + kid.len() + body.len() * 4 / 3 + 96);
    text.push_str(tag);
    text.push('.');
    text.push_str(kid);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(&body, &mut text);
    let signature = sign(text.as_bytes())?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kernel::crypto::{self, SigningKey};

    /// As a client reads it: the tag and the key it expects, then the signature, then the payload.
    fn open(text: &str, tag: &str, kid: &str, public: &[u8; 32]) -> Option<Value> {
        let (signed, signature) = text.rsplit_once('.')?;
        let mut parts = signed.split('.');
        if parts.next()? != tag || parts.next()? != kid {
            return None;
        }
        let payload = parts.next()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if parts.next().is_some() || !crypto::verify(public, signed.as_bytes(), &signature) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_tag_only() {
        let (key, _) = SigningKey::generate();
        let payload = json!({"valid": true, "text": "déjà vu"});
        let text = seal(VERDICT, "k1", &payload, |bytes| Ok(key.sign(bytes).to_vec())).expect("signed");
        assert!(text.starts_with("gldv1.k1.") && text.split('.').count() == 4);
        let public = key.public();
        assert_eq!(open(&text, VERDICT, "k1", &public), Some(payload));
        assert_eq!(open(&text, "gldl1", "k1", &public), None);
        assert_eq!(open(&text, VERDICT, "k2", &public), None);
        assert_eq!(open(&text, VERDICT, "k1", &SigningKey::generate().0.public()), None);
        assert_eq!(open(&text.replacen("gldv1", "gldl1", 1), "gldl1", "k1", &public), None);
    }

    #[test]
    fn no_flipped_byte_passes() {
        let (key, _) = SigningKey::generate();
        let text = seal(VERDICT, "k1", &json!({"valid": false}), |bytes| {
            Ok(key.sign(bytes).to_vec())
        })
        .expect("signed");
        for place in 0..text.len() {
            for flip in [1_u8, 2, 32, 128] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= flip;
                let Ok(altered) = String::from_utf8(bytes) else {
                    continue;
                };
                let opened = open(&altered, VERDICT, "k1", &key.public());
                assert_eq!(opened, None, "byte {place} of {text}");
            }
        }
    }
}
