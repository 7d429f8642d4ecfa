//! Signing up.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, post, web::Data};

use crate::kernel::{
    access::Call,
    check::Check,
    error::{FieldCode, Result, invalid},
    http::{Json, NoQuery, Valid, Visit},
    identity::{
        model::{Address, Pending, Proof, Registration, Resend, Verified},
        service::{Identity, registration},
    },
};

/// No answer that must not tell whether an address is known comes sooner.
pub(super) const FLOOR: Duration = Duration::from_millis(150);

/// Waits until an answer may come, so that its time says nothing. Holds nothing meanwhile.
pub(super) async fn no_sooner(begun: Instant, call: &Call) {
    call.step_out();
    tokio::time::sleep(FLOOR.saturating_sub(begun.elapsed())).await;
}

/// The address of a body that was found acceptable.
pub(super) fn address(text: &str) -> Result<Address> {
    Address::parse(text).ok_or_else(|| {
        invalid(
            "/email",
            FieldCode::InvalidFormat,
            "An e-mail address, as ann@example.com.",
        )
    })
}

/// Sign up.
///
/// The answer is the same whether or not the address has an account: what to do next is in the mail. Keep `client_token`, and send it to
/// `POST /auth/email/verify` with the token from the mail.
#[utoipa::path(operation_id = "auth_register", request_body = Registration,
               responses((status = 202, description = "A mail is on its way.", body = Pending)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("password"))))]
#[post("/auth/register")]
pub(super) async fn register(
    visit: Visit,
    _: NoQuery,
    identity: Data<Identity>,
    new: Valid<Registration>,
) -> Result<HttpResponse> {
    let begun = Instant::now();
    let call = visit.0;
    let address = address(&new.email)?;
    let mut check = Check::default();
    let context = [
        address.as_str(),
        new.display_name.as_deref().unwrap_or_default(),
        new.username.as_deref().unwrap_or_default(),
    ];
    identity.policy.judge(&mut check, "/password", &new.password, &context);
    check.done()?;

    let new = std::sync::Arc::new(new.into_inner());
    let (desk, asked, wanted, to) = (identity.desk.clone(), call.clone(), new.clone(), address.clone());
    let admission = identity
        .db
        .unscoped(&call, move |tx| registration::admit(tx, &desk, &asked, &wanted, &to))
        .await??;
    let hash = identity.passwords.hash(new.password.clone()).await?;
    let (desk, asked) = (identity.desk.clone(), call.clone());
    let pending = identity
        .db
        .unscoped(&call, move |tx| {
            registration::register(tx, &desk, &asked, &new, (&address, &admission, hash))
        })
        .await?;
    no_sooner(begun, &call).await;
    Ok(HttpResponse::Accepted().json(pending))
}

/// Prove an address.
///
/// The account begins. Send the mailed token with the `client_token` that signing up answered with; or with a password, which then holds
/// instead of the one that was chosen before: so nobody who merely follows a link activates a password that somebody else chose.
#[utoipa::path(operation_id = "auth_verify_email", request_body = Proof,
               responses((status = 200, description = "The address is proven: sign in.", body = Verified)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("password"))))]
#[post("/auth/email/verify")]
pub(super) async fn verify(
    visit: Visit,
    _: NoQuery,
    identity: Data<Identity>,
    proof: Valid<Proof>,
) -> Result<Json<Verified>> {
    let call = visit.0;
    let proof = std::sync::Arc::new(proof.into_inner());
    let typed = match &proof.password {
        None => None,
        Some(password) => {
            let (desk, given) = (identity.desk.clone(), proof.clone());
            let context = identity
                .db
                .unscoped(&call, move |tx| registration::context(tx, &desk, &given))
                .await?;
            let mut check = Check::default();
            let context: Vec<&str> = context.iter().map(String::as_str).collect();
            identity.policy.judge(&mut check, "/password", password, &context);
            check.done()?;
            Some(identity.passwords.hash(password.clone()).await?)
        }
    };
    let (desk, asked) = (identity.desk.clone(), call.clone());
    identity
        .db
        .unscoped(&call, move |tx| {
            registration::verify(tx, &desk, &asked, &proof, typed.as_deref())
        })
        .await
        .map(Json)
}

/// Send the mail again.
///
/// The token of the mail before stops working. The answer says nothing of whether the address is known.
#[utoipa::path(operation_id = "auth_resend_verification", request_body = Resend,
               responses((status = 202, description = "If somebody signs up with the address, a mail is on its way.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[post("/auth/email/resend")]
pub(super) async fn resend(
    visit: Visit,
    _: NoQuery,
    identity: Data<Identity>,
    wanted: Valid<Resend>,
) -> Result<HttpResponse> {
    let begun = Instant::now();
    let call = visit.0;
    let (desk, asked) = (identity.desk.clone(), call.clone());
    identity
        .db
        .unscoped(&call, move |tx| registration::resend(tx, &desk, &asked, &wanted))
        .await?;
    no_sooner(begun, &call).await;
    Ok(HttpResponse::Accepted().finish())
}
