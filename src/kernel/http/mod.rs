//! HTTP: what every request goes through, what handlers take and what they answer.

mod answers;
mod body;
pub mod cors;
mod document;
mod export;
mod extract;
pub mod front;
pub mod headers;
mod if_match;
pub mod limits;
pub mod operations;
pub mod outbound;
pub mod prefer;
pub mod problem;
mod query;
mod software;
mod valid;

pub(in crate::kernel) use body::read as read_body;

pub use answers::{
    Accepted, Created, Json, Located, NoContent, Put, REPLAYED, Reply, Tagged, Versioned, is_known, only_looked_at,
};
pub use export::{LINES, Lister, Listing, MOST_ROWS};
pub use extract::{Admitted, BySession, Fresh, NoQuery, Path, Paths, Somebody, Visit, Whereabouts};
pub use if_match::IfMatch;
pub use query::Query;
pub use software::{AnyHolder, Holder, Software};
pub use valid::{IfAny, Valid};

pub use crate::kernel::idempotency::IdempotencyKey;
