//! What stands beside the versioned API: probes, the documents, and a page for every refusal.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, LOCATION},
    web::{self, Data},
};
use minijinja::{Environment, Value, context};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::{Config as DocsConfig, serve};

use crate::{
    app::{
        health::{Health, Status},
        openapi::{Document, Written},
        problems,
    },
    kernel::{
        error::{Error, NOT_FOUND, Result},
        http::{Json, Path, is_known, only_looked_at},
    },
};

/// What stands at the root of the server.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(health)
        .service(ready)
        .service(document)
        .service(older_document)
        .service(list_problems)
        .service(problem);
    let page = |path: &str| web::resource(path.to_owned()).default_service(web::to(only_looked_at));
    routes.map(|routes| {
        routes
            .service(page("/docs").route(web::get().to(docs_home)))
            .service(page("/docs/{file:.*}").route(web::get().to(docs)))
    });
}

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ok"}))]
pub struct Alive {
    /// `ok`.
    status: &'static str,
}

/// Whether the process should get traffic.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ready"}))]
pub struct Ready {
    /// `ready`: everything is there. `degraded`: it serves, but something that it uses is away. `unready`: it should get no traffic.
    /// New values may come.
    status: Status,
}

/// Is the process alive?
///
/// Touches nothing but the event loop.
#[utoipa::path(operation_id = "health_check", responses((status = 200, description = "It is.", body = Alive)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("free")), ("x-admission" = json!("interactive"))))]
#[get("/healthz")]
async fn health() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Should this process get traffic?
///
/// A lost database, Redis, mail server or Stripe only degrades: the answer is then `degraded`, with status 200.
#[utoipa::path(operation_id = "health_ready",
               responses((status = 200, description = "It should.", body = Ready), (status = 503, description = "It should not.", body = Ready)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("free")), ("x-admission" = json!("interactive"))))]
#[get("/readyz")]
async fn ready(process: Data<Health>) -> HttpResponse {
    let status = process.status().await;
    match status {
        Status::Ready | Status::Degraded => HttpResponse::Ok().json(Ready { status }),
        Status::Unready => HttpResponse::ServiceUnavailable().json(Ready { status }),
    }
}

/// The OpenAPI document (3.1.0) of this API.
#[utoipa::path(operation_id = "documents_openapi", responses((status = 200, description = "The document.", body = Object, headers(("ETag" = String))), (status = 304, description = "It is as you have it.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/openapi.json")]
async fn document(documents: Data<Written>, request: HttpRequest) -> HttpResponse {
    shared(&documents.current, &request)
}

/// The OpenAPI document in version 3.0.3.
///
/// For generators that know no newer version.
#[utoipa::path(operation_id = "documents_openapi_3_0", responses((status = 200, description = "The document.", body = Object, headers(("ETag" = String))), (status = 304, description = "It is as you have it.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/openapi-3.0.json")]
async fn older_document(documents: Data<Written>, request: HttpRequest) -> HttpResponse {
    shared(&documents.older, &request)
}

fn shared(whole: &Document, request: &HttpRequest) -> HttpResponse {
    let known = is_known(request, &whole.tag);
    let mut answer = match known {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    answer
        .insert_header((CACHE_CONTROL, "public, max-age=60"))
        .insert_header((ETAG, whole.tag.as_str()))
        .insert_header(("access-control-allow-origin", "*"));
    match known {
        true => answer.finish(),
        false => answer.content_type("application/json").body(whole.text.clone()),
    }
}

/// One kind of refusal.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"code": "not-found", "status": 404, "title": "There is no such thing", "meaning": "…", "cause": "…", "fix": "…"}))]
pub struct ProblemPage {
    /// What programs branch on.
    code: &'static str,
    /// The HTTP status that goes with it.
    status: u16,
    /// The sentence that every occurrence carries.
    title: &'static str,
    /// What it means. Like the next two: a sentence or some, with code between backticks.
    meaning: String,
    /// What usually leads to it.
    cause: String,
    /// What to do.
    fix: String,
}

impl From<crate::kernel::error::Kind> for ProblemPage {
    fn from(kind: crate::kernel::error::Kind) -> ProblemPage {
        ProblemPage {
            code: kind.code,
            status: kind.status,
            title: kind.title,
            meaning: kind.meaning(),
            cause: kind.cause(),
            fix: kind.fix(),
        }
    }
}

/// All kinds of refusal.
#[derive(Serialize, ToSchema)]
pub struct ProblemList {
    /// By code.
    data: Vec<ProblemPage>,
}

/// List all kinds of refusal.
#[utoipa::path(operation_id = "problems_list", responses((status = 200, description = "The catalogue.", body = ProblemList)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/problems")]
async fn list_problems() -> Json<ProblemList> {
    Json(ProblemList {
        data: problems::catalogue().into_iter().map(ProblemPage::from).collect(),
    })
}

/// What one kind of refusal means.
///
/// A page for people, or JSON where `Accept` asks for it.
#[utoipa::path(operation_id = "problems_get", params(("code" = String, Path, description = "The code of the refusal.")),
               responses((status = 200, description = "What it means and what to do.", body = ProblemPage)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/problems/{code}")]
async fn problem(code: Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    let page = ProblemPage::from(problems::find(&code.0).ok_or(NOT_FOUND)?);
    let wanted = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !wanted.contains("text/html") {
        return Ok(HttpResponse::Ok().json(page));
    }
    let mut environment = Environment::new();
    environment.add_filter("prose", |text: &str| Value::from_safe_string(prose(text)));
    let html = environment
        .render_named_str(
            "problem.html",
            include_str!("problem.html"),
            context! {
                status => page.status, code => page.code, title => page.title, meaning => page.meaning, cause => page.cause,
                fix => page.fix
            },
        )
        .map_err(|error| Error::Broken(error.into()))?;
    Ok(HttpResponse::Ok()
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .content_type("text/html; charset=utf-8")
        .body(html))
}

/// Text as HTML, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (place, part) in text.split('`').enumerate() {
        let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match place % 2 {
            0 => html.push_str(&part),
            _ => html.extend(["<code>", &part, "</code>"]),
        }
    }
    html
}

async fn docs_home() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, "/docs/")).finish()
}

/// The API reference, a page that carries all its files: it works offline.
async fn docs(request: HttpRequest) -> Result<HttpResponse> {
    let file = request.match_info().get("file").unwrap_or_default();
    let config = std::sync::Arc::new(DocsConfig::new(["/openapi.json"]).use_base_layout());
    let found = serve(if file.is_empty() { "index.html" } else { file }, config)
        .map_err(|error| Error::Broken(anyhow::anyhow!("{error}")))?;
    let file = found.ok_or(NOT_FOUND)?;
    Ok(HttpResponse::Ok()
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
        ))
        .content_type(file.content_type)
        .body(file.bytes.into_owned()))
}
