//! Signing in, going on, and out.

use std::sync::Arc;

use actix_web::{HttpRequest, get, post, web::Data};

use super::cookies::{self, REFRESH_COOKIE, WithCookies};
use crate::kernel::{
    access::{Call, Doorkeeper},
    error::{AMBIGUOUS_CREDENTIALS, INVALID_CREDENTIALS, REFRESH_TOKEN_INVALID, Result},
    http::{
        BySession, IfAny, Json, NoQuery, Somebody, Valid, Visit,
        cors::expect_own_page,
        front::{ACCESS_COOKIE, Front},
    },
    id::UserId,
    identity::{
        model::{Login, Renewal, SessionRow, SignIn, SignInStatus, SignedIn, StepUp, SteppedUp, Transport},
        service::{
            Identity, people,
            refresh::{self, Next},
            sessions::{self, Presented},
            sign_in,
        },
    },
    secret::Token,
};

/// The pair of a session, as its transport wants it.
async fn pair(
    identity: &Identity,
    session: &SessionRow,
    (generation, refresh): (u32, &Token),
    transport: Transport,
) -> Result<WithCookies<SignIn>> {
    let now = identity.db.clock().now();
    let access = identity.access_token(session, generation, now).await?;
    let mut answer = SignIn {
        status: SignInStatus::Authenticated,
        access_token: None,
        token_type: "Bearer",
        expires_in: identity.desk.auth.access_token_seconds,
        refresh_token: None,
        session_id: session.id,
        user: None,
        workspaces: Vec::new(),
    };
    let mut kept = Vec::new();
    match transport {
        Transport::Body => {
            answer.access_token = Some(access.expose().clone());
            answer.refresh_token = Some(refresh.expose().to_owned());
        }
        Transport::Cookie => kept = cookies::tokens(&identity.desk, session, &access, refresh.expose(), now),
    }
    Ok(WithCookies {
        body: Some(answer),
        cookies: kept,
    })
}

/// Sign in.
///
/// With `transport: cookie` the tokens travel in cookies, and the answer holds none; such a request must come from an allowed page.
#[utoipa::path(operation_id = "auth_login", request_body = Login,
               responses((status = 200, description = "Signed in.", body = SignIn)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("password"))))]
#[post("/auth/login")]
pub(super) async fn log_in(
    visit: Visit,
    _: NoQuery,
    request: HttpRequest,
    identity: Data<Identity>,
    login: Valid<Login>,
) -> Result<WithCookies<SignIn>> {
    if login.transport == Transport::Cookie {
        expect_own_page(&identity.desk.origins, request.headers())?;
    }
    let call = visit.0;
    let device = cookies::device_of(&request);
    let (asked, name, shown) = (call.clone(), login.identifier.clone(), device.clone());
    let candidate = identity
        .db
        .unscoped(&call, move |tx| {
            sign_in::admit(tx, &asked, &name, shown.as_ref().map(|shown| shown.expose().as_str()))
        })
        .await??;
    let verdict = identity
        .passwords
        .check(login.password.clone(), candidate.stored())
        .await?;
    if !verdict.right {
        if let Some(user) = candidate.user {
            note_failure(identity, &request, call, user.id);
        }
        return Err(INVALID_CREDENTIALS.into());
    }
    let rehashed = match verdict.outdated {
        true => Some(identity.passwords.hash(login.password.clone()).await?),
        false => None,
    };
    let remembered = match login.transport {
        Transport::Cookie => Some(device.unwrap_or_else(cookies::new_device)),
        Transport::Body => None,
    };
    let (desk, asked, remember, kept) = (identity.desk.clone(), call.clone(), login.remember, remembered.clone());
    let signed_in = identity
        .db
        .unscoped(&call, move |tx| {
            sign_in::finish(
                tx,
                &desk,
                &asked,
                &candidate,
                remember,
                rehashed.as_deref(),
                kept.as_ref(),
            )
        })
        .await?;
    let mut answer = pair(&identity, &signed_in.session, (0, &signed_in.token), login.transport).await?;
    answer.cookies.extend(remembered.as_ref().map(cookies::device));
    answer.body = answer.body.map(|body| SignIn {
        user: Some(signed_in.me),
        workspaces: signed_in.workspaces,
        ..body
    });
    Ok(answer)
}

/// Notes a wrong password aside, so that the answer takes as long as one about somebody unknown.
fn note_failure(identity: Data<Identity>, request: &HttpRequest, call: Arc<Call>, user: UserId) {
    let (front, headers) = (request.app_data::<Data<Front>>().cloned(), request.headers().clone());
    actix_web::rt::spawn(async move {
        let asked = call.clone();
        let noted = identity
            .db
            .unscoped(&call, move |tx| sign_in::failed(tx, &asked, user))
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "a wrong password could not be noted");
        }
        if let Some(front) = front
            && let Err(error) = front.note_wrong_password(&call, &headers, user).await
        {
            tracing::warn!(%error, "a wrong password could not be noted in an audit log");
        }
    });
}

/// Get the next pair of tokens.
///
/// Each refresh token is followed by the next. The one before is good for ten seconds more and gives the same successor; an older one
/// means that two hold it: the session ends. Browsers whose tokens travel in cookies send no body.
#[utoipa::path(operation_id = "auth_refresh", request_body(content = Renewal, description = "The refresh token, unless it travels in a cookie."),
               responses((status = 200, description = "The next pair.", body = SignIn)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[post("/auth/refresh")]
pub(super) async fn renew(
    visit: Visit,
    _: NoQuery,
    request: HttpRequest,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    renewal: IfAny<Renewal>,
) -> Result<WithCookies<SignIn>> {
    let given = renewal.0.and_then(|renewal| renewal.into_inner().refresh_token);
    let (text, transport) = match (given, cookies::read(&request, REFRESH_COOKIE)) {
        (Some(token), None) => (token, Transport::Body),
        (None, Some(cookie)) => {
            expect_own_page(&identity.desk.origins, request.headers())?;
            (cookie, Transport::Cookie)
        }
        (Some(_), Some(_)) => return Err(AMBIGUOUS_CREDENTIALS.into()),
        (None, None) => return Err(REFRESH_TOKEN_INVALID.into()),
    };
    let presented = Presented::read(text.expose(), identity.desk.auth.key_mode).ok_or(REFRESH_TOKEN_INVALID)?;
    let call = visit.0;
    let (desk, asked, session) = (identity.desk.clone(), call.clone(), presented.session);
    let outcome = identity
        .db
        .unscoped(&call, move |tx| refresh::renew(tx, &desk, &asked, &presented))
        .await?;
    // What is remembered of the session is of the generation before, or the session is over.
    door.forget_session(session);
    let Next {
        session,
        generation,
        token,
    } = outcome?;
    pair(&identity, &session, (generation, &token), transport).await
}

/// Sign out.
///
/// The session ends at once here, and within a second everywhere. Named by the access token; where that has expired, by the refresh token,
/// which browsers send in its cookie.
#[utoipa::path(operation_id = "auth_logout", request_body(content = Option<Renewal>, description = "The refresh token, where no access token is sent."),
               responses((status = 204, description = "Signed out.")),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[post("/auth/logout")]
pub(super) async fn log_out(
    visit: Visit,
    _: NoQuery,
    somebody: Somebody,
    request: HttpRequest,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    renewal: IfAny<Renewal>,
) -> Result<WithCookies<()>> {
    let call = visit.0;
    let mode = identity.desk.auth.key_mode;
    let given = renewal.0.and_then(|renewal| renewal.into_inner().refresh_token);
    let kept = cookies::read(&request, REFRESH_COOKIE);
    // A browser whose session is over already still wants to be rid of its cookies.
    let keeps = kept.is_some() || cookies::read(&request, ACCESS_COOKIE).is_some();
    if given.is_none() && kept.is_some() {
        expect_own_page(&identity.desk.origins, request.headers())?;
    }
    let known = match (somebody.0, given.or(kept)) {
        (Ok(person), _) => {
            let caller = BySession::try_from(person)?;
            Some((caller.session, caller.person.user))
        }
        (Err(_), Some(token)) => match Presented::read(token.expose(), mode) {
            Some(presented) => {
                let desk = identity.desk.clone();
                identity
                    .db
                    .unscoped(&call, move |tx| sessions::named_by(tx, &desk, &presented))
                    .await?
            }
            None => None,
        },
        (Err(refused), None) if refused.kind().status == 401 && keeps => None,
        (Err(refused), None) => return Err(refused.into()),
    };
    if let Some((session, user)) = known {
        let asked = call.clone();
        let ended = identity
            .db
            .unscoped(&call, move |tx| sessions::end(tx, &asked, user, session, "signed_out"))
            .await;
        door.forget_session(session);
        match ended {
            // Over already, which is what the caller wants.
            Err(error) if error.is(crate::kernel::error::NOT_FOUND) => {}
            other => other?,
        }
    }
    Ok(WithCookies {
        body: None,
        cookies: cookies::none(),
    })
}

/// Who is signed in?
///
/// Never a refusal: a visitor is nobody.
#[utoipa::path(operation_id = "auth_session", responses((status = 200, description = "The person, or null.", body = SignedIn)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("account"))))]
#[get("/auth/session")]
pub(super) async fn who(_: Visit, somebody: Somebody, _: NoQuery, identity: Data<Identity>) -> Result<Json<SignedIn>> {
    let user = match somebody.0 {
        Ok(person) => {
            let user = person.user;
            Some(
                identity
                    .db
                    .unscoped(&person.call, move |tx| people::me(tx, user))
                    .await?,
            )
        }
        // Our own trouble is no proof that nobody is there.
        Err(refused) if refused.kind().status >= 500 => return Err(refused.into()),
        Err(_) => None,
    };
    Ok(Json(SignedIn { user }))
}

/// Prove again who you are.
///
/// For what needs a recent sign-in: it counts for fifteen minutes.
#[utoipa::path(operation_id = "auth_step_up", request_body = StepUp,
               responses((status = 200, description = "Proved.", body = SteppedUp)),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("password"))))]
#[post("/auth/step-up")]
pub(super) async fn prove_again(
    BySession { person, session }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    proof: Valid<StepUp>,
) -> Result<Json<SteppedUp>> {
    let user_id = person.user;
    let user = identity
        .db
        .unscoped(&person.call, move |tx| sign_in::admit_again(tx, user_id))
        .await??;
    let verdict = identity
        .passwords
        .check(proof.password.clone(), user.password_hash.clone())
        .await?;
    if !verdict.right {
        return Err(INVALID_CREDENTIALS.into());
    }
    let call = person.call.clone();
    let stepped_up = identity
        .db
        .unscoped(&person.call, move |tx| {
            sign_in::proved_again(tx, user.id)?;
            sessions::step_up(tx, &call, &user, session)
        })
        .await?;
    door.forget_session(session);
    Ok(Json(stepped_up))
}
