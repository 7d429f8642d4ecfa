//! What the catalogue should say: `tables.toml` and `keys.toml` of `tests/it/registry`, embedded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;

/// Reads as written; a typo in it is found by the first test that runs.
pub(super) static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../tests/it/registry/tables.toml"))
        .expect("the registry is embedded and well-formed")
});

/// Definitions of keys, checks and indexes, by table and name.
pub(super) type Definitions = BTreeMap<String, BTreeMap<String, String>>;

/// As written, too.
pub(super) static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../tests/it/registry/keys.toml"))
        .expect("the registry of keys is embedded and well-formed")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    tenant: BTreeMap<String, TenantLine>,
    shared: BTreeMap<String, SharedLine>,
    kernel: BTreeMap<String, KernelLine>,
    reference: BTreeMap<String, KernelLine>,
    excluded: BTreeMap<String, String>,
    pub(super) unique: BTreeMap<String, String>,
    pub(super) indexes: BTreeMap<String, String>,
    pub(super) foreign_keys: BTreeMap<String, String>,
    pub(super) definer: BTreeMap<String, Definer>,
    pub(super) functions: BTreeMap<String, BTreeSet<String>>,
    pub(super) trigger_functions: BTreeMap<String, String>,
    /// By name and by what follows it in its definition, where `{table}` stands for each of these tables.
    triggers: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    pub(super) extensions: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TenantLine {
    reseller: Narrowing,
    customer: Narrowing,
    without: Vec<String>,
    also: Vec<String>,
    keeper: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedLine {
    #[serde(default = "workspace_id")]
    key: String,
    #[serde(default)]
    reseller: Narrowing,
    #[serde(default)]
    customer: Narrowing,
    tenant: Vec<String>,
    #[serde(default)]
    kernel: Vec<String>,
    #[serde(default)]
    keeper: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelLine {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definer {
    pub(super) owner: String,
    pub(super) execute: BTreeSet<String>,
    #[expect(dead_code, reason = "for whoever reads the file")]
    why: String,
}

/// How far a reseller's or a customer's transaction sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Narrowing {
    /// Nothing.
    #[default]
    Closed,
    /// Rows that carry its id.
    Own,
    /// The row that it is.
    Id,
    /// Everything in the workspace.
    Open,
}

/// The class of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Rows of workspaces, for the tenant role alone.
    Tenant,
    /// Rows of workspaces that the kernel also touches.
    Shared,
    /// The kernel's alone.
    Kernel,
    /// Read by tenants, written by the kernel.
    Reference,
    /// No application role's.
    Excluded,
}

/// Verbs by role, as granted: `SELECT`, `SELECT (a, b)`, `SELECT (-a)`.
pub(super) type Verbs = BTreeMap<&'static str, Vec<String>>;

/// What one relation should be.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) class: Class,
    /// The column that holds the workspace; `None` where no row belongs to one.
    pub(super) key: Option<String>,
    pub(super) reseller: Narrowing,
    pub(super) customer: Narrowing,
    pub(super) verbs: Verbs,
}

fn workspace_id() -> String {
    "workspace_id".into()
}

impl Registry {
    /// The names of all lines.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let lines = self.tenant.keys().chain(self.shared.keys()).chain(self.kernel.keys());
        lines
            .chain(self.reference.keys())
            .chain(self.excluded.keys())
            .map(String::as_str)
    }

    /// The statements that make the triggers, by table and name.
    pub(super) fn triggers(&self) -> BTreeMap<(&str, &str), String> {
        let mut all = BTreeMap::new();
        for (name, definitions) in &self.triggers {
            for (definition, tables) in definitions {
                all.extend(tables.iter().map(|table| {
                    let statement = format!("CREATE TRIGGER {name} {}", definition.replace("{table}", table));
                    ((table.as_str(), name.as_str()), statement)
                }));
            }
        }
        all
    }

    /// What the relation should be, if it has a line.
    pub(super) fn expected(&self, name: &str) -> Option<Expected> {
        let open = |class, verbs| Expected {
            class,
            key: None,
            reseller: Narrowing::Open,
            customer: Narrowing::Open,
            verbs,
        };
        if let Some(line) = self.tenant.get(name) {
            let verbs = ALL
                .iter()
                .filter(|verb| !line.without.iter().any(|left_out| left_out == *verb));
            let verbs = verbs
                .map(ToString::to_string)
                .chain(line.also.iter().cloned())
                .collect();
            return Some(Expected {
                class: Class::Tenant,
                key: Some(workspace_id()),
                reseller: line.reseller,
                customer: line.customer,
                verbs: by_role([("app_tenant", verbs), ("guildhall_keeper", line.keeper.clone())]),
            });
        }
        if let Some(line) = self.shared.get(name) {
            let (tenant, kernel, keeper) = (line.tenant.clone(), line.kernel.clone(), line.keeper.clone());
            return Some(Expected {
                class: Class::Shared,
                key: Some(line.key.clone()),
                reseller: line.reseller,
                customer: line.customer,
                verbs: by_role([
                    ("app_tenant", tenant),
                    ("app_kernel", kernel),
                    ("guildhall_keeper", keeper),
                ]),
            });
        }
        let all = || ALL.map(ToString::to_string).to_vec();
        if self.kernel.contains_key(name) {
            return Some(open(Class::Kernel, by_role([("app_kernel", all())])));
        }
        if self.reference.contains_key(name) {
            let verbs = by_role([("app_kernel", all()), ("app_tenant", vec!["SELECT".into()])]);
            return Some(open(Class::Reference, verbs));
        }
        self.excluded
            .contains_key(name)
            .then(|| open(Class::Excluded, Verbs::new()))
    }
}

const ALL: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

fn by_role<const N: usize>(roles: [(&'static str, Vec<String>); N]) -> Verbs {
    roles.into_iter().filter(|(_, verbs)| !verbs.is_empty()).collect()
}
