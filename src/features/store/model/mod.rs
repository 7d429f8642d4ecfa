//! What is sold, to whom, for how much, and what came of it.

mod catalog;
mod images;
mod sales;

pub(in crate::features::store) use catalog::{Mapped, NewOffer};
pub use catalog::{Offer, OfferId, OfferKind, OnCancel, Price, QuantityAs};
pub(in crate::features::store) use images::*;
pub use sales::*;
