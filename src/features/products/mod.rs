//! What a workspace sells.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{EVENTS, NewProduct, Product, ProductId};
pub use routes::routes;
pub use service::{create, open};
