//! Tables as they are in a workspace that has been busy for years: a hundred thousand rows each, like the one that is there.

use std::{collections::BTreeMap, fmt::Write};

use diesel::PgConnection;
use serde::Deserialize;

use crate::database::{number, run, text};

/// How many rows.
pub const ROWS: i64 = 100_000;

/// `tests/it/registry/plans.toml`.
#[derive(Deserialize)]
pub struct Registry {
    /// What the rows of a table hold where they do not hold what the one does: an expression a column, of their number `n`.
    pub full: BTreeMap<String, BTreeMap<String, String>>,
    /// Tables that are not filled, and why: most stay small in a workspace, however busy.
    pub small: BTreeMap<String, String>,
    /// Statements that read all by their nature, and why that does no harm. Each is heard.
    pub whole: BTreeMap<String, String>,
    /// Values of the filters that lists share. The first finds something.
    pub shared: BTreeMap<String, Vec<String>>,
    /// Values of every list's own filters, and of shared ones where the list's rows want others.
    pub lists: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Filters of a list that are asked together.
    pub pairs: BTreeMap<String, Vec<BTreeMap<String, String>>>,
}

impl Registry {
    pub fn read() -> Registry {
        toml::from_str(include_str!("../registry/plans.toml")).expect("a registry that can be read")
    }

    /// Multiplies the newest row of the workspace in each of the tables.
    pub fn fill(&self, conn: &mut PgConnection, workspace: &str) {
        let begun = text(conn, "date_trunc('milliseconds', now()) - interval '100060 seconds'").expect("an instant");
        run(
            conn,
            &format!(
                "CREATE FUNCTION row_time(n bigint) RETURNS timestamptz STABLE \
             RETURN '{begun}'::timestamptz + make_interval(secs => n); \
             CREATE FUNCTION row_id(n bigint) RETURNS uuid STABLE \
             RETURN (substr(uuid_at(row_time(n))::text, 1, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid; \
             CREATE UNLOGGED TABLE numbers AS SELECT nr, row_id(nr) AS its_id, row_time(nr) AS its_time FROM generate_series(1, 100000) nr; \
             SET session_replication_role = replica; BEGIN"
            ),
        );
        for (table, columns) in &self.full {
            let statement = multiply(conn, table, columns, workspace);
            run(conn, &statement);
        }
        run(conn, "COMMIT; ANALYZE");
        for table in self.full.keys() {
            let rows = number(conn, &format!("SELECT count(*) FROM {table}"));
            assert!(rows >= ROWS, "{table} has {rows} rows: is there one to be multiplied?");
        }
    }
}

/// One statement that fills a table.
fn multiply(conn: &mut PgConnection, table: &str, columns: &BTreeMap<String, String>, workspace: &str) -> String {
    let names = text(
        conn,
        &format!(
            "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns \
             WHERE table_schema = 'guildhall' AND table_name = '{table}' AND is_generated = 'NEVER'"
        ),
    );
    let names = names.unwrap_or_else(|| panic!("there is no table {table}"));
    for column in columns.keys() {
        assert!(
            names.split(' ').any(|name| name == column),
            "{table} has no column {column}"
        );
    }
    let (mut into, mut from) = (String::new(), String::new());
    for name in names.split(' ') {
        let usual = match name {
            "id" => "its_id",
            "created_at" | "updated_at" => "its_time",
            other => &format!("one.{other}"),
        };
        let value = columns.get(name).map_or(usual, String::as_str);
        let comma = if into.is_empty() { "" } else { ", " };
        write!(into, "{comma}{name}").expect("a String takes everything");
        write!(from, "{comma}{value}").expect("a String takes everything");
    }
    let own = match table {
        "workspaces" => format!("WHERE id = '{workspace}'"),
        _ if names.split(' ').any(|name| name == "workspace_id") => format!("WHERE workspace_id = '{workspace}'"),
        _ => String::new(),
    };
    format!("INSERT INTO {table} ({into}) SELECT {from} FROM (SELECT * FROM {table} {own} LIMIT 1) one, numbers")
}
