//! Standard Webhooks 1.0.0: what is signed, and with what.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::kernel::{crypto, secret::Secret};

/// A new secret: 32 random bytes.
pub fn mint() -> Secret<Vec<u8>> {
    Secret::new(crypto::random::<32>().to_vec())
}

/// As the receiver is given it.
pub fn shown(secret: &Secret<Vec<u8>>) -> String {
    format!("whsec_{}", STANDARD.encode(secret.expose()))
}

/// The `webhook-signature` header: one `v1` for each secret, separated by spaces.
pub fn header(secrets: &[Secret<Vec<u8>>], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    secrets
        .iter()
        .map(|secret| format!("v1,{}", STANDARD.encode(crypto::hmac(secret.expose(), &signed))))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_the_standards_libraries_holds() {
        let secret = Secret::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            header(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_secret_signs() {
        let secrets = [mint(), mint()];
        let header = header(&secrets, "evt_1", 1, b"{}");
        assert_eq!(header.split(' ').count(), 2);
        assert!(shown(&secrets[0]).starts_with("whsec_") && shown(&secrets[0]).len() == 50);
    }
}
