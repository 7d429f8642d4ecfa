//! The rules of webhooks.

pub(super) mod backlog;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod fan_out;
pub(super) mod outcome;
pub(super) mod pump;
pub(super) mod record;
pub(super) mod sign;
