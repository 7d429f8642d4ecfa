//! Workspaces and who is in them. A workspace is made before it is known, by the kernel; everything after that happens inside it.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{
    EVENTS, MEMBER_UPDATED, Member, OwnWorkspace, OwnWorkspaceFilters, OwnWorkspaces, PLATFORM, PROBLEMS, Workspace,
};
pub use routes::routes;
pub(in crate::kernel) use service::{found, may_found, of_person, own};
