//! One function per statement.

pub(in crate::kernel::identity) mod keys;
pub(in crate::kernel::identity) mod people;
pub(in crate::kernel::identity) mod preferences;
pub(in crate::kernel::identity) mod registrations;
pub(in crate::kernel::identity) mod sessions;
pub(in crate::kernel::identity) mod throttles;
pub(in crate::kernel::identity) mod tokens;
