//! What a pump sends next: loaded in one transaction, under its lease.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Duration, Utc};

use super::{backlog, endpoints, outcome::allowance};
use crate::{
    features::webhooks::{
        model::{DeliveryState, DisabledReason, Endpoint, EndpointId, Ordering, Payload},
        queries::{self, Pump, Taken},
    },
    kernel::{
        crypto::Keyring,
        db::Tenant,
        error::{Error, Result},
        jobs::{self, Fenced, Job},
        outbox::{self, Catalogue, Event},
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

/// What letters are written with.
#[derive(Clone)]
pub struct Writing {
    /// Opens the endpoints' secrets and headers.
    pub keyring: Arc<Keyring>,
    /// Every type of event.
    pub catalogue: Catalogue,
}

/// Takes what is due. One that is tired queues up behind the others.
pub fn load(tx: &mut Tenant<'_>, writing: &Writing, job: &Job, id: EndpointId, tired: bool) -> Result<Next> {
    let Some(mut pump) = queries::lock_pump(tx.conn(), id)? else {
        return match backlog::cancel(tx, id, job.epoch)? {
            true => jobs::retry(tx, job, None).map(|()| Next::Rest),
            false => jobs::finish(tx, job).map(|()| Next::Rest),
        };
    };
    if pump.epoch > job.epoch {
        return Err(Error::Broken(Fenced.into()));
    }
    pump.epoch = job.epoch;
    backlog::tidy(tx, id, &mut pump)?;
    let (now, endpoint) = (tx.now()?, queries::endpoint(tx.conn(), id)?);
    if endpoint.enabled && endpoint.expires_at.is_some_and(|end| end <= now) {
        let endpoint = queries::lock_endpoint(tx.conn(), id)?;
        endpoints::switch_off(tx, &mut pump, &endpoint, DisabledReason::Expired)?;
        return leave(tx, job, id, &pump, None);
    }
    if !endpoint.enabled {
        // A dead sender left it under way, and nobody will send it.
        if !pump.is_untidy() && !queries::left(tx.conn(), id, pump.epoch, 1)?.is_empty() {
            backlog::skip(tx, id, &mut pump)?;
        }
        return leave(tx, job, id, &pump, None);
    }
    if pump.is_untidy() {
        return leave(tx, job, id, &pump, Some(now));
    }
    if tired || pump.breaker_until.is_some_and(|until| until > now) {
        return leave(tx, job, id, &pump, Some(pump.breaker_until.unwrap_or(now)));
    }
    let rate = match pump.slow_until {
        Some(until) if until > now => (endpoint.rate_per_s / 2).max(1),
        _ => endpoint.rate_per_s,
    };
    let alone = pump.breaker_until.is_some() || endpoint.once || endpoint.ordering == Ordering::HeadOfLine;
    let wanted = if alone {
        1
    } else {
        i64::from(endpoint.max_in_flight).min(MOST)
    };
    let (room, _) = allowance(pump.tat, now, rate, wanted);
    let taken = take(tx, &endpoint, &pump, now, room)?;
    if taken.is_empty() {
        let next = next(tx, &endpoint, &pump, now)?;
        // The throttle lets nothing through yet, whatever is due.
        let soonest = now + Duration::milliseconds(if room == 0 { 100 } else { 0 });
        return leave(tx, job, id, &pump, next.map(|next| next.max(soonest)));
    }
    pump.tat = allowance(pump.tat, now, rate, taken.len() as i64).1;
    queries::forget_secrets(tx.conn(), id, now)?;
    queries::set_pump(tx.conn(), id, &pump)?;
    Ok(Next::Send(Box::new(batch(tx, writing, endpoint, taken, job.epoch)?)))
}

/// Sends nothing: the job comes back when it is due, or ends. What there is to tidy is due at once.
fn leave(tx: &mut Tenant<'_>, job: &Job, id: EndpointId, pump: &Pump, due: Option<DateTime<Utc>>) -> Result<Next> {
    queries::set_pump(tx.conn(), id, pump)?;
    let due = if pump.is_untidy() { Some(tx.now()?) } else { due };
    match due {
        Some(due) => jobs::retry_in(tx, job, Some(due), pump.lane())?,
        None => jobs::finish(tx, job)?,
    }
    Ok(Next::Rest)
}

/// What was first tried before then holds up a line no more; none if it does until it is given up.
fn horizon(endpoint: &Endpoint, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (endpoint.max_hold_seconds > 0).then(|| now - Duration::seconds(endpoint.max_hold_seconds.into()))
}

/// The next deliveries: what an older lease left under way, then what is due. Of a line, what was overtaken or else its head.
fn take(tx: &mut Tenant<'_>, endpoint: &Endpoint, pump: &Pump, now: DateTime<Utc>, room: i64) -> Result<Vec<Taken>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let mut ids = queries::left(tx.conn(), endpoint.id, pump.epoch, room)?;
    let room = room - ids.len() as i64;
    if endpoint.ordering == Ordering::None {
        ids.extend(queries::due(tx.conn(), endpoint.id, now, room)?);
    } else if ids.is_empty() {
        let horizon = horizon(endpoint, now);
        let overtaken = match horizon {
            Some(horizon) => queries::overtaken(tx.conn(), endpoint.id, horizon)?,
            None => None,
        };
        let ready = |(id, due, _): queries::Waiting| (due <= now).then_some(id);
        let first = match overtaken.and_then(ready) {
            Some(first) => Some(first),
            None => queries::head(tx.conn(), endpoint.id, horizon)?.and_then(ready),
        };
        ids.extend(first);
    }
    Ok(queries::set_in_flight(tx.conn(), &ids, pump.epoch, now)?)
}

/// When there is something to do; `None` if nothing waits. An attempt may be made, which in a line is when its head or one that it was
/// overtaken by is due, or when the head has held up the others for long enough; or the endpoint ends.
pub fn next(
    tx: &mut Tenant<'_>,
    endpoint: &Endpoint,
    pump: &Pump,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    if !queries::left(tx.conn(), endpoint.id, pump.epoch, 1)?.is_empty() {
        return Ok(Some(now));
    }
    let mut next = Vec::from_iter(endpoint.expires_at);
    if endpoint.ordering == Ordering::None {
        next.extend(queries::next_due(tx.conn(), endpoint.id)?);
        return Ok(next.into_iter().min());
    }
    let horizon = horizon(endpoint, now);
    if let Some((_, due, begun)) = queries::head(tx.conn(), endpoint.id, horizon)? {
        next.push(due);
        if let (Some(begun), Some(_)) = (begun, horizon) {
            next.push(begun + Duration::seconds(endpoint.max_hold_seconds.into()));
        }
    }
    if let Some(horizon) = horizon {
        let overtaken = queries::overtaken(tx.conn(), endpoint.id, horizon)?;
        next.extend(overtaken.map(|(_, due, _)| due));
    }
    Ok(next.into_iter().min())
}

/// The letters of deliveries. One whose event is gone is skipped.
fn batch(tx: &mut Tenant<'_>, writing: &Writing, endpoint: Endpoint, taken: Vec<Taken>, epoch: i64) -> Result<Batch> {
    let ids: Vec<_> = taken.iter().map(|delivery| delivery.event_id).collect();
    let events: BTreeMap<_, _> = outbox::find_all(tx, &ids)?
        .into_iter()
        .map(|event| (event.id, event))
        .collect();
    let mut letters = Vec::new();
    for delivery in taken {
        match events.get(&delivery.event_id) {
            Some(event) => letters.push(Letter {
                body: body(event, endpoint.payload, &writing.catalogue)?,
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
        secrets: endpoints::signing(tx, &writing.keyring, endpoint.id)?,
        headers: endpoints::extra_headers(tx, &writing.keyring, endpoint.id)?,
        letters,
        endpoint,
    })
}

/// The bytes that are signed and sent.
fn body(event: &Event, payload: Payload, catalogue: &Catalogue) -> Result<Vec<u8>> {
    let mut envelope = event.envelope();
    // A type that this process does not know any more is told as it was written.
    let known = catalogue.iter().find(|known| known.name == event.kind);
    if let (true, Some(known)) = (event.thin || payload == Payload::Thin, known) {
        envelope["data"] = known.thin(&event.data);
        envelope["thin"] = true.into();
        if let Some(envelope) = envelope.as_object_mut() {
            envelope.remove("previous");
        }
    }
    Ok(serde_json::to_vec(&envelope).map_err(anyhow::Error::from)?)
}
