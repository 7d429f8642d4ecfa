//! What was used and when: noted while requests are judged, written down aside and in batches. No request waits for it.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Doorkeeper, queries};
use crate::kernel::{
    access::{Call, Class},
    db::Kernel,
    error::Result,
    id::{ApiKeyId, MembershipId, SessionId, WorkspaceId},
};

/// When something was last used is known to the minute.
pub(super) const SIGHT: TimeDelta = TimeDelta::minutes(1);
/// So many sightings are written at once.
const BATCH: usize = 100;
/// How often sightings are written. A refresh token's grace of ten seconds hides the lag.
const FLUSH: Duration = Duration::from_secs(1);

type Of<T> = (WorkspaceId, T);
/// When, and from where.
type Sight = (DateTime<Utc>, Option<IpAddr>);

/// Uses that are not written yet.
#[derive(Default)]
pub(super) struct Sightings {
    sessions: Mutex<HashMap<SessionId, (i64, DateTime<Utc>)>>,
    keys: Mutex<HashMap<Of<ApiKeyId>, Sight>>,
    members: Mutex<HashMap<Of<MembershipId>, DateTime<Utc>>>,
}

/// Whether a use at `now` is to be noted, where the last one that is known was then.
fn is_news(seen_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    seen_at.is_none_or(|seen| now - seen >= SIGHT)
}

impl Sightings {
    /// A session was used with a token of that generation.
    pub(super) fn session(&self, id: SessionId, generation: i64, known: (i64, DateTime<Utc>), now: DateTime<Utc>) {
        if generation <= known.0 && !is_news(Some(known.1), now) {
            return;
        }
        let mut seen = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let sighting = seen.entry(id).or_insert((generation, now));
        *sighting = (sighting.0.max(generation), sighting.1.max(now));
    }

    /// A key was used from that address.
    pub(super) fn key(&self, key: Of<ApiKeyId>, seen: Option<DateTime<Utc>>, ip: Option<IpAddr>, now: DateTime<Utc>) {
        if is_news(seen, now) {
            let mut seen = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(key, (now, ip));
        }
    }

    /// A member was here.
    pub(super) fn member(&self, member: Of<MembershipId>, seen: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if is_news(seen, now) {
            let mut seen = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(member, now);
        }
    }
}

/// What was noted, in the order of its ids, so that the writers of several processes do not lock each other out.
fn taken<K: Ord + Hash + Copy, V>(noted: &Mutex<HashMap<K, V>>) -> Vec<(K, V)> {
    let noted = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    let mut noted: Vec<_> = noted.into_iter().collect();
    noted.sort_by_key(|(id, _)| *id);
    noted
}

impl Doorkeeper {
    /// Writes down again and again what was used. Never returns.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FLUSH).await;
            self.write_sightings().await;
        }
    }

    /// Writes down what was used. What cannot be written is noted again by the next use.
    pub async fn write_sightings(&self) {
        self.write(
            "sessions.saw",
            taken(&self.sightings.sessions),
            |tx, id, (generation, at)| Ok(queries::saw(tx.conn(), id, generation, at)?),
        )
        .await;
        self.write("api_keys.saw", taken(&self.sightings.keys), |tx, key, (at, ip)| {
            Ok(queries::used_key(tx.conn(), key, at, ip.map(|ip| ip.to_string()))?)
        })
        .await;
        self.write("memberships.saw", taken(&self.sightings.members), |tx, member, at| {
            Ok(queries::was_here(tx.conn(), member, at)?)
        })
        .await;
    }

    async fn write<K, V>(
        &self,
        operation: &'static str,
        seen: Vec<(K, V)>,
        one: fn(&mut Kernel<'_>, K, V) -> Result<()>,
    ) where
        K: Copy + Send + 'static,
        V: Copy + Send + 'static,
    {
        for batch in seen.chunks(BATCH) {
            let batch = batch.to_vec();
            let call = Call {
                class: Class::Credential,
                ..Call::internal(operation, operation.into())
            };
            let written = self.db.unscoped(&call, move |tx| {
                batch.into_iter().try_for_each(|(key, value)| one(tx, key, value))
            });
            if let Err(error) = written.await {
                tracing::warn!(%error, operation, "what was used could not be written down");
            }
        }
    }
}
