//! The rules of identity.

mod keys;
mod lifecycle;
mod signer;
mod tokens;

pub use keys::Keys;
pub use signer::Signer;
pub(in crate::kernel) use tokens::{Issuer, read as read_token};
