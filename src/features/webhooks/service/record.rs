//! What became of attempts: recorded in one transaction, under the lease that made them.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    backlog, endpoints,
    outcome::{Verdict, delay},
    pump::next,
};
use crate::{
    features::webhooks::{
        model::{
            Attempt, AttemptId, DELIVERY_EXHAUSTED, DELIVERY_FAILING, DELIVERY_RECOVERED, Delivery, DeliveryId,
            DeliveryState, DisabledReason, Endpoint, EndpointId,
        },
        queries::{self, Marks, Outcome, Pump, Taken},
    },
    kernel::{
        db::Tenant,
        error::{Error, Result},
        jobs::{self, Fenced, Job},
        outbox::{self, EventType},
    },
};

/// What became of a batch.
pub struct Returned {
    pub sent: Vec<Sent>,
    /// What was not tried, because its receiver's host gets too much already.
    pub held_back: Vec<DeliveryId>,
    /// How long that is to wait.
    pub wait: std::time::Duration,
}

/// One attempt, as it went.
pub struct Sent {
    /// Made with the attempt, so that it is written down once.
    pub id: AttemptId,
    pub delivery: Taken,
    pub verdict: Verdict,
    pub started_at: DateTime<Utc>,
    pub took: std::time::Duration,
    pub status: Option<u16>,
    pub error: Option<&'static str>,
    pub request_headers: Value,
    pub response_headers: Value,
    pub response_body: Option<String>,
    pub ip: Option<String>,
}

impl Sent {
    /// An attempt that nobody answered, until more is known.
    pub fn unanswered(delivery: Taken, started_at: DateTime<Utc>, request_headers: Value) -> Sent {
        Sent {
            id: AttemptId::new(started_at),
            delivery,
            verdict: Verdict::Failed {
                busy: false,
                hint: None,
            },
            started_at,
            took: std::time::Duration::ZERO,
            status: None,
            error: None,
            request_headers,
            response_headers: serde_json::json!([]),
            response_body: None,
            ip: None,
        }
    }

    /// The attempt's row.
    pub fn attempt(&self) -> Attempt {
        Attempt {
            id: self.id,
            delivery_id: self.delivery.id,
            n: self.delivery.attempts_total,
            started_at: self.started_at,
            duration_ms: i32::try_from(self.took.as_millis()).unwrap_or(i32::MAX),
            http_status: self.status.map(i32::from),
            error: self.error.map(str::to_owned),
            request_headers: self.request_headers.clone(),
            response_headers: self.response_headers.clone(),
            response_body: self.response_body.clone(),
            ip: self.ip.clone(),
        }
    }
}

/// Records a batch, whatever happened to the endpoint meanwhile, as long as the lease is this one. True if the pump may go on; false if the
/// job was ended. Done twice, because the answer to the first time was lost, it counts once.
pub fn record(tx: &mut Tenant<'_>, job: &Job, id: EndpointId, batch: &Returned) -> Result<bool> {
    let pump = queries::lock_pump(tx.conn(), id)?;
    if pump.is_some_and(|pump| pump.epoch != job.epoch) {
        return Err(Error::Broken(Fenced.into()));
    }
    let now = tx.now()?;
    let attempts: Vec<_> = batch.sent.iter().map(Sent::attempt).collect();
    let is_new = queries::insert_attempts(tx.conn(), &attempts)? == attempts.len();
    let due = now + Duration::from_std(batch.wait).unwrap_or_default();
    queries::put_back(tx.conn(), &batch.held_back, job.epoch, due)?;
    let Some(mut pump) = pump else {
        return gone(tx, job, id, batch).map(|()| false);
    };
    let endpoint = queries::endpoint(tx.conn(), id)?;
    if !is_new {
        return goes_on(tx, job, &endpoint, &pump, now);
    }
    let (mut marks, mut off) = (queries::marks(tx.conn(), id)?, None);
    for sent in &batch.sent {
        let mut outcome = outcome(sent, now);
        if !endpoint.enabled {
            outcome.ends(DeliveryState::Skipped, now);
        }
        if let Some(delivery) = queries::record(tx.conn(), sent.delivery.id, job.epoch, &outcome)? {
            off = off.or(mark(&mut marks, sent, &outcome, now));
            tell(tx, sent, &delivery)?;
        }
    }
    let ok = count(&mut pump, &batch.sent, now);
    if endpoint.once && ok > 0 {
        off = off.or(Some(DisabledReason::Once));
    }
    let Some(reason) = off else {
        queries::set_marks(tx.conn(), id, &marks)?;
        if !endpoint.enabled && !batch.held_back.is_empty() {
            backlog::skip(tx, id, &mut pump)?;
        }
        queries::set_pump(tx.conn(), id, &pump)?;
        return goes_on(tx, job, &endpoint, &pump, now);
    };
    // Locked whole before anything of it is changed: a lock is not made stronger while others queue up for the row.
    let endpoint = queries::lock_endpoint(tx.conn(), id)?;
    queries::set_marks(tx.conn(), id, &marks)?;
    endpoints::switch_off(tx, &mut pump, &endpoint, reason)?;
    if !endpoint.enabled && !batch.held_back.is_empty() {
        backlog::skip(tx, id, &mut pump)?;
    }
    queries::set_pump(tx.conn(), id, &pump)?;
    match pump.is_untidy() {
        true => jobs::retry_in(tx, job, None, pump.lane())?,
        false => jobs::finish(tx, job)?,
    }
    Ok(false)
}

/// The endpoint was deleted meanwhile: what arrived has arrived, and the rest is cancelled.
fn gone(tx: &mut Tenant<'_>, job: &Job, id: EndpointId, batch: &Returned) -> Result<()> {
    let now = tx.now()?;
    for sent in &batch.sent {
        let mut outcome = outcome(sent, now);
        outcome.ends(DeliveryState::Cancelled, now);
        queries::record(tx.conn(), sent.delivery.id, job.epoch, &outcome)?;
    }
    match backlog::cancel(tx, id, job.epoch)? {
        true => jobs::retry(tx, job, None),
        false => jobs::finish(tx, job),
    }
}

/// Counts a batch in the pump's throttle and breaker. Answers how many arrived.
fn count(pump: &mut Pump, batch: &[Sent], now: DateTime<Utc>) -> i32 {
    let (mut ok, mut bad) = (0, 0);
    for sent in batch {
        if sent.verdict == Verdict::Delivered {
            (ok, pump.failed_in_row) = (ok + 1, 0);
        } else {
            (bad, pump.failed_in_row) = (bad + 1, pump.failed_in_row + 1);
        }
        if matches!(sent.verdict, Verdict::Failed { busy: true, .. }) {
            pump.slow_until = Some(now + Duration::minutes(5));
        }
    }
    pump.set_circuit(pump.circuit().after(ok, bad, now));
    ok
}

/// Whether there is more to do at once; otherwise ends the job until there is.
fn goes_on(tx: &mut Tenant<'_>, job: &Job, endpoint: &Endpoint, pump: &Pump, now: DateTime<Utc>) -> Result<bool> {
    let next = next(tx, endpoint, pump, now)?.map(|next| next.max(pump.breaker_until.unwrap_or(next)));
    match next {
        _ if pump.is_untidy() => Ok(true),
        Some(next) if next <= now => Ok(true),
        Some(next) => {
            jobs::retry_in(tx, job, Some(next), pump.lane())?;
            Ok(false)
        }
        None => {
            jobs::finish(tx, job)?;
            Ok(false)
        }
    }
}

/// What an attempt makes of its delivery.
pub fn outcome(sent: &Sent, now: DateTime<Utc>) -> Outcome {
    let random = (Uuid::new_v4().as_u128() & 0xffff) as f64 / 65_535.0;
    let next = match sent.verdict {
        Verdict::Failed { hint, .. } => delay(sent.delivery.attempts, hint, random).map(|delay| now + delay),
        _ => None,
    };
    let state = match sent.verdict {
        Verdict::Delivered => DeliveryState::Delivered,
        // The receiver took this one, and wants no more.
        Verdict::Disable(DisabledReason::Receiver) if sent.status.is_some_and(|status| status < 300) => {
            DeliveryState::Delivered
        }
        Verdict::Failed { .. } if next.is_some() => DeliveryState::Pending,
        _ => DeliveryState::Exhausted,
    };
    Outcome {
        state,
        next,
        status: sent.status.map(i32::from),
        error: sent.error.map(str::to_owned),
        finished: state.is_final().then_some(now),
    }
}

/// Keeps an endpoint's record of failures, and says whether it is enough.
fn mark(marks: &mut Marks, sent: &Sent, outcome: &Outcome, now: DateTime<Utc>) -> Option<DisabledReason> {
    if let Verdict::Disable(reason) = sent.verdict {
        return Some(reason);
    }
    if sent.verdict == Verdict::Delivered {
        *marks = Marks {
            first_failure_at: None,
            last_failure_at: None,
            last_success_at: Some(now),
            exhausted_in_row: 0,
            refused_in_row: 0,
        };
        return None;
    }
    let first = *marks.first_failure_at.get_or_insert(now);
    marks.last_failure_at = Some(now);
    marks.refused_in_row = match sent.error {
        Some("target_not_allowed") => marks.refused_in_row + 1,
        _ => 0,
    };
    if outcome.state == DeliveryState::Exhausted {
        marks.exhausted_in_row += 1;
    }
    if marks.refused_in_row >= 3 {
        return Some(DisabledReason::TargetNotAllowed);
    }
    // By time, not by count: an hour's outage with much traffic disables nothing.
    (now - first >= Duration::days(5) || marks.exhausted_in_row >= 10).then_some(DisabledReason::Failing)
}

/// Tells the other endpoints. What these events' own deliveries go through is told to nobody.
fn tell(tx: &mut Tenant<'_>, sent: &Sent, delivery: &Delivery) -> Result<()> {
    if delivery.event_type.starts_with("webhook_") {
        return Ok(());
    }
    let kind: Option<EventType<Delivery>> = match delivery.state {
        DeliveryState::Delivered if sent.delivery.attempts > 4 => Some(DELIVERY_RECOVERED),
        DeliveryState::Exhausted => Some(DELIVERY_EXHAUSTED),
        DeliveryState::Pending if sent.delivery.attempts == 4 => Some(DELIVERY_FAILING),
        _ => None,
    };
    if let Some(kind) = kind {
        outbox::emit(tx, kind.of(delivery.id, delivery))?;
    }
    Ok(())
}

/// Names and values of headers, as the log keeps them.
pub fn pairs<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    headers.into_iter().map(|(name, value)| json!([name, value])).collect()
}
