//! What a licence can entitle to, beside being valid: definitions, which policies and licences give values.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{EVENTS, Entitlement, EntitlementId, Kind, NewEntitlement, ValueType, Values};
pub use routes::routes;
pub use service::{create, judge};
