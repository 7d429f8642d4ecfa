//! Identity: people, how they prove who they are, their sessions and tokens, and the keys that sign. Everything here happens before a
//! workspace is known, through the kernel's own door.

mod model;
mod queries;
mod routes;
mod sealed;
mod service;

pub use model::{Algorithm, Jwk, Jwks, Me, PROBLEMS, Use};
pub use routes::{roots, routes};
pub(in crate::kernel) use sealed::SEALED;
pub(in crate::kernel) use service::Auditor;
pub(in crate::kernel) use service::read_token;
pub use service::{Identity, Issuer, Keys, Signer};
