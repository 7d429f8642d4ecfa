//! HTTP of agents.

mod labels;
mod versions;

use actix_web::{delete, get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Agent, AgentFilters, AgentId, AgentPage, AgentPatch, Draft, NewAgent, State, Verdict},
    service,
};
use crate::{
    features::providers::Providers,
    kernel::{
        access::{Can, Scope, perm},
        db::Db,
        error::Result,
        http::{Created, IdempotencyKey, IfMatch, Json, NoContent, NoQuery, Path, Tagged, Valid},
        idempotency::{Once, once},
        page::PageQuery,
    },
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(list)
        .service(validate)
        .service(show)
        .service(update)
        .service(remove)
        .service(validate_draft)
        .service(archive)
        .service(unarchive);
    versions::routes(routes);
    labels::routes(routes);
}

/// Create an agent.
///
/// By default it is published at once: version 1, label `production`. A configuration that cannot be executed is then refused; with
/// `publish: false` it is kept as a draft, and `draft.problems` lists what is wrong with it.
#[utoipa::path(operation_id = "agents_create", request_body = NewAgent,
               responses((status = 201, description = "It was made.", body = Agent)),
               extensions(("x-permission" = json!("agents:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")),
                          ("x-admission" = json!("interactive"))))]
#[post("/agents")]
async fn create(
    can: Can<perm::AgentsWrite>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    key: IdempotencyKey,
    new: Valid<NewAgent>,
) -> Result<Once<Created<Agent>>> {
    let granted = can.granted();
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| {
            service::create(tx, &providers, &new, granted).map(Created)
        })
    })
    .await
}

/// List agents.
#[utoipa::path(operation_id = "agents_list",
               params(PageQuery<AgentFilters>,
                      ("state" = Option<Vec<State>>, Query, description = "Only these states."),
                      ("framework" = Option<Vec<super::model::Framework>>, Query, description = "Only these frameworks.")),
               responses((status = 200, description = "A page of them.", body = AgentPage)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents")]
async fn list(can: Can<perm::AgentsRead>, db: Data<Db>, query: PageQuery<AgentFilters>) -> Result<Json<AgentPage>> {
    db.tenant(can, move |tx| service::list(tx, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Judge a configuration.
///
/// Writes nothing and costs nothing.
#[utoipa::path(operation_id = "agents_validate", request_body = Draft,
               responses((status = 200, description = "What it would become, or what is wrong with it.", body = Verdict)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("cpu"))))]
#[post("/agents/validate")]
async fn validate(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    draft: Valid<Draft>,
) -> Result<Json<Verdict>> {
    let scope = Scope::from(can);
    let verdict = db.gate().compute(&scope, move || service::validate(&providers, &draft));
    Ok(Json(verdict.await?))
}

/// Show an agent.
#[utoipa::path(operation_id = "agents_get", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 200, description = "The agent.", body = Agent), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}")]
async fn show(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<AgentId>,
) -> Result<Tagged<Agent>> {
    db.tenant(can, move |tx| service::get(tx, id)).await.map(Tagged)
}

/// Change an agent's draft.
///
/// A JSON Merge Patch; `config` merges into the draft. `If-Match` is required: a blind overwrite would destroy work.
#[utoipa::path(operation_id = "agents_update", params(("id" = AgentId, Path, description = "The agent.")), request_body = AgentPatch,
               responses((status = 200, description = "It was changed.", body = Agent)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/agents/{id}")]
async fn update(
    can: Can<perm::AgentsWrite>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    Path(id): Path<AgentId>,
    seen: IfMatch,
    change: Valid<AgentPatch>,
) -> Result<Tagged<Agent>> {
    db.tenant(can, move |tx| service::update(tx, &providers, id, &seen, &change))
        .await
        .map(Tagged)
}

/// Delete an agent that never ran.
///
/// One that has runs is archived instead.
#[utoipa::path(operation_id = "agents_delete", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 204, description = "It is gone.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[delete("/agents/{id}")]
async fn remove(
    can: Can<perm::AgentsWrite>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<AgentId>,
    seen: IfMatch,
) -> Result<NoContent> {
    db.tenant(can, move |tx| service::delete(tx, id, &seen))
        .await
        .map(|()| NoContent)
}

/// Judge an agent's draft.
///
/// Writes nothing and costs nothing.
#[utoipa::path(operation_id = "agents_validate_draft", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 200, description = "What it would become, or what is wrong with it.", body = Verdict)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/validate")]
async fn validate_draft(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    providers: Data<Providers>,
    Path(id): Path<AgentId>,
) -> Result<Json<Verdict>> {
    db.tenant(can, move |tx| service::validate_draft(tx, &providers, id))
        .await
        .map(Json)
}

/// Archive an agent.
///
/// It starts no more runs; runs that are under way go on.
#[utoipa::path(operation_id = "agents_archive", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 200, description = "It is archived.", body = Agent)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/archive")]
async fn archive(
    can: Can<perm::AgentsWrite>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<AgentId>,
    key: IdempotencyKey,
    seen: IfMatch,
) -> Result<Once<Tagged<Agent>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| {
            service::set_state(tx, id, &seen, State::Archived).map(Tagged)
        })
    })
    .await
}

/// Take an agent back into use.
#[utoipa::path(operation_id = "agents_unarchive", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 200, description = "It is active.", body = Agent)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:write")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/agents/{id}/unarchive")]
async fn unarchive(
    can: Can<perm::AgentsWrite>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<AgentId>,
    key: IdempotencyKey,
    seen: IfMatch,
) -> Result<Once<Tagged<Agent>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &(), |tx| {
            service::set_state(tx, id, &seen, State::Active).map(Tagged)
        })
    })
    .await
}
