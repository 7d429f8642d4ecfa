//! New passwords.

use std::time::Instant;

use actix_web::{HttpResponse, post, web::Data};

use super::sign_up::{address, no_sooner};
use crate::kernel::{
    access::Doorkeeper,
    check::Check,
    error::{FieldCode, Result, invalid},
    http::{BySession, NoContent, NoQuery, Valid, Visit},
    identity::{
        model::{Forgotten, NewPassword, Reset, User},
        service::{Identity, recovery, sign_in},
    },
    secret::Secret,
};

/// Judges a new password of a known person and hashes it.
async fn hashed(identity: &Identity, pointer: &str, password: &Secret<String>, user: &User) -> Result<String> {
    let context = [
        user.email.as_deref().unwrap_or_default(),
        user.display_name.as_str(),
        user.username.as_deref().unwrap_or_default(),
    ];
    let mut check = Check::default();
    identity.policy.judge(&mut check, pointer, password, &context);
    check.done()?;
    identity.passwords.hash(password.clone()).await
}

/// Ask for a link to a new password.
///
/// The answer says nothing of whether the address is known.
#[utoipa::path(operation_id = "auth_forgot_password", request_body = Forgotten,
               responses((status = 202, description = "If the address has an account, a mail is on its way.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[post("/auth/password/forgot")]
pub(super) async fn ask_for_link(
    visit: Visit,
    _: NoQuery,
    identity: Data<Identity>,
    whose: Valid<Forgotten>,
) -> Result<HttpResponse> {
    let begun = Instant::now();
    let call = visit.0;
    let address = address(&whose.email)?;
    let (desk, asked) = (identity.desk.clone(), call.clone());
    identity
        .db
        .unscoped(&call, move |tx| recovery::forgot(tx, &desk, &asked, &address))
        .await?;
    no_sooner(begun, &call).await;
    Ok(HttpResponse::Accepted().finish())
}

/// Set a new password by the mailed token.
///
/// Every session ends, and nobody is signed in by it.
#[utoipa::path(operation_id = "auth_reset_password", request_body = Reset,
               responses((status = 204, description = "Sign in with the new password.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("password"))))]
#[post("/auth/password/reset")]
pub(super) async fn set_by_link(
    visit: Visit,
    _: NoQuery,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    reset: Valid<Reset>,
) -> Result<NoContent> {
    let call = visit.0;
    let (desk, link) = (identity.desk.clone(), reset.token.clone());
    let user = identity
        .db
        .unscoped(&call, move |tx| recovery::owner_of(tx, &desk, &link))
        .await?;
    let hash = hashed(&identity, "/password", &reset.password, &user).await?;
    let (desk, asked) = (identity.desk.clone(), call.clone());
    let whose = identity
        .db
        .unscoped(&call, move |tx| recovery::reset(tx, &desk, &asked, &reset.token, &hash))
        .await?;
    door.forget_sessions_of(whose);
    Ok(NoContent)
}

/// Change the password.
///
/// Takes the present one. The other sessions end; this one stays.
#[utoipa::path(operation_id = "me_change_password", request_body = NewPassword,
               responses((status = 204, description = "It was changed.")),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("password"))))]
#[post("/me/password")]
pub(super) async fn change_own(
    BySession { person, session }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    new: Valid<NewPassword>,
) -> Result<NoContent> {
    let user_id = person.user;
    let user = identity
        .db
        .unscoped(&person.call, move |tx| sign_in::admit_again(tx, user_id))
        .await??;
    let stored = user.password_hash.clone();
    let verdict = identity.passwords.check(new.current_password.clone(), stored).await?;
    if !verdict.right {
        // Not 401: programs that refresh on every 401 would loop.
        let detail = "This is not the present password.";
        return Err(invalid("/current_password", FieldCode::InvalidChoice, detail));
    }
    // At once: whoever knows the present one may look for a good new one as often as it takes.
    identity
        .db
        .unscoped(&person.call, move |tx| sign_in::proved_again(tx, user_id))
        .await?;
    let hash = hashed(&identity, "/new_password", &new.new_password, &user).await?;
    let (desk, call) = (identity.desk.clone(), person.call.clone());
    identity
        .db
        .unscoped(&person.call, move |tx| {
            recovery::change(tx, &desk, &call, &user, &hash, session)
        })
        .await?;
    door.forget_sessions_of(user_id);
    Ok(NoContent)
}
