//! Floor 3: wiring.

pub mod dev;
