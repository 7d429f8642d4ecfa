//! The embedded development stack.

#[cfg(feature = "stripe-stub")]
pub mod stripe;
