//! Outgoing webhooks: events are matched with endpoints as they are relayed, and each endpoint has one pump that signs and sends them,
//! at least once, at the endpoint's own pace.

mod jobs;
mod model;
mod queries;
mod routes;
mod sealed;
mod service;

pub use jobs::register;
pub use model::{EVENTS, PROBLEMS};
pub use routes::routes;
pub use sealed::SEALED;
