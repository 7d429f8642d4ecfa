//! HTTP of endpoints.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix_web::{delete, get, patch, post, web::Data};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    features::webhooks::{
        jobs::{Letterhead, send},
        model::{
            CreatedEndpoint, DeliveryDetail, Endpoint, EndpointFilters, EndpointId, EndpointPage, EndpointPatch,
            NewEndpoint, Payload, Rotation, Secrets, Test,
        },
        service::{deliveries, endpoints as service, record::Sent},
    },
    kernel::{
        access::{Can, Scope, perm},
        check::{Check, Validate},
        clock::{Clock, written},
        crypto::Keyring,
        db::Db,
        error::{Error, FieldCode, Result, invalid},
        http::{
            Created, Fresh, IfMatch, Json, NoContent, NoQuery, Path, Tagged, Valid, limits::Limits, outbound::Outbound,
        },
        id::EventId,
        idempotency::{IdempotencyKey, Once, once},
        outbox::Catalogue,
        page::{Page, PageQuery},
    },
};

/// How soon it is tried again to write down what was sent.
const AGAIN: Duration = Duration::from_millis(250);

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(list)
        .service(show)
        .service(update)
        .service(remove)
        .service(enable)
        .service(disable)
        .service(test)
        .service(reveal)
        .service(rotate);
}

/// Make a webhook endpoint.
///
/// Its signing secret is in this answer.
#[utoipa::path(operation_id = "webhook_endpoints_create", request_body = NewEndpoint,
               responses((status = 201, description = "It was made.", body = CreatedEndpoint, headers(("ETag" = String)))),
               extensions(("x-permission" = json!("webhooks:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-endpoints")]
async fn create(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    keyring: Data<Keyring>,
    outbound: Data<Outbound>,
    catalogue: Data<Catalogue>,
    key: IdempotencyKey,
    new: Valid<NewEndpoint>,
) -> Result<Once<Created<CreatedEndpoint>>> {
    can.scope().call().step_out();
    let vetted = outbound.vet(&new.url).await;
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| {
            // A verdict of today's: it means nothing to an answer that was given before.
            let target = vetted.map_err(Error::from)?;
            service::create(tx, &keyring, &catalogue, &new, target.url().as_str()).map(Created)
        })
    })
    .await
}

/// List webhook endpoints.
#[utoipa::path(operation_id = "webhook_endpoints_list",
               params(PageQuery<EndpointFilters>,
                      ("url" = Option<String>, Query, description = "Only with exactly this address."),
                      ("source" = Option<String>, Query, description = "Only made by `app`, `api`, `zapier` or `n8n`."),
                      ("event" = Option<String>, Query, description = "Only those that list this event, as they wrote it."),
                      ("enabled" = Option<bool>, Query, description = "Only enabled ones, or only disabled ones.")),
               responses((status = 200, description = "A page.", body = EndpointPage)),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/webhook-endpoints")]
async fn list(
    can: Can<perm::WebhooksRead>,
    db: Data<Db>,
    query: PageQuery<EndpointFilters>,
) -> Result<Json<Page<Endpoint>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a webhook endpoint.
#[utoipa::path(operation_id = "webhook_endpoints_get", params(("id" = EndpointId, Path, description = "The endpoint.")),
               responses((status = 200, description = "The endpoint, without its secret.", body = Endpoint), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/webhook-endpoints/{id}")]
async fn show(
    can: Can<perm::WebhooksRead>,
    db: Data<Db>,
    id: Path<EndpointId>,
    _none: NoQuery,
) -> Result<Tagged<Endpoint>> {
    db.tenant(can, move |tx| service::get(tx, id.0)).await.map(Tagged)
}

/// Change a webhook endpoint.
#[utoipa::path(operation_id = "webhook_endpoints_update", params(("id" = EndpointId, Path, description = "The endpoint.")),
               request_body = EndpointPatch,
               responses((status = 200, description = "It was changed.", body = Endpoint)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("webhooks:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/webhook-endpoints/{id}")]
async fn update(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    keyring: Data<Keyring>,
    outbound: Data<Outbound>,
    catalogue: Data<Catalogue>,
    id: Path<EndpointId>,
    seen: IfMatch,
    change: Valid<EndpointPatch>,
) -> Result<Tagged<Endpoint>> {
    let target = match &change.url {
        Some(url) => {
            can.scope().call().step_out();
            Some(outbound.vet(url).await.map_err(Error::from)?)
        }
        None => None,
    };
    db.tenant(can, move |tx| {
        let url = target.as_ref().map(|target| target.url().as_str());
        service::patch(tx, &keyring, &catalogue, id.0, &seen, &change, url)
    })
    .await
    .map(Tagged)
}

/// Delete a webhook endpoint.
///
/// What waits for it is cancelled; what is being sent at this moment is still recorded, and the log of its deliveries stays.
#[utoipa::path(operation_id = "webhook_endpoints_delete", params(("id" = EndpointId, Path, description = "The endpoint.")),
               responses((status = 204, description = "It was deleted.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("webhooks:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[delete("/webhook-endpoints/{id}")]
async fn remove(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    id: Path<EndpointId>,
    seen: IfMatch,
    _none: NoQuery,
) -> Result<NoContent> {
    db.tenant(can, move |tx| service::delete(tx, id.0, &seen))
        .await
        .map(|()| NoContent)
}

/// What to send after all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookEnable, example = json!({"recover_since": "2026-11-20T17:30:00.000Z"}))]
pub struct Enable {
    /// What was skipped or given up since then is sent; at most 14 days ago.
    #[serde(default)]
    pub recover_since: Option<DateTime<Utc>>,
}

impl Validate for Enable {
    fn validate(&self, _: &mut Check) {}
}

/// Enable a webhook endpoint.
///
/// Not one whose `expires_at` is past: it gets nothing, whatever it is.
#[utoipa::path(operation_id = "webhook_endpoints_enable", params(("id" = EndpointId, Path, description = "The endpoint.")),
               request_body = Enable,
               responses((status = 200, description = "It is enabled.", body = Endpoint)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("webhooks:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-endpoints/{id}/enable")]
async fn enable(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    id: Path<EndpointId>,
    seen: IfMatch,
    key: IdempotencyKey,
    wish: Valid<Enable>,
) -> Result<Once<Tagged<Endpoint>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &wish, |tx| {
            service::enable(tx, id.0, &seen, wish.recover_since).map(Tagged)
        })
    })
    .await
}

/// Disable a webhook endpoint.
///
/// What waits for it is skipped; what is being sent at this moment ends as it does.
#[utoipa::path(operation_id = "webhook_endpoints_disable", params(("id" = EndpointId, Path, description = "The endpoint.")),
               responses((status = 200, description = "It is disabled.", body = Endpoint)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("webhooks:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-endpoints/{id}/disable")]
async fn disable(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    id: Path<EndpointId>,
    seen: IfMatch,
    key: IdempotencyKey,
    _none: NoQuery,
) -> Result<Once<Tagged<Endpoint>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| service::disable(tx, id.0, &seen).map(Tagged))
    })
    .await
}

/// Try a webhook endpoint.
///
/// Sends the example of a type of event, marked `"test": true`, and answers what came back.
#[utoipa::path(operation_id = "webhook_endpoints_test", params(("id" = EndpointId, Path, description = "The endpoint.")),
               request_body = Test,
               responses((status = 200, description = "What was sent, and what came back.", body = DeliveryDetail)),
               extensions(("x-permission" = json!("webhooks:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("long"))))]
#[post("/webhook-endpoints/{id}/test")]
async fn test(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    keyring: Data<Keyring>,
    outbound: Data<Outbound>,
    limits: Data<Limits>,
    clock: Data<Clock>,
    catalogue: Data<Catalogue>,
    id: Path<EndpointId>,
    wish: Valid<Test>,
) -> Result<Tagged<DeliveryDetail>> {
    let known = catalogue
        .iter()
        .find(|event| event.audience.webhook && event.name == wish.event_type);
    let unknown = || {
        invalid(
            "/event_type",
            FieldCode::InvalidChoice,
            "There is no such event, or none for webhooks.",
        )
    };
    let known = known.copied().ok_or_else(unknown)?;
    let scope = can.scope().clone();
    let (workspace, now) = (scope.workspace(), clock.now());
    let (endpoint, secrets, headers) = db
        .tenant(scope.clone(), move |tx| {
            let endpoint = service::get(tx, id.0)?;
            let secrets = service::signing(tx, &keyring, endpoint.id)?;
            let headers: BTreeMap<String, String> = service::extra_headers(tx, &keyring, endpoint.id)?;
            Ok((endpoint, secrets, headers))
        })
        .await?;
    limits.call_out(&endpoint.url, workspace).await.result()?;
    let event = EventId::new(now);
    let mut body = json!({
        "id": event, "type": known.name, "timestamp": written(now),
        "api_version": endpoint.api_version, "workspace_id": workspace, "test": true, "data": known.example(),
        "actor": { "type": scope.actor().kind(), "id": scope.actor().public_id() }, "request_id": &*scope.call().request_id,
    });
    if endpoint.payload == Payload::Thin {
        body["data"] = known.thin(&body["data"]);
        body["thin"] = true.into();
    }
    let head = Letterhead {
        url: &endpoint.url,
        secrets: &secrets,
        headers: &headers,
        webhook_id: event.to_string(),
    };
    scope.call().step_out();
    let delivery = deliveries::test(endpoint.id, event, known.name);
    let sent = send(&outbound, &clock, head, delivery, body.to_string().into_bytes()).await;
    recorded(&db, &scope, endpoint.id, sent).await.map(Tagged)
}

/// What came of a test, written down. It was sent, and whoever is told that it was not sends another one: for as long as the caller has time
/// it is tried again.
async fn recorded(db: &Db, scope: &Scope, endpoint: EndpointId, sent: Sent) -> Result<DeliveryDetail> {
    let sent = Arc::new(sent);
    loop {
        let own = sent.clone();
        let written = db.tenant(scope.clone(), move |tx| deliveries::record_test(tx, endpoint, &own));
        match written.await {
            Err(Error::Refused(problem)) if problem.kind().status == 503 && scope.call().time_left() > AGAIN * 2 => {
                tokio::time::sleep(AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

/// Show the signing secrets of a webhook endpoint.
///
/// The audit log remembers who saw them.
#[utoipa::path(operation_id = "webhook_secrets_reveal", params(("id" = EndpointId, Path, description = "The endpoint.")),
               responses((status = 200, description = "Every secret that signs at present.", body = Secrets)),
               extensions(("x-permission" = json!("webhooks:write")), ("x-fresh" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-endpoints/{id}/secret/reveal")]
async fn reveal(
    can: Can<perm::WebhooksWrite>,
    _fresh: Fresh,
    db: Data<Db>,
    keyring: Data<Keyring>,
    id: Path<EndpointId>,
    _none: NoQuery,
) -> Result<Json<Secrets>> {
    db.tenant(can, move |tx| service::reveal(tx, &keyring, id.0))
        .await
        .map(Json)
}

/// Make a new signing secret for a webhook endpoint.
///
/// The old ones go on signing for a while, so that receivers can follow.
#[utoipa::path(operation_id = "webhook_secrets_rotate", params(("id" = EndpointId, Path, description = "The endpoint.")),
               request_body = Rotation,
               responses((status = 200, description = "The new secret.", body = CreatedEndpoint, headers(("ETag" = String)))),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("webhooks:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-endpoints/{id}/secret/rotate")]
async fn rotate(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    keyring: Data<Keyring>,
    id: Path<EndpointId>,
    seen: IfMatch,
    key: IdempotencyKey,
    wish: Valid<Rotation>,
) -> Result<Once<Tagged<CreatedEndpoint>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &wish, |tx| {
            service::rotate(tx, &keyring, id.0, &seen, &wish).map(Tagged)
        })
    })
    .await
}
