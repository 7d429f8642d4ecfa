//! What a process has been through: its boot gate, and perhaps the order to end.

use std::sync::atomic::{AtomicBool, Ordering};

/// How far a process has come.
#[derive(Default)]
pub struct Readiness {
    booted: AtomicBool,
    draining: AtomicBool,
    closing: AtomicBool,
}

impl Readiness {
    /// The boot gate has passed. Before, nothing is answered that the database has a part in.
    pub fn booted(&self) {
        self.booted.store(true, Ordering::SeqCst);
    }

    /// Traffic should go elsewhere from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// It has served on for as long as a balancer needs to notice: who waits is answered now.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether the boot gate has passed.
    pub fn has_booted(&self) -> bool {
        self.booted.load(Ordering::Relaxed)
    }

    /// Whether callers should come back elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether nobody should wait here any longer.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Ready to serve.
    pub fn is_ready(&self) -> bool {
        self.has_booted() && !self.is_draining()
    }
}
