//! From events to deliveries: what the relay hands over is matched with the endpoints, and their pumps are woken.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::endpoints::Catalogue;
use crate::{
    features::webhooks::{
        jobs::KIND,
        model::{Endpoint, EndpointId, delivery_id},
        queries::{self, NewDelivery, Pump},
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::JobId,
        jobs::{self, Lane, OnExists, Push},
        outbox::{Event, EventInfo},
    },
};

/// One statement inserts so many deliveries: PostgreSQL takes 65,535 parameters, and each row has seven.
const ROWS: usize = 1_000;

/// Whether a pattern (`run.completed`, `run.*`, `*`) covers a type.
pub fn covers(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(start) => start.ends_with('.') && kind.starts_with(start),
        None => pattern == kind,
    }
}

/// Makes the deliveries of a batch of events. Seen twice, an event makes none.
pub fn fan_out(tx: &mut Tenant<'_>, catalogue: &Catalogue, events: &[Event]) -> Result<()> {
    let told: Vec<(&Event, &EventInfo)> = events
        .iter()
        .filter_map(|event| {
            let known = catalogue.iter().find(|known| known.name == event.kind);
            Some((event, *known.filter(|known| known.audience.webhook)?))
        })
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let endpoints = queries::listening(tx.conn())?;
    let now = tx.now()?;
    let mut pairs = told
        .into_iter()
        .flat_map(|event| endpoints.iter().map(move |endpoint| (event, endpoint)))
        .filter(|((event, known), endpoint)| wants(endpoint, event, known.filterable, now))
        .map(|((event, _), endpoint)| NewDelivery {
            id: delivery_id(event.id, endpoint.id),
            endpoint_id: endpoint.id,
            reseller_id: endpoint.reseller_id.map(|id| id.uuid()),
            event_id: event.id,
            event_type: &event.kind,
            subject_id: event.subject_id,
            next_attempt_at: Some(now),
        })
        .peekable();
    let mut fresh: BTreeSet<EndpointId> = BTreeSet::new();
    while pairs.peek().is_some() {
        let rows: Vec<_> = pairs.by_ref().take(ROWS).collect();
        fresh.extend(queries::insert_deliveries(tx.conn(), &rows)?);
    }
    let fresh: Vec<EndpointId> = fresh.into_iter().collect();
    let idle: BTreeMap<EndpointId, Pump> = queries::idle_pumps(tx.conn(), &fresh)?.into_iter().collect();
    for endpoint in fresh {
        wake(tx, endpoint, idle.get(&endpoint))?;
    }
    Ok(())
}

/// Has the pump run at once; not before its breaker lets it, unless there is something to tidy. Without its row, somebody is at work on
/// it at this moment and knows more than is committed: they are told to look again, and decide.
pub fn wake(tx: &mut Tenant<'_>, endpoint: EndpointId, pump: Option<&Pump>) -> Result<()> {
    jobs::push(
        tx,
        Push {
            group_id: endpoint.uuid(),
            due: pump
                .filter(|pump| !pump.is_untidy())
                .and_then(|pump| pump.breaker_until),
            on_exists: OnExists::Sooner,
            floor_epoch: pump.map(|pump| pump.epoch),
            ..Push::now(pump.map_or(Lane::Deliveries, Pump::lane), KIND, JobId(endpoint.uuid()))
        },
    )
}

fn wants(endpoint: &Endpoint, event: &Event, filterable: &[&str], now: DateTime<Utc>) -> bool {
    let chosen = endpoint.events.iter().any(|pattern| covers(pattern, &event.kind));
    let alive = endpoint.expires_at.is_none_or(|end| end > now);
    // A reseller hears of its own rows only.
    let reaches = endpoint.reseller_id.is_none() || endpoint.reseller_id.map(|id| id.uuid()) == event.reseller_id;
    chosen && alive && reaches && !is_about(endpoint, event) && passes(&endpoint.filter, filterable, &event.data)
}

/// What happens to an endpoint or its deliveries is told to the others only.
fn is_about(endpoint: &Endpoint, event: &Event) -> bool {
    let id = endpoint.id.to_string();
    (event.kind.starts_with("webhook_endpoint.") && event.data["id"] == id.as_str())
        || (event.kind.starts_with("webhook_delivery.") && event.data["endpoint_id"] == id.as_str())
}

/// An event is filtered by the fields that its type says it can be filtered by, and not by others that it may have, too.
fn passes(filter: &Value, filterable: &[&str], data: &Value) -> bool {
    let fields = filter.as_object().into_iter().flatten();
    let mut own = fields.filter(|(field, _)| filterable.contains(&field.as_str()));
    own.all(|(field, wanted)| {
        let values = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
        data.get(field).is_none_or(|value| values.contains(value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, kind, covered) in [
            ("run.completed", "run.completed", true),
            ("run.completed", "run.failed", false),
            ("run.*", "run.failed", true),
            ("run.*", "runs.failed", false),
            ("*", "member.joined", true),
            ("run*", "run.failed", false),
        ] {
            assert_eq!(covers(pattern, kind), covered, "{pattern} {kind}");
        }
    }

    #[test]
    fn a_filter_lets_its_values_pass() {
        let filter = json!({ "role": ["owner", "admin"] });
        assert!(passes(&filter, &["role"], &json!({ "role": "admin" })));
        assert!(!passes(&filter, &["id", "role"], &json!({ "role": "viewer" })));
        assert!(
            passes(&filter, &["id"], &json!({ "role": "viewer" })),
            "of a type that is filtered by others"
        );
        assert!(passes(&json!({}), &["role"], &json!({ "role": "viewer" })));
    }
}
