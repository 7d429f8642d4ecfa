//! API keys: a credential for programs, shown once, kept as a hash, never worth more than its owner is now.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{ApiKey, EVENTS, PROBLEMS};
pub use routes::routes;
pub(in crate::kernel) use service::end_with_membership;
