//! Statements on endpoints, deliveries and pumps.

mod deliveries;
mod endpoints;
mod pumps;

pub(super) use deliveries::*;
pub(super) use endpoints::*;
pub(super) use pumps::*;
