//! Identity: people, how they prove who they are, their sessions and tokens, and the keys that sign. Everything here happens before a
//! workspace is known, through the kernel's own door.

pub mod model;
mod queries;
mod service;

pub use model::{Algorithm, Jwk, Jwks, Use};
pub use service::{Keys, Signer};
