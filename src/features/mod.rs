//! Floor 2: what happens inside a workspace. A feature may use those listed above it, never those below.

pub mod prompts;
pub mod providers;
