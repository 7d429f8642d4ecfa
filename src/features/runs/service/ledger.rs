//! What the calls of a step cost. Whatever is entered into the ledger is added to the step and to its run in the same commit, so that all
//! three say the same; what is held for a call is charged by whoever has the step's job, whatever became of the run.

use super::{
    super::{
        model::{
            StepId,
            rows::{Row, StepRow},
        },
        queries,
    },
    attempt::{Attempt, Outcome, with_lost},
    turn::Turn,
};
use crate::{
    features::{
        providers::{Model, TokenUsage},
        usage::{self, Entry, EntryKind},
    },
    kernel::{
        db::Tenant,
        error::Result,
        jobs::{self, Job},
    },
};

/// What a call costs, in micros, where the model has a price.
pub(super) fn price(model: &Model, tokens: &TokenUsage) -> Option<i64> {
    model
        .price
        .map(|price| price.of(tokens.input_tokens, tokens.output_tokens))
}

fn entry(
    run: &Row,
    step: StepId,
    epoch: i64,
    call: i32,
    model: &str,
    usage: &TokenUsage,
    cost_micros: Option<i64>,
) -> Entry {
    Entry {
        kind: EntryKind::Call,
        run: run.id.uuid(),
        step: step.uuid(),
        epoch,
        call,
        provider: model.split('/').next().unwrap_or_default().to_owned(),
        model: model.to_owned(),
        agent: run.agent_id.map(|agent| (agent.uuid(), run.agent_version)),
        framework: run.framework.clone(),
        starter: (run.created_by_type.clone(), run.created_by_id),
        usage: usage.clone(),
        cost_micros,
    }
}

/// The calls of an attempt, as entries.
fn calls(run: &Row, job: &Job, step: &StepRow, outcome: &Outcome) -> Vec<Entry> {
    let calls = (0..).zip(&outcome.spent);
    let entry = |(call, (model, tokens)): (i32, &(Model, TokenUsage))| {
        entry(run, step.id, job.epoch, call, &model.id, tokens, price(model, tokens))
    };
    calls.map(entry).collect()
}

/// What a lost attempt held, as an entry.
pub(super) fn estimate(run: &Row, step: &StepRow) -> Entry {
    let held = step.held_usage.clone();
    let held: TokenUsage = held
        .and_then(|held| serde_json::from_value(held).ok())
        .unwrap_or_default();
    let model = step.model.as_deref().unwrap_or_default();
    Entry {
        kind: EntryKind::Estimate,
        ..entry(run, step.id, step.epoch, 0, model, &held, Some(step.held_micros))
    }
}

/// Enters the calls of an attempt. Answers what they cost, in micros.
///
/// # Errors
/// 503 if the database fails.
pub(super) fn charge(turn: &mut Turn<'_, '_>, job: &Job, step: &mut StepRow, outcome: &Outcome) -> Result<i64> {
    let mut cost = 0;
    for call in calls(&turn.run, job, step, outcome) {
        cost += turn.spend(step, &call)?;
    }
    Ok(cost)
}

/// The run ended meanwhile: only what was spent still counts. Where nothing is held any more, the attempt was taken for lost and charged, and
/// the job is another worker's.
///
/// # Errors
/// [`Fenced`](jobs::Fenced) if the lease was lost, 503.
pub(super) fn late(tx: &mut Tenant<'_>, job: &Job, mut run: Row, mut step: StepRow, outcome: &Outcome) -> Result<()> {
    if step.epoch == job.epoch && step.held_usage.is_some() {
        for call in calls(&run, job, &step, outcome) {
            let difference = usage::record(tx, &call)?;
            run.add(&difference);
            step.add(&difference);
        }
        step.release();
        save(tx, &run, &step)?;
    }
    jobs::finish(tx, job)
}

/// Nothing is left to do about a step, as a rule because its run is over. What a worker that was lost held for it is charged in full: its call
/// may have been made. Who held it under this very lease began without hearing of that, and asked nobody.
///
/// # Errors
/// 503 if the database fails.
pub(super) fn settle(tx: &mut Tenant<'_>, job: &Job, mut run: Row, mut step: StepRow) -> Result<()> {
    if step.held_usage.is_none() || step.epoch > job.epoch {
        return Ok(());
    }
    if step.epoch < job.epoch {
        let difference = usage::record(tx, &estimate(&run, &step))?;
        run.add(&difference);
        step.add(&difference);
        step.prior_attempts = with_lost(&step, tx.now()?, difference.cost_micros);
    }
    step.release();
    save(tx, &run, &step)
}

/// The lease was lost, and with it the right to record anything but the truth about money: an estimate that was charged for this attempt
/// is corrected. Where a call was cut off nobody knows the truth, and what was charged stays.
///
/// # Errors
/// 503 if the database fails.
pub(in crate::features::runs) fn confess(
    tx: &mut Tenant<'_>,
    job: &Job,
    attempt: &Attempt,
    outcome: &Outcome,
) -> Result<()> {
    let mut run = queries::lock(tx.conn(), attempt.run)?;
    let Some((model, _)) = outcome.spent.first().filter(|_| outcome.known) else {
        return Ok(());
    };
    let mut sum = TokenUsage::default();
    let mut cost = 0;
    for (model, tokens) in &outcome.spent {
        sum.add(tokens, 1);
        cost += price(model, tokens).unwrap_or(0);
    }
    let real = entry(&run, attempt.step, job.epoch, 0, &model.id, &sum, Some(cost));
    let Some(difference) = usage::correct(tx, &real)? else {
        return Ok(());
    };
    let mut step = queries::steps::find(tx.conn(), attempt.step)?
        .ok_or_else(|| anyhow::anyhow!("a step was deleted under its worker"))?;
    run.add(&difference);
    step.add(&difference);
    step.correct(job.epoch, difference.cost_micros);
    save(tx, &run, &step)
}

fn save(tx: &mut Tenant<'_>, run: &Row, step: &StepRow) -> Result<()> {
    queries::save_money(tx.conn(), run)?;
    queries::steps::save_money(tx.conn(), step)?;
    Ok(())
}
