//! How a process stays up to date with keys that others change.

use std::time::{Duration, Instant};

use super::{FRESH, Keys, call, keks, queries};
use crate::kernel::{db::Kernel, error::Error};

/// How often it is asked which keys there are. A withdrawn key is believed for no longer: it may be in somebody else's hands.
const LOOK: Duration = Duration::from_secs(1);

/// The name and the state of each key.
type States = Vec<(String, String)>;

impl Keys {
    /// Once there are any: reads the keys when they change and every minute, and moves on those whose time has come. Never returns.
    pub async fn keep(self) {
        let mut tried = States::new();
        // A process that was not let in yet makes no key, and enters none.
        while !self.is_ready() {
            tokio::time::sleep(LOOK).await;
        }
        loop {
            if let Err(error) = self.advance(None).await {
                tracing::warn!(%error, "the signing keys could not be looked after; another try in a minute");
            }
            tried = self.until_stale(tried).await;
            if let Err(error) = self.reload().await {
                tracing::warn!(%error, "the signing keys could not be read; the known ones stay in use");
                if matches!(&error, Error::Refused(problem) if problem.kind().status == 503) {
                    // It was not the keys: they are read as soon as there is somebody to ask.
                    tried.clear();
                }
            }
        }
    }

    /// Returns when another process changed the keys, or when they have been known for long enough. Answers what there was to be read, so
    /// that what cannot be read is not tried again every second.
    async fn until_stale(&self, tried: States) -> States {
        let until = Instant::now() + FRESH;
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            let call = call("keys.glance");
            let keyring = self.inner.keyring.clone();
            let glance = move |tx: &mut Kernel<'_>| {
                // Taken out by somebody who thought that nobody seals with it any more: this process still does.
                keks::glance(tx, &keyring)?;
                queries::keys::own_states(tx)
            };
            let there = self.inner.db.unscoped(&call, glance).await;
            // A database that is away says nothing; the minute's reading says so.
            if let Ok(there) = there
                && there != self.shelf().states
                && there != tried
            {
                return there;
            }
        }
        tried
    }
}
