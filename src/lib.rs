//! Guildhall: a multi-tenant backend, in three floors. `kernel` is everything that exists before a workspace is known,
//! `features` everything that happens inside one, `app` wires them.

// Both panic where nobody reads: `app::cli` has what does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod features;
pub mod kernel;
