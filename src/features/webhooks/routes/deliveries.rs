//! HTTP of deliveries.

use actix_web::{get, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    features::webhooks::{
        model::{Delivery, DeliveryDetail, DeliveryFilters, DeliveryId, DeliveryPage, EndpointId},
        service::deliveries as service,
    },
    kernel::{
        access::{Can, perm},
        db::Db,
        error::Result,
        http::{Json, Lister, Listing, NoQuery, Path, Tagged, limits::Limits},
        id::EventId,
        idempotency::{IdempotencyKey, Once, once},
        page::PageQuery,
    },
};

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes.service(list).service(show).service(retry);
}

/// List webhook deliveries.
///
/// With `Accept: application/x-ndjson` it is all of them, at most 100,000, a line each, without `limit` and `cursor`. That is taken from the
/// limit `export`, three an hour unless the plan says more, and an answer that breaks off is not all of them.
#[utoipa::path(operation_id = "webhook_deliveries_list",
               params(PageQuery<DeliveryFilters>,
                      ("endpoint_id" = Option<EndpointId>, Query, description = "Only to this endpoint."),
                      ("event_type" = Option<String>, Query, description = "Only of this type."),
                      ("event_id" = Option<EventId>, Query, description = "Only of this event."),
                      ("subject_id" = Option<String>, Query, description = "Only of events about this one: `lic_…`."),
                      ("state" = Option<String>, Query, description = "Only in this state."),
                      ("http_status" = Option<i64>, Query, description = "Only last answered with this.")),
               responses((status = 200, description = "A page, or all rows.", content((DeliveryPage = "application/json"), (Delivery = "application/x-ndjson")))),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/webhook-deliveries")]
async fn list(
    can: Can<perm::WebhooksRead>,
    db: Data<Db>,
    limits: Data<Limits>,
    query: PageQuery<DeliveryFilters>,
) -> Result<Listing<Delivery>> {
    Lister::new(&db, &limits, can, query, service::list, "webhook_deliveries.exported")
        .answer()
        .await
}

/// Show a webhook delivery.
///
/// With what was sent and what came back.
#[utoipa::path(operation_id = "webhook_deliveries_get", params(("id" = DeliveryId, Path, description = "The delivery.")),
               responses((status = 200, description = "The delivery and its attempts.", body = DeliveryDetail), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/webhook-deliveries/{id}")]
async fn show(
    can: Can<perm::WebhooksRead>,
    db: Data<Db>,
    id: Path<DeliveryId>,
    _none: NoQuery,
) -> Result<Tagged<DeliveryDetail>> {
    db.tenant(can, move |tx| service::get(tx, id.0)).await.map(Tagged)
}

/// Send a webhook delivery again.
///
/// It goes before everything else that waits for its endpoint.
#[utoipa::path(operation_id = "webhook_deliveries_retry", params(("id" = DeliveryId, Path, description = "The delivery.")),
               responses((status = 200, description = "It waits to be sent.", body = Delivery)),
               extensions(("x-permission" = json!("webhooks:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/webhook-deliveries/{id}/retry")]
async fn retry(
    can: Can<perm::WebhooksWrite>,
    db: Data<Db>,
    id: Path<DeliveryId>,
    key: IdempotencyKey,
    _none: NoQuery,
) -> Result<Once<Json<Delivery>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| service::retry(tx, id.0).map(Json))
    })
    .await
}
