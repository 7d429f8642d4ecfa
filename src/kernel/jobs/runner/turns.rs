//! What tests drive instead of the loops.

use super::Runner;
use crate::kernel::{
    error::Result,
    jobs::{Lane, queries},
};

impl Runner {
    /// Relays one batch of events, promotes what is due and does one batch of every lane, one job after the other. Answers how many
    /// events and jobs that were: at 0 there is nothing left to do.
    ///
    /// # Errors
    /// The database's.
    pub async fn turn(&self) -> Result<usize> {
        let (passed, jobs) = self.turn_told().await?;
        Ok(passed + jobs.len())
    }

    /// The same: how many events that were, and how each job ended, as the metric `jobs_total` has it.
    ///
    /// # Errors
    /// The database's.
    pub async fn turn_told(&self) -> Result<(usize, Vec<(&'static str, &'static str)>)> {
        self.unscoped("jobs.promote", |tx| Ok(queries::promote(tx.conn())?))
            .await?;
        let mut passed = match &self.relay {
            Some(relay) => relay.turn().await?,
            None => 0,
        };
        if let Some(inbox) = &self.inbox {
            while inbox.once().await? {
                passed += 1;
            }
        }
        let mut ended = Vec::new();
        for lane in Lane::ALL {
            if !self.slots.contains_key(&lane) {
                continue;
            }
            for (job, stop, plan) in self.claim(lane, 16).await? {
                let kind = job.kind;
                ended.push((kind, self.work(job, stop, plan).await.name()));
            }
        }
        Ok((passed, ended))
    }

    /// Does every chore once.
    ///
    /// # Errors
    /// The first chore's that fails.
    pub async fn chores(&self) -> Result<()> {
        for (_, _, chore) in &self.chores {
            chore().await?;
        }
        Ok(())
    }

    /// Takes every lease of every process for expired and puts it back into the queue.
    ///
    /// # Errors
    /// The database's.
    pub async fn expire_leases(&self) -> Result<()> {
        self.unscoped("jobs.expire", |tx| {
            queries::expire(tx.conn())?;
            queries::reap(tx.conn())?;
            Ok(())
        })
        .await
    }
}
