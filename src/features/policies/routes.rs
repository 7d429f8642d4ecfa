//! HTTP of policies.

use actix_web::{get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Apply, NewPolicy, Policy, PolicyFilters, PolicyId, PolicyPage, PolicyPatch},
    service,
};
use crate::{
    features::products::ProductId,
    kernel::{
        access::{Can, perm},
        db::Db,
        error::Result,
        http::{Created, IdempotencyKey, IfMatch, Json, NoQuery, Path, Query, Tagged, Valid},
        idempotency::{Once, once},
        page::{Page, PageQuery},
    },
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

/// Make a policy.
#[utoipa::path(operation_id = "policies_create", request_body = NewPolicy,
               responses((status = 201, description = "It was made.", body = Policy)),
               extensions(("x-permission" = json!("policies:write")), ("x-idempotent" = json!(true)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/policies")]
async fn create(
    can: Can<perm::PoliciesWrite>,
    db: Data<Db>,
    key: IdempotencyKey,
    new: Valid<NewPolicy>,
) -> Result<Once<Created<Policy>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| service::create(tx, &new).map(Created))
    })
    .await
}

/// List policies.
#[utoipa::path(operation_id = "policies_list",
               params(PageQuery<PolicyFilters>,
                      ("product_id" = Option<ProductId>, Query, description = "Only this product's."),
                      ("code" = Option<String>, Query, description = "Only those with this code.")),
               responses((status = 200, description = "A page.", body = PolicyPage)),
               extensions(("x-permission" = json!("policies:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/policies")]
async fn list(
    can: Can<perm::PoliciesRead>,
    db: Data<Db>,
    query: PageQuery<PolicyFilters>,
) -> Result<Json<Page<Policy>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a policy.
#[utoipa::path(operation_id = "policies_get", params(("id" = PolicyId, Path, description = "The policy.")),
               responses((status = 200, description = "The policy.", body = Policy), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("policies:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/policies/{id}")]
async fn show(
    can: Can<perm::PoliciesRead>,
    db: Data<Db>,
    id: Path<PolicyId>,
    _none: NoQuery,
) -> Result<Tagged<Policy>> {
    db.tenant(can, move |tx| service::get(tx, id.0)).await.map(Tagged)
}

/// Whom a change reaches.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Reach {
    apply: Option<Apply>,
}

/// Change a policy.
///
/// Its licences follow a change of its rules or entitlements, each with what differs for it, unless only new ones are meant. Where `existing` is
/// said, those follow, too, that did not follow an earlier change, though nothing changes now. Where there are more than 1,000 of them, or their
/// terms and overrides are more than 4 MiB together, both are 409 `too-many-licenses`.
#[utoipa::path(operation_id = "policies_update", 
               params(("id" = PolicyId, Path, description = "The policy."),
                      ("apply" = inline(Option<Apply>), Query, description = "Whether licences that there are follow: `existing`, or `new` for none but those to come.")),
               request_body = PolicyPatch,
               responses((status = 200, description = "It was changed.", body = Policy)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("policies:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/policies/{id}")]
async fn update(
    can: Can<perm::PoliciesWrite>,
    db: Data<Db>,
    id: Path<PolicyId>,
    reach: Query<Reach>,
    seen: IfMatch,
    change: Valid<PolicyPatch>,
) -> Result<Tagged<Policy>> {
    db.tenant(can, move |tx| service::patch(tx, id.0, &seen, &change, reach.0.apply))
        .await
        .map(Tagged)
}

/// Archive a policy.
///
/// No licence is issued by it any more; those that there are go on.
#[utoipa::path(operation_id = "policies_archive", params(("id" = PolicyId, Path, description = "The policy.")),
               responses((status = 200, description = "It is archived.", body = Policy)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("policies:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/policies/{id}/archive")]
async fn archive(
    can: Can<perm::PoliciesWrite>,
    db: Data<Db>,
    id: Path<PolicyId>,
    key: IdempotencyKey,
    seen: IfMatch,
    _none: NoQuery,
) -> Result<Once<Tagged<Policy>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| service::archive(tx, id.0, &seen).map(Tagged))
    })
    .await
}
