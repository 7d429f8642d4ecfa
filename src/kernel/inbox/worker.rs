//! Takes one lane after the other and has somebody look at it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{model::Lane, queries};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    clock::Clock,
    db::Db,
    entitlements::Plan,
    error::Result,
    id::RequestId,
};

/// What looks at a lane: fetches what its events are about, and applies it in one transaction.
pub type Look = Arc<dyn Fn(Lane) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Takes lanes of the inbox. Several may run, in one process and in many.
#[derive(Clone)]
pub struct Worker {
    db: Db,
    clock: Clock,
    look: Look,
}

/// How long to rest when nothing waits.
const REST: Duration = Duration::from_millis(500);

impl Worker {
    /// A worker that has lanes looked at like this.
    pub fn new(db: Db, clock: Clock, look: Look) -> Worker {
        Worker { db, clock, look }
    }

    /// Leases the lane that has waited longest and has it looked at. False: nothing waits.
    ///
    /// # Errors
    /// The database's. What goes wrong in a look is for the look to record; a lane that nobody frees is taken again after a minute.
    pub async fn once(&self) -> Result<bool> {
        let call = Call::internal("inbox.look", RequestId::new(self.clock.now()).to_string().into());
        let scope_call = Arc::new(call.clone());
        let token = Uuid::new_v4();
        let claimed = self
            .db
            .unscoped(&call, move |tx| {
                let Some(claimed) = queries::claim(tx.conn(), token)? else {
                    return Ok(None);
                };
                let events = queries::waiting(tx.conn(), &claimed)?;
                Ok(Some((claimed, events)))
            })
            .await?;
        let Some(((workspace, connection, name, epoch), events)) = claimed else {
            return Ok(false);
        };
        let plan = Arc::new(Plan::unlimited());
        let scope = Scope::grant(workspace, Actor::System, Reach::default(), plan, scope_call);
        let lane = Lane {
            connection,
            name,
            epoch,
            events,
            token,
            scope,
        };
        let (name, epoch) = (lane.name.clone(), lane.epoch);
        if let Err(error) = (self.look)(lane).await {
            tracing::warn!(%connection, lane = name, epoch, %error, "a lane could not be looked at");
        }
        Ok(true)
    }

    /// Works until told to stop.
    pub async fn run(self, stop: tokio::sync::watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.once().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(REST).await,
                Err(error) => {
                    tracing::warn!(%error, "the inbox cannot be read");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}
