//! HTTP of versions.

use actix_web::{get, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::super::{
    model::{AgentId, AgentVersion, AgentVersionPage, Frozen, NewPublication, NewVersion, VersionFilters},
    service::versions,
};
use crate::{
    features::providers::Providers,
    kernel::{
        access::{Can, perm},
        db::Db,
        error::Result,
        http::{IdempotencyKey, IfMatch, Json, NoQuery, Path, Paths, Valid},
        idempotency::{Once, once},
        page::PageQuery,
    },
};

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(publish)
        .service(list)
        .service(show)
        .service(retire);
}

/// Freeze a version.
///
/// Of the draft, or of a configuration that is sent along. If the newest version is the same, that is the answer, with status 200.
#[utoipa::path(operation_id = "agents_create_version", params(("id" = AgentId, Path, description = "The agent.")), request_body = NewVersion,
               responses((status = 201, description = "It was frozen.", body = AgentVersion),
                         (status = 200, description = "The newest version is the same.", body = AgentVersion)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:publish")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")),
                          ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/versions")]
async fn create(
    can: Can<perm::AgentsPublish>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    Path(id): Path<AgentId>,
    seen: IfMatch,
    key: IdempotencyKey,
    new: Valid<NewVersion>,
) -> Result<Once<Frozen>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| versions::create(tx, &providers, id, &seen, &new))
    })
    .await
}

/// Publish the draft.
///
/// Freezes it and moves a label to it, `production` unless another is named, in one step.
#[utoipa::path(operation_id = "agents_publish", params(("id" = AgentId, Path, description = "The agent.")), request_body = NewPublication,
               responses((status = 201, description = "It was published.", body = AgentVersion),
                         (status = 200, description = "The newest version is the same; the label means it now.", body = AgentVersion)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:publish")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")),
                          ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/publish")]
async fn publish(
    can: Can<perm::AgentsPublish>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    Path(id): Path<AgentId>,
    seen: IfMatch,
    key: IdempotencyKey,
    new: Valid<NewPublication>,
) -> Result<Once<Frozen>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| versions::publish(tx, &providers, id, &seen, &new))
    })
    .await
}

/// List an agent's versions.
#[utoipa::path(operation_id = "agents_list_versions",
               params(("id" = AgentId, Path, description = "The agent."),
                      PageQuery<VersionFilters>),
               responses((status = 200, description = "A page of them.", body = AgentVersionPage)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}/versions")]
async fn list(
    can: Can<perm::AgentsRead>,
    db: Data<Db>,
    Path(id): Path<AgentId>,
    query: PageQuery<VersionFilters>,
) -> Result<Json<AgentVersionPage>> {
    db.tenant(can, move |tx| versions::list(tx, id, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show a version.
#[utoipa::path(operation_id = "agents_get_version",
               params(("id" = AgentId, Path, description = "The agent."), ("number" = i32, Path, description = "The version's number.")),
               responses((status = 200, description = "The version.", body = AgentVersion)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}/versions/{number}")]
async fn show(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, number): Paths<AgentId, i64>,
) -> Result<Json<AgentVersion>> {
    db.tenant(can, move |tx| versions::get(tx, id, number_of(number)))
        .await
        .map(Json)
}

/// Retire a version.
///
/// It starts no more runs. A version that a label means cannot be retired.
#[utoipa::path(operation_id = "agents_retire_version",
               params(("id" = AgentId, Path, description = "The agent."), ("number" = i32, Path, description = "The version's number.")),
               responses((status = 200, description = "It is retired.", body = AgentVersion)),
               extensions(("x-permission" = json!("agents:publish")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/versions/{number}/retire")]
async fn retire(
    can: Can<perm::AgentsPublish>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, number): Paths<AgentId, i64>,
    key: IdempotencyKey,
) -> Result<Once<Json<AgentVersion>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| {
            versions::retire(tx, id, number_of(number)).map(Json)
        })
    })
    .await
}

/// A number that no version can have is one that none has.
fn number_of(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}
