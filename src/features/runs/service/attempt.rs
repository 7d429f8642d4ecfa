//! An attempt at a step: begun in one transaction, made without one, recorded in another. The lease's epoch decides whose record counts.

use std::{sync::Arc, time::Duration as Wait};

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        model::{
            RunId, Status, StepId, StepStatus,
            rows::{Failure, Row, StepRow},
        },
        queries,
    },
    call::{Call, prepare},
    clock,
    ledger::{self, price},
    turn::{JobEnd, Turn},
};
use crate::{
    features::{
        agents::{plan::Plan, plans},
        providers::{ChatRequest, Model, Providers, TokenUsage},
    },
    kernel::{
        db::Tenant,
        error::{Error, Result},
        id::Id,
        jobs::{self, Fenced, Job},
    },
};

/// How soon a run is looked at again that needs a newer worker, in seconds.
const UPGRADE_SECONDS: i64 = 60;

/// What there is to be done.
pub(in crate::features::runs) struct Attempt {
    pub(in crate::features::runs) run: RunId,
    pub(in crate::features::runs) step: StepId,
    /// Which try, from 1.
    pub(in crate::features::runs) number: i32,
    /// Tells this attempt's record from every other.
    pub(in crate::features::runs) token: Uuid,
    /// The question, and who is asked in order.
    pub(in crate::features::runs) request: ChatRequest,
    pub(in crate::features::runs) models: Vec<Model>,
    /// The longest that it may take.
    pub(in crate::features::runs) timeout: Wait,
    /// The most that one call may use.
    pub(in crate::features::runs) worst: TokenUsage,
    /// Whether the run has a budget.
    pub(in crate::features::runs) budgeted: bool,
    /// The request and trace that the run belongs to.
    pub(in crate::features::runs) origin: Origin,
}

/// Where a run comes from.
#[derive(Clone, Debug, Default)]
pub(in crate::features::runs) struct Origin {
    pub(in crate::features::runs) request_id: Option<String>,
    pub(in crate::features::runs) traceparent: Option<String>,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub(in crate::features::runs) struct Outcome {
    /// What came out, or why nothing did.
    pub(in crate::features::runs) result: Result<Value, Failed>,
    /// What the model said, to be added to the conversation.
    pub(in crate::features::runs) said: Option<String>,
    /// What every call used, in order.
    pub(in crate::features::runs) spent: Vec<(Model, TokenUsage)>,
    /// Whether each of them came to its end: of one that did not, nobody knows what it used.
    pub(in crate::features::runs) known: bool,
}

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub(in crate::features::runs) struct Failed {
    pub(in crate::features::runs) code: &'static str,
    pub(in crate::features::runs) message: String,
    pub(in crate::features::runs) retryable: bool,
    pub(in crate::features::runs) cause: Option<Value>,
    pub(in crate::features::runs) retry_after: Option<Wait>,
}

/// The plan of a run, unless it takes a newer worker.
///
/// # Errors
/// 503 if the database fails.
pub(super) fn plan_of(tx: &mut Tenant<'_>, run: &Row) -> Result<Option<Arc<Plan>>> {
    let name = run.plan_sha256.as_deref().unwrap_or_default();
    let name = name
        .try_into()
        .map_err(|_| anyhow::anyhow!("a plan's name has 32 bytes"))?;
    Ok(plans::load(tx, &name)?.ok())
}

/// Begins an attempt. `None`: there is nothing to do, and the job is ended. Done twice, because the answer to the first time was lost, it
/// began once.
///
/// # Errors
/// [`Fenced`] if the lease was lost, 503.
pub(in crate::features::runs) fn start(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    job: &Job,
) -> Result<Option<Attempt>> {
    let Some((run, mut step)) = open(tx, job)? else {
        return Ok(None);
    };
    let Some(plan) = plan_of(tx, &run)? else {
        upgrade(tx, run, job)?;
        return Ok(None);
    };
    let node = plan.nodes.get(&step.node_id).cloned();
    let mut turn = Turn::of(tx, run, plan)?;
    if step.epoch == job.epoch {
        // What could be asked a moment ago and cannot any more is left to whoever gets the step next.
        let call = prepare(&mut turn, providers, &step, node)?.map_err(|_| fenced())?;
        return Ok(Some(attempt_at(&turn.run, &step, call)));
    }
    let was_lost = step.status == StepStatus::Running;
    if was_lost {
        lose(&mut turn, &mut step)?;
        if turn.run.cancel_requested_at.is_some() {
            // The call that the run was to wait for has no end that anybody hears of.
            turn.cancel()?;
            turn.close(&JobEnd::Finish(job))?;
            return Ok(None);
        }
    }
    wake(&mut turn);
    let call = match prepare(&mut turn, providers, &step, node)? {
        Ok(call) => call,
        Err(failure) => return give_up(turn, &step, failure, job),
    };
    let mine = begun(step, job, &call, was_lost)?;
    if !queries::steps::begin(turn.tx.conn(), &mine, turn.now)? {
        return Err(fenced());
    }
    turn.event(
        "step.started",
        Some(mine.number),
        json!({ "node": mine.node_id, "attempt": mine.attempt, "model": mine.model }),
    );
    let attempt = attempt_at(&turn.run, &mine, call);
    turn.close(&JobEnd::Keep)?;
    Ok(Some(attempt))
}

fn attempt_at(run: &Row, step: &StepRow, call: Call) -> Attempt {
    Attempt {
        run: run.id,
        step: step.id,
        number: step.attempt,
        token: Uuid::new_v4(),
        request: call.request,
        models: call.models,
        timeout: call.timeout,
        worst: call.worst,
        budgeted: run.max_cost_micros.is_some(),
        origin: origin(run),
    }
}

/// Holds what another call of an attempt may cost at most, beside what its calls cost so far: that is what a lost attempt is charged, and
/// what the other steps of the run leave alone. False: the budget has no room for it, or the step is no longer this worker's.
///
/// # Errors
/// 503 if the database fails.
pub(in crate::features::runs) fn hold_more(
    tx: &mut Tenant<'_>,
    job: &Job,
    attempt: &Attempt,
    spent: &[(Model, TokenUsage)],
    model: &Model,
) -> Result<bool> {
    let run = queries::lock(tx.conn(), attempt.run)?;
    let mut usage = TokenUsage::default();
    let mut hold = 0;
    let next = (model.clone(), attempt.worst.clone());
    for (model, tokens) in spent.iter().chain([&next]) {
        usage.add(tokens, 1);
        hold += price(model, tokens).unwrap_or(0);
    }
    let others = queries::steps::held(tx.conn(), run.id, attempt.step)?;
    if run
        .max_cost_micros
        .is_some_and(|most| run.cost_micros + others + hold > most)
    {
        return Ok(false);
    }
    let usage = serde_json::to_value(usage).map_err(anyhow::Error::from)?;
    Ok(queries::steps::hold(tx.conn(), attempt.step, job.epoch, hold, &usage)?)
}

/// A run that waited goes on, and its clock is set for the time that it may work.
fn wake(turn: &mut Turn<'_, '_>) {
    let before = turn.run.status;
    if before == Status::Running {
        return;
    }
    turn.go(Status::Running);
    let alarm = clock::alarm(&turn.run, turn.now);
    // In the queue it is set for the end of the patience there, and finds out for itself; while a run waits it is set for much later.
    let known = turn.run.created_at + Duration::seconds(i64::from(turn.run.queue_timeout_seconds));
    turn.alarm = Some(alarm).filter(|alarm| before == Status::Waiting || *alarm < known);
}

/// The step as it stands while the attempt is made. One that replaces a lost one counts as the same try.
fn begun(step: StepRow, job: &Job, call: &Call, replaces: bool) -> Result<StepRow> {
    Ok(StepRow {
        epoch: job.epoch,
        attempt: step.attempt + i32::from(!replaces),
        held_micros: call.hold,
        held_usage: Some(serde_json::to_value(&call.worst).map_err(anyhow::Error::from)?),
        model: call.models.first().map(|model| model.id.clone()),
        ..step
    })
}

/// Run and step of a job, locked, if there is anything left to do about them. Else the job is ended, and what is held for the step is charged
/// before that: nobody comes after who could.
fn open(tx: &mut Tenant<'_>, job: &Job) -> Result<Option<(Row, StepRow)>> {
    let run = match queries::steps::find(tx.conn(), Id::from_uuid(job.id.0))? {
        Some(step) => queries::lock(tx.conn(), step.run_id)?,
        None => {
            jobs::finish(tx, job)?;
            return Ok(None);
        }
    };
    // Read again under the run's lock: every change of a step holds it.
    let step = queries::steps::find(tx.conn(), Id::from_uuid(job.id.0))?;
    match step {
        Some(step) if !run.status.is_final() && matches!(step.status, StepStatus::Pending | StepStatus::Running) => {
            let is_own = step.epoch == job.epoch && step.status == StepStatus::Running;
            return match step.epoch < job.epoch || is_own {
                true => Ok(Some((run, step))),
                false => Err(fenced()),
            };
        }
        Some(step) => ledger::settle(tx, job, run, step)?,
        None => {}
    }
    jobs::finish(tx, job)?;
    Ok(None)
}

pub(super) fn fenced() -> Error {
    Error::Broken(Fenced.into())
}

fn origin(run: &Row) -> Origin {
    let span = &run.id.uuid().simple().to_string()[16..];
    Origin {
        request_id: run.request_id.clone(),
        traceparent: run.trace_id.as_ref().map(|trace| format!("00-{trace}-{span}-00")),
    }
}

/// The run takes a worker that knows more than this one: it waits for it.
fn upgrade(tx: &mut Tenant<'_>, run: Row, job: &Job) -> Result<()> {
    let mut turn = Turn::of(tx, run, Arc::default())?;
    if turn.run.status == Status::Running {
        turn.wait("upgrade");
    }
    let later = turn.now + Duration::seconds(UPGRADE_SECONDS);
    turn.close(&JobEnd::Retry(job, later)).map(drop)
}

/// The attempt before was lost with its worker: what it may have cost is charged, and it is written down.
fn lose(turn: &mut Turn<'_, '_>, step: &mut StepRow) -> Result<()> {
    turn.run.recoveries += 1;
    turn.event(
        "recovery.started",
        Some(step.number),
        json!({ "attempt": step.attempt, "epoch": step.epoch }),
    );
    let estimate = ledger::estimate(&turn.run, step);
    let cost = turn.spend(step, &estimate)?;
    step.release();
    step.prior_attempts = with_lost(step, turn.now, cost);
    // Whether or not another attempt begins.
    queries::steps::save_money(turn.tx.conn(), step)?;
    Ok(())
}

/// The last ten attempts, this one included.
pub(super) fn with_attempt(step: &StepRow, error: &Failure, now: DateTime<Utc>, cost: i64) -> Value {
    let mut attempts = step.prior_attempts.as_array().cloned().unwrap_or_default();
    attempts.push(json!({
        "attempt": step.attempt, "epoch": step.epoch, "started_at": step.started_at, "ended_at": now, "error": error, "cost_micros": cost,
    }));
    let surplus = attempts.len().saturating_sub(10);
    Value::Array(attempts.split_off(surplus))
}

/// The same with one that was lost with its worker.
pub(super) fn with_lost(step: &StepRow, now: DateTime<Utc>, cost: i64) -> Value {
    let error = Failure {
        retryable: true,
        ..Failure::of("lost", "The worker was lost.")
    };
    with_attempt(step, &error, now, cost)
}

/// Ends a step that cannot be tried, and its run, which stops the others. Nothing is held for it: it waited, or was lost and charged.
fn give_up(mut turn: Turn<'_, '_>, step: &StepRow, failure: Failure, job: &Job) -> Result<Option<Attempt>> {
    let failure = Failure {
        node_id: Some(step.node_id.clone()),
        step_id: Some(step.id),
        ..failure
    };
    turn.event(
        "step.failed",
        Some(step.number),
        json!({ "node": step.node_id, "error": failure }),
    );
    queries::steps::fail(turn.tx.conn(), step.id, &failure.document(), turn.now)?;
    turn.fail(&failure)?;
    turn.close(&JobEnd::Finish(job))?;
    Ok(None)
}

/// The lease was lost too often: something about the step kills workers.
///
/// # Errors
/// 503; a lost lease.
pub(in crate::features::runs) fn exhausted(tx: &mut Tenant<'_>, job: &Job) -> Result<()> {
    let Some((run, mut step)) = open(tx, job)? else {
        return Ok(());
    };
    let plan = plan_of(tx, &run)?;
    let mut turn = Turn::of(tx, run, plan.unwrap_or_default())?;
    if step.status == StepStatus::Running {
        lose(&mut turn, &mut step)?;
    }
    let failure = Failure::of(
        "recovery_exhausted",
        format!("{} workers in a row were lost over it.", job.recoveries),
    );
    give_up(turn, &step, failure, job).map(drop)
}
