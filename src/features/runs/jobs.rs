//! The jobs of runs: a step, the clock, and the removal of what is kept no longer.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    model::Status,
    service::{
        self, CLOCK, PURGE, STEP,
        attempt::{self, Attempt, Failed, Outcome},
        clock, ledger, purge as purging, record as recording,
    },
};
use crate::{
    features::{
        agents::schemas,
        providers::{self, CallFailure, Completion, Model, Providers, ResponseFormat, TokenUsage},
    },
    kernel::{
        error::{Error, FieldError, Result},
        jobs::{Fenced, JobContext, Lane, Runner},
    },
};

/// Registers the kinds of job of this slice.
pub fn register(runner: &mut Runner, providers: Providers) {
    runner.on(STEP, Lane::Steps, move |job| step(job, providers));
    runner.when_given_up(STEP, given_up);
    runner.on(CLOCK, Lane::System, strike);
    runner.on(PURGE, Lane::System, purge);
}

/// One attempt at a step: begin, ask, record.
async fn step(job: JobContext, providers: Providers) -> Result<()> {
    let begun = job.insist(|| {
        let lease = job.job.clone();
        job.db
            .tenant(job.scope(), move |tx| attempt::start(tx, &providers, &lease))
    });
    let Some(attempt) = begun.await? else { return Ok(()) };
    let attempt = Arc::new(attempt);
    let bill = Bill::default();
    let (result, said) = tokio::select! {
        answer = ask(&job, &attempt, &bill) => answer,
        () = stopped(&job, &attempt) => (Err(failed("cancelled", "The run was stopped.", false, None)), None),
    };
    let (spent, known) = bill.total();
    let outcome = Outcome {
        result,
        said,
        spent,
        known,
    };
    record(&job, &attempt, outcome).await
}

/// Records what came of it. A record whose fate is unknown is tried again: it is found by its token if it was made.
async fn record(job: &JobContext, attempt: &Arc<Attempt>, outcome: Outcome) -> Result<()> {
    let recorded = job.insist(|| {
        let (lease, own, result) = (job.job.clone(), attempt.clone(), outcome.clone());
        let origin = &attempt.origin;
        let scope = job.scope_within(origin.request_id.as_deref(), origin.traceparent.as_deref());
        job.db
            .tenant(scope, move |tx| recording::commit(tx, &lease, &own, result))
    });
    let recorded = recorded.await;
    if let Err(Error::Broken(error)) = &recorded
        && error.is::<Fenced>()
    {
        let (lease, own, result) = (job.job.clone(), attempt.clone(), outcome.clone());
        let confessed = job
            .db
            .tenant(job.scope(), move |tx| ledger::confess(tx, &lease, &own, &result));
        if let Err(error) = confessed.await {
            tracing::warn!(%error, "the real cost of a lost attempt could not be told");
        }
    }
    recorded
}

/// Ends when the attempt has no use any more: its run was stopped at once, or the time for a graceful end is over.
async fn stopped(job: &JobContext, attempt: &Attempt) {
    job.cancelled().await;
    let run = attempt.run;
    let is_over = job
        .db
        .tenant(job.scope(), move |tx| service::status(tx, run).map(|run| run.status))
        .await;
    if !matches!(is_over, Ok(Status::Running | Status::Waiting | Status::Pending)) {
        return;
    }
    tokio::time::sleep(clock::GRACE.to_std().unwrap_or_default()).await;
}

/// What the calls of an attempt used, in their order. A call stands in it from its beginning, with its question: one that is cut off is paid
/// for as far as anybody knows.
#[derive(Default)]
struct Bill(Mutex<Vec<Noted>>);

/// A call on the bill.
struct Noted {
    model: Model,
    usage: TokenUsage,
    /// Whether it came to its end.
    ended: bool,
}

impl Bill {
    /// A call begins.
    fn open(&self, model: &Model, question: i64) {
        let usage = TokenUsage {
            estimated: true,
            ..TokenUsage::of_call(question, 0)
        };
        self.all().push(Noted {
            model: model.clone(),
            usage,
            ended: false,
        });
    }

    /// The call ended, and it is known what it used: nothing, if it is not said.
    fn close(&self, usage: Option<TokenUsage>) {
        let mut all = self.all();
        if let Some(Noted { model, .. }) = all.pop() {
            all.extend(usage.map(|usage| Noted {
                model,
                usage,
                ended: true,
            }));
        }
    }

    /// What was used so far, call by call, and whether each of them came to its end.
    fn total(&self) -> (Vec<(Model, TokenUsage)>, bool) {
        let all = self.all();
        let used = all.iter().map(|call| (call.model.clone(), call.usage.clone()));
        (used.collect(), all.iter().all(|call| call.ended))
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Noted>> {
        self.0.lock().expect("no panic while a call is noted")
    }
}

/// Whether the budget of the run has room for one more call of the attempt. What all of its calls may cost together is held from then on.
async fn has_room(job: &JobContext, attempt: &Arc<Attempt>, bill: &Bill, model: &Model) -> bool {
    let (lease, own, model, spent) = (job.job.clone(), attempt.clone(), model.clone(), bill.total().0);
    let held = job.db.tenant(job.scope(), move |tx| {
        attempt::hold_more(tx, &lease, &own, &spent, &model)
    });
    held.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "it is not known whether the budget has room for another model");
        !attempt.budgeted
    })
}

/// Asks the models in order, until one answers or fails in a way that another would not mend. Answers what came out and what was said.
async fn ask(job: &JobContext, attempt: &Arc<Attempt>, bill: &Bill) -> (Result<Value, Failed>, Option<String>) {
    let number = u32::try_from(attempt.number).unwrap_or(1);
    let mut last = failed("step_failed", "No model was asked.", false, None);
    for (place, model) in attempt.models.iter().enumerate() {
        if place > 0 && !has_room(job, attempt, bill, model).await {
            break;
        }
        let mut request = attempt.request.clone();
        request.model.clone_from(&model.id);
        bill.open(model, request.estimated_tokens());
        let call = providers::complete(model, &request, number);
        match tokio::time::timeout(attempt.timeout, call).await {
            Err(_) => {
                let message = format!("No answer within {} s.", attempt.timeout.as_secs());
                last = failed("timeout", &message, true, None);
            }
            Ok(Ok(completion)) => {
                bill.close(Some(completion.usage.clone()));
                let said = completion.text.clone();
                return match understood(&request.response_format, completion).await {
                    Ok(value) => (Ok(value), Some(said)),
                    Err(failed) => (Err(failed), None),
                };
            }
            Ok(Err(failure)) => {
                bill.close(failure.usage.clone());
                let is_final = !failure.retryable;
                last = of_call(model.provider, failure);
                if is_final {
                    break;
                }
            }
        }
    }
    (Err(last), None)
}

/// What an answer means in the shape that was asked for.
async fn understood(format: &ResponseFormat, completion: Completion) -> Result<Value, Failed> {
    let document = |text: &str| serde_json::from_str::<Value>(text).ok();
    match format {
        ResponseFormat::Text => Ok(Value::String(completion.text)),
        ResponseFormat::Json => {
            document(&completion.text).ok_or_else(|| failed("invalid_output", "The answer is not JSON.", true, None))
        }
        ResponseFormat::JsonSchema { schema } => {
            let value = document(&completion.text)
                .ok_or_else(|| failed("invalid_output", "The answer is not JSON.", true, None))?;
            match judged(schema.clone(), value).await {
                Ok(value) => Ok(value),
                Err(faults) => {
                    let first = faults
                        .first()
                        .map(|fault| format!("{}: {}", fault.pointer, fault.detail));
                    Err(failed(
                        "invalid_output",
                        &format!("The answer is not as asked: {}", first.unwrap_or_default()),
                        true,
                        None,
                    ))
                }
            }
        }
    }
}

/// The value, if it is as the schema wants. That takes the processor for a while, and this runtime has other things to do.
async fn judged(schema: Value, value: Value) -> Result<Value, Vec<FieldError>> {
    let task = tokio::task::spawn_blocking(move || schemas::accepts(&schema, &value, "").map(|()| value));
    match task.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(judged) => judged,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Vec::new()),
    }
}

fn of_call(provider: &str, failure: CallFailure) -> Failed {
    let cause = json!({ "provider": provider, "http_status": failure.http_status, "code": failure.code });
    Failed {
        retry_after: failure.retry_after,
        ..failed(failure.code, &failure.message, failure.retryable, Some(cause))
    }
}

fn failed(code: &'static str, message: &str, retryable: bool, cause: Option<Value>) -> Failed {
    Failed {
        code,
        message: message.to_owned(),
        retryable,
        cause,
        retry_after: None,
    }
}

/// The lease of a step was lost too often.
async fn given_up(job: JobContext) -> Result<()> {
    let lease = job.job.clone();
    job.db
        .tenant(job.scope(), move |tx| attempt::exhausted(tx, &lease))
        .await
}

/// Looks whether the time of a run is over.
async fn strike(job: JobContext) -> Result<()> {
    let lease = job.job.clone();
    job.db.tenant(job.scope(), move |tx| clock::strike(tx, &lease)).await
}

/// Removes what runs of the workspace hold longer than they may.
async fn purge(job: JobContext) -> Result<()> {
    let lease = job.job.clone();
    job.db.tenant(job.scope(), move |tx| purging::purge(tx, &lease)).await
}
