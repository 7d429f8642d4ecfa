//! The embedded development stack: servers of its own, for a machine of one's own and for the tests.

mod home;
mod leash;
pub mod postgres;
pub mod redis;
#[cfg(feature = "stripe-stub")]
pub mod stripe;

pub use home::Home;
