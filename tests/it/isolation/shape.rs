//! The tables as PostgreSQL describes them, and what the registry says of who may see their rows.

use std::collections::{BTreeMap, BTreeSet};

use diesel::PgConnection;
use serde::Deserialize;

use crate::database::text;

#[derive(Clone, Debug, Deserialize)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub may_delete: bool,
    pub primary_key: Vec<String>,
    pub unique_keys: Vec<UniqueKey>,
    pub foreign_keys: Vec<ForeignKey>,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub has_default: bool,
    pub generated: bool,
    pub may_select: bool,
    pub may_insert: bool,
    pub may_update: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct UniqueKey {
    pub name: String,
    pub columns: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ForeignKey {
    pub target: String,
    pub columns: Vec<String>,
    pub target_columns: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Check {
    pub column: String,
    pub definition: String,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether any row may be added.
    pub fn may_insert(&self) -> bool {
        self.columns.iter().any(|column| column.may_insert)
    }

    /// A column that may be set to itself.
    pub fn touchable(&self) -> Option<&str> {
        let usable = |column: &&Column| column.may_update && column.may_select && !column.generated;
        self.columns.iter().find(usable).map(|column| column.name.as_str())
    }
}

/// Reads every table.
pub fn read(conn: &mut PgConnection) -> Vec<Table> {
    let document = text(conn, include_str!("shape.sql")).expect("there are tables");
    serde_json::from_str(&document).expect("the query answers in this shape")
}

/// What the registry says of a table whose rows belong to workspaces.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    #[serde(default = "workspace_id")]
    pub key: String,
    #[serde(default = "closed")]
    pub reseller: String,
    #[serde(default = "closed")]
    pub customer: String,
}

fn workspace_id() -> String {
    "workspace_id".into()
}

fn closed() -> String {
    "closed".into()
}

/// The registry, as far as isolation needs it.
pub struct Registry {
    /// Tenant and shared tables.
    pub walled: BTreeMap<String, Line>,
    /// Tenant tables alone: the kernel's role has no business there.
    pub tenant: BTreeSet<String>,
    /// Unique keys in which workspaces meet, each with its reason.
    pub excused: BTreeSet<String>,
}

pub fn registry() -> Registry {
    #[derive(Deserialize)]
    struct File {
        tenant: BTreeMap<String, Line>,
        shared: BTreeMap<String, Line>,
        unique: BTreeMap<String, String>,
    }
    let file: File = toml::from_str(include_str!("../registry/tables.toml")).expect("the registry is well-formed");
    Registry {
        tenant: file.tenant.keys().cloned().collect(),
        walled: file.tenant.into_iter().chain(file.shared).collect(),
        excused: file.unique.into_keys().collect(),
    }
}
