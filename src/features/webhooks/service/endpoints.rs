//! Endpoints: made, changed, switched, tried.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{backlog, fan_out, sign};
use crate::{
    features::webhooks::{
        model::{
            CreatedEndpoint, DisabledReason, ENDPOINT_CREATED, ENDPOINT_DELETED, ENDPOINT_DISABLED_EVENT,
            ENDPOINT_ENABLED, ENDPOINT_UPDATED, Endpoint, EndpointFilters, EndpointId, EndpointPatch, NewEndpoint,
            Rotation, SECRET_ROTATED, Secrets, ShownSecret,
        },
        queries::{self, Pump},
    },
    kernel::{
        audit::{self, Entry, Subject},
        crypto::{self, Aad, Keyring, Sealed},
        db::Tenant,
        entitlements,
        error::{EXTERNAL_ID_TAKEN, FieldCode, NOT_FOUND, OnConstraint, Result, STATE_CONFLICT, invalid},
        http::{IfMatch, front::API_VERSION},
        id::WorkspaceId,
        jobs,
        outbox::{self, EventInfo},
        page::{Page, PageQuery},
        secret::Secret,
    },
};

/// The types of events that endpoints may ask for.
pub type Catalogue = [&'static EventInfo];

/// Makes an endpoint, with its first secret. `url` is its address in the one spelling.
pub fn create(
    tx: &mut Tenant<'_>,
    keyring: &Keyring,
    catalogue: &Catalogue,
    new: &NewEndpoint,
    url: &str,
) -> Result<CreatedEndpoint> {
    judge(catalogue, &new.events, &new.filter)?;
    judge_end(tx, new.expires_at)?;
    let events = once_each(&new.events);
    entitlements::take(tx, "webhooks.endpoints", 1)?;
    let id = EndpointId::new(tx.now()?);
    let row = queries::NewRow {
        id,
        external_id: new.external_id.as_deref(),
        url,
        description: &new.description,
        events: &events,
        filter: filter_value(&new.filter),
        payload: new.payload,
        ordering: new.ordering,
        max_hold_seconds: new.max_hold_seconds,
        rate_per_s: new.rate_per_s,
        max_in_flight: new.max_in_flight,
        headers_sealed: seal_headers(keyring, tx.workspace(), id, &new.headers),
        header_names: new.headers.keys().cloned().collect(),
        events_hash: hash(&events),
        filter_hash: hash(&new.filter),
        once: new.once,
        expires_at: new.expires_at,
        api_version: API_VERSION,
    };
    let endpoint =
        queries::insert_endpoint(tx.conn(), &row).on_unique("webhook_endpoints_external_id_key", EXTERNAL_ID_TAKEN)?;
    let secret = add_secret(tx, keyring, id)?;
    if endpoint.expires_at.is_some() {
        fan_out::wake(tx, id, None)?;
    }
    outbox::emit(tx, ENDPOINT_CREATED.of(id, &endpoint))?;
    Ok(CreatedEndpoint { endpoint, secret })
}

/// A page of endpoints.
pub fn list(tx: &mut Tenant<'_>, query: &PageQuery<EndpointFilters>) -> Result<Page<Endpoint>> {
    let rows = queries::list_endpoints(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |row| (row.created_at, row.updated_at, row.id.uuid())))
}

/// An endpoint.
pub fn get(tx: &mut Tenant<'_>, id: EndpointId) -> Result<Endpoint> {
    Ok(queries::endpoint(tx.conn(), id)?)
}

/// Changes an endpoint. `url` is the new address, if there is one, in the one spelling.
pub fn patch(
    tx: &mut Tenant<'_>,
    keyring: &Keyring,
    catalogue: &Catalogue,
    id: EndpointId,
    seen: &IfMatch,
    patch: &EndpointPatch,
    url: Option<&str>,
) -> Result<Endpoint> {
    let before = queries::lock_endpoint(tx.conn(), id)?;
    seen.allows(before.version)?;
    let events = patch.events.as_deref().map(once_each);
    let chosen = events.as_ref().unwrap_or(&before.events);
    let filter = match &patch.filter {
        Some(filter) => filter.clone(),
        None => serde_json::from_value(before.filter.clone()).map_err(anyhow::Error::from)?,
    };
    judge(catalogue, chosen, &filter)?;
    // As it is shown, to the millisecond: whoever sends back what they were shown changes nothing.
    let shown = |end: Option<DateTime<Utc>>| end.map(|end| end.timestamp_millis());
    let expires_at = patch.expires_at.filter(|end| shown(*end) != shown(before.expires_at));
    judge_end(tx, expires_at.flatten())?;
    let workspace = tx.workspace();
    // Those that cannot be opened any more are other ones.
    let known = extra_headers(tx, keyring, id).ok();
    let headers = patch
        .headers
        .as_ref()
        .filter(|headers| Some(*headers) != known.as_ref());
    let change = queries::Change {
        url,
        description: patch.description.as_deref(),
        events: events.as_deref(),
        events_hash: events.as_ref().map(hash),
        filter: patch.filter.as_ref().map(filter_value),
        filter_hash: patch.filter.as_ref().map(hash),
        payload: patch.payload,
        ordering: patch.ordering,
        max_hold_seconds: patch.max_hold_seconds,
        rate_per_s: patch.rate_per_s,
        max_in_flight: patch.max_in_flight,
        headers_sealed: headers.map(|headers| seal_headers(keyring, workspace, id, headers)),
        header_names: headers.map(|headers| headers.keys().cloned().collect()),
        expires_at,
    };
    let after = queries::update_endpoint(tx.conn(), id, &change)?;
    if after.expires_at != before.expires_at {
        fan_out::wake(tx, id, None)?;
    }
    if after.version != before.version {
        let event = ENDPOINT_UPDATED.of(id, &after).was(&before);
        outbox::emit(tx, event.hiding(headers.map(|_| "headers")))?;
    }
    Ok(after)
}

/// One that ends before it begins would never be sent anything, and nobody would be told.
fn judge_end(tx: &mut Tenant<'_>, expires_at: Option<DateTime<Utc>>) -> Result<()> {
    let now = tx.now()?;
    match expires_at.is_some_and(|end| end <= now) {
        true => Err(invalid("/expires_at", FieldCode::TooSmall, "Not in the past.")),
        false => Ok(()),
    }
}

/// Deletes an endpoint. What waits for it is cancelled, what is under way is still recorded; the log stays.
pub fn delete(tx: &mut Tenant<'_>, id: EndpointId, seen: &IfMatch) -> Result<()> {
    let pump = queries::lock_pump(tx.conn(), id)?;
    let endpoint = queries::lock_endpoint(tx.conn(), id)?;
    seen.allows(endpoint.version)?;
    // What is under way ends as it does, and what a dead sender left under way is seen to by the job.
    let more =
        backlog::cancel(tx, id, pump.map_or(i64::MAX, |pump| pump.epoch))? || queries::is_under_way(tx.conn(), id)?;
    queries::delete_endpoint(tx.conn(), id)?;
    entitlements::give(tx, "webhooks.endpoints", 1)?;
    outbox::emit(tx, ENDPOINT_DELETED.of(id, &endpoint))?;
    jobs::cancel(tx, id.uuid())?;
    if more {
        let pump = pump.map(|pump| Pump {
            breaker_until: None,
            ..pump
        });
        fan_out::wake(tx, id, pump.as_ref())?;
    }
    Ok(())
}

/// Enables an endpoint. What was skipped or given up since `recover` is sent after all.
pub fn enable(tx: &mut Tenant<'_>, id: EndpointId, seen: &IfMatch, recover: Option<DateTime<Utc>>) -> Result<Endpoint> {
    let pump = queries::lock_pump(tx.conn(), id)?;
    let before = queries::lock_endpoint(tx.conn(), id)?;
    seen.allows(before.version)?;
    let now = tx.now()?;
    if recover.is_some_and(|since| now - since > Duration::days(14) || since > now) {
        return Err(invalid(
            "/recover_since",
            FieldCode::TooSmall,
            "Within the last 14 days.",
        ));
    }
    if before.expires_at.is_some_and(|end| end <= now) {
        let refused =
            STATE_CONFLICT.because("Its `expires_at` is past, so it would get nothing. Set a later one first.");
        return Err(refused.into());
    }
    let after = match before.enabled {
        true => before.clone(),
        false => {
            let after = queries::set_enabled(tx.conn(), id, None)?;
            outbox::emit(tx, ENDPOINT_ENABLED.of(id, &after).was(&before))?;
            after
        }
    };
    if let Some(mut pump) = pump {
        pump.failed_in_row = 0;
        // An open breaker lets one try at once.
        pump.breaker_until = pump.breaker_until.map(|until| until.min(now));
        pump.recover_since = recover.or(pump.recover_since);
        backlog::tidy(tx, id, &mut pump)?;
        queries::set_pump(tx.conn(), id, &pump)?;
        fan_out::wake(tx, id, Some(&pump))?;
    }
    Ok(after)
}

/// Disables an endpoint at somebody's wish.
pub fn disable(tx: &mut Tenant<'_>, id: EndpointId, seen: &IfMatch) -> Result<Endpoint> {
    let pump = queries::lock_pump(tx.conn(), id)?;
    let endpoint = queries::lock_endpoint(tx.conn(), id)?;
    seen.allows(endpoint.version)?;
    let Some(mut pump) = pump else {
        return Err(NOT_FOUND.into());
    };
    let endpoint = switch_off(tx, &mut pump, &endpoint, DisabledReason::Manual)?;
    queries::set_pump(tx.conn(), id, &pump)?;
    jobs::cancel(tx, id.uuid())?;
    if pump.is_untidy() || queries::is_under_way(tx.conn(), id)? {
        fan_out::wake(tx, id, Some(&pump))?;
    }
    Ok(endpoint)
}

/// Disables an endpoint; what waits for it is skipped, and what is under way ends as it does. The caller holds the rows of the pump and, whole,
/// of the endpoint, and stores the pump.
pub fn switch_off(
    tx: &mut Tenant<'_>,
    pump: &mut Pump,
    endpoint: &Endpoint,
    reason: DisabledReason,
) -> Result<Endpoint> {
    if !endpoint.enabled {
        return Ok(endpoint.clone());
    }
    let now = tx.now()?;
    let after = queries::set_enabled(tx.conn(), endpoint.id, Some((reason, now)))?;
    pump.recover_since = None;
    backlog::skip(tx, endpoint.id, pump)?;
    outbox::emit(tx, ENDPOINT_DISABLED_EVENT.of(endpoint.id, &after).was(endpoint))?;
    Ok(after)
}

/// The secrets that sign at present. An entry of the audit log says who saw them.
pub fn reveal(tx: &mut Tenant<'_>, keyring: &Keyring, id: EndpointId) -> Result<Secrets> {
    let endpoint = queries::endpoint(tx.conn(), id)?;
    let secrets = shown(tx, keyring, id)?;
    let entry = Entry {
        action: "webhook_endpoint.secret_revealed",
        subject: Some(Subject::of("webhook_endpoint", endpoint.id)),
        ..Entry::default()
    };
    audit::note(tx, entry)?;
    Ok(Secrets { secrets })
}

/// A new secret; the old ones go on signing for a while.
pub fn rotate(
    tx: &mut Tenant<'_>,
    keyring: &Keyring,
    id: EndpointId,
    seen: &IfMatch,
    rotation: &Rotation,
) -> Result<CreatedEndpoint> {
    let endpoint = queries::lock_endpoint(tx.conn(), id)?;
    seen.allows(endpoint.version)?;
    let now = tx.now()?;
    queries::retire_secrets(tx.conn(), id, now, now + Duration::seconds(rotation.grace_seconds))?;
    let secret = add_secret(tx, keyring, id)?;
    outbox::emit(tx, SECRET_ROTATED.of(id, &endpoint).hiding(Some("secret")))?;
    Ok(CreatedEndpoint { endpoint, secret })
}

fn add_secret(tx: &mut Tenant<'_>, keyring: &Keyring, endpoint: EndpointId) -> Result<String> {
    let (secret, kid) = (sign::mint(), Uuid::new_v4());
    let sealed = keyring.seal(&secret_place(tx.workspace(), kid), secret.expose());
    queries::insert_secret(tx.conn(), endpoint, kid, &sealed)?;
    Ok(sign::shown(&secret))
}

fn shown(tx: &mut Tenant<'_>, keyring: &Keyring, endpoint: EndpointId) -> Result<Vec<ShownSecret>> {
    let (now, workspace) = (tx.now()?, tx.workspace());
    let rows = queries::secrets(tx.conn(), endpoint, now)?;
    rows.into_iter()
        .map(|row| {
            let secret = keyring.open(&secret_place(workspace, row.kid), &row.secret_sealed)?;
            Ok(ShownSecret {
                secret: sign::shown(&secret),
                expires_at: row.expires_at,
            })
        })
        .collect()
}

/// The keys that sign at present.
pub fn signing(tx: &mut Tenant<'_>, keyring: &Keyring, endpoint: EndpointId) -> Result<Vec<Secret<Vec<u8>>>> {
    let (now, workspace) = (tx.now()?, tx.workspace());
    let rows = queries::secrets(tx.conn(), endpoint, now)?;
    rows.iter()
        .map(|row| Ok(keyring.open(&secret_place(workspace, row.kid), &row.secret_sealed)?))
        .collect()
}

/// The headers that an endpoint wants beside ours.
pub fn extra_headers(tx: &mut Tenant<'_>, keyring: &Keyring, endpoint: EndpointId) -> Result<BTreeMap<String, String>> {
    let workspace = tx.workspace();
    match queries::headers(tx.conn(), endpoint)? {
        None => Ok(BTreeMap::new()),
        Some(sealed) => {
            let open = keyring.open(&headers_place(workspace, endpoint), &sealed)?;
            Ok(serde_json::from_slice(open.expose()).map_err(anyhow::Error::from)?)
        }
    }
}

/// Where a secret stands.
pub fn secret_place(workspace: WorkspaceId, kid: Uuid) -> Aad {
    Aad::new(Some(workspace.uuid()), "webhook_secrets", "secret_sealed", kid)
}

/// Where the headers of an endpoint stand.
pub fn headers_place(workspace: WorkspaceId, endpoint: EndpointId) -> Aad {
    Aad::new(
        Some(workspace.uuid()),
        "webhook_endpoints",
        "headers_sealed",
        endpoint.uuid(),
    )
}

fn seal_headers(
    keyring: &Keyring,
    workspace: WorkspaceId,
    endpoint: EndpointId,
    headers: &BTreeMap<String, String>,
) -> Option<Sealed> {
    let text = serde_json::to_vec(headers).expect("plain strings");
    (!headers.is_empty()).then(|| keyring.seal(&headers_place(workspace, endpoint), &text))
}

fn filter_value(filter: &BTreeMap<String, Vec<String>>) -> Value {
    serde_json::to_value(filter).expect("plain strings")
}

fn hash(value: &impl serde::Serialize) -> Vec<u8> {
    crypto::sha256(&serde_json::to_vec(value).expect("plain strings")).to_vec()
}

/// The names, each of them once, where it was named first.
fn once_each(events: &[String]) -> Vec<String> {
    let mut known = BTreeSet::new();
    events.iter().filter(|event| known.insert(*event)).cloned().collect()
}

/// Refuses events that do not exist or are not for webhooks, and filters that no chosen event has.
fn judge(catalogue: &Catalogue, events: &[String], filter: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let offered = |pattern: &str| {
        catalogue
            .iter()
            .any(|event| event.audience.webhook && fan_out::covers(pattern, event.name))
    };
    for (place, pattern) in events.iter().enumerate() {
        if !offered(pattern) {
            return Err(invalid(
                format!("/events/{place}"),
                FieldCode::InvalidChoice,
                "There is no such event, or none that webhooks are told of: see GET /event-types.",
            ));
        }
    }
    for field in filter.keys() {
        let known = catalogue.iter().any(|event| {
            event.filterable.contains(&field.as_str())
                && events.iter().any(|pattern| fan_out::covers(pattern, event.name))
        });
        if !known {
            return Err(invalid(
                format!("/filter/{}", crate::kernel::check::escape(field)),
                FieldCode::InvalidChoice,
                "None of the chosen events can be filtered by this.",
            ));
        }
    }
    Ok(())
}
