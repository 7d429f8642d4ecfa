//! What a person is in their workspaces.

use std::sync::Arc;

use serde::Serialize;

use super::queries;
use crate::kernel::{
    access::{PermissionSet, SystemRole},
    db::Kernel,
    entitlements::Plan,
    error::Result,
    id::{ResellerId, UserId, WorkspaceId},
};

/// Everything that is known of a person at the door.
pub(super) struct KnownPerson {
    pub(super) memberships: Vec<Membership>,
}

/// A person in one workspace, as the door needs it.
pub(super) struct Membership {
    pub(super) workspace: WorkspaceId,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) workspace_suspended: bool,
    pub(super) permissions: PermissionSet,
    pub(super) reseller: Option<ResellerId>,
    pub(super) plan: Arc<Plan>,
}

/// A workspace to choose, in the refusal that asks which one is meant.
#[derive(Serialize)]
pub(super) struct Choice {
    id: WorkspaceId,
    slug: String,
    name: String,
}

impl KnownPerson {
    /// The membership in the workspace of that id or slug.
    pub(super) fn find(&self, named: &str) -> Option<&Membership> {
        match named.parse::<WorkspaceId>() {
            Ok(id) => self.memberships.iter().find(|membership| membership.workspace == id),
            Err(_) => self.memberships.iter().find(|membership| membership.slug == named),
        }
    }

    /// The one workspace of a person who has just one.
    pub(super) fn only(&self) -> Option<&Membership> {
        match self.memberships.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// What there is to choose from.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let choice = |membership: &Membership| Choice {
            id: membership.workspace,
            slug: membership.slug.clone(),
            name: membership.name.clone(),
        };
        self.memberships.iter().map(choice).collect()
    }
}

/// Reads a person's active memberships with role, plan and state of each workspace.
pub(super) fn load(tx: &mut Kernel<'_>, user: UserId) -> Result<KnownPerson> {
    let rows = queries::memberships(tx.conn(), user)?;
    Ok(KnownPerson {
        memberships: rows.into_iter().map(Membership::from).collect(),
    })
}

impl From<queries::MembershipRow> for Membership {
    fn from(row: queries::MembershipRow) -> Membership {
        let platform = row.workspace_kind == "platform";
        let custom = || {
            // A custom role holds no operator's permission, whatever its row says.
            let named = PermissionSet::named(row.custom_permissions.iter().flatten().map(String::as_str));
            named.and(PermissionSet::filter(|permission| !permission.is_platform()))
        };
        Membership {
            workspace: row.workspace_id,
            slug: row.slug,
            name: row.name,
            workspace_suspended: row.workspace_state == "suspended",
            permissions: SystemRole::named(&row.role).map_or_else(custom, |role| role.permissions(platform)),
            reseller: row.reseller_id,
            plan: Arc::new(Plan {
                unpaid_since: row.unpaid_since,
                ..plan(platform, row.plan, row.rank, &row.access, row.entitlements)
            }),
        }
    }
}

/// The plan of a workspace from its projection.
pub(super) fn plan(platform: bool, code: String, rank: i32, access: &str, entitlements: serde_json::Value) -> Plan {
    if platform {
        return Plan::unlimited();
    }
    Plan::read(code, rank, access, entitlements)
}
