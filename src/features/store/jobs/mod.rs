//! Looks at a lane of the inbox: fetches afresh what its events are about, then applies it in one transaction.

mod account;
mod chores;
mod picture;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

pub use chores::register;
pub(in crate::features::store) use chores::{Urgency, plan_job};
pub(in crate::features::store) use picture::{Picture, Verdict};

use super::service::{self, Means};
use crate::kernel::{
    config::KeyMode,
    crypto::Keyring,
    db::{Db, Tenant},
    error::{DATABASE_UNAVAILABLE, DEADLINE_EXCEEDED, Error, OVERLOADED, Result},
    id::WorkspaceId,
    inbox::{self, Health, Lane, Look, PLATFORM, Settled, Waiting},
    peppers::Peppers,
    secret::Secret,
    stripe::{Account, Patience, Stripe, StripeError},
};

/// Where the keys of accounts come from.
#[derive(Clone)]
pub struct Secrets {
    /// The operator's own, from the configuration.
    pub platform: Option<Secret<String>>,
    /// Opens those of every other workspace.
    pub keyring: Arc<Keyring>,
    /// What the keys of licences begin with.
    pub key_mode: KeyMode,
}

/// Looks at lanes.
#[derive(Clone)]
pub struct Looker {
    db: Db,
    stripe: Stripe,
    secrets: Secrets,
    peppers: Peppers,
}

/// After so many failures an event is looked at alone, so that it no longer spoils its lane.
const ALONE_AFTER: i32 = 3;
/// A look that takes longer counts as one that failed: its events are looked at again later, and in the end alone.
const LONGEST: Duration = Duration::from_secs(300);
/// What the database refuses at this moment is tried again after so long,
const AGAIN: Duration = Duration::from_secs(1);
/// and for so long at most: a lease lasts no longer than this where nobody renews it.
const INSISTS: Duration = Duration::from_secs(60);

impl Looker {
    /// One that asks this Stripe with these keys.
    pub fn new(db: Db, stripe: Stripe, secrets: Secrets, peppers: Peppers) -> Looker {
        Looker {
            db,
            stripe,
            secrets,
            peppers,
        }
    }

    /// As the inbox calls it.
    pub fn look(self) -> Look {
        Arc::new(move |lane| {
            let looker = self.clone();
            Box::pin(async move { looker.at(lane).await })
        })
    }

    async fn at(&self, mut lane: Lane) -> Result<()> {
        if lane.was_lost() {
            lane.events = insist(&lane, || {
                let held = lane.clone();
                self.db.tenant(lane.scope(), move |tx| inbox::count_lost(tx, &held))
            })
            .await?;
        }
        let lane = Arc::new(lane);
        let account = insist(&lane, || self.account(&lane)).await?;
        let mut rounds = rounds(&lane.events);
        // A lane without events was woken for nothing; it is freed all the same.
        let last = rounds.pop().unwrap_or_default();
        let mut health = Health::Unknown;
        for events in rounds {
            health = self.round(&lane, &account, events, (health, false)).await?;
        }
        self.round(&lane, &account, last, (health, true)).await?;
        Ok(())
    }

    /// Looks at some of the lane's events and applies what was seen. The last round frees the lane. Answers what this round and those
    /// before it told of the connection.
    async fn round(
        &self,
        lane: &Arc<Lane>,
        account: &Result<Account, String>,
        events: Vec<Waiting>,
        (before, last): (Health, bool),
    ) -> Result<Health> {
        if !insist(lane, || self.begin(lane, &events)).await? {
            return Ok(before);
        }
        let picture = look(account, &lane.name, events.clone()).await;
        let error = match self.apply(lane, picture, (before.clone(), last)).await {
            Ok(health) => return Ok(health),
            Err(error) => error,
        };
        let outcome = if is_somebody_elses(&error) {
            tracing::warn!(lane = lane.name, epoch = lane.epoch, %error, "what was seen cannot be applied at this moment");
            Settled::Busy
        } else {
            tracing::error!(lane = lane.name, epoch = lane.epoch, %error, "what was seen could not be applied");
            Settled::Failed(error.to_string())
        };
        let ends = last.then(|| before.clone());
        insist(lane, || self.put_back(lane, &events, &outcome, &ends)).await?;
        Ok(before)
    }

    /// Notes which events are looked at. False: another worker has the lane.
    async fn begin(&self, lane: &Arc<Lane>, events: &[Waiting]) -> Result<bool> {
        if events.is_empty() {
            return Ok(true);
        }
        let (held, events) = (lane.clone(), events.to_vec());
        let noted = self.db.tenant(lane.scope(), move |tx| inbox::begin(tx, &held, &events));
        noted.await
    }

    /// Applies what was seen, in one transaction.
    async fn apply(&self, lane: &Arc<Lane>, seen: Picture, (before, last): (Health, bool)) -> Result<Health> {
        let scope = lane.scope();
        let pepper = if lane.workspace() == WorkspaceId::PLATFORM {
            Some(self.peppers.of(scope.call(), lane.workspace()).await?)
        } else {
            None
        };
        let (held, key_mode) = (lane.clone(), self.secrets.key_mode);
        let work = move |tx: &mut Tenant<'_>| {
            if !inbox::hold(tx, &held)? {
                tracing::warn!(
                    lane = held.name,
                    epoch = held.epoch,
                    "another worker has the lane: nothing is applied"
                );
                return Ok(before);
            }
            let means = Means {
                pepper: pepper.as_deref(),
                key_mode,
            };
            let health = before.and(service::apply(tx, &held, &seen, &means)?);
            if last {
                inbox::release(tx, &held, &health)?;
            }
            Ok(health)
        };
        self.db.tenant(scope, work).await
    }

    /// Notes what came of a look that was not applied, so that it is repeated later. `last`: the lane is freed, with what was told before.
    async fn put_back(
        &self,
        lane: &Arc<Lane>,
        events: &[Waiting],
        outcome: &Settled,
        last: &Option<Health>,
    ) -> Result<()> {
        let (held, events, outcome, last) = (lane.clone(), events.to_vec(), outcome.clone(), last.clone());
        self.db
            .tenant(lane.scope(), move |tx| {
                if !inbox::hold(tx, &held)? {
                    return Ok(());
                }
                inbox::settle(tx, &events, &outcome)?;
                match last {
                    Some(health) => inbox::release(tx, &held, &health),
                    None => Ok(()),
                }
            })
            .await
    }

    /// The account that the lane's connection opens. Inside: why it opens none.
    async fn account(&self, lane: &Lane) -> Result<Result<Account, String>> {
        let none = || "there is no key for this account".to_owned();
        if lane.connection == PLATFORM {
            return Ok(account::platform(self).ok_or_else(none));
        }
        let (connection, keyring) = (lane.connection, self.secrets.keyring.clone());
        let key = self
            .db
            .tenant(lane.scope(), move |tx| inbox::api_key(tx, connection, &keyring));
        match key.await {
            Ok(key) => Ok(key.map(|key| self.stripe.account(key, Patience::Job)).ok_or_else(none)),
            Err(Error::Broken(error)) => {
                tracing::error!(%connection, %error, "the key of a Stripe connection does not open");
                Ok(Err("the key for this account does not open".to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether it is nobody's fault here: who waits in vain for a lock or a connection did nothing wrong.
fn is_somebody_elses(error: &Error) -> bool {
    error.is(OVERLOADED) || error.is(DATABASE_UNAVAILABLE)
}

/// Does a small thing in the lane although the database refuses it at first; done twice, because nobody heard of the first commit, it counts
/// once. Who is refused to the end leaves the lane to its lease, which is over a minute later: then what is looked at counts as lost.
///
/// # Errors
/// The last try's.
async fn insist<T, F: Future<Output = Result<T>>>(lane: &Lane, does: impl Fn() -> F) -> Result<T> {
    let begun = Instant::now();
    loop {
        match does().await {
            // What is as small as this, and takes too long, waits for somebody else, too.
            Err(error) if (is_somebody_elses(&error) || error.is(DEADLINE_EXCEEDED)) && begun.elapsed() < INSISTS => {
                tracing::warn!(lane = lane.name, epoch = lane.epoch, %error, "a lane is refused at this moment; it is tried again");
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

/// Looks at what the events of a lane point at, as far as that can be done.
async fn look(account: &Result<Account, String>, lane: &str, events: Vec<Waiting>) -> Picture {
    let account = match account {
        Ok(account) => account,
        Err(why) => return Picture::unseen(events, StripeError::Denied(why.clone())),
    };
    let looking = Picture::take(account, lane, events.clone());
    tokio::time::timeout(LONGEST, looking)
        .await
        .unwrap_or_else(|_| Picture::unseen(events, StripeError::Away))
}

/// All events at once, but those that failed too often: they come after, one object at a time.
fn rounds(events: &[Waiting]) -> Vec<Vec<Waiting>> {
    let (fresh, spoilt): (Vec<Waiting>, Vec<Waiting>) =
        events.iter().cloned().partition(|event| event.attempts < ALONE_AFTER);
    let objects: BTreeSet<Option<String>> = spoilt.iter().map(|event| event.object_id.clone()).collect();
    let alone = objects.into_iter().map(|object| {
        let of = |event: &&Waiting| event.object_id == object;
        spoilt.iter().filter(of).cloned().collect()
    });
    std::iter::once(fresh)
        .filter(|events: &Vec<Waiting>| !events.is_empty())
        .chain(alone)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Id;

    #[test]
    fn what_failed_too_often_is_looked_at_alone() {
        let event = |object: &str, attempts| Waiting {
            id: Id::nil(),
            kind: "invoice.paid".into(),
            object_kind: None,
            object_id: Some(object.into()),
            attempts,
            put_off: 0,
            lost: false,
        };
        let rounds = rounds(&[
            event("in_1", 0),
            event("in_2", 3),
            event("in_3", 2),
            event("in_2", 5),
            event("in_4", 4),
        ]);
        let objects = |round: &Vec<Waiting>| round.iter().filter_map(|e| e.object_id.clone()).collect::<Vec<_>>();
        assert_eq!(
            rounds.iter().map(objects).collect::<Vec<_>>(),
            [vec!["in_1", "in_3"], vec!["in_2", "in_2"], vec!["in_4"]]
        );
    }
}
