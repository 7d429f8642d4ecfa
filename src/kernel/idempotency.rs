//! One effect for one key: the key, the fingerprint and the answer are stored in the effect's own transaction.

/// Tells two requests with the same key apart.
pub trait Fingerprint {
    /// SHA-256 of the canonical body (JCS, RFC 8785).
    fn digest(&self) -> [u8; 32];
}

/// A request without a body.
impl Fingerprint for () {
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}
