//! A long backlog is ended or opened again in batches, and the rest by the pump: whoever changes an endpoint does not wait for all of it.

use crate::{
    features::webhooks::{
        model::{DeliveryState, EndpointId},
        queries::{self, Pump},
    },
    kernel::{db::Tenant, error::Result},
};

/// One statement changes so many deliveries.
const BATCH: i64 = 500;

/// Does one batch of what a pump has to tidy: it skips what waited when the endpoint was switched off, then opens again what is to be
/// recovered. What the pump's own lease has under way is left alone: it ends as it does. The caller holds the pump's row, and stores it;
/// [`Pump::is_untidy`] says whether there is more.
pub fn tidy(tx: &mut Tenant<'_>, id: EndpointId, pump: &mut Pump) -> Result<()> {
    let now = tx.now()?;
    if let Some(until) = pump.skip_until {
        let skipped = queries::close(
            tx.conn(),
            id,
            pump.epoch,
            Some(until),
            DeliveryState::Skipped,
            now,
            BATCH,
        )?;
        if (skipped as i64) < BATCH {
            pump.skip_until = None;
        }
    } else if let Some(since) = pump.recover_since {
        pump.recover_since = queries::reopen_since(tx.conn(), id, since, now, BATCH)?;
    }
    Ok(())
}

/// Has everything skipped that waits for an endpoint at this moment, beginning with one batch.
pub fn skip(tx: &mut Tenant<'_>, id: EndpointId, pump: &mut Pump) -> Result<()> {
    let now = tx.now()?;
    pump.skip_until = Some(queries::present(tx.conn(), now)?);
    tidy(tx, id, pump)
}

/// Cancels one batch of what waits for an endpoint that is gone, but for what the lease of `epoch` has under way. True if there may be more.
pub fn cancel(tx: &mut Tenant<'_>, id: EndpointId, epoch: i64) -> Result<bool> {
    let now = tx.now()?;
    let cancelled = queries::close(tx.conn(), id, epoch, None, DeliveryState::Cancelled, now, BATCH)?;
    Ok(cancelled as i64 == BATCH)
}
