//! Policies: the templates of licences, and the terms that a licence gets from one.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{
    Authentication, ClientVerb, Cull, EVENTS, ExpirationBasis, ExpirationStrategy, Heartbeat, HeartbeatBasis,
    NewPolicy, Overage, Overrides, PROBLEMS, Policy, PolicyId, RenewalBasis, Resurrection, Rules, ScopeName, Span,
    SuspendedTime, Terms, Uniqueness, Unit,
};
pub use routes::routes;
pub use service::{create, get, hold, open, resolve};
