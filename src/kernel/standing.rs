//! How it stands with somebody else's server, by what came of the last attempt to use it: nobody asks it only to know.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What an attempt showed says nothing any more after this: one that failed must not stand for hours because nobody needed the server since.
const TELLING: Duration = Duration::from_secs(600);

/// Whether the last attempt failed. Copies are one.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Option<Instant>>>);

impl Standing {
    /// Notes whether it could be used.
    pub fn note(&self, up: bool) {
        self.noted(up, Instant::now());
    }

    /// True until an attempt has failed, and again after one that has not, or ten minutes without any.
    pub fn is_up(&self) -> bool {
        self.stood_at(Instant::now())
    }

    fn noted(&self, up: bool, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (!up).then_some(now);
    }

    fn stood_at(&self, now: Instant) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_none_or(|failed| now.saturating_duration_since(failed) >= TELLING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_something_until_the_next_success_or_for_some_minutes() {
        let (standing, begun) = (Standing::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert!(standing.stood_at(begun));
        standing.noted(false, begun);
        assert!(!standing.stood_at(begun + 9 * minute));
        assert!(standing.stood_at(begun + 10 * minute));
        standing.noted(false, begun + 10 * minute);
        assert!(!standing.clone().stood_at(begun + 11 * minute));
        standing.noted(true, begun + 11 * minute);
        assert!(standing.stood_at(begun + 11 * minute));
    }
}
