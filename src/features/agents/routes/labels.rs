//! HTTP of labels.

use actix_web::{delete, get, put, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::super::{
    model::{AgentId, Label, LabelList, NewLabel},
    service::labels,
};
use crate::kernel::{
    access::{Can, perm},
    db::Db,
    error::Result,
    http::{IfMatch, Json, NoContent, NoQuery, Path, Paths, Put, Tagged, Valid},
};

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes.service(list).service(show).service(set).service(remove);
}

/// List an agent's labels.
#[utoipa::path(operation_id = "agents_list_labels", params(("id" = AgentId, Path, description = "The agent.")),
               responses((status = 200, description = "All of them.", body = LabelList)),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}/labels")]
async fn list(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<AgentId>,
) -> Result<Json<LabelList>> {
    db.tenant(can, move |tx| labels::list(tx, id))
        .await
        .map(|data| Json(LabelList { data }))
}

/// Show a label.
#[utoipa::path(operation_id = "agents_get_label",
               params(("id" = AgentId, Path, description = "The agent."), ("label" = String, Path, description = "The label's name.")),
               responses((status = 200, description = "The label.", body = Label), (status = 304, description = "It is as it was.")),
               extensions(("x-permission" = json!("agents:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}/labels/{label}")]
async fn show(
    can: Can<perm::AgentsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, label): Paths<AgentId, String>,
) -> Result<Tagged<Label>> {
    db.tenant(can, move |tx| labels::get(tx, id, &label)).await.map(Tagged)
}

/// Make a label mean a version.
///
/// `latest` always means the newest one and cannot be set.
#[utoipa::path(operation_id = "agents_set_label",
               params(("id" = AgentId, Path, description = "The agent."), ("label" = String, Path, description = "The label's name.")),
               request_body = NewLabel, responses((status = 200, description = "It means that version now.", body = Label),
                         (status = 201, description = "There was no such label; there is now.", body = Label)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:publish")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[put("/agents/{id}/labels/{label}")]
async fn set(
    can: Can<perm::AgentsPublish>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, label): Paths<AgentId, String>,
    seen: IfMatch,
    new: Valid<NewLabel>,
) -> Result<Put<Label>> {
    db.tenant(can, move |tx| labels::put(tx, id, &label, &seen, &new)).await
}

/// Take a label away.
#[utoipa::path(operation_id = "agents_delete_label",
               params(("id" = AgentId, Path, description = "The agent."), ("label" = String, Path, description = "The label's name.")),
               responses((status = 204, description = "It is gone.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("agents:publish")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[delete("/agents/{id}/labels/{label}")]
async fn remove(
    can: Can<perm::AgentsPublish>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, label): Paths<AgentId, String>,
    seen: IfMatch,
) -> Result<NoContent> {
    db.tenant(can, move |tx| labels::delete(tx, id, &label, &seen))
        .await
        .map(|()| NoContent)
}
