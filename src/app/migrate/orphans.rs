//! Rows whose foreign key points at nothing. A key that was validated by a role that sees no rows is marked valid and is not, so only
//! counting tells.

use anyhow::Result;
use diesel::{PgConnection, RunQueryDsl, dsl::sql, sql_types};

use super::connection::{connect, identifier};

/// Rows that point at nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Orphans {
    /// The foreign key.
    pub constraint: String,
    /// The table that holds the rows.
    pub table: String,
    /// How many.
    pub rows: i64,
}

#[derive(serde::Deserialize)]
struct Key {
    name: String,
    table: String,
    target: String,
    columns: Vec<String>,
    target_columns: Vec<String>,
}

const KEYS: &str =
    "(SELECT coalesce(jsonb_agg(jsonb_build_object('name', k.conname, 'table', f.relname, 'target', t.relname,
      'columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY x(n, o)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.n),
      'target_columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.confkey) WITH ORDINALITY x(n, o)
                   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n)) ORDER BY k.conname), '[]')
    FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
    WHERE k.contype = 'f' AND k.conparentid = 0 AND f.relnamespace = 'guildhall'::regnamespace)";

/// Counts them, by key; keys without any are left out. Reads whole tables: for drills and `doctor`, not for a busy hour.
///
/// # Errors
/// A database that cannot be reached, or a role that may not read every row (`guildhall_auditor` may).
pub fn orphans(auditor_url: &str) -> Result<Vec<Orphans>> {
    let mut link = connect(auditor_url)?;
    let keys: serde_json::Value = diesel::select(sql::<sql_types::Jsonb>(KEYS)).get_result(&mut link)?;
    let keys: Vec<Key> = serde_json::from_value(keys)?;
    let mut orphans = Vec::new();
    for key in keys {
        let rows = count(&mut link, &key)?;
        if rows > 0 {
            orphans.push(Orphans {
                constraint: key.name,
                table: key.table,
                rows,
            });
        }
    }
    Ok(orphans)
}

fn count(link: &mut PgConnection, key: &Key) -> Result<i64> {
    let pairs = || {
        key.columns
            .iter()
            .map(|name| identifier(name))
            .zip(key.target_columns.iter().map(|name| identifier(name)))
    };
    let same: Vec<String> = pairs().map(|(from, to)| format!("p.{to} = c.{from}")).collect();
    let pointing: Vec<String> = pairs().map(|(from, _)| format!("c.{from} IS NOT NULL")).collect();
    let statement = format!(
        "(SELECT count(*) FROM {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {}))",
        identifier(&key.table),
        pointing.join(" AND "),
        identifier(&key.target),
        same.join(" AND ")
    );
    Ok(diesel::select(sql::<sql_types::BigInt>(&statement)).get_result(link)?)
}
