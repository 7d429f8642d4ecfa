//! How it stands with somebody else's server, by what came of the last attempt to use it: nobody asks it only to know.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the last attempt failed. Copies are one.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<AtomicBool>);

impl Standing {
    /// Notes whether it could be used.
    pub fn note(&self, up: bool) {
        self.0.store(!up, Ordering::Relaxed);
    }

    /// True until an attempt has failed, and again after one that has not.
    pub fn is_up(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}
