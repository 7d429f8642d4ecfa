//! Looks at a lane of the inbox: fetches afresh what its events are about, then applies it in one transaction.

mod account;
mod chores;
mod picture;

use std::{collections::BTreeSet, sync::Arc};

pub(in crate::features::store) use chores::plan_job;
pub use chores::register;
pub(in crate::features::store) use picture::{Picture, Verdict};

use super::service::{self, Means};
use crate::kernel::{
    config::KeyMode,
    crypto::Keyring,
    db::Db,
    error::Result,
    id::WorkspaceId,
    inbox::{self, Lane, Look, PLATFORM, Settled, Waiting},
    peppers::Peppers,
    secret::Secret,
    stripe::{Account, Patience, Stripe},
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

    async fn at(&self, lane: Lane) -> Result<()> {
        let lane = Arc::new(lane);
        let account = self.account(&lane).await?;
        let mut rounds = rounds(&lane.events);
        // A lane without events was woken for nothing; it is freed all the same.
        let last = rounds.pop().unwrap_or_default();
        for events in rounds {
            self.round(&lane, account.as_ref(), events, false).await?;
        }
        self.round(&lane, account.as_ref(), last, true).await
    }

    /// Looks at some of the lane's events and applies what was seen.
    async fn round(&self, lane: &Arc<Lane>, account: Option<&Account>, events: Vec<Waiting>, last: bool) -> Result<()> {
        let picture = match account {
            Some(account) => Picture::take(account, &lane.name, events.clone()).await,
            None => Picture::unseen(events.clone(), "there is no key for this account"),
        };
        let scope = lane.scope();
        let pepper = if lane.workspace() == WorkspaceId::PLATFORM {
            Some(self.peppers.of(scope.call(), lane.workspace()).await?)
        } else {
            None
        };
        let (held, seen, key_mode) = (lane.clone(), picture, self.secrets.key_mode);
        let applied = self
            .db
            .tenant(scope, move |tx| {
                if !inbox::hold(tx, &held)? {
                    tracing::warn!(
                        lane = held.name,
                        epoch = held.epoch,
                        "another worker has the lane: nothing is applied"
                    );
                    return Ok(());
                }
                let trouble = service::apply(
                    tx,
                    &held,
                    &seen,
                    &Means {
                        pepper: pepper.as_deref(),
                        key_mode,
                    },
                )?;
                if last {
                    inbox::release(tx, &held, trouble.as_deref())
                } else {
                    Ok(())
                }
            })
            .await;
        let Err(error) = applied else { return Ok(()) };
        tracing::error!(lane = lane.name, epoch = lane.epoch, %error, "what was seen could not be applied");
        self.failed(lane, events, error.to_string(), last).await
    }

    /// Counts a look that broke, so that it is repeated later and not for ever.
    async fn failed(&self, lane: &Arc<Lane>, events: Vec<Waiting>, error: String, last: bool) -> Result<()> {
        let held = lane.clone();
        self.db
            .tenant(lane.scope(), move |tx| {
                if !inbox::hold(tx, &held)? {
                    return Ok(());
                }
                inbox::settle(tx, &events, &Settled::Failed(error))?;
                if last { inbox::release(tx, &held, None) } else { Ok(()) }
            })
            .await
    }

    /// The account that the lane's connection opens.
    async fn account(&self, lane: &Lane) -> Result<Option<Account>> {
        if lane.connection == PLATFORM {
            return Ok(account::platform(self));
        }
        let (connection, keyring) = (lane.connection, self.secrets.keyring.clone());
        let key = self
            .db
            .tenant(lane.scope(), move |tx| inbox::api_key(tx, connection, &keyring))
            .await?;
        Ok(key.map(|key| self.stripe.account(key, Patience::Job)))
    }
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

pub(in crate::features::store) fn outcome(verdict: &Verdict) -> Option<Settled> {
    match verdict {
        Verdict::Apply | Verdict::Belongs(_) => None,
        Verdict::Nothing => Some(Settled::Ignored),
        Verdict::Failed(error) => Some(Settled::Failed(error.to_string())),
    }
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
