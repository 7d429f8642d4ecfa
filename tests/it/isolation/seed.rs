//! A row of every kind for each of two workspaces, made up from the shape of the tables. What cannot be guessed from it, a format or two
//! columns that must agree, is in `registry/seeds.toml`.

use std::collections::BTreeMap;

use diesel::{PgConnection, connection::SimpleConnection};
use serde_json::{Map, Value};

use super::shape::{Column, Registry, Table};
use crate::database::{run, text};

/// A row as JSON, by column.
pub type Row = Map<String, Value>;

/// The workspace that is attacked.
pub const A: &str = "0a000000-0000-7000-8000-00000000000a";
/// The workspace that attacks.
pub const B: &str = "0b000000-0000-7000-8000-00000000000b";

/// How much of a row is made up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Every column.
    Full,
    /// What the table insists on.
    Required,
}

/// The rows of both workspaces, by table.
pub struct Seeds {
    overrides: BTreeMap<String, BTreeMap<String, String>>,
    rows: BTreeMap<(&'static str, String), Row>,
}

impl Seeds {
    /// Seeds every table whose rows belong to workspaces, and those that they point at.
    pub fn plant(conn: &mut PgConnection, tables: &[Table], registry: &Registry) -> Seeds {
        let overrides = toml::from_str(include_str!("../registry/seeds.toml")).expect("the seeds are well-formed");
        let mut seeds = Seeds {
            overrides,
            rows: BTreeMap::new(),
        };
        let mut troubles = Vec::new();
        for side in [A, B] {
            run(
                conn,
                &format!(
                    "BEGIN; SELECT set_config('app.workspace', '{side}', true), set_config('app.actor', 'system:', true), \
                     set_config('app.reseller', 'none', true), set_config('app.customer', 'none', true)"
                ),
            );
            for table in in_order(tables, registry) {
                match seeds.insert(conn, table, registry, side) {
                    Ok(row) => {
                        seeds.rows.insert((side, table.name.clone()), row);
                    }
                    Err(trouble) => troubles.push(trouble),
                }
            }
            run(conn, "COMMIT");
        }
        assert!(
            troubles.is_empty(),
            "Say in tests/it/registry/seeds.toml what these must hold:\n{}",
            troubles.join("\n")
        );
        seeds
    }

    /// The row of a workspace.
    pub fn row(&self, side: &'static str, table: &str) -> Option<&Row> {
        self.rows.get(&(side, table.to_owned()))
    }

    fn insert(
        &self,
        conn: &mut PgConnection,
        table: &Table,
        registry: &Registry,
        side: &'static str,
    ) -> Result<Row, String> {
        let mut troubles = Vec::new();
        for extent in [Extent::Full, Extent::Required] {
            let row = self.invent(conn, table, registry, side, extent);
            run(conn, "SAVEPOINT guess");
            let statement = insert(&table.name, &row);
            match conn.batch_execute(&statement) {
                Ok(()) => {
                    run(conn, "RELEASE guess");
                    return Ok(read_back(conn, table, &row));
                }
                Err(error) => {
                    troubles.push(error.to_string());
                    run(conn, "ROLLBACK TO guess");
                }
            }
        }
        Err(format!("{}: {}", table.name, troubles.join("; then ")))
    }

    /// A new row that a workspace could insert, not inserted.
    pub fn fresh(&self, conn: &mut PgConnection, table: &Table, registry: &Registry, side: &'static str) -> Row {
        self.invent(conn, table, registry, side, Extent::Required)
    }

    fn invent(
        &self,
        conn: &mut PgConnection,
        table: &Table,
        registry: &Registry,
        side: &'static str,
        extent: Extent,
    ) -> Row {
        let pairs: Vec<String> = table
            .columns
            .iter()
            .filter_map(|column| {
                Some(format!(
                    "'{}', {}",
                    column.name,
                    self.expression(table, column, registry, side, extent)?
                ))
            })
            .collect();
        let row = text(conn, &format!("SELECT jsonb_build_object({})", pairs.join(", "))).expect("an object");
        serde_json::from_str(&row).expect("an object")
    }

    /// What a column gets; `None` leaves it to its default.
    fn expression(
        &self,
        table: &Table,
        column: &Column,
        registry: &Registry,
        side: &'static str,
        extent: Extent,
    ) -> Option<String> {
        if let Some(expression) = self
            .overrides
            .get(&table.name)
            .and_then(|columns| columns.get(&column.name))
        {
            return Some(expression.clone());
        }
        if column.generated {
            return None;
        }
        if registry
            .walled
            .get(&table.name)
            .is_some_and(|line| line.key == column.name)
        {
            return Some(format!("'{side}'::uuid"));
        }
        // Whose row it is within the workspace is a matter of its own: see `contexts`.
        if matches!(column.name.as_str(), "reseller_id" | "customer_id") && !column.required {
            return None;
        }
        let narrowing = matches!(column.name.as_str(), "reseller_id" | "customer_id");
        let wanted = column.required && (!column.has_default || narrowing);
        if let Some(parent) = self.parent(table, column, side) {
            return (wanted || extent == Extent::Full).then_some(parent);
        }
        if !wanted && (extent == Extent::Required || column.has_default || points_somewhere(table, column)) {
            return None;
        }
        Some(first_allowed(table, column).unwrap_or_else(|| made_up(table, column)))
    }

    /// The value that a foreign key's column must have, from the same workspace's row.
    fn parent(&self, table: &Table, column: &Column, side: &'static str) -> Option<String> {
        table.foreign_keys.iter().find_map(|key| {
            let place = key.columns.iter().position(|name| *name == column.name)?;
            let value = self.row(side, &key.target)?.get(&key.target_columns[place])?;
            Some(format!("{}::{}", literal(value), column.kind))
        })
    }
}

/// The row as the table holds it, with its defaults.
fn read_back(conn: &mut PgConnection, table: &Table, row: &Row) -> Row {
    let same = table
        .primary_key
        .iter()
        .filter_map(|name| Some(format!("\"{name}\" = {}", literal(row.get(name)?))));
    let condition = same.collect::<Vec<_>>().join(" AND ");
    let row = text(
        conn,
        &format!("SELECT to_jsonb(t) FROM {} t WHERE {condition}", table.name),
    );
    serde_json::from_str(&row.expect("the row that was just inserted")).expect("a row is an object")
}

/// Parents before children. A table that points at itself, or in a circle, is seeded without that reference.
fn in_order<'t>(tables: &'t [Table], registry: &Registry) -> Vec<&'t Table> {
    let find = |name: &str| tables.iter().find(|table| table.name == name);
    let mut ordered: Vec<&Table> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    fn visit<'t>(
        table: &'t Table,
        find: &impl Fn(&str) -> Option<&'t Table>,
        ordered: &mut Vec<&'t Table>,
        open: &mut Vec<&'t str>,
    ) {
        if open.contains(&table.name.as_str()) || ordered.iter().any(|done| done.name == table.name) {
            return;
        }
        open.push(&table.name);
        for key in &table.foreign_keys {
            if let Some(parent) = find(&key.target) {
                visit(parent, find, ordered, open);
            }
        }
        open.pop();
        ordered.push(table);
    }
    for table in tables.iter().filter(|table| registry.walled.contains_key(&table.name)) {
        visit(table, &find, &mut ordered, &mut open);
    }
    ordered
}

fn points_somewhere(table: &Table, column: &Column) -> bool {
    table.foreign_keys.iter().any(|key| key.columns.contains(&column.name))
}

/// The first value of the list that a check allows.
fn first_allowed(table: &Table, column: &Column) -> Option<String> {
    let of_column = table.checks.iter().filter(|check| check.column == column.name);
    of_column.into_iter().find_map(|check| {
        let after = ["= ANY (ARRAY['", " = '"]
            .iter()
            .find_map(|start| check.definition.split_once(start))?
            .1;
        let value = after.split_once('\'')?.0;
        Some(format!("'{value}'::{}", column.kind))
    })
}

fn made_up(table: &Table, column: &Column) -> String {
    let canary = format!(
        "'canary-{}-{}-' || substr(md5(random()::text), 1, 12)",
        table.name, column.name
    );
    let kind = column.kind.as_str();
    match kind {
        "uuid" => "gen_random_uuid()".into(),
        "text" => canary,
        "citext" => format!("{canary} || '@example.com'"),
        "boolean" => "false".into(),
        "jsonb" => format!("jsonb_build_object('canary', {canary})"),
        "bytea" => "decode(md5(random()::text) || md5(random()::text), 'hex')".into(),
        "timestamp with time zone" => "app_now() + interval '1 day'".into(),
        "date" => "(app_now() AT TIME ZONE 'UTC')::date".into(),
        _ if kind.ends_with("[]") => format!("'{{}}'::{kind}"),
        // Two rows of one workspace may not meet in a number that only says which of several they are.
        _ if table.unique_keys.iter().any(|key| key.columns.contains(&column.name)) => {
            format!("(1 + floor(random() * 9000))::{kind}")
        }
        _ => format!("1::{kind}"),
    }
}

/// A value as PostgreSQL reads it in quotes.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => format!("'{}'", other.to_string().replace('\'', "''")),
    }
}

/// `INSERT` of a row; `ON CONFLICT` and the like may follow it.
pub fn insert(table: &str, row: &Row) -> String {
    let columns: Vec<String> = row.keys().map(|name| format!("\"{name}\"")).collect();
    let columns = columns.join(", ");
    let row = literal(&Value::String(Value::Object(row.clone()).to_string()));
    format!(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::guildhall.{table}, {row}::jsonb)"
    )
}
