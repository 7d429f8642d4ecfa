//! The statements of the store.

mod catalog;
mod mirror;
mod plans;
mod sales;

pub(super) use catalog::*;
pub(super) use mirror::*;
pub(super) use plans::*;
pub(super) use sales::*;
