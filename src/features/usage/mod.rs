//! The ledger of models and tools: every call that cost something, appended once and never changed. A correction is a signed entry.

mod model;
mod queries;
mod service;

pub use model::{Difference, Entry, EntryKind, UsageEvent, UsageEventId};
pub use service::{correct, of_run, record};
