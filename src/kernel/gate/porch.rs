//! Where those stand who are refused, until their refusal is let out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Refusals a second for each core: under a twentieth of what it can do.
const PACE: u64 = 1_000;
/// So many may leave at once.
const BURST: u64 = 100;
/// Nobody stands here for longer.
const LONGEST: Duration = Duration::from_secs(1);

/// Lets refusals out at a measured pace.
pub(super) struct Porch {
    began: Instant,
    /// Microseconds a refusal.
    interval: u64,
    /// When the next would leave if there were no burst, in microseconds since the beginning.
    next: AtomicU64,
}

impl Porch {
    pub(super) fn of(cores: usize) -> Porch {
        Porch {
            began: Instant::now(),
            interval: (1_000_000 / (PACE * cores.max(1) as u64)).max(1),
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause_at(self.began.elapsed())
    }

    fn pause_at(&self, now: Duration) -> Duration {
        let now = now.as_micros() as u64;
        let (credit, longest) = (BURST * self.interval, LONGEST.as_micros() as u64);
        let wait = |next: u64| next.max(now).saturating_sub(now + credit);
        let found = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            // Whoever would stand for too long leaves with the others of that instant.
            (wait(next) < longest).then(|| next.max(now) + self.interval)
        });
        Duration::from_micros(found.map_or(longest, wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_leave_at_once_and_many_at_a_pace_and_nobody_stands_for_ever() {
        let porch = Porch::of(2);
        let now = Duration::from_secs(5);
        for _ in 0..BURST {
            assert_eq!(porch.pause_at(now), Duration::ZERO);
        }
        let mut before = Duration::ZERO;
        for _ in 0..1_999 {
            let pause = porch.pause_at(now);
            assert_eq!(pause, before);
            before = pause + Duration::from_micros(500);
        }
        for _ in 0..10_000 {
            let pause = porch.pause_at(now);
            assert!(pause >= Duration::from_millis(999) && pause <= LONGEST, "{pause:?}");
        }
        assert!(porch.pause_at(now + Duration::from_millis(500)) <= Duration::from_millis(501));
        assert_eq!(porch.pause_at(now + Duration::from_secs(2)), Duration::ZERO);
    }
}
