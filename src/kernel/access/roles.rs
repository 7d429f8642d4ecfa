//! The six system roles: constants, because what they mean is a promise of the product. Custom roles are rows.

use super::permissions::{Permission, PermissionSet};

/// A role that every workspace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// May do everything, ownership included.
    Owner,
    /// May do everything but delete or hand over the workspace, and cannot touch owners.
    Admin,
    /// Builds and runs agents.
    Member,
    /// Looks on.
    Viewer,
    /// Pays and sees figures.
    Billing,
    /// Sells the workspace's products out of an allocation; sees only its own rows.
    Reseller,
}

use SystemRole::{Admin, Billing, Member, Owner, Reseller, Viewer};

impl SystemRole {
    /// All six.
    pub const ALL: [SystemRole; 6] = [Owner, Admin, Member, Viewer, Billing, Reseller];

    /// As the database and the API hold it.
    pub const fn key(self) -> &'static str {
        match self {
            Owner => "owner",
            Admin => "admin",
            Member => "member",
            Viewer => "viewer",
            Billing => "billing",
            Reseller => "reseller",
        }
    }

    /// The role of that name.
    pub fn named(key: &str) -> Option<SystemRole> {
        SystemRole::ALL.into_iter().find(|role| role.key() == key)
    }

    /// What it may do. In `platform`, owners and admins also hold the operator's permissions.
    pub fn permissions(self, platform: bool) -> PermissionSet {
        PermissionSet::filter(|permission| match permission.is_platform() {
            true => platform && self.leads(),
            false => self.grants(permission),
        })
    }

    /// Owners and admins.
    fn leads(self) -> bool {
        matches!(self, Owner | Admin)
    }

    /// The table of the roles, a row a resource.
    fn grants(self, permission: Permission) -> bool {
        let (resource, action) = permission.name().split_once(':').expect("resource:action");
        let read = action == "read";
        match resource {
            "agents" | "prompts" | "experiments" | "knowledge" | "projects" | "code" | "assets" | "tools" | "runs"
            | "interrupts" => self.leads() || self == Member || (self == Viewer && read),
            "credentials" | "triggers" | "schedules" => self.leads() || (self == Member && read),
            "budgets" => self.leads() || (self == Member && read) || self == Billing,
            "products" | "policies" | "entitlements" | "allocations" => self.leads() || read,
            "customers" | "machines" | "redemptions" => self.leads() || read || self == Reseller,
            "licenses" => self.leads() || (permission != Permission::LicensesReveal && (read || self == Reseller)),
            "resellers" => self.leads() || (read && matches!(self, Billing | Reseller)),
            "signing_keys" | "audit" => self.leads(),
            "store" | "revenue" if permission == Permission::StoreConnect => self == Owner,
            "store" | "revenue" => self.leads() || self == Billing,
            "usage" if !read => self.leads() || self == Reseller,
            "usage" | "analytics" => self != Viewer,
            "billing" => matches!(self, Owner | Billing) || (self == Admin && read),
            "members" | "roles" => self.leads() || read,
            "invitations" => self.leads() || self == Reseller,
            "api_keys" => self.leads() || matches!(self, Member | Reseller),
            "service_accounts" | "webhooks" | "integrations" => self.leads() || self == Reseller,
            "workspace" if read => true,
            "workspace" => self == Owner || (self == Admin && permission == Permission::WorkspaceWrite),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_role_may_do_is_as_documented() {
        let mark = |role: &SystemRole, permission| {
            if role.permissions(true).has(permission) {
                " ✓"
            } else {
                " –"
            }
        };
        let table: Vec<String> = Permission::ALL
            .iter()
            .map(|permission| {
                let marks: String = SystemRole::ALL.iter().map(|role| mark(role, *permission)).collect();
                format!("{:<28}{marks}", permission.name())
            })
            .collect();
        insta::assert_snapshot!(format!("{:<28} o a m v b r\n{}", "", table.join("\n")));
    }

    #[test]
    fn the_operators_permissions_exist_in_platform_only() {
        assert!(
            Owner
                .permissions(false)
                .iter()
                .all(|permission| !permission.is_platform())
        );
        assert!(Admin.permissions(true).has(Permission::PlatformImpersonate));
        assert!(!Member.permissions(true).has(Permission::PlatformUsersRead));
    }
}
