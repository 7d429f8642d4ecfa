//! Guildhall: a multi-tenant backend, in three floors. `kernel` is everything that exists before a workspace is known,
//! `features` everything that happens inside one, `app` wires them.

pub mod app;
pub mod features;
pub mod kernel;
