//! Stops asking whoever does not answer, and asks again after a rest: with one question, not with all that have gathered.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// When to stop, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// So many failures …
    pub failures: usize,
    /// … within this time open the breaker.
    pub within: Duration,
    /// How long nobody is let through then.
    pub rest: Duration,
}

/// Counts the failures of one dependency. Closed: everybody may ask. Open: nobody. After the rest one caller probes, and its luck decides.
pub struct Breaker {
    rules: Rules,
    state: Mutex<State>,
    /// A copy for those who only want to look.
    open: AtomicBool,
}

enum State {
    Closed { failed: Vec<Instant> },
    Open { until: Instant },
    Probing,
}

/// Leave to ask. It must be told how it went; dropped in silence (the caller went away) it counts as if it had never been given.
#[must_use]
pub struct Pass<'b> {
    breaker: &'b Breaker,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(rules: Rules) -> Breaker {
        Breaker {
            rules,
            state: Mutex::new(State::Closed { failed: Vec::new() }),
            open: AtomicBool::new(false),
        }
    }

    /// Leave to ask, unless the breaker is open.
    pub fn enter(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state.lock().expect("no panic while counting");
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => true,
            State::Open { .. } | State::Probing => return None,
        };
        if probe {
            *state = State::Probing;
        }
        Some(Pass {
            breaker: self,
            probe,
            told: false,
        })
    }

    /// True while callers are turned away.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn set(&self, state: &mut State, to: State) {
        self.open.store(!matches!(to, State::Closed { .. }), Ordering::Relaxed);
        *state = to;
    }
}

impl Pass<'_> {
    /// It went well.
    pub fn good(mut self) {
        self.told = true;
        let mut state = self.breaker.state.lock().expect("no panic while counting");
        if self.probe {
            self.breaker.set(&mut state, State::Closed { failed: Vec::new() });
        }
    }

    /// It failed. True if that opened the breaker.
    pub fn bad(mut self, now: Instant) -> bool {
        self.told = true;
        let rules = self.breaker.rules;
        let mut state = self.breaker.state.lock().expect("no panic while counting");
        let opens = match &mut *state {
            State::Closed { failed } => {
                failed.retain(|at| now.saturating_duration_since(*at) < rules.within);
                failed.push(now);
                failed.len() >= rules.failures
            }
            State::Probing => self.probe,
            State::Open { .. } => false,
        };
        if opens {
            let until = now + rules.rest;
            self.breaker.set(&mut state, State::Open { until });
        }
        opens
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            let mut state = self.breaker.state.lock().expect("no panic while counting");
            // The probe learned nothing: the next caller probes.
            self.breaker.set(&mut state, State::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        failures: 3,
        within: Duration::from_secs(1),
        rest: Duration::from_secs(5),
    };

    fn fail(breaker: &Breaker, now: Instant) -> bool {
        breaker.enter(now).expect("let in").bad(now)
    }

    #[test]
    fn three_failures_in_a_second_open_it_and_three_in_two_seconds_do_not() {
        let (breaker, start) = (Breaker::new(RULES), Instant::now());
        for tenths in [0, 8, 16, 24] {
            assert!(!fail(&breaker, start + Duration::from_millis(tenths * 100)));
        }
        assert!(!breaker.is_open());
        let later = start + Duration::from_secs(10);
        assert!(!fail(&breaker, later));
        assert!(!fail(&breaker, later));
        assert!(fail(&breaker, later));
        assert!(breaker.is_open() && breaker.enter(later + Duration::from_millis(4_999)).is_none());
    }

    #[test]
    fn after_the_rest_one_probe_decides() {
        let (breaker, start) = (Breaker::new(RULES), Instant::now());
        for _ in 0..3 {
            fail(&breaker, start);
        }
        let rested = start + RULES.rest;
        let probe = breaker.enter(rested).expect("the probe");
        assert!(breaker.enter(rested).is_none(), "one probe only");
        assert!(probe.bad(rested));
        assert!(breaker.enter(rested + Duration::from_secs(1)).is_none());
        breaker.enter(rested + RULES.rest).expect("another probe").good();
        assert!(!breaker.is_open());
        let (one, two) = (breaker.enter(rested), breaker.enter(rested));
        assert!(one.is_some() && two.is_some());
    }

    #[test]
    fn a_probe_whose_caller_went_away_is_made_again_by_the_next() {
        let (breaker, start) = (Breaker::new(RULES), Instant::now());
        for _ in 0..3 {
            fail(&breaker, start);
        }
        drop(breaker.enter(start + RULES.rest).expect("the probe"));
        assert!(breaker.is_open());
        assert!(breaker.enter(start + RULES.rest).is_some());
    }

    #[test]
    fn failures_that_come_home_late_do_not_lengthen_the_rest() {
        let (breaker, start) = (Breaker::new(RULES), Instant::now());
        let late = breaker.enter(start).expect("let in");
        for _ in 0..3 {
            fail(&breaker, start);
        }
        assert!(!late.bad(start + Duration::from_secs(4)));
        assert!(breaker.enter(start + RULES.rest).is_some());
    }
}
