//! Takes one lane after the other and has somebody look at it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{lanes, model::Lane, queries};
use crate::kernel::{
    access::Call,
    db::{Db, Kernel},
    entitlements,
    error::Result,
    id::RequestId,
    wake::Signal,
};

/// What looks at a lane: fetches what its events are about, and applies it in one transaction.
pub type Look = Arc<dyn Fn(Lane) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Takes lanes of the inbox. Several may run, in one process and in many.
#[derive(Clone)]
pub struct Worker {
    db: Db,
    look: Look,
    beat: Duration,
}

/// How long to rest when nothing waits and nobody calls.
const REST: Duration = Duration::from_secs(1);
/// A lease is renewed this often while somebody looks,
const BEAT: Duration = Duration::from_secs(20);
/// and is over after so many times: a minute.
const BEATS: u32 = 3;
/// So often it is tried to give a lease back.
const GIVING_BACK: usize = 3;

impl Worker {
    /// A worker that has lanes looked at like this.
    pub fn new(db: Db, look: Look) -> Worker {
        Worker { db, look, beat: BEAT }
    }

    /// The same, renewing its leases this often.
    #[cfg(feature = "lab")]
    #[must_use]
    pub fn beating(self, beat: Duration) -> Worker {
        Worker { beat, ..self }
    }

    /// Leases the lane that has waited longest and has it looked at, renewing the lease as long as that takes. False: nothing waits.
    ///
    /// # Errors
    /// The database's. What goes wrong in a look is for the look to record; a lane that nobody frees is taken again after a minute.
    pub async fn once(&self) -> Result<bool> {
        self.until(std::future::pending()).await
    }

    /// The same, unless told to stop meanwhile: then the lease is given back.
    async fn until(&self, stop: impl Future<Output = ()>) -> Result<bool> {
        let request_id: Arc<str> = RequestId::new(self.db.clock().now()).to_string().into();
        let call = Call::internal("inbox.claim", request_id.clone());
        let claimed = self.db.unscoped(&call, move |tx| claim(tx, request_id)).await?;
        let Some(lane) = claimed else { return Ok(false) };
        let (connection, name, epoch) = (lane.connection, lane.name.clone(), lane.epoch);
        let (lease, held) = (lane.clone(), lane.clone());
        tokio::select! {
            looked = (self.look)(lane) => if let Err(error) = looked {
                tracing::warn!(%connection, lane = name, epoch, %error, "a lane could not be looked at");
            },
            () = self.keep(lease) => {
                tracing::warn!(%connection, lane = name, epoch, "the lane is somebody else's by now: what was seen of it is dropped");
            }
            () = stop => self.give_back(&held).await,
        }
        Ok(true)
    }

    /// Gives a lease back that a look was cut off in. What it had begun to apply is waited for, or goes on by itself.
    async fn give_back(&self, lane: &Lane) {
        for _ in 0..GIVING_BACK {
            let held = lane.clone();
            let given = self.db.tenant(lane.scope(), move |tx| lanes::give_back(tx, &held));
            match given.await {
                Ok(()) => return,
                Err(error) => tracing::warn!(lane = lane.name, %error, "a lane's lease could not be given back"),
            }
        }
    }

    /// Renews a lease. Ends when it is lost: somebody else has the lane, or may have it, because it could not be renewed for as long as a
    /// lease lasts.
    async fn keep(&self, lane: Lane) {
        let lane = Arc::new(lane);
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep(self.beat).await;
            let lease = lane.clone();
            // A call is good for one transaction: it has a deadline, and a look may take longer than that.
            let call = Call::internal("inbox.renew", lane.request_id.clone());
            let begun = Instant::now();
            let renewed = self
                .db
                .unscoped(&call, move |tx| Ok(queries::renew(tx.conn(), &lease)?));
            match renewed.await {
                Ok(true) => renewed_at = begun,
                Ok(false) => return,
                Err(_) if renewed_at.elapsed() >= self.beat * BEATS => return,
                Err(error) => tracing::warn!(%error, "a lane's lease could not be renewed; it is tried again"),
            }
        }
    }

    /// Works until told to stop. What is looked at then is left to others at once: a look may take longer than a process has to end.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let mut ends = stop.clone();
            let told = async move {
                if ends.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending().await
                }
            };
            let rest = match self.until(told).await {
                Ok(true) => continue,
                Ok(false) => REST,
                Err(error) => {
                    tracing::warn!(%error, "the inbox cannot be read");
                    REST
                }
            };
            tokio::select! {
                () = self.db.wakes().wait(Signal::Inbox) => {}
                () = tokio::time::sleep(rest) => {}
                _ = stop.changed() => {}
            }
        }
    }
}

fn claim(tx: &mut Kernel<'_>, request_id: Arc<str>) -> Result<Option<Lane>> {
    let token = Uuid::new_v4();
    let Some(claimed) = queries::claim(tx.conn(), token)? else {
        return Ok(None);
    };
    let events = queries::waiting(tx.conn(), &claimed)?;
    let (workspace, connection, name, epoch) = claimed;
    let plan = Arc::new(entitlements::load(tx.conn(), workspace)?);
    Ok(Some(Lane {
        connection,
        name,
        epoch,
        events,
        token,
        workspace,
        plan,
        request_id,
    }))
}
