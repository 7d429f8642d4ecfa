//! A place inside the gate.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Hall;
use crate::kernel::{
    error::{Problem, RATE_LIMITED},
    id::WorkspaceId,
    metrics,
};

/// A place inside: work or a place in line for it. Given back when it is left or dropped.
pub struct Place {
    hall: Arc<Hall>,
    inside: AtomicBool,
    workspace: OnceLock<WorkspaceId>,
    /// Microseconds in line for connections, and with them.
    waited: AtomicU64,
    worked: AtomicU64,
    /// Bytes of the request's body.
    read: AtomicU64,
}

/// What a request took while it was inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In line for connections to the database.
    pub waited: Duration,
    /// With them.
    pub worked: Duration,
    /// Bytes of its body that were read.
    pub read: u64,
}

impl Place {
    /// A place in that hall, which was taken there.
    pub(super) fn of(hall: Arc<Hall>) -> Place {
        Place {
            hall,
            inside: AtomicBool::new(true),
            workspace: OnceLock::new(),
            waited: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            read: AtomicU64::new(0),
        }
    }

    pub(super) fn waited(&self, time: Duration) {
        self.waited.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn worked(&self, time: Duration) {
        self.worked.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// Notes a part of the request's body.
    pub fn read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What whoever has it took so far.
    pub fn spent(&self) -> Spent {
        let of = |time: &AtomicU64| Duration::from_micros(time.load(Ordering::Relaxed));
        Spent {
            waited: of(&self.waited),
            worked: of(&self.worked),
            read: self.read.load(Ordering::Relaxed),
        }
    }

    /// True until it is left.
    pub fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed)
    }

    /// Says whose it is, now that it is known.
    ///
    /// # Errors
    /// 429 `rate-limited`: the workspace has half of all places, and others are here too; or it has so many that whoever comes next would find
    /// none. The place is left.
    pub fn belong_to(&self, workspace: WorkspaceId) -> Result<(), Problem> {
        if !self.is_inside() || self.workspace.set(workspace).is_err() {
            return Ok(());
        }
        self.claim(workspace)
    }

    /// Counts it as the workspace's, if that has not too many.
    fn claim(&self, workspace: WorkspaceId) -> Result<(), Problem> {
        let (held, others) = self.hall.hold(workspace);
        let places = self.hall.room.permits + self.hall.room.line;
        let share = match others {
            true => places.div_ceil(2),
            false => places - (places / 8).max(1),
        };
        if held > share {
            self.hall.greedy.inc();
            metrics::RATE_LIMITED.with_label_values(&["concurrency"]).inc();
            self.leave();
            let beside = if others { " while others are here" } else { "" };
            return Err(RATE_LIMITED
                .because(format!(
                    "At most {share} requests of a workspace are served at once{beside}."
                ))
                .with("bucket", "concurrency")
                .with("limit", share));
        }
        Ok(())
    }

    /// Makes room: the answer is there, or the caller is slow.
    pub fn leave(&self) {
        if self.inside.swap(false, Ordering::Relaxed) {
            self.hall.inside.fetch_sub(1, Ordering::Relaxed);
            if let Some(workspace) = self.workspace.get() {
                self.hall.release(*workspace);
            }
        }
    }

    /// Takes a place again after it was left.
    ///
    /// # Errors
    /// 503 `overloaded`: there is none. 429 as [`Place::belong_to`].
    pub fn come_back(&self) -> Result<(), Problem> {
        if self.is_inside() {
            return Ok(());
        }
        self.hall.take()?;
        self.inside.store(true, Ordering::Relaxed);
        self.workspace.get().map_or(Ok(()), |workspace| self.claim(*workspace))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("inside", &self.is_inside())
            .finish_non_exhaustive()
    }
}
