//! Runs: what became of every execution of a plan. A run is accepted with all it needs in one transaction, its steps are jobs of the queue,
//! and each step's result commits exactly once, whatever dies meanwhile.

mod jobs;
mod model;
mod queries;
mod routes;
mod service;

pub use jobs::register;
pub use model::{EVENTS, PROBLEMS, Run, RunId, Status};
pub use routes::routes;
