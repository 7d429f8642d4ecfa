//! The time, handed in. Nothing else in the house asks the operating system what time it is.

use chrono::{DateTime, SubsecRound, Utc};
#[cfg(feature = "lab")]
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Tells the time in UTC, to the millisecond. Copies of one clock tell the same time.
///
/// With feature `lab` a clock can be *fake*: it runs on, shifted by an offset that only tests move. The database follows it through
/// `app.clock_offset` (see [`crate::kernel::db`]).
#[derive(Clone, Default)]
pub struct Clock {
    #[cfg(feature = "lab")]
    offset: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
        let now = Utc::now();
        (now + self.offset()).trunc_subsecs(3)
    }

    /// How far this clock is ahead of the machine's.
    #[cfg(not(feature = "lab"))]
    pub fn offset(&self) -> chrono::Duration {
        chrono::Duration::zero()
    }

    /// How far this clock is ahead of the machine's.
    #[cfg(feature = "lab")]
    pub fn offset(&self) -> chrono::Duration {
        let millis = self.offset.as_ref().map_or(0, |offset| offset.load(Ordering::SeqCst));
        chrono::Duration::milliseconds(millis)
    }

    /// A clock that tests may move.
    #[cfg(feature = "lab")]
    pub fn fake() -> Clock {
        Clock {
            offset: Some(Arc::new(AtomicI64::new(0))),
        }
    }

    /// Moves a fake clock forward. A system clock stays as it is.
    #[cfg(feature = "lab")]
    pub fn advance(&self, by: chrono::Duration) {
        if let Some(offset) = &self.offset {
            offset.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Sets a fake clock back to the machine's time.
    #[cfg(feature = "lab")]
    pub fn reset(&self) {
        if let Some(offset) = &self.offset {
            offset.store(0, Ordering::SeqCst);
        }
    }
}
