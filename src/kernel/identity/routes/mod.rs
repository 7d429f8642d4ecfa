//! HTTP of identity.

mod cookies;
mod me;
mod pages;
mod passwords;
mod sessions;
mod sign_in;
mod sign_up;

use actix_web::{HttpResponse, get, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Discovery, Jwks},
    service::{Identity, Keys},
};
use crate::kernel::{
    error::Result,
    http::{NoQuery, Visit},
};

/// The routes of this slice under the versioned API.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(sign_up::register)
        .service(sign_up::verify)
        .service(sign_up::resend)
        .service(sign_in::log_in)
        .service(sign_in::renew)
        .service(sign_in::log_out)
        .service(sign_in::who)
        .service(sign_in::prove_again)
        .service(passwords::ask_for_link)
        .service(passwords::set_by_link)
        .service(passwords::change_own)
        .service(me::show)
        .service(me::update)
        .service(me::show_preferences)
        .service(me::update_preferences)
        .service(me::list_workspaces)
        .service(me::list_permissions)
        .service(me::list_security_events)
        .service(sessions::list)
        .service(sessions::end)
        .service(sessions::end_others);
}

/// What stands at the root of the server: the keys, and the pages behind mailed links.
pub fn roots(routes: &mut ServiceConfig) {
    routes.service(jwks).service(auditors).service(openid).service(oauth);
    pages::routes(routes);
}

/// The keys that verify access tokens (RFC 7517).
///
/// Keep them for ten minutes. A key is listed at least fifteen minutes before it signs, and until nothing that it signed is valid.
#[utoipa::path(operation_id = "keys_list", responses((status = 200, description = "The keys.", body = Jwks)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/.well-known/jwks.json")]
async fn jwks(_: Visit, keys: Data<Keys>) -> Result<HttpResponse> {
    keys.ready().await?;
    Ok(published(&keys.jwks()))
}

/// The keys that sign heads of the audit log (RFC 7517).
///
/// All that ever did, and the next one: a head is verified for as long as somebody keeps it. Only a key that was withdrawn, because somebody
/// else may have it, is not listed any more: what it signed vouches for nothing.
#[utoipa::path(operation_id = "keys_list_audit", responses((status = 200, description = "The keys.", body = Jwks)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/.well-known/audit-keys.json")]
async fn auditors(_: Visit, _none: NoQuery, keys: Data<Keys>) -> Result<HttpResponse> {
    keys.ready().await?;
    Ok(published(&keys.audit_jwks()))
}

/// Who issues access tokens, and where the keys are (OpenID Connect Discovery).
#[utoipa::path(operation_id = "keys_discover_openid", responses((status = 200, description = "Where everything is.", body = Discovery)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/.well-known/openid-configuration")]
async fn openid(_: Visit, _none: NoQuery, identity: Data<Identity>) -> Result<HttpResponse> {
    discovery(&identity).await
}

/// The same under the name that OAuth clients look for (RFC 8414).
#[utoipa::path(operation_id = "keys_discover_oauth", responses((status = 200, description = "Where everything is.", body = Discovery)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/.well-known/oauth-authorization-server")]
async fn oauth(_: Visit, _none: NoQuery, identity: Data<Identity>) -> Result<HttpResponse> {
    discovery(&identity).await
}

async fn discovery(identity: &Identity) -> Result<HttpResponse> {
    identity.keys.ready().await?;
    let known = Discovery::of(&identity.desk.issuer.issuer, &identity.keys.jwks());
    Ok(published(&known))
}

/// What is anybody's to read, from any page, and stays true for ten minutes.
fn published(what: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=600"))
        .insert_header(("access-control-allow-origin", "*"))
        .json(what)
}
