//! Statements on endpoints, deliveries and pumps.

mod backlog;
mod deliveries;
mod endpoints;
mod pumps;

pub(super) use backlog::*;
pub(super) use deliveries::*;
pub(super) use endpoints::*;
pub(super) use pumps::*;
