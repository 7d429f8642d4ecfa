//! What we read of Stripe's objects, and nothing more. Unknown fields are ignored, unknown words are kept as text, and a missing field
//! that we need is an error that names it. Shapes of older API versions are read too, where they differ.

mod customer;
mod event;
mod invoice;
mod payment;
mod price;
mod subscription;

use serde::Deserialize;

pub use customer::*;
pub use event::*;
pub use invoice::*;
pub use payment::*;
pub use price::*;
pub use subscription::*;

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    /// The items.
    pub data: Vec<T>,
    /// True if there are more.
    #[serde(default)]
    pub has_more: bool,
}

/// An id, or the object that was asked for in its place.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expandable<T> {
    /// Only the id.
    Id(String),
    /// The object.
    Full(Box<T>),
}

impl<T> Expandable<T> {
    /// The object, if it was asked for.
    pub fn full(&self) -> Option<&T> {
        match self {
            Expandable::Full(object) => Some(object),
            Expandable::Id(_) => None,
        }
    }

    pub(in crate::kernel::stripe) fn full_mut(&mut self) -> Option<&mut T> {
        match self {
            Expandable::Full(object) => Some(object),
            Expandable::Id(_) => None,
        }
    }
}

impl<T: Named> Expandable<T> {
    /// The id, either way.
    pub fn id(&self) -> &str {
        match self {
            Expandable::Id(id) => id,
            Expandable::Full(object) => object.id(),
        }
    }
}

/// Something with an id.
pub trait Named {
    /// Stripe's id.
    fn id(&self) -> &str;
}

/// An object of which only the id matters.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    /// Stripe's id.
    pub id: String,
}

macro_rules! named {
    ($($kind:ty),*) => {$(impl Named for $kind { fn id(&self) -> &str { &self.id } })*};
}
named!(
    Reference,
    Product,
    Invoice,
    Line,
    Item,
    PaymentIntent,
    Charge,
    PaymentMethod
);
