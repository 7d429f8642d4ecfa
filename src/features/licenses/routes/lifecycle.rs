//! What happens to a licence.

use actix_web::{post, web::Data};

use crate::{
    features::licenses::{
        model::{IssuedLicense, KeyRotation, License, NewRenewal, Reinstatement, Revocation, Suspension},
        service::{self, holds, renewal},
    },
    kernel::{
        access::{Can, Doorkeeper, perm},
        db::Db,
        error::Result,
        http::{IdempotencyKey, IfMatch, Path, Tagged, Valid},
        id::LicenseId,
        idempotency::{Once, once},
        secret::{Token, TokenKind},
    },
};

/// Renew a licence.
///
/// By periods of its policy's term, or at least until a date. The same `ref` again changes nothing.
#[utoipa::path(operation_id = "licenses_renew", params(("id" = LicenseId, Path, description = "The licence.")), request_body = NewRenewal,
               responses((status = 200, description = "It was renewed.", body = License)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:write")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/{id}/renew")]
pub(super) async fn renew(
    can: Can<perm::LicensesWrite>,
    db: Data<Db>,
    id: Path<LicenseId>,
    key: IdempotencyKey,
    seen: IfMatch,
    new: Valid<NewRenewal>,
) -> Result<Once<Tagged<License>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &new, |tx| {
            renewal::renew_seen(tx, id.0, &seen, &new).map(Tagged)
        })
    })
    .await
}

/// Replace a licence's key.
///
/// The new key is in this answer and nowhere else. The one before goes on for the overlap, with the notice `key_rotated`; one that overlapped
/// with it already ends now.
#[utoipa::path(operation_id = "licenses_rotate_key", params(("id" = LicenseId, Path, description = "The licence.")), request_body = KeyRotation,
               responses((status = 200, description = "It has a new key.", body = IssuedLicense, headers(("ETag" = String)))),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:write")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/{id}/rotate-key")]
pub(super) async fn rotate_key(
    can: Can<perm::LicensesWrite>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    id: Path<LicenseId>,
    key: IdempotencyKey,
    seen: IfMatch,
    wanted: Valid<KeyRotation>,
) -> Result<Once<Tagged<IssuedLicense>>> {
    let secret = Token::mint(TokenKind::LicenseKey, door.mode());
    db.tenant(can, move |tx| {
        once(tx, &key, &wanted, |tx| {
            service::rotate(tx, id.0, &seen, &wanted, &secret).map(Tagged)
        })
    })
    .await
}

/// Suspend a licence.
///
/// Places a hold. The licence is not valid as long as one is left; placing the same one again changes nothing. The note is shown with the
/// hold, and the audit log keeps it.
#[utoipa::path(operation_id = "licenses_suspend", params(("id" = LicenseId, Path, description = "The licence.")), request_body = Suspension,
               responses((status = 200, description = "It is suspended.", body = License)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:suspend")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/{id}/suspend")]
pub(super) async fn suspend(
    can: Can<perm::LicensesSuspend>,
    db: Data<Db>,
    id: Path<LicenseId>,
    key: IdempotencyKey,
    seen: IfMatch,
    why: Valid<Suspension>,
) -> Result<Once<Tagged<License>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &why, |tx| holds::suspend(tx, id.0, &seen, &why).map(Tagged))
    })
    .await
}

/// Lift a hold from a licence.
///
/// It lives again once no hold is left.
#[utoipa::path(operation_id = "licenses_reinstate", params(("id" = LicenseId, Path, description = "The licence.")), request_body = Reinstatement,
               responses((status = 200, description = "The hold is lifted.", body = License)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:suspend")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/{id}/reinstate")]
pub(super) async fn reinstate(
    can: Can<perm::LicensesSuspend>,
    db: Data<Db>,
    id: Path<LicenseId>,
    key: IdempotencyKey,
    seen: IfMatch,
    which: Valid<Reinstatement>,
) -> Result<Once<Tagged<License>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &which, |tx| {
            holds::reinstate(tx, id.0, &seen, &which).map(Tagged)
        })
    })
    .await
}

/// Revoke a licence.
///
/// For good: its keys die with the commit, and its machines are deactivated, each with its event. The audit log keeps the note.
#[utoipa::path(operation_id = "licenses_revoke", params(("id" = LicenseId, Path, description = "The licence.")), request_body = Revocation,
               responses((status = 200, description = "It is revoked.", body = License)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("licenses:revoke")), ("x-idempotent" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/{id}/revoke")]
pub(super) async fn revoke(
    can: Can<perm::LicensesRevoke>,
    db: Data<Db>,
    id: Path<LicenseId>,
    key: IdempotencyKey,
    seen: IfMatch,
    why: Valid<Revocation>,
) -> Result<Once<Tagged<License>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &why, |tx| {
            holds::revoke_seen(tx, id.0, &seen, &why).map(Tagged)
        })
    })
    .await
}
