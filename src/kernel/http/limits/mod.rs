//! Rate limits: how much each caller may ask for. A request passes all its buckets or takes from none.
//!
//! With Redis the processes of a deployment share their counts. What is taken there is taken for all, so they never let more pass together
//! than the limit says. A process takes a tenth of a second's worth at once and spends it within a second; what it does not spend is lost, and
//! what it took before a window began it may spend inside: that much, and no more, a process may be beside the truth. A limit whose tenth of
//! a second is less than two is asked about one by one, and is exact.
//!
//! Without Redis, or while it is away, each process judges alone with its share of every limit: its counters then begin afresh, so at most
//! twice a limit passes in one window.

mod buckets;
mod local;
mod quota;
mod shared;
#[cfg(test)]
mod tests;
mod verdict;

use std::{net::IpAddr, sync::Arc, time::Duration};

use self::{local::Local, shared::Shared};
pub use self::{
    quota::{Ask, Home, Quota},
    verdict::{Standing, Verdict},
};
use super::operations::RateClass;
use crate::kernel::{
    access::{Person, Scope},
    config,
    id::{LicenseId, WorkspaceId},
    metrics,
    redis::Redis,
};

/// How often what is no longer needed is thrown away.
const PRUNE: Duration = Duration::from_secs(60);

/// Judges rates. One per process; clones are one.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    settings: config::Limits,
    shared: Shared,
    local: Local,
}

/// What a request shows when it arrives, before the database is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// No credential, or one that cannot be ours.
    Nothing,
    /// A credential that this process does not know yet.
    Unknown,
    /// A credential that proved itself a moment ago.
    Known,
}

/// A request that was let in, and what it may still get back or have to pay.
pub struct Arrival {
    /// What the headers say.
    pub verdict: Verdict,
    owed: Owed,
}

enum Owed {
    Nothing,
    /// Taken in advance; given back if the credential is good.
    Refund(Home, Ask),
    /// To be paid if it is not.
    Charge(Home, Ask),
}

impl Limits {
    /// Limits of these settings. `replicas` processes share them when Redis is away.
    pub fn new(settings: config::Limits, redis: Redis, replicas: u32) -> Limits {
        Limits(Arc::new(Inner {
            shared: Shared::new(redis),
            local: Local::new(replicas),
            settings,
        }))
    }

    /// Judges a request: it takes from every bucket, or from none. What is asked must belong to one home.
    pub async fn check(&self, home: &Home, asks: &[Ask]) -> Verdict {
        if !self.0.settings.enabled || asks.is_empty() {
            return Verdict::default();
        }
        let verdict = self.take(home, asks).await;
        if let Some(refused) = verdict.refused() {
            metrics::RATE_LIMITED.with_label_values(&[refused.bucket]).inc();
        }
        verdict
    }

    /// The same, of what is no request: nobody is refused.
    async fn take(&self, home: &Home, asks: &[Ask]) -> Verdict {
        if self.0.shared.is_off() {
            metrics::RATELIMIT_FALLBACK.inc();
            return self.0.local.take(home, asks);
        }
        self.0.shared.take(home, asks).await.unwrap_or_else(|_| {
            metrics::RATELIMIT_FALLBACK.inc();
            self.0.local.take(home, asks)
        })
    }

    /// Judges a request by its address, before anybody looks at its credential.
    pub async fn arrive(&self, address: Option<IpAddr>, shown: Shown) -> Arrival {
        let home = Home::address(address);
        let anonymous = buckets::anonymous(&self.0.settings);
        let address = buckets::address(&self.0.settings);
        if !self.0.settings.enabled {
            return Arrival::free(Verdict::default());
        }
        if shown == Shown::Unknown && self.0.shared.is_away() {
            // A token cannot be given back here, so doubt has a wider bucket of its own, and only a bad credential pays.
            let verdict = self.check(&home, &[buckets::doubtful(&self.0.settings), address]).await;
            let owed = Owed::Charge(home, anonymous);
            return Arrival { verdict, owed };
        }
        let asks = [anonymous, address];
        let verdict = self
            .check(&home, if shown == Shown::Known { &asks[1..] } else { &asks })
            .await;
        let owed = match shown == Shown::Unknown && verdict.is_shared() {
            true => Owed::Refund(home, anonymous),
            false => Owed::Nothing,
        };
        Arrival { verdict, owed }
    }

    /// Settles an arrival once the credential was judged: a good one gets its token back, a bad one pays.
    pub async fn settle(&self, arrival: Arrival, good: bool) -> Verdict {
        let Arrival { mut verdict, owed } = arrival;
        match owed {
            Owed::Refund(home, ask) if good => {
                verdict.forget(ask.bucket);
                self.0.shared.give_back(home, ask);
            }
            Owed::Charge(home, ask) if !good => {
                let charged = self.check(&home, std::slice::from_ref(&ask)).await;
                verdict = verdict.and(charged);
            }
            Owed::Nothing | Owed::Refund(..) | Owed::Charge(..) => {}
        }
        verdict
    }

    /// Judges a request with a licence key that leads nowhere, by its address.
    pub async fn refuse_guessing(&self, address: Option<IpAddr>) -> Verdict {
        let ask = buckets::unknown_license(&self.0.settings);
        self.check(&Home::address(address), &[ask]).await
    }

    /// Judges a request of the customer's software by its licence; `shown` is the hash of the key.
    pub async fn admit_license(
        &self,
        license: LicenseId,
        shown: [u8; 32],
        address: Option<IpAddr>,
        class: RateClass,
    ) -> Verdict {
        let asks = buckets::of_license(&self.0.settings, address, shown, class);
        self.check(&Home::license(license), &asks).await
    }

    /// Gives an address back what a request took of it that its own bucket or the share of its workspace refused, as far as `arrived` took
    /// something: one program in a loop does not keep everybody waiting who is behind the same address. Only so many are forgiven, or whoever
    /// has many keys would have no bound.
    pub async fn forgive(&self, address: Option<IpAddr>, arrived: &Verdict) {
        let (home, ask) = (Home::address(address), buckets::address(&self.0.settings));
        let took = arrived.standings().iter().any(|standing| standing.bucket == ask.bucket);
        let forgiven = [buckets::forgiven(&self.0.settings)];
        if !took || !self.take(&home, &forgiven).await.is_allowed() {
            return;
        }
        self.put_back(home, ask, arrived);
    }

    /// Judges a request inside a workspace by its credential, person, workspace and class.
    pub async fn admit(&self, scope: &Scope, class: RateClass) -> Verdict {
        let asks = buckets::in_workspace(&self.0.settings, scope, class);
        self.check(&Home::workspace(scope.workspace()), &asks).await
    }

    /// Judges an export that is about to begin.
    pub async fn export(&self, scope: &Scope) -> Verdict {
        let ask = buckets::export(&self.0.settings, scope.plan());
        self.check(&Home::workspace(scope.workspace()), ask.as_slice()).await
    }

    /// Gives back what an export took that was let in and did not begin.
    pub fn not_exported(&self, scope: &Scope, verdict: &Verdict) {
        if let Some(ask) = buckets::export(&self.0.settings, scope.plan()) {
            self.put_back(Home::workspace(scope.workspace()), ask, verdict);
        }
    }

    /// Gives back what a request took for what it would have started: it was refused, and nothing was. One that a limit refused took nothing.
    pub fn started_nothing(&self, scope: &Scope, class: RateClass, verdict: &mut Verdict) {
        if !verdict.is_allowed() {
            return;
        }
        let ask = buckets::of_what_starts(&self.0.settings, scope.plan(), class);
        let took = |ask: &Ask| verdict.standings().iter().any(|standing| standing.bucket == ask.bucket);
        let Some(ask) = ask.filter(took) else { return };
        verdict.forget(ask.bucket);
        self.put_back(Home::workspace(scope.workspace()), ask, verdict);
    }

    /// Gives back what was taken, to whom the verdict was asked of.
    fn put_back(&self, home: Home, ask: Ask, verdict: &Verdict) {
        match verdict.is_shared() {
            true => self.0.shared.put_back(home, ask),
            false => self.0.local.put_back(&home, &ask),
        }
    }

    /// Judges a request of a person about what is theirs alone, by their credential and themselves.
    pub async fn admit_person(&self, person: &Person) -> Verdict {
        let asks = buckets::of_person(&self.0.settings, person);
        self.check(&Home::person(person.user), &asks).await
    }

    /// Judges a call that this deployment wants to make to an address of somebody's choice, by its host: however many workspaces send there,
    /// together they are no more than one polite caller, and none of them takes more than half of that.
    pub async fn call_out(&self, url: &str, workspace: WorkspaceId) -> Verdict {
        let url = url::Url::parse(url).ok();
        let Some(host) = url.as_ref().and_then(|url| url.host_str()) else {
            return Verdict::default();
        };
        let asks = buckets::host(&self.0.settings, host, workspace);
        self.check(&Home::host(host), &asks).await
    }

    /// Throws away what is no longer needed, for as long as anybody uses these limits.
    pub fn keep_tidy(&self) {
        let limits = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PRUNE).await;
                match limits.upgrade() {
                    Some(limits) => limits.prune(),
                    None => return,
                }
            }
        });
    }
}

impl Inner {
    fn prune(&self) {
        self.local.prune();
        self.shared.prune();
    }
}

impl Arrival {
    /// One that owes nothing.
    fn free(verdict: Verdict) -> Arrival {
        Arrival {
            verdict,
            owed: Owed::Nothing,
        }
    }
}
