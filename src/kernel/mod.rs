//! Floor 1: everything that exists before a workspace is known.

pub mod access;
pub mod clock;
pub mod db;
pub mod entitlements;
pub mod error;
pub mod gate;
pub mod id;
pub mod secret;
pub mod trace;
