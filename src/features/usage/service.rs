//! The rules of the ledger.

use uuid::Uuid;

use super::{
    model::{Difference, Entry, EntryKind, NewRow, UsageEvent, UsageEventId},
    queries,
};
use crate::kernel::{db::Tenant, error::Result};

/// Makes an entry, once for a call. Answers what it changes: nothing, if it was there already.
///
/// # Errors
/// 503 if the database fails.
pub fn record(tx: &mut Tenant<'_>, entry: &Entry) -> Result<Difference> {
    let id = UsageEventId::new(tx.now()?);
    let cost = entry.cost_micros.unwrap_or(0);
    let (starter, starter_id) = (entry.starter.0.as_str(), entry.starter.1);
    let row = NewRow {
        id,
        run_id: entry.run,
        step_id: entry.step,
        epoch: entry.epoch,
        call_no: entry.call,
        kind: entry.kind,
        provider: &entry.provider,
        model: &entry.model,
        agent_id: entry.agent.map(|(agent, _)| agent),
        agent_version: entry.agent.and_then(|(_, number)| number),
        framework: entry.framework.as_deref(),
        api_key_id: starter_id.filter(|_| starter == "api_key"),
        user_id: starter_id.filter(|_| starter == "user"),
        usage_details: serde_json::to_value(&entry.usage).map_err(anyhow::Error::from)?,
        input_tokens: entry.usage.input_tokens,
        output_tokens: entry.usage.output_tokens,
        cost_micros: cost,
        unpriced: entry.cost_micros.is_none(),
        estimated: entry.usage.estimated,
    };
    let is_new = queries::insert(tx.conn(), &row)?;
    let difference = is_new.then(|| Difference {
        usage: entry.usage.clone(),
        cost_micros: cost,
    });
    Ok(difference.unwrap_or_default())
}

/// Tells what an attempt really cost that was charged as an estimate. Answers what that changes; `None` if no estimate was charged.
///
/// # Errors
/// 503 if the database fails.
pub fn correct(tx: &mut Tenant<'_>, real: &Entry) -> Result<Option<Difference>> {
    let Some((charged, cost)) = queries::estimate(tx.conn(), real.step, real.epoch)? else {
        return Ok(None);
    };
    let mut usage = real.usage.clone();
    usage.add(&charged, -1);
    // Whether its numbers were counted here is a matter of what is told now.
    usage.estimated = real.usage.estimated;
    let entry = Entry {
        kind: EntryKind::Correction,
        usage,
        cost_micros: Some(real.cost_micros.unwrap_or(0) - cost),
        ..real.clone()
    };
    record(tx, &entry).map(Some)
}

/// The entries of a run, oldest first.
///
/// # Errors
/// 503 if the database fails.
pub fn of_run(tx: &mut Tenant<'_>, run: Uuid) -> Result<Vec<UsageEvent>> {
    Ok(queries::of_run(tx.conn(), run)?)
}
