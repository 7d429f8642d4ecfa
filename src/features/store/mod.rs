//! The seller's side of money: mirrors what Stripe says, decides in one table what it means, and turns what was paid into licences in the
//! same transaction. A workspace's plan is such a licence, sold by `platform`.

mod jobs;
mod model;
mod queries;
mod service;

pub use jobs::{Looker, Secrets, register};
pub use model::*;
pub use service::{NextInvoice, Standing, standing};
