//! What a pump sends next: loaded in one transaction, under its lease.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::{endpoints, outcome::allowance};
use crate::{
    features::webhooks::{
        model::{DeliveryState, DisabledReason, Endpoint, EndpointId, Ordering, Payload},
        queries::{self, Pump, Taken},
    },
    kernel::{
        crypto::Keyring,
        db::Tenant,
        error::{Error, Result},
        jobs::{self, Fenced, Job, Lane},
        outbox::{self, Event},
        secret::Secret,
    },
};

/// What there is to do.
pub enum Next {
    /// These are to be sent now.
    Send(Box<Batch>),
    /// Nothing; the job was ended.
    Rest,
}

/// What is sent together.
pub struct Batch {
    pub endpoint: Endpoint,
    pub secrets: Vec<Secret<Vec<u8>>>,
    pub headers: BTreeMap<String, String>,
    pub letters: Vec<Letter>,
}

/// One delivery and its body.
pub struct Letter {
    pub delivery: Taken,
    pub body: Vec<u8>,
    /// When the event happened.
    pub event_at: DateTime<Utc>,
}

/// At most so many are under way at once, whatever the endpoint allows.
const MOST: i64 = 50;

/// Takes what is due. With `until` passed, the pump queues up behind the others.
pub fn load(tx: &mut Tenant<'_>, keyring: &Keyring, job: &Job, id: EndpointId, tired: bool) -> Result<Next> {
    let Some(mut pump) = queries::lock_pump(tx.conn(), id)? else {
        jobs::finish(tx, job)?;
        return Ok(Next::Rest);
    };
    if pump.epoch > job.epoch {
        return Err(Error::Broken(Fenced.into()));
    }
    pump.epoch = job.epoch;
    let (now, endpoint) = (tx.now()?, queries::endpoint(tx.conn(), id)?);
    if !endpoint.enabled || endpoint.expires_at.is_some_and(|end| end <= now) {
        if endpoint.enabled {
            endpoints::switch_off(tx, &endpoint, DisabledReason::Expired)?;
        }
        pump.pending = 0;
        queries::set_pump(tx.conn(), id, &pump)?;
        jobs::finish(tx, job)?;
        return Ok(Next::Rest);
    }
    let probing = pump.breaker_until.is_some();
    if tired || pump.breaker_until.is_some_and(|until| until > now) {
        queries::set_pump(tx.conn(), id, &pump)?;
        jobs::retry_in(tx, job, pump.breaker_until, lane(&pump))?;
        return Ok(Next::Rest);
    }
    let rate = match pump.slow_until {
        Some(until) if until > now => (endpoint.rate_per_s / 2).max(1),
        _ => endpoint.rate_per_s,
    };
    let wanted = if probing {
        1
    } else {
        i64::from(endpoint.max_in_flight).min(MOST)
    };
    let (room, _) = allowance(pump.tat, now, rate, wanted);
    let taken = take(tx, &endpoint, &pump, now, room)?;
    if taken.is_empty() {
        return rest(tx, job, id, pump, now, room);
    }
    pump.tat = allowance(pump.tat, now, rate, taken.len() as i64).1;
    queries::set_pump(tx.conn(), id, &pump)?;
    Ok(Next::Send(Box::new(batch(tx, keyring, endpoint, taken, job.epoch)?)))
}

/// The next deliveries: any that are due, or the oldest alone.
fn take(tx: &mut Tenant<'_>, endpoint: &Endpoint, pump: &Pump, now: DateTime<Utc>, room: i64) -> Result<Vec<Taken>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    if endpoint.ordering == Ordering::HeadOfLine
        && let Some((first, due, begun)) = queries::oldest(tx.conn(), endpoint.id)?
    {
        let hold = Duration::seconds(endpoint.max_hold_seconds.into());
        let held = hold.is_zero() || begun.is_none_or(|begun| now - begun < hold);
        if due.is_none_or(|due| due <= now) {
            return Ok(queries::set_in_flight(tx.conn(), &[first], pump.epoch, now)?);
        }
        if held {
            return Ok(Vec::new());
        }
        return Ok(queries::take(tx.conn(), endpoint.id, pump.epoch, now, 1)?);
    }
    Ok(queries::take(tx.conn(), endpoint.id, pump.epoch, now, room)?)
}

/// Nothing to send now: counts what is open, in case the counter drifted, and comes back when the next is due.
fn rest(tx: &mut Tenant<'_>, job: &Job, id: EndpointId, mut pump: Pump, now: DateTime<Utc>, room: i64) -> Result<Next> {
    let (open, next) = queries::open(tx.conn(), id)?;
    pump.pending = open as i32;
    queries::set_pump(tx.conn(), id, &pump)?;
    if open == 0 {
        jobs::finish(tx, job)?;
        return Ok(Next::Rest);
    }
    let throttled = (room == 0).then(|| now + Duration::milliseconds(100));
    let due = next.max(throttled).unwrap_or(now + Duration::seconds(1));
    jobs::retry_in(tx, job, Some(due), lane(&pump))?;
    Ok(Next::Rest)
}

/// Where the pump waits.
pub fn lane(pump: &Pump) -> Lane {
    if pump.is_slow() {
        Lane::DeliveriesSlow
    } else {
        Lane::Deliveries
    }
}

/// The letters of deliveries. One whose event is gone is skipped.
fn batch(tx: &mut Tenant<'_>, keyring: &Keyring, endpoint: Endpoint, taken: Vec<Taken>, epoch: i64) -> Result<Batch> {
    let ids: Vec<_> = taken.iter().map(|delivery| delivery.event_id).collect();
    let events: BTreeMap<_, _> = outbox::find_all(tx, &ids)?
        .into_iter()
        .map(|event| (event.id, event))
        .collect();
    let mut letters = Vec::new();
    for delivery in taken {
        match events.get(&delivery.event_id) {
            Some(event) => letters.push(Letter {
                body: body(event, endpoint.payload)?,
                event_at: event.created_at,
                delivery,
            }),
            None => {
                let now = tx.now()?;
                let skipped = queries::Outcome {
                    state: DeliveryState::Skipped,
                    next: None,
                    status: None,
                    error: None,
                    finished: Some(now),
                };
                queries::record(tx.conn(), delivery.id, epoch, &skipped)?;
            }
        }
    }
    Ok(Batch {
        secrets: endpoints::signing(tx, keyring, endpoint.id)?,
        headers: endpoints::extra_headers(tx, keyring, endpoint.id)?,
        letters,
        endpoint,
    })
}

/// The bytes that are signed and sent.
fn body(event: &Event, payload: Payload) -> Result<Vec<u8>> {
    let mut envelope = event.envelope();
    if payload == Payload::Thin {
        envelope["data"] = thin(&event.data);
        envelope["thin"] = true.into();
        if let Some(envelope) = envelope.as_object_mut() {
            envelope.remove("previous");
        }
    }
    Ok(serde_json::to_vec(&envelope).map_err(anyhow::Error::from)?)
}

fn thin(data: &Value) -> Value {
    json!({ "id": data["id"], "version": data["version"] })
}
