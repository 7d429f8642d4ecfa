//! What PostgreSQL says of itself, read in one statement.

use diesel::{PgConnection, RunQueryDsl, dsl::sql, sql_types::Jsonb};
use serde::Deserialize;

use crate::kernel::error::Result;

#[derive(Debug, Deserialize)]
pub(super) struct Snapshot {
    pub(super) version: i32,
    pub(super) database: Database,
    pub(super) roles: Vec<Role>,
    pub(super) settings: Vec<Setting>,
    /// Rights to set what is a superuser's to set, or to change anything for the whole server.
    pub(super) parameters: Vec<Parameter>,
    pub(super) schemas: Vec<Schema>,
    pub(super) relations: Vec<Relation>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    pub(super) indexes: Vec<Index>,
    pub(super) definitions: Vec<Definition>,
    pub(super) silenced: Vec<OfTable>,
    pub(super) functions: Vec<Function>,
    pub(super) triggers: Vec<Trigger>,
    pub(super) rules: Vec<OfTable>,
    pub(super) event_triggers: Vec<String>,
    pub(super) extensions: Vec<String>,
    pub(super) untrusted_languages: Vec<String>,
    pub(super) large_objects: i64,
    pub(super) large_object_functions: Vec<String>,
    pub(super) functions_closed_by_default: bool,
    pub(super) default_grants: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) public_rights: Vec<String>,
    pub(super) rights: Vec<Right>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Right {
    pub(super) role: String,
    pub(super) right: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) login: bool,
    pub(super) superuser: bool,
    pub(super) bypasses: bool,
    pub(super) makes_roles: bool,
    pub(super) makes_databases: bool,
    pub(super) replicates: bool,
    pub(super) member_of: Vec<String>,
    pub(super) owns: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Setting {
    /// `None`: everybody.
    pub(super) role: Option<String>,
    /// In this database alone.
    pub(super) here: bool,
    pub(super) setting: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) role: String,
    pub(super) name: String,
    /// `SET` or `ALTER SYSTEM`.
    pub(super) right: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) rights: Vec<Right>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) kind: char,
    pub(super) owner: String,
    pub(super) secured: bool,
    pub(super) forced: bool,
    pub(super) options: Vec<String>,
    pub(super) parent: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) grants: Vec<Grant>,
    pub(super) policies: Vec<Policy>,
}

impl Relation {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) required: bool,
    pub(super) default: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    pub(super) role: String,
    pub(super) verb: String,
    /// `None`: of the whole table.
    pub(super) column: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) permissive: bool,
    pub(super) command: char,
    pub(super) roles: Vec<String>,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) target: String,
    pub(super) columns: Vec<String>,
    pub(super) target_columns: Vec<String>,
    pub(super) on_delete: char,
    pub(super) on_update: char,
    pub(super) validated: bool,
    pub(super) set_columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) unique: bool,
    pub(super) valid: bool,
    pub(super) columns: Vec<String>,
}

/// A key, a check or an index that is no key's, of a table or of one partition alone.
#[derive(Debug, Deserialize)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) table: String,
    /// What follows its name in the statement that makes it; of an index, `INDEX` or `UNIQUE INDEX` before.
    pub(super) definition: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) signature: String,
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) owner: String,
    pub(super) definer: bool,
    pub(super) language: String,
    pub(super) settings: Vec<String>,
    /// Of the functions that read the context.
    pub(super) body: Option<String>,
    pub(super) is_trigger: bool,
    pub(super) of_extension: bool,
    pub(super) execute: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) table: String,
    /// The statement that makes it.
    pub(super) definition: String,
    pub(super) enabled: char,
}

/// What has nothing to say but that it is there: a rewrite rule, a constraint whose triggers do not fire.
#[derive(Debug, Deserialize)]
pub(super) struct OfTable {
    pub(super) name: String,
    pub(super) table: String,
}

/// Reads the catalogue. Any role may; about 50 ms.
pub(super) fn read(conn: &mut PgConnection) -> Result<Snapshot> {
    let document: serde_json::Value = diesel::select(sql::<Jsonb>(include_str!("snapshot.sql"))).get_result(conn)?;
    Ok(serde_json::from_value(document).map_err(anyhow::Error::from)?)
}
