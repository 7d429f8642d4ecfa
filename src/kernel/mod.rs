//! Floor 1: everything that exists before a workspace is known.

pub mod clock;
pub mod error;
pub mod id;
