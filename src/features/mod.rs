//! Floor 2: what happens inside a workspace. A feature may use those listed above it, never those below. (A blank line between two keeps
//! the formatter from sorting them.)

mod schema;

pub mod products;
pub mod webhooks;

pub mod entitlements;

pub mod policies;

pub mod customers;

pub mod licenses;

pub mod machines;

pub mod providers;

pub mod usage;

pub mod prompts;

pub mod agents;

pub mod runs;

pub mod store;

pub mod billing;
