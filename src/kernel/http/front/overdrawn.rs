//! Software that asked for too much a moment ago. What it asks before its licence has anything left again is refused by what is known here: a
//! program in a loop costs a look into memory, and takes nothing from those who are behind the same address.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::kernel::{
    access::{Actor, Scope},
    http::{limits::Verdict, operations::RateClass},
    id::WorkspaceId,
    metrics,
};

/// A refusal is remembered no longer than this, however long its bucket stays empty: what was taken may have been given back.
const MEMORY: Duration = Duration::from_secs(1);

/// Who asked for what: from where, with which key (its hash), and of which class that was.
type Whose = (Option<IpAddr>, [u8; 32], RateClass);

/// A refusal that would come again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    until: Instant,
    pub(super) verdict: Verdict,
    /// Whose licence it is, and which: the log tells of this refusal, too.
    pub(super) workspace: WorkspaceId,
    pub(super) actor: Actor,
}

/// Remembers refusals by a licence's own buckets.
pub(super) struct Overdrawn(Cache<Whose, Refusal>);

impl Default for Overdrawn {
    fn default() -> Overdrawn {
        Overdrawn(Cache::builder().max_capacity(10_000).time_to_live(MEMORY).build())
    }
}

impl Overdrawn {
    /// The refusal that would come again.
    pub(super) fn look(&self, whose: &Whose) -> Option<Refusal> {
        let refusal = self.0.get(whose)?;
        if Instant::now() >= refusal.until {
            return None;
        }
        if let Some(refused) = refusal.verdict.refused() {
            metrics::RATE_LIMITED.with_label_values(&[refused.bucket]).inc();
        }
        Some(refusal)
    }

    /// Remembers a refusal until its bucket has something left again.
    pub(super) fn note(&self, whose: Whose, verdict: &Verdict, scope: &Scope) {
        if let Some(wait) = verdict.refused().and_then(|standing| standing.wait) {
            let refusal = Refusal {
                until: Instant::now() + wait,
                verdict: verdict.clone(),
                workspace: scope.workspace(),
                actor: scope.actor(),
            };
            self.0.insert(whose, refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::kernel::{
        access::{Call, Reach},
        entitlements::Plan,
        http::limits::{Quota, Standing},
        id::LicenseId,
    };

    fn verdict(wait: Option<Duration>) -> Verdict {
        let standing = Standing {
            bucket: "public",
            quota: Quota::per_second(10),
            left: 0,
            full_in: Duration::from_secs(3),
            wait,
        };
        Verdict::of(vec![standing])
    }

    fn scope() -> Scope {
        let (workspace, license) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let actor = Actor::License(LicenseId::from_uuid(license));
        let call = Arc::new(Call::internal("test", "req_1".into()));
        let plan = Arc::new(Plan::nothing());
        Scope::grant(WorkspaceId::from_uuid(workspace), actor, Reach::default(), plan, call)
    }

    #[test]
    fn whoever_was_refused_is_refused_until_there_is_something_left_and_nobody_else_is() {
        let (overdrawn, scope) = (Overdrawn::default(), scope());
        let (here, there) = ("203.0.113.7".parse().ok(), "203.0.113.8".parse().ok());
        let whose = (here, [1; 32], RateClass::Activation);
        assert_eq!(overdrawn.look(&whose), None);
        let refused = verdict(Some(Duration::from_secs(30)));
        overdrawn.note(whose, &refused, &scope);
        let found = overdrawn.look(&whose).expect("a refusal");
        assert_eq!(
            (found.verdict, found.workspace, found.actor),
            (refused, scope.workspace(), scope.actor())
        );
        for other in [
            (there, [1; 32], RateClass::Activation),
            (here, [2; 32], RateClass::Activation),
            (here, [1; 32], RateClass::Public),
        ] {
            assert_eq!(overdrawn.look(&other), None);
        }
        overdrawn.note(whose, &verdict(Some(Duration::ZERO)), &scope);
        assert_eq!(overdrawn.look(&whose), None, "there is something left again");
        overdrawn.note((there, [3; 32], RateClass::Public), &verdict(None), &scope);
        assert_eq!(overdrawn.look(&(there, [3; 32], RateClass::Public)), None);
    }
}
