//! Who did what, written in the transaction of the change, and sealed into a chain soon after. What is about a person stands apart, so
//! that it can be erased without breaking the chain.

mod jobs;
mod kept;
mod model;
mod queries;
mod refusals;
mod routes;
mod service;

pub use jobs::{register, retention, sweep};
pub use model::{AuditCheckpoint, AuditEntry, Broken, Entry, Fault, Subject, Verdict};
pub use refusals::Refusals;
pub use routes::routes;
pub use service::{note, verify};
pub(in crate::kernel) use service::{note_in, write};
