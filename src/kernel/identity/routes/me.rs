//! The person who is signed in.

use actix_web::{get, patch, web::Data};

use crate::kernel::{
    access::Person,
    error::Result,
    http::{Admitted, BySession, IfMatch, Json, NoQuery, Tagged, Valid, Whereabouts},
    identity::{
        model::{
            Me, MePatch, Preferences, PreferencesPatch, SecurityEvent, SecurityEventFilters, SecurityEventPage,
            WorkspacePermissions,
        },
        service::{Identity, people},
    },
    page::{Page, PageQuery},
    workspaces::{self, OwnWorkspaceFilters, OwnWorkspaces},
};

/// Who am I?
///
/// Answers every kind of credential that stands for a person. With `Guildhall-Workspace`, `workspace` is the one that it names.
#[utoipa::path(operation_id = "me_get", responses((status = 200, description = "You.", body = Me), (status = 304, description = "It is as you have it.")),
               extensions(("x-account" = json!(true)), ("x-workspace" = json!(true)), ("x-works-suspended" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me")]
pub(super) async fn show(
    person: Person,
    here: Whereabouts,
    _: NoQuery,
    identity: Data<Identity>,
) -> Result<Tagged<Me>> {
    let user = person.user;
    let me = identity
        .db
        .unscoped(&person.call, move |tx| people::me(tx, user))
        .await?;
    Ok(Tagged(seen_here(me, &person, here)))
}

/// Somebody as they see themselves with this request.
fn seen_here(me: Me, person: &Person, here: Whereabouts) -> Me {
    Me {
        workspace: here.0.map(|access| access.scope().workspace()),
        impersonated_by: person.impersonator,
        ..me
    }
}

/// Change what others see of you.
///
/// Your workspaces learn of it at once.
#[utoipa::path(operation_id = "me_update", request_body = MePatch, responses((status = 200, description = "It was changed.", body = Me)),
               extensions(("x-if-match" = json!(true)), ("x-account" = json!(true)), ("x-workspace" = json!(true)), ("x-works-suspended" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("account"))))]
#[patch("/me")]
pub(super) async fn update(
    BySession { person, .. }: BySession,
    here: Whereabouts,
    _: NoQuery,
    identity: Data<Identity>,
    seen: IfMatch,
    change: Valid<MePatch>,
) -> Result<Tagged<Me>> {
    let (user, call) = (person.user, person.call.clone());
    let changed = identity
        .db
        .unscoped(&person.call, move |tx| {
            people::patch(tx, &call, user, &seen, change.into_inner())
        })
        .await?;
    Ok(Tagged(seen_here(changed, &person, here)))
}

/// Show your preferences.
#[utoipa::path(operation_id = "me_get_preferences", responses((status = 200, description = "Your preferences.", body = Preferences), (status = 304, description = "It is as you have it.")),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me/preferences")]
pub(super) async fn show_preferences(
    BySession { person, .. }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
) -> Result<Tagged<Preferences>> {
    let user = person.user;
    identity
        .db
        .unscoped(&person.call, move |tx| people::preferences(tx, user))
        .await
        .map(Tagged)
}

/// Change your preferences.
#[utoipa::path(operation_id = "me_update_preferences", request_body = PreferencesPatch,
               responses((status = 200, description = "They were changed.", body = Preferences)),
               extensions(("x-if-match" = json!(true)), ("x-account" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("account"))))]
#[patch("/me/preferences")]
pub(super) async fn update_preferences(
    BySession { person, .. }: BySession,
    _: NoQuery,
    identity: Data<Identity>,
    seen: IfMatch,
    change: Valid<PreferencesPatch>,
) -> Result<Tagged<Preferences>> {
    let user = person.user;
    identity
        .db
        .unscoped(&person.call, move |tx| {
            people::change_preferences(tx, user, &seen, &change)
        })
        .await
        .map(Tagged)
}

/// List your workspaces.
#[utoipa::path(operation_id = "me_list_workspaces", params(PageQuery<OwnWorkspaceFilters>),
               responses((status = 200, description = "A page.", body = OwnWorkspaces)),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me/workspaces")]
pub(super) async fn list_workspaces(
    BySession { person, .. }: BySession,
    identity: Data<Identity>,
    query: PageQuery<OwnWorkspaceFilters>,
) -> Result<Json<OwnWorkspaces>> {
    let user = person.user;
    identity
        .db
        .unscoped(&person.call, move |tx| workspaces::own(tx, user, &query))
        .await
        .map(|page| Json(page.into()))
}

/// What may I do here?
///
/// The permissions of this credential in the workspace that the request is about: what a key was not given is not among them.
#[utoipa::path(operation_id = "me_list_permissions", responses((status = 200, description = "Your permissions.", body = WorkspacePermissions)),
               extensions(("x-account" = json!(true)), ("x-workspace" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me/permissions")]
pub(super) async fn list_permissions(_: Person, admitted: Admitted, _: NoQuery) -> Json<WorkspacePermissions> {
    Json(WorkspacePermissions {
        workspace_id: admitted.0.scope().workspace(),
        permissions: admitted.0.granted().names(),
    })
}

/// List what happened to your account.
///
/// Sign-ins, failed ones too, changed passwords, ended sessions.
#[utoipa::path(operation_id = "me_list_security_events",
               params(PageQuery<SecurityEventFilters>,
                      ("kind" = Option<String>, Query, description = "Only this kind, as `session.created`.")),
               responses((status = 200, description = "A page.", body = SecurityEventPage)),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/me/security-events")]
pub(super) async fn list_security_events(
    BySession { person, .. }: BySession,
    identity: Data<Identity>,
    query: PageQuery<SecurityEventFilters>,
) -> Result<Json<Page<SecurityEvent>>> {
    let user = person.user;
    identity
        .db
        .unscoped(&person.call, move |tx| people::events(tx, user, &query))
        .await
        .map(Json)
}
