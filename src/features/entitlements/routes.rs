//! HTTP of definitions of entitlements.

use actix_web::{get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Entitlement, EntitlementFilters, EntitlementId, EntitlementPage, EntitlementPatch, NewEntitlement},
    service,
};
use crate::kernel::{
    access::{Can, perm},
    db::Db,
    error::Result,
    http::{Created, IdempotencyKey, IfMatch, Json, NoQuery, Path, Tagged, Valid},
    idempotency::{Once, once},
    page::{Page, PageQuery},
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(list)
        .service(show)
        .service(update)
        .service(archive);
}

/// Define an entitlement.
#[utoipa::path(operation_id = "entitlements_create", request_body = NewEntitlement,
               responses((status = 201, description = "It was made.", body = Entitlement)),
               extensions(("x-permission" = json!("entitlements:write")), ("x-idempotent" = json!(true)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/entitlements")]
async fn create(
    can: Can<perm::EntitlementsWrite>,
    db: Data<Db>,
    key: IdempotencyKey,
    new: Valid<NewEntitlement>,
) -> Result<Once<Created<Entitlement>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| service::create(tx, &new).map(Created))
    })
    .await
}

/// List entitlements.
#[utoipa::path(operation_id = "entitlements_list",
               params(PageQuery<EntitlementFilters>,
                      ("code" = Option<String>, Query, description = "Only the one with this code.")),
               responses((status = 200, description = "A page.", body = EntitlementPage)),
               extensions(("x-permission" = json!("entitlements:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/entitlements")]
async fn list(
    can: Can<perm::EntitlementsRead>,
    db: Data<Db>,
    query: PageQuery<EntitlementFilters>,
) -> Result<Json<Page<Entitlement>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show an entitlement.
#[utoipa::path(operation_id = "entitlements_get", params(("id" = EntitlementId, Path, description = "The entitlement.")),
               responses((status = 200, description = "The entitlement.", body = Entitlement), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("entitlements:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/entitlements/{id}")]
async fn show(
    can: Can<perm::EntitlementsRead>,
    db: Data<Db>,
    id: Path<EntitlementId>,
    _none: NoQuery,
) -> Result<Tagged<Entitlement>> {
    service::show(&db, can, id.0).await.map(Tagged)
}

/// Change an entitlement.
#[utoipa::path(operation_id = "entitlements_update", params(("id" = EntitlementId, Path, description = "The entitlement.")), request_body = EntitlementPatch,
               responses((status = 200, description = "It was changed.", body = Entitlement)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("entitlements:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/entitlements/{id}")]
async fn update(
    can: Can<perm::EntitlementsWrite>,
    db: Data<Db>,
    id: Path<EntitlementId>,
    seen: IfMatch,
    change: Valid<EntitlementPatch>,
) -> Result<Tagged<Entitlement>> {
    db.tenant(can, move |tx| service::patch(tx, id.0, &seen, &change))
        .await
        .map(Tagged)
}

/// Archive an entitlement.
///
/// No policy gains it any more; those that have it keep it.
#[utoipa::path(operation_id = "entitlements_archive", params(("id" = EntitlementId, Path, description = "The entitlement.")),
               responses((status = 200, description = "It is archived.", body = Entitlement)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("entitlements:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/entitlements/{id}/archive")]
async fn archive(
    can: Can<perm::EntitlementsWrite>,
    db: Data<Db>,
    id: Path<EntitlementId>,
    key: IdempotencyKey,
    seen: IfMatch,
    _none: NoQuery,
) -> Result<Once<Tagged<Entitlement>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| service::archive(tx, id.0, &seen).map(Tagged))
    })
    .await
}
