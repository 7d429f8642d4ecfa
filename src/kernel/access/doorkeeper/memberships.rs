//! What a person is in their workspaces.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Doorkeeper, queries};
use crate::kernel::{
    access::{Actor, Call, PermissionSet, Reach, Scope, SystemRole},
    db::Kernel,
    entitlements::Plan,
    error::Result,
    id::{MembershipId, ResellerId, UserId, WorkspaceId},
};

/// Everything that is known of a person at the door.
pub(super) struct KnownPerson {
    pub(super) memberships: Vec<Membership>,
}

/// A person in one workspace, as the door needs it.
pub(super) struct Membership {
    pub(super) workspace: WorkspaceId,
    pub(super) id: MembershipId,
    pub(super) slug: String,
    /// Slugs that the workspace gave up and that still lead to it.
    former: Vec<String>,
    pub(super) name: String,
    pub(super) workspace_suspended: bool,
    pub(super) owner: bool,
    pub(super) permissions: PermissionSet,
    pub(super) reseller: Option<ResellerId>,
    pub(super) plan: Arc<Plan>,
    pub(super) last_active_at: Option<DateTime<Utc>>,
}

/// A workspace to choose, in the refusal that asks which one is meant.
#[derive(Serialize)]
pub(super) struct Choice {
    id: WorkspaceId,
    slug: String,
    name: String,
}

impl KnownPerson {
    /// Whether they are a member there.
    pub(super) fn is_in(&self, workspace: WorkspaceId) -> bool {
        self.memberships
            .iter()
            .any(|membership| membership.workspace == workspace)
    }

    /// The membership in the workspace of that id or slug.
    pub(super) fn find(&self, named: &str) -> Option<&Membership> {
        match named.parse::<WorkspaceId>() {
            Ok(id) => self.memberships.iter().find(|membership| membership.workspace == id),
            Err(_) => self.memberships.iter().find(|membership| membership.is_called(named)),
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

impl Doorkeeper {
    /// The workspace that an account is asked for by somebody who is not let in: the one that the request names, or the account's only one.
    /// Only for what is noted about it; nobody in particular acts.
    ///
    /// # Errors
    /// The database's.
    pub(in crate::kernel) async fn knocked_at(
        &self,
        user: UserId,
        named: Option<&str>,
        call: &Arc<Call>,
    ) -> Result<Option<Scope>> {
        let known = self.person(user, call, false).await?;
        let membership = match named {
            Some(named) => known.value.find(named),
            None => known.value.only(),
        };
        let scope = |it: &Membership| {
            let plan = it.plan.clone();
            Scope::grant(it.workspace, Actor::Visitor, Reach::default(), plan, call.clone())
        };
        Ok(membership.map(scope))
    }
}

impl Membership {
    /// Whether a slug leads to the workspace: its own, or one that it gave up lately. No slug leads to two.
    pub(super) fn is_called(&self, slug: &str) -> bool {
        self.slug == slug || self.former.iter().any(|former| former == slug)
    }
}

/// Reads a person's active memberships with role, plan and state of each workspace.
pub(super) fn load(tx: &mut Kernel<'_>, user: UserId) -> Result<KnownPerson> {
    let now = tx.now()?;
    let rows = queries::memberships(tx.conn(), user)?;
    let mut memberships: Vec<Membership> = rows.into_iter().map(Membership::from).collect();
    let workspaces: Vec<WorkspaceId> = memberships.iter().map(|membership| membership.workspace).collect();
    for (workspace, slug) in queries::former_slugs(tx.conn(), &workspaces, now)? {
        let theirs = memberships
            .iter_mut()
            .find(|membership| membership.workspace == workspace);
        theirs
            .into_iter()
            .for_each(|membership| membership.former.push(slug.clone()));
    }
    Ok(KnownPerson { memberships })
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
            id: row.id,
            slug: row.slug,
            former: Vec::new(),
            last_active_at: row.last_active_at,
            name: row.name,
            workspace_suspended: row.workspace_state == "suspended",
            owner: row.role == SystemRole::Owner.key(),
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
