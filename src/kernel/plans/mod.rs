//! The plans of workspaces: the projection that says what each may do, and the list that the world may see. Which plan a workspace is on is
//! decided by its licences in `platform`, above; here it is written down, for the front door to read.

mod buyer;
mod jobs;
mod model;
mod queries;
mod seed;
mod service;

pub use buyer::{OpensBill, buyer};
pub use jobs::{PLAN, job, register, sweep};
pub use model::{AnnouncedPlan, EVENTS, PlanPrice, PlanSource, PlanView, Projection, PublishedPlan};
pub use seed::{SEEDS, SeedPlan, SeedPrice};
pub use service::{bind_customer, current, project, publish, published, without_source};
