//! Events of payment providers: proven, stored and acknowledged at the door; looked at later, one lane at a time. What an event carries
//! is a hint where to look and is never applied.

mod connections;
mod hint;
mod jobs;
mod lanes;
mod model;
mod queries;
mod routes;
mod sealed;
mod service;
mod worker;

pub use connections::{api_key, reconciled, reconciled_at};
pub use jobs::{RECONCILE, register, sweep};
pub use lanes::{
    ACCOUNT, Health, Settled, begin, count_lost, hold, look_again, move_to, open, park_no_longer, release, settle,
};
pub use model::{Connection, ConnectionId, InboxEventId, Lane, PLATFORM, Waiting};
pub use routes::{Receipt, routes};
pub(in crate::kernel) use sealed::SEALED;
pub use service::{Door, PREPARE, Wanted, catch_up, ensure_platform, look_at};
pub use worker::{Look, Worker};
