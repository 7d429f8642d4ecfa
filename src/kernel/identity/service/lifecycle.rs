//! When a key moves on. There is always a spare that verifiers already know, so that even a sudden change breaks nothing.

use chrono::{DateTime, Duration, Utc};

use crate::kernel::identity::model::{KeyRow, KeyState, Use};

/// How long a key signs before the spare takes over.
const TENURE: Duration = Duration::days(90);
/// How long verifiers know a key before it signs: they keep the list for 600 s, and five minutes more for their clocks.
const NOTICE: Duration = Duration::minutes(15);

/// What is to be done about the keys of one use.
#[derive(Debug, Default, PartialEq)]
pub struct Steps {
    /// Rows that change, in the order in which they must be written.
    pub changed: Vec<(String, KeyState)>,
    /// Whether a spare is to be made.
    pub wants_spare: bool,
}

impl Steps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && !self.wants_spare
    }
}

/// What time asks of the keys of one use, in the order in which they were made. `asked`: somebody wants the spare to take over before its
/// time; verifiers must know it all the same. Where no key signs at all, whichever there is takes over at once.
pub fn due(keys: &[KeyRow], purpose: Use, now: DateTime<Utc>, asked: bool) -> Steps {
    let mine = || keys.iter().filter(|key| key.purpose == purpose.name());
    let with = |state: KeyState| mine().filter(move |key| key.state == state.name());
    let passed = |instant: Option<DateTime<Utc>>, wait: Duration| instant.is_some_and(|instant| instant + wait <= now);
    let mut steps = Steps::default();

    let promoted = match with(KeyState::Active).next() {
        Some(active) if asked || passed(active.activate_at, TENURE) => {
            with(KeyState::Published).find(|key| passed(key.publish_at, NOTICE))
        }
        Some(_) => None,
        None => with(KeyState::Published).chain(with(KeyState::Staged)).next(),
    };
    if let Some(next) = promoted {
        let old = with(KeyState::Active).map(|key| (key.kid.clone(), KeyState::Retiring));
        steps.changed.extend(old);
        steps.changed.push((next.kid.clone(), KeyState::Active));
    }
    let waiting = with(KeyState::Staged).filter(|key| promoted.is_none_or(|next| next.kid != key.kid));
    for key in waiting.filter(|key| passed(key.publish_at, Duration::zero())) {
        steps.changed.push((key.kid.clone(), KeyState::Published));
    }
    for key in with(KeyState::Retiring).filter(|key| passed(key.remove_at, Duration::zero())) {
        steps.changed.push((key.kid.clone(), KeyState::Removed));
    }
    let mut spares = with(KeyState::Staged).chain(with(KeyState::Published));
    steps.wants_spare = !spares.any(|key| promoted.is_none_or(|next| next.kid != key.kid));
    steps
}

/// Moves a key to a state. `keep` is how long what it signed may still be shown to somebody.
pub fn moved(key: &KeyRow, to: KeyState, now: DateTime<Utc>, keep: Duration) -> KeyRow {
    let mut key = KeyRow {
        state: to.name().into(),
        ..key.clone()
    };
    match to {
        KeyState::Staged => {}
        KeyState::Published => key.publish_at = Some(now),
        KeyState::Active => key.activate_at = Some(now),
        KeyState::Retiring => {
            key.retire_at = Some(now);
            key.remove_at = Some(now + keep);
        }
        KeyState::Removed | KeyState::Compromised => key.remove_at = Some(now),
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{clock::Clock, crypto::Keyring};
    use serde_json::json;

    const KEEP: Duration = Duration::seconds(1_230);

    /// A few keys and a clock of their own.
    struct Years {
        keys: Vec<KeyRow>,
        now: DateTime<Utc>,
    }

    impl Years {
        fn new() -> Years {
            let now = Clock::system().now();
            let mut years = Years { keys: Vec::new(), now };
            years.add(KeyState::Active);
            years
        }

        fn add(&mut self, state: KeyState) {
            let row = KeyRow {
                kid: format!("k{}", self.keys.len()),
                workspace_id: None,
                purpose: "access".into(),
                alg: "EdDSA".into(),
                public_jwk: json!({}),
                private_sealed: Keyring::random().seal(&crate::kernel::crypto::Aad::new(None, "", "", ""), b""),
                kek_id: "random".into(),
                state: KeyState::Staged.name().into(),
                publish_at: Some(self.now),
                activate_at: None,
                retire_at: None,
                remove_at: None,
            };
            self.keys.push(moved(&row, state, self.now, KEEP));
        }

        fn tick(&mut self, hasty: bool) {
            let steps = due(&self.keys, Use::Access, self.now, hasty);
            for (kid, state) in &steps.changed {
                let key = self.keys.iter_mut().find(|key| key.kid == *kid).unwrap();
                *key = moved(key, *state, self.now, KEEP);
            }
            if steps.wants_spare {
                self.add(KeyState::Staged);
            }
            let active = self.keys.iter().filter(|key| key.state == "active").count();
            assert_eq!(active, 1, "{:?}", self.states());
        }

        fn states(&self) -> Vec<&str> {
            self.keys.iter().map(|key| key.state.as_str()).collect()
        }
    }

    #[test]
    fn a_spare_is_published_before_it_is_needed_and_takes_over_after_ninety_days() {
        let mut years = Years::new();
        years.tick(false);
        assert_eq!(years.states(), ["active", "staged"]);
        years.tick(false);
        assert_eq!(years.states(), ["active", "published"]);
        assert!(due(&years.keys, Use::Access, years.now, false).is_empty());

        years.now += TENURE;
        years.tick(false);
        assert_eq!(years.states(), ["retiring", "active", "staged"]);
        years.now += KEEP - Duration::seconds(1);
        years.tick(false);
        assert_eq!(years.states(), ["retiring", "active", "published"]);
        years.now += Duration::seconds(1);
        years.tick(false);
        assert_eq!(years.states(), ["removed", "active", "published"]);
    }

    #[test]
    fn no_key_signs_before_verifiers_could_know_it() {
        let mut years = Years::new();
        years.now += TENURE;
        years.tick(false);
        years.tick(false);
        assert_eq!(years.states(), ["active", "published"]);
        years.now += NOTICE - Duration::seconds(1);
        years.tick(false);
        assert_eq!(years.states(), ["active", "published"]);
        years.now += Duration::seconds(1);
        years.tick(false);
        assert_eq!(years.states(), ["retiring", "active", "staged"]);
    }

    #[test]
    fn ten_years_pass_with_one_active_key_and_one_spare() {
        let mut years = Years::new();
        for _ in 0..(10 * 365) {
            years.now += Duration::hours(24);
            years.tick(false);
            years.tick(false);
        }
        let count = |state: &str| years.keys.iter().filter(|key| key.state == state).count();
        assert_eq!((count("active"), count("published"), count("retiring")), (1, 1, 0));
        assert_eq!(years.keys.len(), 2 + 10 * 365 / 90);
    }

    #[test]
    fn whoever_asks_for_the_spare_waits_until_verifiers_know_it() {
        let mut years = Years::new();
        years.tick(false);
        years.tick(false);
        years.tick(true);
        assert_eq!(years.states(), ["active", "published"]);
        years.now += NOTICE;
        years.tick(true);
        assert_eq!(years.states(), ["retiring", "active", "staged"]);
    }

    #[test]
    fn where_no_key_signs_the_spare_takes_over_at_once() {
        for ticks in 1..3 {
            let mut years = Years::new();
            for _ in 0..ticks {
                years.tick(false);
            }
            years.keys[0] = moved(&years.keys[0], KeyState::Compromised, years.now, KEEP);
            years.tick(false);
            assert_eq!(years.states(), ["compromised", "active", "staged"]);
        }
    }

    #[test]
    fn other_uses_are_left_alone() {
        let years = Years::new();
        assert_eq!(
            due(&years.keys, Use::Audit, years.now + TENURE, false),
            Steps {
                changed: vec![],
                wants_spare: true
            }
        );
    }
}
