//! HTTP of products.

use actix_web::{get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{NewProduct, Product, ProductFilters, ProductId, ProductPage, ProductPatch},
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

/// Make a product.
#[utoipa::path(operation_id = "products_create", request_body = NewProduct,
               responses((status = 201, description = "It was made.", body = Product)),
               extensions(("x-permission" = json!("products:write")), ("x-idempotent" = json!(true)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/products")]
async fn create(
    can: Can<perm::ProductsWrite>,
    db: Data<Db>,
    key: IdempotencyKey,
    new: Valid<NewProduct>,
) -> Result<Once<Created<Product>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| service::create(tx, &new).map(Created))
    })
    .await
}

/// List products.
#[utoipa::path(operation_id = "products_list",
               params(PageQuery<ProductFilters>,
                      ("code" = Option<String>, Query, description = "Only the one with this code.")),
               responses((status = 200, description = "A page.", body = ProductPage)),
               extensions(("x-permission" = json!("products:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/products")]
async fn list(
    can: Can<perm::ProductsRead>,
    db: Data<Db>,
    query: PageQuery<ProductFilters>,
) -> Result<Json<Page<Product>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a product.
#[utoipa::path(operation_id = "products_get", params(("id" = ProductId, Path, description = "The product.")),
               responses((status = 200, description = "The product.", body = Product), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("products:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/products/{id}")]
async fn show(
    can: Can<perm::ProductsRead>,
    db: Data<Db>,
    id: Path<ProductId>,
    _none: NoQuery,
) -> Result<Tagged<Product>> {
    service::show(&db, can, id.0).await.map(Tagged)
}

/// Change a product.
#[utoipa::path(operation_id = "products_update", params(("id" = ProductId, Path, description = "The product.")), request_body = ProductPatch,
               responses((status = 200, description = "It was changed.", body = Product)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("products:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/products/{id}")]
async fn update(
    can: Can<perm::ProductsWrite>,
    db: Data<Db>,
    id: Path<ProductId>,
    seen: IfMatch,
    change: Valid<ProductPatch>,
) -> Result<Tagged<Product>> {
    db.tenant(can, move |tx| service::patch(tx, id.0, &seen, &change))
        .await
        .map(Tagged)
}

/// Archive a product.
///
/// It issues no more licences; those that there are validate on.
#[utoipa::path(operation_id = "products_archive", params(("id" = ProductId, Path, description = "The product.")),
               responses((status = 200, description = "It is archived.", body = Product)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("products:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/products/{id}/archive")]
async fn archive(
    can: Can<perm::ProductsWrite>,
    db: Data<Db>,
    id: Path<ProductId>,
    key: IdempotencyKey,
    seen: IfMatch,
    _none: NoQuery,
) -> Result<Once<Tagged<Product>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| service::archive(tx, id.0, &seen).map(Tagged))
    })
    .await
}
