//! The buyer's side of money: the plan of a workspace, what it costs, and how the bill stands.

mod model;
mod routes;

pub use model::{Bill, PlanList};
pub use routes::{PlanCache, routes};
