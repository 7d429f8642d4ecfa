//! Where licences run: machines are activated up to a limit that is exact under any concurrency, give signs of life, and are deactivated.

mod jobs;
mod model;
mod queries;
mod routes;
mod service;

pub use jobs::register;
pub use model::{Activated, FINGERPRINT_TAKEN, MACHINE_LIMIT_REACHED, Machine, NewMachine, PROBLEMS};
pub use routes::routes;
pub use service::{activate, deactivate, fingerprint, held_by};
