//! HTTP of licences.

mod lifecycle;
mod validation;

use actix_web::{get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{IssuedLicense, License, LicenseFilters, LicensePage, LicensePatch, NewLicense},
    service,
};
use crate::{
    features::{policies::PolicyId, products::ProductId},
    kernel::{
        access::{Can, Doorkeeper, perm},
        db::Db,
        error::Result,
        http::{Created, IdempotencyKey, IfMatch, Json, NoQuery, Path, Tagged, Valid},
        id::{CustomerId, LicenseId},
        idempotency::{Once, once},
        identity::{Keys, Use},
        page::{Page, PageQuery},
        secret::{Token, TokenKind},
    },
};

pub use validation::roots;

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(validation::validate)
        .service(validation::me)
        .service(create)
        .service(list)
        .service(show)
        .service(update)
        .service(lifecycle::rotate_key)
        .service(lifecycle::renew)
        .service(lifecycle::suspend)
        .service(lifecycle::reinstate)
        .service(lifecycle::revoke);
}

/// Issue a licence.
///
/// Its key is in this answer and nowhere else: what is kept is its hash.
#[utoipa::path(operation_id = "licenses_create", request_body = NewLicense,
               responses((status = 201, description = "It was issued.", body = IssuedLicense, headers(("ETag" = String)))),
               extensions(("x-permission" = json!("licenses:issue")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses")]
async fn create(
    can: Can<perm::LicensesIssue>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    keys: Data<Keys>,
    key: IdempotencyKey,
    new: Valid<NewLicense>,
) -> Result<Once<Created<IssuedLicense>>> {
    // Whoever ships software with this licence needs the key that its verdicts are signed with.
    let scope = can.scope();
    keys.signer(scope.call(), scope.workspace(), Use::License).await?;
    let secret = Token::mint(TokenKind::LicenseKey, door.mode());
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| service::create(tx, &new, &secret).map(Created))
    })
    .await
}

/// List licences.
#[utoipa::path(operation_id = "licenses_list",
               params(PageQuery<LicenseFilters>,
                      ("product_id" = Option<ProductId>, Query, description = "Only those for this product."),
                      ("policy_id" = Option<PolicyId>, Query, description = "Only those that follow this policy."),
                      ("customer_id" = Option<CustomerId>, Query, description = "Only this customer's."),
                      ("external_id" = Option<String>, Query, description = "Only those with this key of yours."),
                      ("key_start" = Option<String>, Query, description = "Only those one of whose keys begins like this."),
                      ("expires_before" = Option<String>, Query, description = "Only those that expire before this time.")),
               responses((status = 200, description = "A page.", body = LicensePage)),
               extensions(("x-permission" = json!("licenses:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/licenses")]
async fn list(
    can: Can<perm::LicensesRead>,
    db: Data<Db>,
    query: PageQuery<LicenseFilters>,
) -> Result<Json<Page<License>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a licence.
#[utoipa::path(operation_id = "licenses_get", params(("id" = LicenseId, Path, description = "The licence.")),
               responses((status = 200, description = "The licence, without its key.", body = License), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("licenses:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/licenses/{id}")]
async fn show(
    can: Can<perm::LicensesRead>,
    db: Data<Db>,
    id: Path<LicenseId>,
    _none: NoQuery,
) -> Result<Tagged<License>> {
    db.tenant(can, move |tx| service::get(tx, id.0)).await.map(Tagged)
}

/// Change a licence.
///
/// What it is called and what is noted with it. What it is worth changes by its policy, a renewal, a suspension, a revocation.
#[utoipa::path(operation_id = "licenses_update", params(("id" = LicenseId, Path, description = "The licence.")), request_body = LicensePatch,
               responses((status = 200, description = "It was changed.", body = License)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/licenses/{id}")]
async fn update(
    can: Can<perm::LicensesWrite>,
    db: Data<Db>,
    id: Path<LicenseId>,
    seen: IfMatch,
    change: Valid<LicensePatch>,
) -> Result<Tagged<License>> {
    db.tenant(can, move |tx| service::patch(tx, id.0, &seen, &change))
        .await
        .map(Tagged)
}
