//! The pump: load what is due, send it, record what came back. The lease of its job makes it the endpoint's only sender.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use uuid::Uuid;

use super::{
    model::{DeliveryId, EndpointId},
    queries::Taken,
    service::{
        fan_out,
        outcome::judge,
        pump::{self, Batch, Letter, Next, Writing},
        record::{self, Returned, Sent, pairs},
        sign,
    },
};
use crate::kernel::{
    clock::Clock,
    crypto::Keyring,
    error::Result,
    http::{
        limits::Limits,
        outbound::{Answer, Outbound, Outgoing},
    },
    id::{Id, WorkspaceId},
    jobs::{JobContext, Lane, Runner, retry},
    metrics,
    outbox::{Catalogue, Relay},
    secret::Secret,
};

/// What the job is called.
pub const KIND: &str = "webhook.pump";

/// A pump works so long in a row, then queues up behind the others.
const SHIFT: Duration = Duration::from_secs(10);
/// For so long a letter waits here until its receiver's host may get it; then it is put back.
const AT_THE_DOOR: Duration = Duration::from_secs(2);
/// So much of an answer is kept.
const KEPT: usize = 4 * 1_024;

/// Follows events, and sends in this process.
pub fn register(
    runner: &mut Runner,
    relay: &mut Relay,
    outbound: &Outbound,
    limits: &Limits,
    keyring: &Arc<Keyring>,
    catalogue: Catalogue,
) {
    let writing = Writing {
        keyring: keyring.clone(),
        catalogue: catalogue.clone(),
    };
    relay.hand_to("webhooks", move |tx, events| fan_out::fan_out(tx, &catalogue, events));
    runner.at_once(Lane::Deliveries, 180);
    // A thousand dead servers delay only each other.
    runner.at_once(Lane::DeliveriesSlow, 76);
    for lane in [Lane::Deliveries, Lane::DeliveriesSlow] {
        let (outbound, limits, writing) = (outbound.clone(), limits.clone(), writing.clone());
        runner.on(KIND, lane, move |job| {
            run(job, outbound.clone(), limits.clone(), writing.clone())
        });
    }
    runner.when_given_up(KIND, rest);
}

async fn run(context: JobContext, outbound: Outbound, limits: Limits, writing: Writing) -> Result<()> {
    let id: EndpointId = Id::from_uuid(context.job.id.0);
    let begun = Instant::now();
    loop {
        let (job, writing) = (context.job.clone(), writing.clone());
        let tired = begun.elapsed() > SHIFT;
        let next = context
            .db
            .tenant(context.scope(), move |tx| pump::load(tx, &writing, &job, id, tired))
            .await?;
        let Next::Send(batch) = next else { return Ok(()) };
        let workspace = context.scope().workspace();
        let returned = send_all(&outbound, &limits, context.db.clock(), workspace, *batch).await;
        if !record_all(&context, id, Arc::new(returned)).await? {
            return Ok(());
        }
    }
}

/// Records what came back. Where the database has no time it is asked again: what arrived must not be sent twice for that.
async fn record_all(context: &JobContext, id: EndpointId, returned: Arc<Returned>) -> Result<bool> {
    let record = || {
        let (job, own) = (context.job.clone(), returned.clone());
        context
            .db
            .tenant(context.scope(), move |tx| record::record(tx, &job, id, &own))
    };
    context.insist(record).await
}

/// A pump that cost its worker the lease too often: it is tried again later, for the endpoint's events are still there.
async fn rest(context: JobContext) -> Result<()> {
    let job = context.job.clone();
    context
        .db
        .tenant(context.scope(), move |tx| {
            let due = tx.now()? + chrono::Duration::minutes(10);
            retry(tx, &job, Some(due))
        })
        .await
}

/// Sends a batch, all at once, as far as the receiver's host may have it. No transaction and no connection is held meanwhile.
async fn send_all(
    outbound: &Outbound,
    limits: &Limits,
    clock: &Clock,
    workspace: WorkspaceId,
    batch: Batch,
) -> Returned {
    let Batch {
        endpoint,
        secrets,
        headers,
        letters,
    } = batch;
    let (url, secrets, headers) = (endpoint.url.as_str(), &secrets, &headers);
    let at_once = letters.len().max(1);
    let fates: Vec<Result<Sent, DeliveryId>> = stream::iter(letters)
        .map(|letter| async move {
            let Letter {
                delivery,
                body,
                event_at,
            } = letter;
            if !let_through(limits, url, workspace).await {
                return Err(delivery.id);
            }
            if delivery.attempts_total == 1 {
                let waited = (clock.now() - event_at).to_std().unwrap_or_default();
                metrics::WEBHOOK_DELAY
                    .with_label_values(&["1"])
                    .observe(waited.as_secs_f64());
            }
            let head = Letterhead {
                url,
                secrets,
                headers,
                webhook_id: delivery.event_id.to_string(),
            };
            Ok(send(outbound, clock, head, delivery, body).await)
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let mut returned = Returned {
        sent: Vec::new(),
        held_back: Vec::new(),
        // Not all that wait for one host come back together.
        wait: AT_THE_DOOR.mul_f64(0.5 + f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0),
    };
    for fate in fates {
        match fate {
            Ok(sent) => returned.sent.push(sent),
            Err(delivery) => returned.held_back.push(delivery),
        }
    }
    returned
}

/// Waits a moment until the host of an address may get one more call. False: not so soon.
async fn let_through(limits: &Limits, url: &str, workspace: WorkspaceId) -> bool {
    let until = Instant::now() + AT_THE_DOOR;
    while let Some(wait) = limits
        .call_out(url, workspace)
        .await
        .refused()
        .and_then(|refused| refused.wait)
    {
        if Instant::now() + wait > until {
            return false;
        }
        tokio::time::sleep(wait).await;
    }
    true
}

/// What is the same for every attempt.
pub(super) struct Letterhead<'a> {
    pub url: &'a str,
    pub secrets: &'a [Secret<Vec<u8>>],
    pub headers: &'a BTreeMap<String, String>,
    pub webhook_id: String,
}

/// One attempt.
pub(super) async fn send(
    outbound: &Outbound,
    clock: &Clock,
    head: Letterhead<'_>,
    delivery: Taken,
    body: Vec<u8>,
) -> Sent {
    let started_at = clock.now();
    let headers = request_headers(&head, &delivery, started_at, &body);
    let shown = pairs(
        headers
            .iter()
            .filter(|(name, _)| !head.headers.keys().any(|own| own.eq_ignore_ascii_case(name.as_str())))
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())),
    );
    metrics::WEBHOOK_IN_FLIGHT.inc();
    let begun = Instant::now();
    let answer = outbound.send(Outgoing::post(head.url, headers, body)).await;
    metrics::WEBHOOK_IN_FLIGHT.dec();
    let sent = Sent {
        took: begun.elapsed(),
        ..Sent::unanswered(delivery, started_at, shown)
    };
    let sent = match answer {
        Ok(answer) => answered(sent, &answer, clock.now()),
        Err(failure) => {
            if failure.code() == "target_not_allowed" {
                metrics::WEBHOOK_BLOCKED.with_label_values(&["send"]).inc();
            }
            Sent {
                error: Some(failure.code()),
                ..sent
            }
        }
    };
    metrics::WEBHOOK_ATTEMPTS
        .with_label_values(&[outcome_name(&sent)])
        .inc();
    sent
}

/// The attempt with what the endpoint answered.
fn answered(sent: Sent, answer: &Answer, now: DateTime<Utc>) -> Sent {
    let told = answer.header("webhook-delivery");
    Sent {
        verdict: judge(answer.status, told, answer.header("retry-after"), now),
        status: Some(answer.status),
        response_headers: response_headers(&answer.headers),
        response_body: Some(answer.text(KEPT)),
        ip: Some(answer.peer.to_string()),
        ..sent
    }
}

fn outcome_name(sent: &Sent) -> &'static str {
    match (sent.status, sent.error) {
        (_, Some(error)) => error,
        (Some(200..=299), None) => "2xx",
        (Some(300..=399), None) => "3xx",
        (Some(400..=499), None) => "4xx",
        (Some(500..=599), None) => "5xx",
        _ => "other",
    }
}

fn request_headers(head: &Letterhead<'_>, delivery: &Taken, now: DateTime<Utc>, body: &[u8]) -> HeaderMap {
    let timestamp = now.timestamp();
    let signature = sign::header(head.secrets, &head.webhook_id, timestamp, body);
    let mut headers = HeaderMap::new();
    // The endpoint's own first, so that none of them can stand in for one of ours.
    let own = head.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let ours = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "Guildhall-Webhooks/1".to_owned()),
        ("webhook-id", head.webhook_id.clone()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
        ("webhook-attempt", delivery.attempts_total.to_string()),
    ];
    for (name, value) in own.chain(ours) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    headers
}

fn response_headers(headers: &[(String, String)]) -> Value {
    pairs(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
