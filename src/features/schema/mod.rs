//! Tenant tables, as the migrations lay them out. Visible in the features alone.

pub(in crate::features) mod billing;
pub(in crate::features) mod licensing;
pub(in crate::features) mod runs;
pub(in crate::features) mod webhooks;
