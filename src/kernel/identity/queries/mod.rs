//! One function per statement.

pub(in crate::kernel::identity) mod keys;
