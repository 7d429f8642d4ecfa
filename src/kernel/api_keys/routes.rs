//! HTTP of keys.

use actix_web::{delete, get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{ApiKey, ApiKeyFilters, ApiKeyPage, ApiKeyPatch, CreatedApiKey, KEY_NOT_FROM_KEY, NewApiKey},
    service::{self, Keeper},
};
use crate::kernel::{
    access::{Can, Doorkeeper, Needs, Person, Via, perm},
    db::Db,
    error::Result,
    http::{Created, Fresh, IdempotencyKey, IfMatch, Json, NoContent, Path, Tagged, Valid},
    id::ApiKeyId,
    idempotency::{Once, once},
    page::{Page, PageQuery},
    secret::{Token, TokenKind},
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(list)
        .service(show)
        .service(update)
        .service(revoke);
}

fn keeper<P: Needs>(can: &Can<P>, person: &Person) -> Keeper {
    Keeper {
        user: person.user,
        granted: can.granted(),
    }
}

/// Make an API key.
///
/// It is the caller's own, and never worth more than the caller is. Its secret is in this answer and nowhere else.
#[utoipa::path(operation_id = "api_keys_create", request_body = NewApiKey,
               responses((status = 201, description = "It was made.", body = CreatedApiKey, headers(("ETag" = String)))),
               extensions(("x-permission" = json!("api_keys:write")), ("x-fresh" = json!(true)), ("x-idempotent" = json!(true)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/api-keys")]
async fn create(
    can: Can<perm::ApiKeysWrite>,
    person: Person,
    _fresh: Fresh,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    key: IdempotencyKey,
    new: Valid<NewApiKey>,
) -> Result<Once<Created<CreatedApiKey>>> {
    let keeper = keeper(&can, &person);
    let secret = Token::mint(TokenKind::PersonalKey, door.mode());
    let made = db
        .tenant(can, move |tx| {
            once(tx, &key, &new, |tx| {
                service::create(tx, keeper, &secret, &new).map(Created)
            })
        })
        .await?;
    Ok(made)
}

/// List API keys.
///
/// Members see their own; who may see service accounts sees everybody's.
#[utoipa::path(operation_id = "api_keys_list",
               params(PageQuery<ApiKeyFilters>,
                      ("owner_id" = Option<crate::kernel::id::UserId>, Query, description = "Only this person's.")),
               responses((status = 200, description = "A page.", body = ApiKeyPage)),
               extensions(("x-permission" = json!("api_keys:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/api-keys")]
async fn list(
    can: Can<perm::ApiKeysRead>,
    person: Person,
    db: Data<Db>,
    query: PageQuery<ApiKeyFilters>,
) -> Result<Json<Page<ApiKey>>> {
    let keeper = keeper(&can, &person);
    db.tenant(can, move |tx| service::list(tx, keeper, &query))
        .await
        .map(Json)
}

/// Show an API key.
#[utoipa::path(operation_id = "api_keys_get", params(("id" = ApiKeyId, Path, description = "The key.")),
               responses((status = 200, description = "The key, without its secret.", body = ApiKey), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("api_keys:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/api-keys/{id}")]
async fn show(can: Can<perm::ApiKeysRead>, person: Person, db: Data<Db>, id: Path<ApiKeyId>) -> Result<Tagged<ApiKey>> {
    let keeper = keeper(&can, &person);
    db.tenant(can, move |tx| service::get(tx, keeper, id.0))
        .await
        .map(Tagged)
}

/// Change an API key.
///
/// A personal key is changed by its owner alone.
#[utoipa::path(operation_id = "api_keys_update", params(("id" = ApiKeyId, Path, description = "The key.")), request_body = ApiKeyPatch,
               responses((status = 200, description = "It was changed.", body = ApiKey)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("api_keys:write")), ("x-fresh" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/api-keys/{id}")]
async fn update(
    can: Can<perm::ApiKeysWrite>,
    person: Person,
    _fresh: Fresh,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    id: Path<ApiKeyId>,
    seen: IfMatch,
    change: Valid<ApiKeyPatch>,
) -> Result<Tagged<ApiKey>> {
    let keeper = keeper(&can, &person);
    let changed = db
        .tenant(can, move |tx| service::patch(tx, keeper, id.0, &seen, &change))
        .await?;
    door.forget_key(changed.id);
    Ok(Tagged(changed))
}

/// Revoke an API key.
///
/// It stops at once here, and within a second everywhere. Who may change service accounts revokes everybody's.
#[utoipa::path(operation_id = "api_keys_delete", params(("id" = ApiKeyId, Path, description = "The key.")),
               responses((status = 204, description = "It was revoked.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("api_keys:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[delete("/api-keys/{id}")]
async fn revoke(
    can: Can<perm::ApiKeysWrite>,
    person: Person,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    id: Path<ApiKeyId>,
    seen: IfMatch,
) -> Result<NoContent> {
    if matches!(person.via, Via::Key(own) if own != id.0) {
        return Err(KEY_NOT_FROM_KEY.into());
    }
    let keeper = keeper(&can, &person);
    let id = id.0;
    db.tenant(can, move |tx| service::revoke(tx, keeper, id, &seen)).await?;
    door.forget_key(id);
    Ok(NoContent)
}
