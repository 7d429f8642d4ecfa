//! Rows, inputs, answers and refusals of identity.

mod keys;
mod tokens;

pub use keys::{Algorithm, Jwk, Jwks, KeyRow, KeyState, Use};
pub use tokens::{Act, Claims};
