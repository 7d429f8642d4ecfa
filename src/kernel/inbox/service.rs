//! The door: proves, stores, acknowledges.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use moka::sync::Cache;

use super::{
    connections::place,
    hint,
    model::{Arrival, ConnectionId, InboxEventId, PLATFORM, Receiver},
    queries,
};
use crate::kernel::{
    access::{Call, Scope},
    crypto::Keyring,
    db::{Db, Kernel},
    error::{NOT_FOUND, Result},
    id::{JobId, WorkspaceId},
    jobs::{self, Lane, Push},
    secret::Secret,
    stripe::{API_VERSION, verify},
    wake::Signal,
};

/// What the door knows of the operator's own connection.
#[derive(Clone)]
pub struct Door {
    db: Db,
    platform_secrets: Arc<[Secret<String>]>,
    keyring: Arc<Keyring>,
    /// The signing secrets of other connections; none of one that takes no events.
    known: Cache<ConnectionId, Arc<[Secret<String>]>>,
}

/// How long a connection's signing secrets are believed, so that what is not signed does not reach the database.
const BELIEF: Duration = Duration::from_secs(5);

/// What became of an event at the door. All of these are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is stored, and will be looked at.
    Stored,
    /// It was here already.
    Known,
    /// It is for nobody here: of another mode.
    Ignored,
}

impl Door {
    /// A door with the signing secrets of the operator's connection: two while one is rolled, none where there is no Stripe.
    pub fn new(db: Db, keyring: Arc<Keyring>, platform_secrets: Vec<Secret<String>>) -> Door {
        let live = platform_secrets
            .into_iter()
            .filter(|secret| !secret.expose().trim().is_empty());
        Door {
            db,
            platform_secrets: live.collect(),
            keyring,
            known: Cache::builder().max_capacity(10_000).time_to_live(BELIEF).build(),
        }
    }

    /// Takes an event. Its signature is looked at first: what nobody signed takes no place in the line before the database.
    ///
    /// # Errors
    /// 404 for a connection that is unknown, disconnected or has no secret: an empty key is one that everybody has. 400
    /// `invalid-signature`, 400 `invalid-json`, and 503 when the database is away: Stripe repeats for three days.
    pub(super) async fn take(
        &self,
        call: Arc<Call>,
        to: ConnectionId,
        header: &str,
        payload: Vec<u8>,
    ) -> Result<Taken> {
        let secrets = self.secrets(&call, to).await?;
        if secrets.is_empty() {
            return Err(NOT_FOUND.into());
        }
        let now = self.db.clock().now();
        verify(header, &payload, &secrets, now)?;
        let (arrival, livemode) = hint::read(InboxEventId::new(now), payload)?;
        self.db
            .unscoped(&call, move |tx| {
                let receiver = open_receiver(tx, to)?.ok_or(NOT_FOUND)?;
                if livemode.is_some_and(|live| live != (receiver.mode == "live")) {
                    tracing::error!(connection = %receiver.id, event = arrival.event_id, "an event of the other mode came in");
                    return Ok(Taken::Ignored);
                }
                let fresh = enter(tx, &receiver, &arrival)?;
                Ok(if fresh { Taken::Stored } else { Taken::Known })
            })
            .await
    }

    /// The live signing secrets of a connection.
    async fn secrets(&self, call: &Call, of: ConnectionId) -> Result<Arc<[Secret<String>]>> {
        if of == PLATFORM {
            return Ok(self.platform_secrets.clone());
        }
        if let Some(known) = self.known.get(&of) {
            return Ok(known);
        }
        let receiver = self.db.unscoped(call, move |tx| open_receiver(tx, of)).await?;
        let secrets: Arc<[_]> = match receiver {
            None => Arc::default(),
            Some(receiver) => {
                let place = place(receiver.workspace, of, "webhook_secrets_sealed");
                let open = |sealed| -> Result<_> {
                    let bytes = self.keyring.open(&place, sealed)?;
                    let text = String::from_utf8(bytes.expose().clone()).context("a signing secret is not text")?;
                    Ok(Secret::new(text))
                };
                receiver.secrets.iter().map(open).collect::<Result<_>>()?
            }
        };
        self.known.insert(of, secrets.clone());
        Ok(secrets)
    }
}

/// Stores an event and lets its lane be looked at. False: it is here already.
fn enter(tx: &mut Kernel<'_>, to: &Receiver, arrival: &Arrival) -> Result<bool> {
    let fresh = queries::store(tx.conn(), to, arrival)?;
    if fresh && arrival.wanted {
        queries::open_lane(tx.conn(), to.workspace, to.id, &arrival.lane)?;
        tx.wake(Signal::Inbox);
    }
    Ok(fresh)
}

/// The connection, unless it takes no events any more.
fn open_receiver(tx: &mut Kernel<'_>, id: ConnectionId) -> Result<Option<Receiver>> {
    Ok(queries::receiver(tx.conn(), id)?.filter(|known| known.state != "disconnected"))
}

/// What a job is called that prepares what the operator sells.
pub const PREPARE: &str = "store.prepare";

/// Makes the row of the operator's own connection, so that its door opens, and wants what the operator sells prepared. Done at every start.
///
/// # Errors
/// The database's.
pub async fn ensure_platform(db: &Db, call: &Call, live: bool) -> Result<()> {
    let mode = if live { "live" } else { "test" };
    db.unscoped(call, move |tx| {
        queries::upsert_platform(tx.conn(), WorkspaceId::PLATFORM, PLATFORM, mode, API_VERSION)?;
        let prepare = JobId::of(WorkspaceId::PLATFORM.uuid(), PREPARE);
        jobs::push_for(tx, WorkspaceId::PLATFORM, Push::now(Lane::Slow, PREPARE, prepare))
    })
    .await
}

/// An object that is to be looked at although no event told of it.
pub struct Wanted {
    /// As an event would be called: `price.updated`.
    pub kind: &'static str,
    /// Stripe's id.
    pub object: String,
    /// The customer that it belongs to, else the object itself.
    pub lane: String,
}

/// Has objects looked at: what our own calls answer is not written, for somebody may have seen something fresher meanwhile.
///
/// # Errors
/// The database's.
pub async fn look_at(db: &Db, scope: &Scope, connection: ConnectionId, wanted: Vec<Wanted>) -> Result<()> {
    let workspace = scope.workspace();
    db.unscoped(scope.call(), move |tx| {
        let now = tx.now()?;
        let to = queries::receiver(tx.conn(), connection)?
            .filter(|to| to.workspace == workspace)
            .ok_or(NOT_FOUND)?;
        for one in &wanted {
            let id = InboxEventId::new(now);
            let arrival = Arrival {
                id,
                event_id: format!("look:{id}"),
                kind: one.kind.to_owned(),
                object_kind: None,
                object_id: Some(one.object.clone()),
                lane: one.lane.clone(),
                created: None,
                api_version: None,
                payload: Vec::new(),
                wanted: true,
            };
            enter(tx, &to, &arrival)?;
        }
        Ok(())
    })
    .await
}

/// Stores events as Stripe lists them, for those that never came in at the door. Answers how many those were.
///
/// # Errors
/// The database's. One that cannot be read is left out, and told.
pub async fn catch_up(db: &Db, scope: &Scope, connection: ConnectionId, listed: Vec<Vec<u8>>) -> Result<u64> {
    let workspace = scope.workspace();
    db.unscoped(scope.call(), move |tx| {
        let now = tx.now()?;
        let to = queries::receiver(tx.conn(), connection)?
            .filter(|to| to.workspace == workspace)
            .ok_or(NOT_FOUND)?;
        let mut missed = 0;
        for payload in listed {
            match hint::read(InboxEventId::new(now), payload) {
                Ok((_, Some(live))) if live != (to.mode == "live") => {}
                Ok((arrival, _)) => missed += u64::from(enter(tx, &to, &arrival)?),
                Err(error) => tracing::warn!(%connection, %error, "an event that Stripe lists cannot be read"),
            }
        }
        Ok(missed)
    })
    .await
}
