//! The signature of an incoming event: `Stripe-Signature: t=…,v1=…,v1=…`.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};

use crate::kernel::{
    error::{INVALID_SIGNATURE, Result},
    secret::Secret,
};

/// Seconds by which the signed time may differ from ours.
const TOLERANCE: i64 = 300;
/// More signatures than Stripe would ever send are not looked at.
const MOST_SIGNATURES: usize = 16;

/// Proves that Stripe signed exactly these bytes, lately. Every `v1` is tried with every secret, in constant time; `v0` is ignored.
///
/// # Errors
/// 400 `invalid-signature`, whatever is wrong.
pub fn verify(header: &str, body: &[u8], secrets: &[Secret<String>], now: DateTime<Utc>) -> Result<()> {
    let refused = |why: &str| Err(INVALID_SIGNATURE.because(why).into());
    let Some((at, signatures)) = parse(header) else {
        return refused("The header Stripe-Signature is malformed.");
    };
    if now.timestamp().abs_diff(at) > TOLERANCE as u64 {
        return refused("The signature is older or newer than five minutes.");
    }
    let mut known = false;
    // An empty key would be one that everybody has.
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let signed = [format!("{at}.").as_bytes(), body].concat();
        for signature in &signatures {
            known |= hmac::verify(&key, &signed, signature).is_ok();
        }
    }
    if known {
        Ok(())
    } else {
        refused("No signature matches.")
    }
}

/// The time and the `v1` signatures of the header.
fn parse(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let mut at = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", _) if at.is_some() => return None,
            ("t", text) => at = Some(text.parse().ok()?),
            ("v1", text) if signatures.len() < MOST_SIGNATURES => signatures.push(hex::decode(text).ok()?),
            _ => {}
        }
    }
    Some((at?, signatures)).filter(|(_, signatures)| !signatures.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn moment(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a moment")
    }

    fn secrets(of: &[&str]) -> Vec<Secret<String>> {
        of.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn v1(secret: &str, at: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex::encode(hmac::sign(&key, &[format!("{at}.").as_bytes(), body].concat()))
    }

    #[test]
    fn stripes_signature_is_accepted_within_five_minutes() {
        let header = format!("t=1000,v1={},v0=ffff", v1("whsec_a", 1000, BODY));
        for (second, fine) in [(1000, true), (1300, true), (1301, false), (700, true), (699, false)] {
            assert_eq!(
                verify(&header, BODY, &secrets(&["whsec_a"]), moment(second)).is_ok(),
                fine,
                "{second}"
            );
        }
    }

    #[test]
    fn a_rolled_secret_is_accepted_on_both_sides() {
        let header = format!(
            "t=1000,v1={},v1={}",
            v1("whsec_new", 1000, BODY),
            v1("whsec_old", 1000, BODY)
        );
        for live in [&["whsec_old"][..], &["whsec_new"], &["whsec_other", "whsec_old"]] {
            verify(&header, BODY, &secrets(live), moment(1000)).expect("one of them signs");
        }
        verify(&header, BODY, &secrets(&["whsec_other"]), moment(1000)).expect_err("none of them signs");
    }

    #[test]
    fn whatever_is_wrong_is_refused() {
        let good = v1("whsec_a", 1000, BODY);
        let secret = secrets(&["whsec_a"]);
        for header in [
            String::new(),
            "t=1000".into(),
            format!("v1={good}"),
            format!("t=1000,v0={good}"),
            format!("t=,v1={good}"),
            format!("t=x,v1={good}"),
            format!("t=1000,t=1000,v1={good}"),
            "t=1000,v1=zz".into(),
            format!("t=1001,v1={good}"),
        ] {
            verify(&header, BODY, &secret, moment(1000)).expect_err(&header);
        }
        let header = format!("t=1000,v1={good}");
        verify(&header, b"{\"id\":\"evt_2\"}", &secret, moment(1000)).expect_err("another body");
        let empty = format!("t=1000,v1={}", v1("", 1000, BODY));
        verify(&empty, BODY, &secrets(&[""]), moment(1000)).expect_err("everybody has the empty key");
        verify(&empty, BODY, &[], moment(1000)).expect_err("no secret");
    }
}
