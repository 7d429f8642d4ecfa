//! The catalogue of events.

use actix_web::{get, web::Data};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::kernel::{
    access::{Can, perm},
    error::{NOT_FOUND, Result},
    http::{Json, NoQuery, Path},
    outbox::{Catalogue, EventInfo},
};

pub(super) fn routes(routes: &mut ServiceConfig) {
    routes.service(list).service(show);
}

/// A type of event.
#[derive(Serialize, ToSchema)]
#[schema(as = EventTypeInfo,
         example = json!({"name": "member.joined", "description": "Somebody became a member.", "group": "people", "filterable": ["role"],
                          "schema": {"type": "object"}, "example": {"id": "mem_01jd8qv4x2fkr9s3m5n7p0t1wz"}}))]
pub struct TypeInfo {
    /// `resource.happened`, never renamed.
    pub name: &'static str,
    /// What it means.
    pub description: String,
    /// Under which heading it stands.
    pub group: &'static str,
    /// The fields of `data` that an endpoint may filter by.
    pub filterable: &'static [&'static str],
    /// The JSON schema of `data`.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// An example of `data`.
    #[schema(value_type = Object)]
    pub example: Value,
}

/// The types of events.
#[derive(Serialize, ToSchema)]
#[schema(as = EventTypeList)]
pub struct TypeList {
    /// By name.
    pub data: Vec<TypeInfo>,
}

impl From<&EventInfo> for TypeInfo {
    fn from(event: &EventInfo) -> TypeInfo {
        TypeInfo {
            name: event.name,
            description: event.description(),
            group: event.group,
            filterable: event.filterable,
            schema: event.schema_json(),
            example: event.example(),
        }
    }
}

/// List the types of events.
///
/// Those that webhook endpoints can ask for.
#[utoipa::path(operation_id = "event_types_list", responses((status = 200, description = "All of them.", body = TypeList)),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/event-types")]
async fn list(_can: Can<perm::WebhooksRead>, catalogue: Data<Catalogue>, _none: NoQuery) -> Result<Json<TypeList>> {
    let told = catalogue.iter().filter(|event| event.audience.webhook);
    Ok(Json(TypeList {
        data: told.map(|event| TypeInfo::from(*event)).collect(),
    }))
}

/// Show a type of event.
#[utoipa::path(operation_id = "event_types_get", params(("name" = String, Path, description = "Its name.", example = "member.joined")),
               responses((status = 200, description = "The type.", body = TypeInfo)),
               extensions(("x-permission" = json!("webhooks:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/event-types/{name}")]
async fn show(
    _can: Can<perm::WebhooksRead>,
    catalogue: Data<Catalogue>,
    name: Path<String>,
    _none: NoQuery,
) -> Result<Json<TypeInfo>> {
    let told = catalogue
        .iter()
        .find(|event| event.audience.webhook && event.name == name.0);
    Ok(Json(told.copied().ok_or(NOT_FOUND)?.into()))
}
