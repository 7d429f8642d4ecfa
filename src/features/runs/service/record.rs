//! The end of an attempt, recorded under its lease's epoch.

use std::time::Duration as Wait;

use aws_lc_rs::rand;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        model::{
            StepStatus,
            rows::{Failure, StepRow},
        },
        queries::{self, steps::Ending},
    },
    attempt::{Attempt, Failed, Outcome, fenced, plan_of, with_attempt},
    ledger, state, tick,
    turn::{JobEnd, Turn},
};
use crate::{
    features::{
        agents::plan::{Common, OnError, Retry},
        providers::Role,
    },
    kernel::{
        db::Tenant,
        error::Result,
        jobs::{self, Job},
    },
};

/// What a run's error says as it is; anything else is a step that failed, and its cause says more.
const TOLD: [&str; 4] = ["timeout", "invalid_output", "context_overflow", "content_filtered"];

/// Records what came of an attempt, moves the run on, and ends the job.
///
/// # Errors
/// [`Fenced`] if the step is another worker's by now, 503.
pub(in crate::features::runs) fn commit(
    tx: &mut Tenant<'_>,
    job: &Job,
    attempt: &Attempt,
    outcome: Outcome,
) -> Result<()> {
    let run = queries::lock(tx.conn(), attempt.run)?;
    let mut step = queries::steps::find(tx.conn(), attempt.step)?
        .ok_or_else(|| anyhow::anyhow!("a step was deleted under its worker"))?;
    if step.commit_token == Some(attempt.token) {
        jobs::ended_unheard(job);
        return Ok(());
    }
    if run.status.is_final() {
        return ledger::late(tx, job, run, step, &outcome);
    }
    if step.epoch != job.epoch || step.status != StepStatus::Running {
        return Err(fenced());
    }
    let plan = plan_of(tx, &run)?.ok_or_else(|| anyhow::anyhow!("the plan was understood when the step began"))?;
    let common = plan
        .nodes
        .get(&step.node_id)
        .map_or_else(Common::default, |node| node.common.clone());
    let mut turn = Turn::of(tx, run, plan)?;
    let own = ledger::charge(&mut turn, job, &mut step, &outcome)?;
    let last = outcome.spent.last().map(|(model, _)| model.id.clone());
    let end = match outcome.result {
        Ok(value) => succeed(&mut turn, &step, value, outcome.said, own)?,
        Err(failed) => fail(&mut turn, &step, &common, failed, own),
    };
    let ending = Ending {
        status: end.status,
        output: end.output,
        error: end.error,
        prior_attempts: end.prior_attempts.as_ref().unwrap_or(&step.prior_attempts),
        model: last.as_deref().or(step.model.as_deref()),
        usage: &step.usage,
        cost_micros: step.cost_micros,
        token: attempt.token,
        finished_at: (end.status != StepStatus::Pending).then_some(turn.now),
    };
    if !queries::steps::end(turn.tx.conn(), step.id, job.epoch, ending)? {
        return Err(fenced());
    }
    proceed(turn, job, end.next)
}

/// How a step stands after an attempt.
struct End {
    status: StepStatus,
    output: Option<Value>,
    error: Option<Value>,
    /// Where this attempt was added to them.
    prior_attempts: Option<Value>,
    next: Next,
}

/// What the model said goes into the conversation, and the step is done.
fn succeed(turn: &mut Turn<'_, '_>, step: &StepRow, value: Value, said: Option<String>, cost: i64) -> Result<End> {
    let scope = step.input.as_ref().and_then(|input| input["scope"].as_str());
    if let (Some(text), Some(scope)) = (said, scope) {
        let message = (Role::Assistant.key(), Value::String(text));
        tick::say(turn, scope, step.id, vec![message])?;
    }
    turn.event(
        "step.completed",
        Some(step.number),
        json!({ "node": step.node_id, "attempt": step.attempt, "cost_micros": cost }),
    );
    Ok(End {
        status: StepStatus::Completed,
        output: Some(state::storable(value)),
        error: None,
        prior_attempts: None,
        next: Next::Go,
    })
}

/// The step is tried again, or failed; then the run fails with it, unless the step's failure is an output like another.
fn fail(turn: &mut Turn<'_, '_>, step: &StepRow, common: &Common, failed: Failed, cost: i64) -> End {
    let code = if TOLD.contains(&failed.code) {
        failed.code
    } else {
        "step_failed"
    };
    let failure = Failure {
        retryable: failed.retryable,
        node_id: Some(step.node_id.clone()),
        step_id: Some(step.id),
        attempt: Some(step.attempt),
        cause: failed.cause,
        ..Failure::of(code, failed.message)
    };
    if failed.retryable && step.attempt < step.max_attempts && turn.run.cancel_requested_at.is_none() {
        let wait = back_off(common.retry.unwrap_or_default(), step.attempt, failed.retry_after);
        let due = turn.now + Duration::from_std(wait).unwrap_or_default();
        turn.event(
            "step.retrying",
            Some(step.number),
            json!({ "attempt": step.attempt, "error": failure, "due_at": due }),
        );
        return End {
            status: StepStatus::Pending,
            output: None,
            error: None,
            prior_attempts: Some(with_attempt(step, &failure, turn.now, cost)),
            next: Next::Retry(due),
        };
    }
    turn.event(
        "step.failed",
        Some(step.number),
        json!({ "node": step.node_id, "attempt": step.attempt, "error": failure }),
    );
    let goes_on = common.on_error == OnError::Continue;
    End {
        status: StepStatus::Failed,
        output: goes_on.then(|| json!({ "error": failure })),
        error: Some(failure.document()),
        prior_attempts: None,
        next: if goes_on { Next::Go } else { Next::Fail(failure) },
    }
}

/// What follows a step's end.
enum Next {
    Go,
    Retry(DateTime<Utc>),
    Fail(Failure),
}

fn proceed(mut turn: Turn<'_, '_>, job: &Job, next: Next) -> Result<()> {
    let failure = match next {
        Next::Retry(due) => return turn.close(&JobEnd::Retry(job, due)).map(drop),
        Next::Fail(failure) => Some(failure),
        Next::Go => {
            turn.run.open_steps = (turn.run.open_steps - 1).max(0);
            if turn.run.cancel_requested_at.is_some() {
                turn.cancel()?;
                return turn.close(&JobEnd::Finish(job)).map(drop);
            }
            match turn.run.open_steps {
                0 => tick::over(&mut turn)?.err(),
                _ => None,
            }
        }
    };
    match failure {
        Some(_) if turn.run.cancel_requested_at.is_some() => turn.cancel()?,
        Some(failure) => turn.fail(&failure)?,
        None => {}
    }
    turn.close(&JobEnd::Finish(job)).map(drop)
}

/// How long to wait before the next try: any time up to a limit that doubles, or what the provider asks for, up to ten minutes.
fn back_off(retry: Retry, attempt: i32, asked: Option<Wait>) -> Wait {
    if let Some(asked) = asked {
        return asked.min(Wait::from_secs(600));
    }
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
    let most = retry
        .initial_ms
        .saturating_mul(1 << doublings)
        .min(retry.max_ms.min(128_000));
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    Wait::from_millis(most * u64::from(u32::from_le_bytes(bytes)) / u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_follow_the_provider() {
        let retry = Retry {
            attempts: 10,
            initial_ms: 500,
            max_ms: 128_000,
        };
        for (attempt, most) in [(1, 500), (2, 1_000), (5, 8_000), (10, 128_000), (1_000, 128_000)] {
            for _ in 0..50 {
                assert!(back_off(retry, attempt, None) <= Wait::from_millis(most));
            }
        }
        assert_eq!(back_off(retry, 1, Some(Wait::from_secs(7))), Wait::from_secs(7));
        assert_eq!(back_off(retry, 1, Some(Wait::from_secs(9_999))), Wait::from_secs(600));
    }
}
