//! What may be done: `resource:action`, one bit each.

use std::fmt;

/// A permission as a type.
pub trait Needs: 'static {
    /// Which one.
    const PERMISSION: Permission;
}

/// Declares the permissions: the enum, the marker types in [`perm`], names and descriptions.
macro_rules! permissions {
    ($($variant:ident $name:literal $about:literal;)*) => {
        /// One permission.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $(#[doc = concat!("`", $name, "`: ", $about)] $variant,)*
        }

        impl Permission {
            /// All of them, in the order of the catalogue.
            pub const ALL: &[Permission] = &[$(Permission::$variant),*];

            /// `resource:action`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Permission::$variant => $name,)*
                }
            }

            /// What it allows, for people.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Permission::$variant => $about,)*
                }
            }

            /// The permission of that name.
            pub fn named(name: &str) -> Option<Permission> {
                match name {
                    $($name => Some(Permission::$variant),)*
                    _ => None,
                }
            }
        }

        /// The permissions as types, for [`Can`](super::Can).
        pub mod perm {
            $(
                #[doc = concat!("`", $name, "`: ", $about)]
                pub enum $variant {}
                impl super::Needs for $variant {
                    const PERMISSION: super::Permission = super::Permission::$variant;
                }
            )*
        }
    };
}

permissions! {
    AgentsRead "agents:read" "See agents and their versions";
    AgentsWrite "agents:write" "Make and change agents";
    AgentsPublish "agents:publish" "Publish versions and move labels";
    PromptsRead "prompts:read" "See prompts";
    PromptsWrite "prompts:write" "Make and change prompts";
    PromptsPublish "prompts:publish" "Publish prompt versions";
    ExperimentsRead "experiments:read" "See experiments";
    ExperimentsWrite "experiments:write" "Make and run experiments";
    KnowledgeRead "knowledge:read" "Search knowledge";
    KnowledgeWrite "knowledge:write" "Add and remove documents";
    ProjectsRead "projects:read" "See generated projects";
    ProjectsWrite "projects:write" "Generate projects";
    CodeRead "code:read" "See code analyses";
    CodeWrite "code:write" "Analyse code";
    AssetsRead "assets:read" "See mirrored assets";
    AssetsWrite "assets:write" "Mirror assets";
    ToolsRead "tools:read" "See tools";
    ToolsWrite "tools:write" "Make and change tools";
    RunsRead "runs:read" "See runs and their results";
    RunsExecute "runs:execute" "Start runs";
    RunsCancel "runs:cancel" "Stop runs";
    InterruptsRead "interrupts:read" "See what waits for a person";
    InterruptsResolve "interrupts:resolve" "Answer what waits for a person";
    CredentialsRead "credentials:read" "See which provider credentials exist";
    CredentialsWrite "credentials:write" "Add and remove provider credentials";
    TriggersRead "triggers:read" "See triggers";
    TriggersWrite "triggers:write" "Make and change triggers";
    SchedulesRead "schedules:read" "See schedules";
    SchedulesWrite "schedules:write" "Make and change schedules";
    BudgetsRead "budgets:read" "See budgets";
    BudgetsWrite "budgets:write" "Set budgets";
    ProductsRead "products:read" "See products";
    ProductsWrite "products:write" "Make and change products";
    PoliciesRead "policies:read" "See licence policies";
    PoliciesWrite "policies:write" "Make and change licence policies";
    EntitlementsRead "entitlements:read" "See entitlement definitions";
    EntitlementsWrite "entitlements:write" "Make and change entitlement definitions";
    CustomersRead "customers:read" "See customers";
    CustomersWrite "customers:write" "Add and change customers";
    MachinesRead "machines:read" "See activated machines";
    MachinesWrite "machines:write" "Activate and deactivate machines";
    LicensesRead "licenses:read" "See licences";
    LicensesIssue "licenses:issue" "Issue licences";
    LicensesWrite "licenses:write" "Change, renew and transfer licences";
    LicensesSuspend "licenses:suspend" "Suspend and reinstate licences";
    LicensesRevoke "licenses:revoke" "Revoke licences";
    LicensesValidate "licenses:validate" "Validate licences";
    LicensesReveal "licenses:reveal" "Read vaulted licence keys";
    RedemptionsRead "redemptions:read" "See redemption batches";
    RedemptionsWrite "redemptions:write" "Make redemption batches";
    UsageRead "usage:read" "See usage";
    UsageWrite "usage:write" "Report licence usage";
    AllocationsRead "allocations:read" "See resellers' allocations";
    AllocationsWrite "allocations:write" "Grant allocations to resellers";
    SigningKeysManage "signing_keys:manage" "Rotate licence signing keys";
    ResellersRead "resellers:read" "See resellers";
    ResellersWrite "resellers:write" "Make and change resellers";
    StoreRead "store:read" "See orders, payments and the store's set-up";
    StoreManage "store:manage" "Manage offers, refunds and the store's set-up";
    StoreConnect "store:connect" "Connect a Stripe account";
    RevenueRead "revenue:read" "See revenue figures";
    AnalyticsRead "analytics:read" "See analytics";
    BillingRead "billing:read" "See the plan and invoices";
    BillingManage "billing:manage" "Change the plan and pay";
    MembersRead "members:read" "See the members";
    MembersWrite "members:write" "Change and remove members";
    InvitationsWrite "invitations:write" "Invite people";
    RolesRead "roles:read" "See roles";
    RolesWrite "roles:write" "Make and change custom roles";
    ApiKeysRead "api_keys:read" "See API keys";
    ApiKeysWrite "api_keys:write" "Make and revoke API keys";
    ServiceAccountsRead "service_accounts:read" "See service accounts";
    ServiceAccountsWrite "service_accounts:write" "Make and change service accounts";
    WebhooksRead "webhooks:read" "See webhook endpoints and deliveries";
    WebhooksWrite "webhooks:write" "Make and change webhook endpoints";
    IntegrationsRead "integrations:read" "See integrations";
    IntegrationsWrite "integrations:write" "Connect and remove integrations";
    AuditRead "audit:read" "Read the audit log";
    AuditExport "audit:export" "Export the audit log";
    WorkspaceRead "workspace:read" "See the workspace";
    WorkspaceWrite "workspace:write" "Change the workspace";
    WorkspaceDelete "workspace:delete" "Delete the workspace";
    WorkspaceTransfer "workspace:transfer" "Hand the workspace to another owner";
    PlatformWorkspacesRead "platform.workspaces:read" "See every workspace (operator)";
    PlatformWorkspacesSuspend "platform.workspaces:suspend" "Suspend and restore workspaces (operator)";
    PlatformWorkspacesDelete "platform.workspaces:delete" "Delete workspaces (operator)";
    PlatformUsersRead "platform.users:read" "See every user (operator)";
    PlatformUsersSuspend "platform.users:suspend" "Suspend and restore users (operator)";
    PlatformPlansWrite "platform.plans:write" "Change plans (operator)";
    PlatformIssuersWrite "platform.issuers:write" "Manage external issuers (operator)";
    PlatformKeysRotate "platform.keys:rotate" "Rotate signing keys (operator)";
    PlatformJobsWrite "platform.jobs:write" "Redrive and cancel jobs (operator)";
    PlatformAuditRead "platform.audit:read" "Read every audit log (operator)";
    PlatformBillingRead "platform.billing:read" "See every workspace's billing (operator)";
    PlatformBillingWrite "platform.billing:write" "Change every workspace's billing (operator)";
    PlatformImpersonate "platform:impersonate" "Act as a person, with a reason (operator)";
}

impl Permission {
    /// True for what exists in the operator's own workspace only.
    pub fn is_platform(self) -> bool {
        self.name().starts_with("platform")
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PermissionSet(u128);

impl PermissionSet {
    /// None at all.
    pub const EMPTY: PermissionSet = PermissionSet(0);

    /// Every permission that `keep` says yes to.
    pub fn filter(keep: impl Fn(Permission) -> bool) -> PermissionSet {
        Permission::ALL
            .iter()
            .copied()
            .filter(|permission| keep(*permission))
            .collect()
    }

    /// Is it in the set?
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u32 != 0
    }

    /// What both sets have.
    pub const fn and(self, other: PermissionSet) -> PermissionSet {
        PermissionSet(self.0 & other.0)
    }

    /// True if the other set has nothing beyond this one.
    pub const fn covers(self, other: PermissionSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// Its permissions in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .iter()
            .copied()
            .filter(move |permission| self.has(*permission))
    }

    /// Its names, as the database and the API hold them.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|permission| permission.name().to_owned()).collect()
    }

    /// The set of these names. A name that no longer exists is left out.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> PermissionSet {
        names.into_iter().filter_map(Permission::named).collect()
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> PermissionSet {
        PermissionSet(
            permissions
                .into_iter()
                .fold(0, |bits, permission| bits | 1 << permission as u32),
        )
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bit_for_every_permission() {
        assert!(Permission::ALL.len() <= 128);
        for permission in Permission::ALL {
            assert_eq!(Permission::named(permission.name()), Some(*permission));
        }
    }

    #[test]
    fn a_set_covers_what_it_has_and_nothing_else() {
        let reader = PermissionSet::named(["runs:read", "agents:read", "gone:since"]);
        assert!(reader.covers(PermissionSet::named(["runs:read"])));
        assert!(!reader.covers(PermissionSet::named(["runs:execute"])));
        assert_eq!(reader.names(), ["agents:read", "runs:read"]);
    }
}
