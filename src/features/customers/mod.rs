//! Who buys: the people and companies that licences are for.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{Customer, EVENTS, NewCustomer, judge_email};
pub use routes::routes;
pub use service::{create, find_or_create, get, named};
