//! Talking to Stripe: requests by async-stripe's builders, answers by small structs of our own, retries and deadlines of our own.
//!
//! async-stripe's own types refuse an answer that lacks one modern field, its client forgets the status of an error body that it cannot
//! read and the `Stripe-Should-Retry` beside it, and its retries draw a random key. So its builders say *what* to ask, and
//! [`transport`] asks.

mod calls;
mod objects;
mod refusal;
mod signature;
mod transport;

pub use calls::{Account, NewCustomer};
pub use objects::*;
pub use refusal::{CURRENCY_MISMATCH, PAYMENT_DECLINED, PRICE_UNAVAILABLE, PROBLEMS, StripeError};
pub use signature::verify;
pub use transport::{Intent, Patience, Stripe};

/// The version of Stripe's API that the pinned async-stripe speaks: sent with every call, and set on the endpoints that we make.
pub const API_VERSION: &str = "2026-09-30.endive";

/// Where Stripe itself is.
pub const PUBLIC_BASE: &str = "https://api.stripe.com/";
