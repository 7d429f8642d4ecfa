//! Keys, checks and indexes are those of the registry, compared both ways, and those that are there are kept (23).

use std::collections::BTreeMap;

use crate::kernel::catalogue::{
    Report, Severity,
    registry::Definitions,
    snapshot::{Definition, Snapshot},
};

pub(super) fn judge(snapshot: &Snapshot, registry: &Definitions, ahead: bool, report: &mut Report) {
    let mut missing: BTreeMap<(&str, &str), &str> = registry
        .iter()
        .flat_map(|(table, lines)| {
            lines
                .iter()
                .map(move |(name, line)| ((table.as_str(), name.as_str()), line.as_str()))
        })
        .collect();
    for found in &snapshot.definitions {
        let object = format!("{}.{}", found.table, found.name);
        match missing.remove(&(found.table.as_str(), found.name.as_str())) {
            None => report.push(
                if ahead { Severity::Warn } else { Severity::Refuse },
                23,
                object,
                "it is in the database and not in the registry",
                format!(
                    "Give it a line under [{}] in tests/it/registry/keys.toml: {}",
                    found.table,
                    line(found)
                ),
            ),
            Some(wanted) if wanted != found.definition => {
                let what = format!("it is not the registry's, but {}", found.definition);
                let fix = format!("{}; {}", unmake(found), make(&found.table, &found.name, wanted));
                report.add(23, object, what, fix);
            }
            Some(_) => {}
        }
    }
    for ((table, name), wanted) in missing {
        report.add(
            23,
            format!("{table}.{name}"),
            "it is missing",
            make(table, name, wanted),
        );
    }
    for key in &snapshot.silenced {
        let fix = format!(
            "ALTER TABLE {} ENABLE TRIGGER ALL, then look for rows that it let pass",
            key.table
        );
        report.add(
            23,
            format!("{}.{}", key.table, key.name),
            "the foreign key is not looked at",
            fix,
        );
    }
}

/// Its line in the registry.
fn line(found: &Definition) -> String {
    format!("{} = {}", found.name, toml::Value::String(found.definition.clone()))
}

fn is_index(definition: &str) -> bool {
    definition.starts_with("INDEX ") || definition.starts_with("UNIQUE INDEX ")
}

/// The statement that makes it.
fn make(table: &str, name: &str, definition: &str) -> String {
    match definition.split_once("INDEX ").filter(|_| is_index(definition)) {
        Some((unique, rest)) => format!("CREATE {unique}INDEX {name} ON {table} {rest}"),
        None => format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"),
    }
}

fn unmake(found: &Definition) -> String {
    if is_index(&found.definition) {
        format!("DROP INDEX {}", found.name)
    } else {
        format!("ALTER TABLE {} DROP CONSTRAINT {}", found.table, found.name)
    }
}
