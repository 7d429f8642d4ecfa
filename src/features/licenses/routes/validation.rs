//! Asking whether a licence is valid, and the keys that the answers are signed with.

use actix_web::{get, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    features::{
        licenses::{
            model::{Validation, Verdict},
            service::validation::{self, Asked},
        },
        policies::ClientVerb,
    },
    kernel::{
        access::{Doorkeeper, LICENSE_UNKNOWN, perm},
        db::Db,
        error::{Error, FieldCode, NOT_FOUND, Result, invalid},
        http::{AnyHolder, Holder, Json, NoQuery, Path, Valid, Visit},
        id::{LicenseId, WorkspaceId},
        identity::{Jwks, Keys, Use},
        peppers::Peppers,
        secret::{Token, TokenKind},
    },
};

/// What stands beside the versioned API.
pub fn roots(routes: &mut ServiceConfig) {
    routes.service(show_keys);
}

/// Validate a licence.
///
/// By the customer's software with its key (`Authorization: License …`), or by the vendor with `key` or `license_id`. The answer to a
/// well-formed question is always 200: `valid`, and every reason why not.
#[utoipa::path(operation_id = "licenses_validate", request_body = Validation,
               responses((status = 200, description = "The verdict.", body = Verdict)),
               extensions(("x-permission" = json!("licenses:validate")), ("x-license" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("public")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/validate")]
pub(super) async fn validate(
    holder: AnyHolder<perm::LicensesValidate>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    keys: Data<Keys>,
    peppers: Data<Peppers>,
    _none: NoQuery,
    asked: Valid<Validation>,
) -> Result<Json<Verdict>> {
    let Validation {
        key,
        license_id,
        nonce,
        scope: asks,
    } = asked.into_inner();
    let named = key.is_some() || license_id.is_some();
    let asked = Asked {
        scope: asks.clone(),
        nonce,
    };
    let holder = match holder {
        AnyHolder::Unknown if named => return Err(twice()),
        AnyHolder::Unknown => return Ok(Json(validation::nowhere(asked, db.clock().now()))),
        AnyHolder::Known(holder) => holder,
    };
    let (hash, license) = meant(&holder, key, license_id, &door)?;
    let verb = holder.software().map(|_| ClientVerb::Validate);
    let scope = holder.scope().clone();
    let pepper = match &asks.fingerprint {
        Some(_) => Some(peppers.of(scope.call(), scope.workspace()).await?),
        None => None,
    };
    let fingerprint = asks
        .fingerprint
        .as_deref()
        .zip(pepper)
        .and_then(|(text, pepper)| validation::fingerprint(&pepper, text));
    let signer = keys.signer(scope.call(), scope.workspace(), Use::License).await?;
    let question = validation::question(hash, license, &asks, fingerprint);
    let mut verdict = validation::validate(&db, scope.clone(), question, asked, verb).await?;
    validation::sign(&mut verdict, &signer, &scope, hash)?;
    Ok(Json(verdict))
}

/// Show the licence of a key.
///
/// What validation answers, without a question and without effects: no term begins with it. For the customer's software alone, with its key
/// (`Authorization: License …`).
#[utoipa::path(operation_id = "licenses_me",
               responses((status = 200, description = "The verdict.", body = Verdict)),
               extensions(("x-permission" = json!("licenses:validate")), ("x-license" = json!("only")),
                          ("x-rate-class" = json!("public")), ("x-admission" = json!("interactive"))))]
#[get("/licenses/me")]
pub(super) async fn me(
    holder: Holder<perm::LicensesValidate>,
    db: Data<Db>,
    keys: Data<Keys>,
    _none: NoQuery,
) -> Result<Json<Verdict>> {
    let detail = "Show the licence's key: Authorization: License.";
    let software = holder.software().ok_or_else(|| LICENSE_UNKNOWN.because(detail))?;
    let scope = software.scope();
    let signer = keys.signer(scope.call(), scope.workspace(), Use::License).await?;
    let mut verdict = validation::look(&db, software).await?;
    validation::sign(&mut verdict, &signer, scope, Some(software.hash()))?;
    Ok(Json(verdict))
}

/// Which licence is meant: by the key that the software shows, or as the vendor names it.
fn meant(
    holder: &Holder<perm::LicensesValidate>,
    key: Option<String>,
    license: Option<LicenseId>,
    door: &Doorkeeper,
) -> Result<(Option<[u8; 32]>, Option<LicenseId>)> {
    match (holder.software(), key, license) {
        (Some(software), None, None) => Ok((Some(software.hash()), None)),
        (Some(_), ..) => Err(twice()),
        (None, Some(key), None) => {
            let token = Token::parse_as(&key, TokenKind::LicenseKey, door.mode());
            // A malformed key is a hash that no key has.
            Ok((Some(token.map_or([0; 32], |token| token.digest())), None))
        }
        (None, None, Some(license)) => Ok((None, Some(license))),
        (None, Some(_), Some(_)) => {
            let detail = "Either the key or the id.";
            Err(invalid("/license_id", FieldCode::ConflictsWith, detail))
        }
        (None, None, None) => {
            let detail = "Which licence: its key or its id.";
            Err(invalid("/license_id", FieldCode::Required, detail))
        }
    }
}

fn twice() -> Error {
    let detail = "The key that was shown says which licence is meant.";
    invalid("/license_id", FieldCode::ConflictsWith, detail)
}

/// Show the keys that sign a workspace's verdicts.
///
/// For clients that verify offline: pin them in the software that is shipped. The name is the workspace's id with `.json`.
#[utoipa::path(operation_id = "license_keys_get", params(("file" = String, Path, description = "The workspace's id and `.json`.", example = "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz.json")),
               responses((status = 200, description = "A JSON Web Key Set (RFC 7517).", body = Jwks)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[get("/.well-known/license-keys/{file}")]
async fn show_keys(visit: Visit, keys: Data<Keys>, file: Path<String>, _none: NoQuery) -> Result<Json<Jwks>> {
    let workspace: WorkspaceId = file
        .0
        .strip_suffix(".json")
        .and_then(|id| id.parse().ok())
        .ok_or(NOT_FOUND)?;
    let jwks = keys.jwks_of(&visit.0, workspace, Use::License).await?;
    if jwks.keys.is_empty() {
        return Err(NOT_FOUND.into());
    }
    Ok(Json(jwks))
}
