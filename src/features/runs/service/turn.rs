//! One transaction's work on one run: its locked row, and everything that is written and queued when it ends.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::super::{
    model::{
        RUN_CANCELLED, RUN_COMPLETED, RUN_FAILED, RUN_WAITING, Run, Status, StepId,
        rows::{Failure, NewEvent, Row, StepRow},
    },
    queries,
};
use crate::{
    features::{agents::plan::Plan, usage},
    kernel::{
        access,
        db::Tenant,
        error::Result,
        id::JobId,
        jobs::{self, Job, Lane, OnExists, Push},
        outbox,
    },
};

/// What a step's job is called.
pub(in crate::features::runs) const STEP: &str = "run.step";
/// What the job is called that ends a run whose time ran out.
pub(in crate::features::runs) const CLOCK: &str = "run.clock";

/// What the job is called that removes the contents of runs, one a workspace.
pub(in crate::features::runs) const PURGE: &str = "run.purge";

/// How soon a step is looked at again whose worker was told to stop. A job that is not due has no place in the queue, which may be full.
const SOON: Duration = Duration::seconds(1);

/// How long the contents of a run are kept where the plan says nothing, in days.
const PAYLOAD_DAYS: i64 = 30;

/// What becomes of the job that this transaction was done for.
pub(super) enum JobEnd<'a> {
    /// There is none, or it goes on.
    Keep,
    /// It is done.
    Finish(&'a Job),
    /// It is done again then.
    Retry(&'a Job, DateTime<Utc>),
}

/// One transaction's work on one run.
pub(super) struct Turn<'t, 'c> {
    pub(super) tx: &'t mut Tenant<'c>,
    pub(super) run: Row,
    pub(super) plan: Arc<Plan>,
    pub(super) now: DateTime<Utc>,
    before: Status,
    events: Vec<NewEvent>,
    /// Steps to be queued.
    pub(super) queued: Vec<StepId>,
    /// Steps for which something is held while their run stops, with the epoch of their worker. It may be lost, and what waited of the run is
    /// dropped: whoever gets the step's job after that finds what was not charged.
    pub(super) held: Vec<(StepId, i64)>,
    /// When the clock must look at the run again.
    pub(super) alarm: Option<DateTime<Utc>>,
}

impl<'t, 'c> Turn<'t, 'c> {
    /// Begins with a run that is locked, or that this transaction made.
    pub(super) fn of(tx: &'t mut Tenant<'c>, run: Row, plan: Arc<Plan>) -> Result<Turn<'t, 'c>> {
        let now = tx.now()?;
        Ok(Turn {
            before: run.status,
            tx,
            run,
            plan,
            now,
            events: Vec::new(),
            queued: Vec::new(),
            held: Vec::new(),
            alarm: None,
        })
    }

    /// Notes what happened; the run's lock makes the numbers gapless and in the order of the commits.
    pub(super) fn event(&mut self, kind: &'static str, step: Option<i32>, data: Value) {
        self.run.event_seq += 1;
        self.events.push(NewEvent {
            run_id: self.run.id,
            seq: self.run.event_seq,
            kind,
            step_number: step,
            data,
        });
    }

    /// Moves the run on. The clocks follow.
    pub(super) fn go(&mut self, status: Status) {
        debug_assert!(self.run.status.leads_to(status), "{} > {status}", self.run.status);
        if let Some(since) = self.run.active_since.take() {
            self.run.active_ms += (self.now - since).num_milliseconds().max(0);
        }
        self.run.status = status;
        self.run.wait_reason = None;
        if status == Status::Running {
            self.run.active_since = Some(self.now);
            if self.run.started_at.is_none() {
                self.run.started_at = Some(self.now);
                self.event("run.started", None, json!({}));
            } else {
                self.event("run.resumed", None, json!({}));
            }
        }
        if status.is_final() {
            self.run.finished_at = Some(self.now);
            self.run.open_steps = 0;
            let days = self.tx.scope().plan().entitlements.contains_key("payload_days");
            let days = days
                .then(|| self.tx.scope().plan().limit("payload_days"))
                .flatten()
                .unwrap_or(PAYLOAD_DAYS);
            self.run.payload_until = Some(self.now + Duration::days(days.clamp(1, 3_650)));
        }
    }

    /// The run waits; no step of it is pending or at work.
    pub(super) fn wait(&mut self, reason: &str) {
        self.go(Status::Waiting);
        self.run.wait_reason = Some(reason.to_owned());
        self.event("run.waiting", None, json!({ "reason": reason }));
    }

    /// Ends the run badly: whatever is open of it is stopped.
    pub(super) fn fail(&mut self, failure: &Failure) -> Result<()> {
        self.stop_steps()?;
        self.go(Status::Failed);
        self.run.error = Some(failure.document());
        self.event("run.failed", None, json!({ "error": failure.document() }));
        Ok(())
    }

    /// Stops the run.
    pub(super) fn cancel(&mut self) -> Result<()> {
        self.stop_steps()?;
        self.go(Status::Cancelled);
        self.event("run.cancelled", None, json!({}));
        Ok(())
    }

    fn stop_steps(&mut self) -> Result<()> {
        self.held = queries::steps::stop(self.tx.conn(), self.run.id, self.now)?;
        Ok(())
    }

    /// Adds an entry to the ledger and to the sums of run and step. Answers what it costs, in micros.
    pub(super) fn spend(&mut self, step: &mut StepRow, entry: &usage::Entry) -> Result<i64> {
        let difference = usage::record(self.tx, entry)?;
        self.run.add(&difference);
        step.add(&difference);
        let cost = difference.cost_micros;
        self.event(
            "usage.recorded",
            None,
            json!({ "kind": entry.kind, "model": entry.model, "cost_micros": cost }),
        );
        Ok(cost)
    }

    /// Writes everything: the trail, the run, the events for others, and last the queue, whose rows are hot.
    pub(super) fn close(self, job: &JobEnd<'_>) -> Result<Run> {
        let Turn {
            tx,
            run,
            now,
            before,
            events,
            queued,
            held,
            alarm,
            ..
        } = self;
        if !events.is_empty() {
            queries::trail::add_events(tx.conn(), &events)?;
        }
        let run = queries::save(tx.conn(), &run)?;
        let group = run.id.uuid();
        let payload_until = run.payload_until;
        let (priority, status, is_over) = (run.priority as i16, run.status, run.status.is_final());
        let shown = shown(tx, run)?;
        let push = |lane, kind, job_id| Push {
            priority,
            group_id: group,
            ..Push::now(lane, kind, job_id)
        };
        if let Some(event) = announced(status).filter(|_| before != status) {
            outbox::emit(tx, event.of(shown.id, &shown))?;
        }
        if is_over {
            // Drops what waits of the run, its clock included, and asks the workers to stop what they have.
            jobs::cancel(tx, group)?;
        }
        let step = |step: StepId| push(Lane::Steps, STEP, JobId(step.uuid()));
        push_steps(tx, step, queued, held, now)?;
        match job {
            JobEnd::Keep => {}
            JobEnd::Finish(job) => jobs::finish(tx, job)?,
            JobEnd::Retry(job, due) => jobs::retry(tx, job, Some(*due))?,
        }
        if let Some(due) = alarm.filter(|_| !is_over) {
            let clock = Push {
                due: Some(due.max(now)),
                on_exists: OnExists::Sooner,
                ..push(Lane::System, CLOCK, JobId::of(group, CLOCK))
            };
            jobs::push(tx, clock)?;
        }
        if let Some(due) = payload_until.filter(|_| before != status) {
            purge_at(tx, due)?;
        }
        Ok(shown)
    }
}

/// Queues steps that are new, and in a moment once more those for which something is held.
fn push_steps(
    tx: &mut Tenant<'_>,
    job: impl Fn(StepId) -> Push,
    new: Vec<StepId>,
    held: Vec<(StepId, i64)>,
    now: DateTime<Utc>,
) -> Result<()> {
    for step in new {
        let first = Push {
            floor_epoch: Some(0),
            ..job(step)
        };
        jobs::push(tx, first)?;
    }
    for (step, epoch) in held {
        let again = Push {
            due: Some(now + SOON),
            floor_epoch: Some(epoch),
            ..job(step)
        };
        jobs::push(tx, again)?;
    }
    Ok(())
}

/// Has the contents of the workspace's runs removed when the first of them are due.
fn purge_at(tx: &mut Tenant<'_>, due: DateTime<Utc>) -> Result<()> {
    let purge = Push::now(Lane::System, PURGE, JobId::of(tx.workspace().uuid(), PURGE));
    jobs::push(
        tx,
        Push {
            due: Some(due),
            on_exists: OnExists::Sooner,
            ..purge
        },
    )
}

/// The event that others hear of when a run comes to this state.
fn announced(status: Status) -> Option<outbox::EventType<Run>> {
    match status {
        Status::Completed => Some(RUN_COMPLETED),
        Status::Failed => Some(RUN_FAILED),
        Status::Cancelled => Some(RUN_CANCELLED),
        Status::Waiting => Some(RUN_WAITING),
        Status::Pending | Status::Running => None,
    }
}

/// The run as callers see it.
pub(super) fn shown(tx: &mut Tenant<'_>, row: Row) -> Result<Run> {
    let authors = access::labels(tx, [(row.created_by_type.as_str(), row.created_by_id)].into_iter())?;
    Ok(Run::shown(row, &authors))
}
