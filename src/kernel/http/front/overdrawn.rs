//! Software that asked for too much a moment ago. What it asks before its licence has anything left again is refused by what is known here: a
//! program in a loop costs a look into memory, and takes nothing from those who are behind the same address.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::kernel::{
    http::{limits::Verdict, operations::RateClass},
    metrics,
};

/// A refusal is remembered no longer than this, however long its bucket stays empty: what was taken may have been given back.
const MEMORY: Duration = Duration::from_secs(1);

/// Who asked for what: from where, with which key (its hash), and of which class that was.
type Whose = (Option<IpAddr>, [u8; 32], RateClass);

/// Remembers refusals by a licence's own buckets.
pub(super) struct Overdrawn(Cache<Whose, (Instant, Verdict)>);

impl Default for Overdrawn {
    fn default() -> Overdrawn {
        Overdrawn(Cache::builder().max_capacity(10_000).time_to_live(MEMORY).build())
    }
}

impl Overdrawn {
    /// The refusal that would come again.
    pub(super) fn look(&self, whose: &Whose) -> Option<Verdict> {
        let (until, refusal) = self.0.get(whose)?;
        if Instant::now() >= until {
            return None;
        }
        if let Some(refused) = refusal.refused() {
            metrics::RATE_LIMITED.with_label_values(&[refused.bucket]).inc();
        }
        Some(refusal)
    }

    /// Remembers a refusal until its bucket has something left again.
    pub(super) fn note(&self, whose: Whose, refusal: &Verdict) {
        if let Some(wait) = refusal.refused().and_then(|standing| standing.wait) {
            self.0.insert(whose, (Instant::now() + wait, refusal.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::http::limits::{Quota, Standing};

    fn refusal(wait: Option<Duration>) -> Verdict {
        let standing = Standing {
            bucket: "public",
            quota: Quota::per_second(10),
            left: 0,
            full_in: Duration::from_secs(3),
            wait,
        };
        Verdict::of(vec![standing])
    }

    #[test]
    fn whoever_was_refused_is_refused_until_there_is_something_left_and_nobody_else_is() {
        let overdrawn = Overdrawn::default();
        let (here, there) = ("203.0.113.7".parse().ok(), "203.0.113.8".parse().ok());
        let whose = (here, [1; 32], RateClass::Activation);
        assert_eq!(overdrawn.look(&whose), None);
        let refused = refusal(Some(Duration::from_secs(30)));
        overdrawn.note(whose, &refused);
        assert_eq!(overdrawn.look(&whose), Some(refused));
        for other in [
            (there, [1; 32], RateClass::Activation),
            (here, [2; 32], RateClass::Activation),
            (here, [1; 32], RateClass::Public),
        ] {
            assert_eq!(overdrawn.look(&other), None);
        }
        overdrawn.note(whose, &refusal(Some(Duration::ZERO)));
        assert_eq!(overdrawn.look(&whose), None, "there is something left again");
        overdrawn.note((there, [3; 32], RateClass::Public), &refusal(None));
        assert_eq!(overdrawn.look(&(there, [3; 32], RateClass::Public)), None);
    }
}
