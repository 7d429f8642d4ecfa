//! Floor 1: everything that exists before a workspace is known.

pub mod access;
pub mod api_keys;
pub mod audit;
pub mod check;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod db;
pub mod entitlements;
pub mod error;
pub mod gate;
pub mod http;
pub mod id;
pub mod idempotency;
pub mod inbox;
pub mod jobs;
pub mod outbox;
pub mod page;
pub mod passwords;
mod schema;
pub mod secret;
pub mod stripe;
pub mod telemetry;
pub mod trace;
pub mod wake;
pub mod words;
pub mod workspaces;
