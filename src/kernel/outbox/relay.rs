//! Hands events to whoever follows them. Each workspace's share of a batch is one tenant transaction, which also takes the events out of
//! the queue: an event is handed over at least once, and a consumer may neither hold up nor fail the writer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::queries::{self, Event, Waiting};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    db::{Db, Kernel, Tenant},
    entitlements::{self, Plan},
    error::{Error, Result},
    id::{EventId, RequestId, WorkspaceId},
    metrics,
    wake::Signal,
};

/// At most so many events are claimed at once …
const BATCH: i64 = 500;
/// … and so many workspaces are served at once.
const AT_ONCE: usize = 4;
/// A process that dies holds its batch for so long.
const LEASE: chrono::Duration = chrono::Duration::seconds(60);
/// An event that cannot be handed over is tried so often.
const TRIES: i32 = 10;
/// A batch for which the database is busy so often is handed over event by event: what is too much at once may do alone …
const PATIENCE: i32 = 3;
/// … and an event for which it is busy so often, for about an hour, is one that cannot be handed over.
const BUSY: i32 = 60;
/// How long the loop sleeps when nobody wakes it.
const POLL: Duration = Duration::from_secs(1);

/// Follows events: called with events of one workspace, inside a transaction there. It may see an event twice.
type Consumer = Arc<dyn Fn(&mut Tenant<'_>, &[Event]) -> Result<()> + Send + Sync>;

/// The relay of one process.
pub struct Relay {
    db: Db,
    consumers: Vec<(&'static str, Consumer)>,
}

/// What one workspace has in a batch.
struct Share {
    workspace: WorkspaceId,
    plan: Arc<Plan>,
    /// This try is counted.
    events: Vec<Waiting>,
}

impl Relay {
    /// A relay that nobody follows yet.
    pub fn new(db: Db) -> Relay {
        Relay {
            db,
            consumers: Vec::new(),
        }
    }

    /// Adds a consumer. Its name stands beside the events that it could not take.
    pub fn hand_to(
        &mut self,
        name: &'static str,
        consumer: impl Fn(&mut Tenant<'_>, &[Event]) -> Result<()> + Send + Sync + 'static,
    ) {
        self.consumers.push((name, Arc::new(consumer)));
    }

    /// Relays until the process drains.
    pub(in crate::kernel) async fn run(&self, mut draining: tokio::sync::watch::Receiver<bool>) -> Result<()> {
        let wakes = self.db.wakes().clone();
        while !*draining.borrow() {
            if self.turn().await? == BATCH as usize {
                continue;
            }
            tokio::select! {
                () = wakes.wait(Signal::Outbox) => {}
                () = tokio::time::sleep(POLL) => {}
                _ = draining.changed() => {}
            }
        }
        Ok(())
    }

    /// Claims one batch and hands it over. Answers how many events it had.
    ///
    /// # Errors
    /// The database's.
    pub async fn turn(&self) -> Result<usize> {
        let token = Uuid::new_v4();
        let shares = self.unscoped("outbox.claim", move |tx| claim(tx, token)).await?;
        let count = shares.iter().map(|share| share.events.len()).sum();
        stream::iter(shares)
            .for_each_concurrent(AT_ONCE, |share| self.serve(share, token))
            .await;
        Ok(count)
    }

    /// One workspace's share: all in one transaction, or, where that fails, each event in one of its own.
    async fn serve(&self, share: Share, token: Uuid) {
        let all: Vec<EventId> = share.events.iter().map(|waiting| waiting.event).collect();
        let Err(error) = self.hand_over(&share, all.clone(), token).await else {
            return;
        };
        let busy = share.events.iter().map(|waiting| waiting.busy).max().unwrap_or(0);
        if is_busy(&error) && busy < PATIENCE {
            self.put_back(share.workspace, all, token, delay(busy.min(6)), true)
                .await;
            return;
        }
        tracing::warn!(%error, events = share.events.len(), "a batch of events could not be handed over; trying one by one");
        for waiting in &share.events {
            self.serve_one(&share, *waiting, token).await;
        }
    }

    async fn serve_one(&self, share: &Share, waiting: Waiting, token: Uuid) {
        let Waiting { event, tries, busy, .. } = waiting;
        let Err(error) = self.hand_over(share, vec![event], token).await else {
            return;
        };
        if is_busy(&error) && busy < BUSY {
            self.put_back(share.workspace, vec![event], token, delay(busy.min(6)), true)
                .await;
        } else if tries < TRIES {
            self.put_back(share.workspace, vec![event], token, delay(tries), false)
                .await;
        } else {
            self.bury(share, waiting, token).await;
        }
    }

    async fn hand_over(&self, share: &Share, events: Vec<EventId>, token: Uuid) -> Result<()> {
        let consumers = self.consumers.clone();
        self.db
            .tenant(self.scope(share), move |tx| {
                let claimed = queries::take_out(tx.conn(), &events, token)?;
                let events = queries::load(tx.conn(), &claimed)?;
                for (_, consumer) in &consumers {
                    consumer(tx, &events)?;
                }
                Ok(())
            })
            .await
    }

    /// An event that some consumer cannot take: the others get it, and the one that fails is written down.
    async fn bury(&self, share: &Share, waiting: Waiting, token: Uuid) {
        let Waiting { event, tries, busy, .. } = waiting;
        let mut failed = Vec::new();
        for (name, consumer) in &self.consumers {
            let consumer = consumer.clone();
            let handed = self
                .db
                .tenant(self.scope(share), move |tx| {
                    let events = queries::load(tx.conn(), &[event])?;
                    consumer(tx, &events)
                })
                .await;
            match handed {
                Ok(()) => {}
                Err(error) if is_busy(&error) && busy < BUSY => {
                    self.put_back(share.workspace, vec![event], token, delay(busy.min(6)), true)
                        .await;
                    return;
                }
                Err(error) => {
                    tracing::error!(consumer = name, %event, %error, "an event cannot be handed over; it is given up");
                    metrics::OUTBOX_DEAD.with_label_values(&[name]).inc();
                    failed.push((*name, error.to_string()));
                }
            }
        }
        let buried = self
            .db
            .tenant(self.scope(share), move |tx| {
                for (consumer, error) in &failed {
                    queries::bury(tx.conn(), event, consumer, error, tries)?;
                }
                queries::take_out(tx.conn(), &[event], token)?;
                Ok(())
            })
            .await;
        if let Err(error) = buried {
            tracing::warn!(%error, %event, "an event could not be given up; it is tried again");
        }
    }

    /// Ends the lease of events; they come again after `delay`. `busy`: the try does not count as one.
    async fn put_back(&self, workspace: WorkspaceId, events: Vec<EventId>, token: Uuid, delay: Duration, busy: bool) {
        let back = self
            .unscoped("outbox.put_back", move |tx| {
                Ok(queries::put_back(tx.conn(), workspace, &events, token, delay, busy)?)
            })
            .await;
        if let Err(error) = back {
            tracing::warn!(%error, "events could not be put back; their lease will run out");
        }
    }

    /// Measures how far the relay is behind. For a chore.
    ///
    /// # Errors
    /// The database's.
    pub async fn measure(&self) -> Result<()> {
        let oldest = self
            .unscoped("outbox.measure", |tx| Ok(queries::oldest_seconds(tx.conn())?))
            .await?;
        metrics::OUTBOX_OLDEST.set(oldest);
        Ok(())
    }

    fn scope(&self, share: &Share) -> Scope {
        let call = Arc::new(self.call("outbox.relay"));
        Scope::grant(
            share.workspace,
            Actor::System,
            Reach::default(),
            share.plan.clone(),
            call,
        )
    }

    fn call(&self, operation: &'static str) -> Call {
        let request = RequestId::new(self.db.clock().now());
        Call::internal(operation, request.to_string().into())
    }

    async fn unscoped<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Kernel<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.db.unscoped(&self.call(operation), work).await
    }
}

fn claim(tx: &mut Kernel<'_>, token: Uuid) -> Result<Vec<Share>> {
    let mut by_workspace: BTreeMap<WorkspaceId, Vec<Waiting>> = BTreeMap::new();
    for waiting in queries::claim(tx.conn(), BATCH, token, LEASE)? {
        by_workspace.entry(waiting.workspace).or_default().push(waiting);
    }
    by_workspace
        .into_iter()
        .map(|(workspace, events)| {
            let plan = Arc::new(entitlements::load(tx.conn(), workspace)?);
            Ok(Share {
                workspace,
                plan,
                events,
            })
        })
        .collect()
}

/// How long to wait after so many tries.
fn delay(tries: i32) -> Duration {
    Duration::from_secs(1 << tries.clamp(0, 9))
}

/// The database is away or busy: nothing that an event did.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if problem.kind().status == 503)
}
