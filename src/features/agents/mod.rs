//! Agents: a draft that may change, numbered versions that never do, and labels that say which of them is meant. A version is a name for
//! a plan, and a plan is what a run executes.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{AGENT_ARCHIVED, Agent, AgentId, EVENTS, Framework, NOT_AVAILABLE, PROBLEMS, VersionNumber, plan};
pub use routes::routes;
pub use service::{
    known, plans,
    resolve::{Choice, Resolved, resolve},
    schemas,
};
