//! Probes, documents and problem pages.

use actix_web::{HttpResponse, get, web::Data};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    app::{boot::Readiness, openapi::Documents},
    kernel::http::Json,
};

/// What stands at the root of the server.
pub fn roots(routes: &mut ServiceConfig) {
    routes.service(health).service(ready).service(document);
}

/// What stands under the versioned API.
pub fn routes(_routes: &mut ServiceConfig) {}

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ok"}))]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// Is the process alive?
///
/// Touches nothing but the event loop.
#[utoipa::path(operation_id = "health_check", tag = "health", responses((status = 200, description = "It is.", body = Health)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("free")), ("x-admission" = json!("interactive"))))]
#[get("/healthz")]
async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Should this process get traffic?
///
/// A lost database or Redis only degrades: the answer is then `degraded`, with status 200.
#[utoipa::path(operation_id = "health_ready", tag = "health",
               responses((status = 200, description = "It should.", body = Health), (status = 503, description = "It should not.", body = Health)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("free")), ("x-admission" = json!("interactive"))))]
#[get("/readyz")]
async fn ready(readiness: Data<Readiness>) -> HttpResponse {
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(Health { status: "ready" }),
        false => HttpResponse::ServiceUnavailable().json(Health { status: "unready" }),
    }
}

/// The OpenAPI document (3.1.0) of this API.
#[utoipa::path(operation_id = "documents_openapi", tag = "documents", responses((status = 200, description = "The document.", content_type = "application/json")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/openapi.json")]
async fn document(documents: Data<Documents>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(documents.current.clone())
}
