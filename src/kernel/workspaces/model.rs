//! Workspaces, members and roles as rows and on the wire.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kernel::{
    access::SystemRole,
    check::{Check, Validate, trimmed, trimmed_given, trimmed_option},
    error::FieldCode,
    http::{Located, Versioned},
    id::{Id, MembershipId, RoleId, UserId, WorkspaceId},
    page::{Filters, Unfit},
    schema::{memberships, workspaces},
};

/// Tenant zero: the operator's own workspace. What happens before a workspace is known belongs to it.
pub const PLATFORM: WorkspaceId = Id::from_uuid(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001));

crate::problems! {
    /// A custom role cannot be given by the name of a system role.
    /// Cause: a misspelt name, or the name of a custom role where its id is meant.
    /// Fix: name one of the system roles, or a custom role's id.
    pub ROLE_UNKNOWN = 422, "role-unknown", "There is no such role";
    /// Each slug that a workspace gives up goes on leading to it for 90 days, and at most ten do.
    /// Cause: a program that renames the workspace again and again.
    /// Fix: go back to one of them, or wait until the oldest is free.
    pub TOO_MANY_SLUGS = 409, "too-many-slugs", "The workspace changed its slug too often of late";
    /// Owners are changed by owners only.
    /// Cause: an administrator changes or removes an owner.
    /// Fix: ask an owner of the workspace.
    pub OWNERS_ONLY = 403, "owners-only", "Only an owner may change an owner";
}

crate::events! {
    /// A workspace was made. Emitted in the operator's own workspace.
    pub WORKSPACE_CREATED: Workspace = "workspace.created", group "platform", filterable [], audience [audit, webhook, internal];
    /// The workspace's name, slug or settings changed.
    pub WORKSPACE_UPDATED: Workspace = "workspace.updated", group "workspace", at "/workspace", filterable [], audience [audit, webhook, live];
    /// Somebody became a member.
    pub MEMBER_JOINED: Member = "member.joined", group "people", at "/members/{id}", filterable ["role"], audience [audit, webhook, live];
    /// A member got another role, or goes by another name.
    pub MEMBER_UPDATED: Member = "member.updated", group "people", at "/members/{id}", filterable ["role"], audience [audit, webhook, live], personal ["display_name", "email"];
    /// A member left or was removed.
    pub MEMBER_REMOVED: Member = "member.removed", group "people", at "/members/{id}", filterable ["role"], audience [audit, webhook, live],
        example {"state": "removed"};
}

/// A tenant.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, Deserialize, ToSchema)]
#[diesel(table_name = workspaces)]
#[schema(example = json!({"id": "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz", "slug": "acme", "name": "Acme", "state": "active", "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Workspace {
    /// Names the workspace; send it as `Guildhall-Workspace`.
    pub id: WorkspaceId,
    /// The readable name in addresses: lower-case letters, digits and hyphens.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// `active`, `suspended` or `deleting`. New values may come.
    pub state: String,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Workspace {
    fn version(&self) -> i64 {
        self.version
    }

    /// One address shows each caller the workspace that they name.
    fn tag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.id)
    }
}

impl Located for Workspace {
    fn path(&self) -> String {
        "/api/v1/workspace".into()
    }
}

/// A workspace and what the caller is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnWorkspace {
    /// The workspace.
    #[serde(flatten)]
    pub workspace: Workspace,
    /// The caller's role: a system role, or `custom`.
    #[schema(example = "owner")]
    pub role: String,
}

crate::pages! {
    /// A page of the caller's workspaces.
    pub OwnWorkspaces of OwnWorkspace;
}

/// The list of the caller's workspaces has no filters of its own.
#[derive(Default)]
pub struct OwnWorkspaceFilters;

impl Filters for OwnWorkspaceFilters {
    const RESOURCE: &'static str = "own_workspaces";
    const NAMES: &'static [&'static str] = &[];
    const CHANGES: bool = true;

    fn add(&mut self, _: &str, _: &str) -> Result<(), Unfit> {
        Ok(())
    }
}

/// What a new workspace needs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme", "slug": "acme"}))]
pub struct NewWorkspace {
    /// What people call it.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// The readable name in addresses. Made from the name if absent.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(min_length = 3, max_length = 40)]
    pub slug: Option<String>,
}

impl Validate for NewWorkspace {
    fn validate(&self, check: &mut Check) {
        check.line("/name", &self.name, 1..=100);
        if let Some(slug) = &self.slug {
            judge_slug(check, slug);
        }
    }
}

/// Names that would read as ours.
pub(super) const RESERVED: [&str; 14] = [
    "admin",
    "api",
    "app",
    "auth",
    "billing",
    "docs",
    "guildhall",
    "help",
    "mail",
    "platform",
    "root",
    "status",
    "support",
    "www",
];

fn judge_slug(check: &mut Check, slug: &str) {
    check.slug("/slug", slug, 3..=40);
    if RESERVED.contains(&slug) {
        check.refuse("/slug", FieldCode::NotUnique, "That name is reserved.");
    }
}

/// What may change of a workspace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme Inc."}))]
pub struct WorkspacePatch {
    /// What people call it.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// The readable name in addresses. The old one leads here for another 90 days.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, min_length = 3, max_length = 40)]
    pub slug: Option<String>,
}

impl Validate for WorkspacePatch {
    fn validate(&self, check: &mut Check) {
        if let Some(name) = &self.name {
            check.line("/name", name, 1..=100);
        }
        if let Some(slug) = &self.slug {
            judge_slug(check, slug);
        }
    }
}

/// A person as the workspace knows them.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, Deserialize, ToSchema)]
#[diesel(table_name = memberships)]
#[schema(example = json!({"id": "mem_01jd8qv4x2fkr9s3m5n7p0t1wz", "user_id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz", "display_name": "Ann",
                          "email": "ann@example.com", "role": "owner", "custom_role_id": null, "state": "active", "version": 1,
                          "joined_at": "2026-11-20T17:30:00.123Z", "last_active_at": null,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Member {
    /// Names the membership.
    pub id: MembershipId,
    /// The person.
    pub user_id: UserId,
    /// What they call themselves.
    pub display_name: String,
    /// Their address.
    pub email: Option<String>,
    /// A system role, or `custom`.
    pub role: String,
    /// The custom role, where `role` says so.
    pub custom_role_id: Option<RoleId>,
    /// `active`, `suspended` or `removed`.
    pub state: String,
    /// When they joined.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub joined_at: DateTime<Utc>,
    /// When they were last here, to the minute.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_active_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When the membership was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Member {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub struct MemberPage {
    /// Newest first.
    pub data: Vec<Member>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of members.
#[derive(Default)]
pub struct MemberFilters {
    pub roles: Vec<String>,
    pub states: Vec<String>,
}

impl Filters for MemberFilters {
    const RESOURCE: &'static str = "members";
    const NAMES: &'static [&'static str] = &["role", "state"];
    const CHANGES: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        const ROLES: [&str; 7] = ["owner", "admin", "member", "viewer", "billing", "reseller", "custom"];
        const STATES: [&str; 3] = ["active", "suspended", "removed"];
        match name {
            "role" if ROLES.contains(&value) => self.roles.push(value.into()),
            "role" => return Err(Unfit::choice(&ROLES)),
            _ if STATES.contains(&value) => self.states.push(value.into()),
            _ => return Err(Unfit::choice(&STATES)),
        }
        Ok(())
    }
}

/// What may change of a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "admin"}))]
pub struct MemberPatch {
    /// The new role: a system role but `reseller`, which takes an account to sell for.
    pub role: SystemRole,
}

impl Validate for MemberPatch {
    fn validate(&self, check: &mut Check) {
        if self.role == SystemRole::Reseller {
            check.refuse(
                "/role",
                FieldCode::InvalidChoice,
                "A reseller is invited with the account that it sells for.",
            );
        }
    }
}

/// A role and what it may do.
#[derive(Serialize, ToSchema)]
pub struct RoleInfo {
    /// The key of a system role, or of a custom one.
    #[schema(example = "viewer")]
    pub key: String,
    /// What people call it.
    #[schema(example = "Viewer")]
    pub name: String,
    /// True for the roles that every workspace has.
    #[schema(example = true)]
    pub system: bool,
    /// What it may do.
    #[schema(example = json!(["agents:read", "runs:read"]))]
    pub permissions: Vec<String>,
}

/// The roles of a workspace.
#[derive(Serialize, ToSchema)]
pub struct RoleList {
    /// System roles first.
    pub data: Vec<RoleInfo>,
}

/// A permission and what it allows.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "agents:read", "description": "See agents and their versions"}))]
pub struct PermissionInfo {
    /// `resource:action`.
    pub name: &'static str,
    /// What it allows.
    pub description: &'static str,
}

/// Every permission.
#[derive(Serialize, ToSchema)]
pub struct PermissionList {
    /// In the order of the catalogue.
    pub data: Vec<PermissionInfo>,
}
