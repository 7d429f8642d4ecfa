//! HTTP of customers.

use actix_web::{get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Customer, CustomerFilters, CustomerPage, CustomerPatch, NewCustomer},
    service,
};
use crate::kernel::{
    access::{Can, perm},
    db::Db,
    error::Result,
    http::{Created, IdempotencyKey, IfMatch, Json, NoQuery, Path, Tagged, Valid},
    id::CustomerId,
    idempotency::{Once, once},
    page::{Page, PageQuery},
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes.service(create).service(list).service(show).service(update);
}

/// Add a customer.
#[utoipa::path(operation_id = "customers_create", request_body = NewCustomer,
               responses((status = 201, description = "They were added.", body = Customer)),
               extensions(("x-permission" = json!("customers:write")), ("x-idempotent" = json!(true)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/customers")]
async fn create(
    can: Can<perm::CustomersWrite>,
    db: Data<Db>,
    key: IdempotencyKey,
    new: Valid<NewCustomer>,
) -> Result<Once<Created<Customer>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| service::create(tx, &new).map(Created))
    })
    .await
}

/// List customers.
#[utoipa::path(operation_id = "customers_list",
               params(PageQuery<CustomerFilters>,
                      ("email" = Option<String>, Query, description = "Only those with this address."),
                      ("external_id" = Option<String>, Query, description = "Only those with this key of yours.")),
               responses((status = 200, description = "A page.", body = CustomerPage)),
               extensions(("x-permission" = json!("customers:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/customers")]
async fn list(
    can: Can<perm::CustomersRead>,
    db: Data<Db>,
    query: PageQuery<CustomerFilters>,
) -> Result<Json<Page<Customer>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a customer.
#[utoipa::path(operation_id = "customers_get", params(("id" = CustomerId, Path, description = "The customer.")),
               responses((status = 200, description = "The customer.", body = Customer), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("customers:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/customers/{id}")]
async fn show(
    can: Can<perm::CustomersRead>,
    db: Data<Db>,
    id: Path<CustomerId>,
    _none: NoQuery,
) -> Result<Tagged<Customer>> {
    service::show(&db, can, id.0).await.map(Tagged)
}

/// Change a customer.
#[utoipa::path(operation_id = "customers_update", params(("id" = CustomerId, Path, description = "The customer.")), request_body = CustomerPatch,
               responses((status = 200, description = "They were changed.", body = Customer)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("customers:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/customers/{id}")]
async fn update(
    can: Can<perm::CustomersWrite>,
    db: Data<Db>,
    id: Path<CustomerId>,
    seen: IfMatch,
    change: Valid<CustomerPatch>,
) -> Result<Tagged<Customer>> {
    db.tenant(can, move |tx| service::patch(tx, id.0, &seen, &change))
        .await
        .map(Tagged)
}
