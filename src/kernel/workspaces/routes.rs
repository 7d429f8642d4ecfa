//! HTTP of workspaces, members and roles.

use actix_web::{delete, get, patch, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{
        Member, MemberFilters, MemberPage, MemberPatch, NewWorkspace, OwnWorkspaceFilters, OwnWorkspaces,
        PermissionInfo, PermissionList, RoleList, Workspace, WorkspacePatch,
    },
    service,
};
use crate::kernel::{
    access::{Can, Doorkeeper, Permission, Person, Via, perm},
    config,
    db::Db,
    error::{FORBIDDEN, Result},
    http::{BySession, Created, IdempotencyKey, IfMatch, Json, NoContent, Path, Tagged, Valid},
    id::MembershipId,
    idempotency::{Once, once_for},
    page::{Page, PageQuery},
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(create)
        .service(list)
        .service(show)
        .service(update)
        .service(leave)
        .service(list_members)
        .service(show_member)
        .service(change_member)
        .service(remove_member)
        .service(list_roles)
        .service(list_permissions);
}

/// Make a workspace.
///
/// The caller becomes its owner. It starts on the default plan; one person owns ten workspaces on that plan at most, unless the deployment
/// says otherwise.
#[utoipa::path(operation_id = "workspaces_create", request_body = NewWorkspace,
               responses((status = 201, description = "It was made.", body = Workspace)),
               extensions(("x-account" = json!(true)), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("account"))))]
#[post("/workspaces")]
async fn create(
    BySession { person, .. }: BySession,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    settings: Data<config::Auth>,
    key: IdempotencyKey,
    new: Valid<NewWorkspace>,
) -> Result<Once<Created<Workspace>>> {
    let (user, call, most) = (person.user, person.call.clone(), settings.workspaces_per_person);
    let made = db
        .unscoped(&person.call, move |tx| {
            once_for(tx, user, &key, &new, |tx| {
                service::create(tx, &call, user, &new, most.into()).map(Created)
            })
        })
        .await?;
    door.forget_person(user);
    Ok(made)
}

/// List the caller's workspaces.
#[utoipa::path(operation_id = "workspaces_list", params(PageQuery<OwnWorkspaceFilters>),
               responses((status = 200, description = "A page.", body = OwnWorkspaces)),
               extensions(("x-account" = json!(true)), ("x-rate-class" = json!("read")), ("x-admission" = json!("account"))))]
#[get("/workspaces")]
async fn list(
    BySession { person, .. }: BySession,
    db: Data<Db>,
    query: PageQuery<OwnWorkspaceFilters>,
) -> Result<Json<OwnWorkspaces>> {
    let user = person.user;
    db.unscoped(&person.call, move |tx| service::own(tx, user, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show the workspace.
#[utoipa::path(operation_id = "workspace_get", responses((status = 200, description = "The workspace.", body = Workspace), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("workspace:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/workspace")]
async fn show(can: Can<perm::WorkspaceRead>, db: Data<Db>) -> Result<Tagged<Workspace>> {
    db.tenant(can, service::get).await.map(Tagged)
}

/// Change the workspace's name or slug.
///
/// The old slug goes on leading to the workspace for 90 days.
#[utoipa::path(operation_id = "workspace_update", request_body = WorkspacePatch,
               responses((status = 200, description = "It was changed.", body = Workspace)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("workspace:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/workspace")]
async fn update(
    can: Can<perm::WorkspaceWrite>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    seen: IfMatch,
    change: Valid<WorkspacePatch>,
) -> Result<Tagged<Workspace>> {
    let changed = db.tenant(can, move |tx| service::patch(tx, &seen, &change)).await?;
    door.forget_workspace(changed.id);
    Ok(Tagged(changed))
}

/// Leave the workspace.
#[utoipa::path(operation_id = "workspace_leave", responses((status = 204, description = "You left.")),
               extensions(("x-permission" = json!("workspace:read")), ("x-works-unpaid" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/workspace/leave")]
async fn leave(
    can: Can<perm::WorkspaceRead>,
    person: Person,
    db: Data<Db>,
    door: Data<Doorkeeper>,
) -> Result<NoContent> {
    if matches!(person.via, Via::Key(_)) {
        return Err(FORBIDDEN.because("A key cannot leave; delete it instead.").into());
    }
    let user = person.user;
    let gone = db.tenant(can, move |tx| service::leave(tx, user)).await?;
    door.forget_person(gone);
    Ok(NoContent)
}

/// List members.
#[utoipa::path(operation_id = "members_list",
               params(PageQuery<MemberFilters>,
                      ("role" = Option<String>, Query, description = "Only members with this role."),
                      ("state" = Option<String>, Query, description = "Only members in this state; without it, removed ones are left out.")),
               responses((status = 200, description = "A page.", body = MemberPage)),
               extensions(("x-permission" = json!("members:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/members")]
async fn list_members(
    can: Can<perm::MembersRead>,
    db: Data<Db>,
    query: PageQuery<MemberFilters>,
) -> Result<Json<Page<Member>>> {
    db.tenant(can, move |tx| service::members(tx, &query)).await.map(Json)
}

/// Show a member.
#[utoipa::path(operation_id = "members_get", params(("id" = MembershipId, Path, description = "The membership.")),
               responses((status = 200, description = "The member.", body = Member), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("members:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/members/{id}")]
async fn show_member(can: Can<perm::MembersRead>, db: Data<Db>, id: Path<MembershipId>) -> Result<Tagged<Member>> {
    db.tenant(can, move |tx| service::member(tx, id.0)).await.map(Tagged)
}

/// Give a member another role.
///
/// Nobody gives what they do not hold themselves, owners are changed by owners only, and the last owner stays one.
#[utoipa::path(operation_id = "members_update", params(("id" = MembershipId, Path, description = "The membership.")), request_body = MemberPatch,
               responses((status = 200, description = "It was changed.", body = Member)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("members:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[patch("/members/{id}")]
async fn change_member(
    can: Can<perm::MembersWrite>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    id: Path<MembershipId>,
    seen: IfMatch,
    change: Valid<MemberPatch>,
) -> Result<Tagged<Member>> {
    let granted = can.granted();
    let member = db
        .tenant(can, move |tx| service::set_role(tx, granted, id.0, &seen, &change))
        .await?;
    door.forget_person(member.user_id);
    Ok(Tagged(member))
}

/// Remove a member.
///
/// Their keys of this workspace stop at once.
#[utoipa::path(operation_id = "members_delete", params(("id" = MembershipId, Path, description = "The membership.")),
               responses((status = 204, description = "They were removed.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("members:write")), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[delete("/members/{id}")]
async fn remove_member(
    can: Can<perm::MembersWrite>,
    db: Data<Db>,
    door: Data<Doorkeeper>,
    id: Path<MembershipId>,
    seen: IfMatch,
) -> Result<NoContent> {
    let granted = can.granted();
    let gone = db
        .tenant(can, move |tx| service::remove(tx, granted, id.0, &seen))
        .await?;
    door.forget_person(gone);
    Ok(NoContent)
}

/// List the workspace's roles.
#[utoipa::path(operation_id = "roles_list", responses((status = 200, description = "All of them.", body = RoleList)),
               extensions(("x-permission" = json!("roles:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/roles")]
async fn list_roles(can: Can<perm::RolesRead>, db: Data<Db>) -> Result<Json<RoleList>> {
    db.tenant(can, service::roles).await.map(|data| Json(RoleList { data }))
}

/// List every permission.
#[utoipa::path(operation_id = "permissions_list", responses((status = 200, description = "All of them.", body = PermissionList)),
               extensions(("x-permission" = json!("roles:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/permissions")]
async fn list_permissions(_can: Can<perm::RolesRead>) -> Json<PermissionList> {
    let info = |permission: &Permission| PermissionInfo {
        name: permission.name(),
        description: permission.about(),
    };
    Json(PermissionList {
        data: Permission::ALL
            .iter()
            .filter(|permission| !permission.is_platform())
            .map(info)
            .collect(),
    })
}
