//! Where a person is signed in.

use actix_web::{delete, get, post, web::Data};

use crate::kernel::{
    access::Doorkeeper,
    error::Result,
    http::{BySession, IdempotencyKey, Json, NoContent, NoQuery, Path},
    id::SessionId,
    idempotency::{Once, once_for},
    identity::{
        model::{EndedSessions, SessionFilters, SessionList},
        service::{Identity, sessions},
    },
    page::PageQuery,
};

/// List your sessions.
#[utoipa::path(operation_id = "me_list_sessions", params(PageQuery<SessionFilters>),
               responses((status = 200, description = "Where you are signed in.", body = SessionList)),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me/sessions")]
pub(super) async fn list(
    BySession { person, session }: BySession,
    identity: Data<Identity>,
    query: PageQuery<SessionFilters>,
) -> Result<Json<SessionList>> {
    let (current, user) = (session, person.user);
    identity
        .db
        .unscoped(&person.call, move |tx| sessions::list(tx, user, current, &query))
        .await
        .map(|page| Json(page.into()))
}

/// End one of your sessions.
///
/// It ends at once here, and within a second everywhere.
#[utoipa::path(operation_id = "me_end_session", params(("id" = SessionId, Path, description = "The session.")),
               responses((status = 204, description = "It has ended.")),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("account"))))]
#[delete("/me/sessions/{id}")]
pub(super) async fn end(
    BySession { person, .. }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    id: Path<SessionId>,
) -> Result<NoContent> {
    let (user, call) = (person.user, person.call.clone());
    identity
        .db
        .unscoped(&person.call, move |tx| {
            sessions::end(tx, &call, user, id.0, "ended_by_owner")
        })
        .await?;
    door.forget_session(id.0);
    Ok(NoContent)
}

/// End all your other sessions.
#[utoipa::path(operation_id = "me_end_other_sessions", responses((status = 200, description = "They have ended.", body = EndedSessions)),
               extensions(("x-account" = json!(true)), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("account"))))]
#[post("/me/sessions/revoke-others")]
pub(super) async fn end_others(
    BySession { person, session }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
    door: Data<Doorkeeper>,
    key: IdempotencyKey,
) -> Result<Once<Json<EndedSessions>>> {
    let (kept, user, call) = (session, person.user, person.call.clone());
    let ended = identity
        .db
        .unscoped(&person.call, move |tx| {
            once_for(tx, user, &key, &(), |tx| {
                let ended = sessions::end_others(tx, &call, user, Some(kept), "ended_by_owner")?;
                Ok(Json(EndedSessions {
                    ended: ended.len() as i64,
                }))
            })
        })
        .await?;
    door.forget_sessions_of(user);
    Ok(ended)
}
