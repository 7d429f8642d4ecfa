//! Keys, checks and indexes are those of the registry, compared both ways (23), foreign keys after what they refer to, and these are looked
//! at (24).

use std::collections::BTreeMap;

use crate::kernel::catalogue::{
    Report, Severity,
    registry::Definitions,
    snapshot::{Definition, Snapshot},
};

/// What is still to be found: definitions by table and name.
type Missing<'r> = BTreeMap<(&'r str, &'r str), &'r str>;

pub(super) fn judge(snapshot: &Snapshot, registry: &Definitions, ahead: bool, report: &mut Report) {
    let mut missing = Missing::new();
    for (table, lines) in registry {
        missing.extend(
            lines
                .iter()
                .map(|(name, line)| ((table.as_str(), name.as_str()), line.as_str())),
        );
    }
    let mut unknown = Vec::new();
    for found in &snapshot.definitions {
        match missing.remove(&(found.table.as_str(), found.name.as_str())) {
            Some(wanted) if wanted != found.definition => changed(found, wanted, report),
            Some(_) => {}
            None => unknown.push(found),
        }
    }
    for found in unknown {
        extra(found, &mut missing, ahead, report);
    }
    for ((table, name), wanted) in missing {
        report.add(
            rule(wanted),
            format!("{table}.{name}"),
            "it is missing",
            as_migrator(&make(table, name, wanted)),
        );
    }
    for key in &snapshot.silenced {
        let (table, object) = (&key.table, format!("{}.{}", key.table, key.name));
        let fix = format!(
            "ALTER TABLE guildhall.{table} ENABLE TRIGGER ALL; -- as a superuser; then look for rows that it let pass"
        );
        report.add(24, object, "its triggers do not fire: nobody looks at the key", fix);
    }
}

/// Of one name, and another than the registry's.
fn changed(found: &Definition, wanted: &str, report: &mut Report) {
    let object = format!("{}.{}", found.table, found.name);
    let what = format!(
        "it is not the registry's, but {}; where a migration changed it, {}",
        found.definition,
        line(found)
    );
    let fix = as_migrator(&format!(
        "{}; {}",
        unmake(found),
        make(&found.table, &found.name, wanted)
    ));
    report.add(rule(&found.definition), object, what, fix);
}

/// Of a name that the registry does not know. An index is only a cost to those who write, and some operator's own.
fn extra(found: &Definition, missing: &mut Missing<'_>, ahead: bool, report: &mut Report) {
    let (object, rule) = (format!("{}.{}", found.table, found.name), rule(&found.definition));
    let twin = missing
        .iter()
        .find(|((table, _), wanted)| *table == found.table && **wanted == found.definition);
    if let Some((&(table, name), _)) = twin {
        missing.remove(&(table, name));
        report.add(
            rule,
            object,
            format!("the registry calls it {name}"),
            as_migrator(&rename(found, name)),
        );
        return;
    }
    let severity = match ahead || found.definition.starts_with("INDEX ") {
        true => Severity::Warn,
        false => Severity::Refuse,
    };
    let what = format!("it is not in the registry; where a migration made it, {}", line(found));
    report.push(severity, rule, object, what, as_migrator(&unmake(found)));
}

fn as_migrator(statements: &str) -> String {
    format!("{statements}; -- as guildhall_migrator")
}

/// Findings are told by rule: a foreign key can only be made again after what it refers to.
fn rule(definition: &str) -> u8 {
    if definition.starts_with("FOREIGN KEY") { 24 } else { 23 }
}

/// What gives it its line in the registry.
fn line(found: &Definition) -> String {
    let definition = toml::Value::String(found.definition.clone());
    format!(
        "write under [{}] in tests/it/registry/keys.toml: {} = {definition}",
        found.table, found.name
    )
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
    let Definition {
        name,
        table,
        definition,
    } = found;
    match is_index(definition) {
        true => format!("DROP INDEX {}", quoted(name)),
        false => format!("ALTER TABLE {table} DROP CONSTRAINT {} CASCADE", quoted(name)),
    }
}

fn rename(found: &Definition, name: &str) -> String {
    let from = quoted(&found.name);
    match is_index(&found.definition) {
        true => format!("ALTER INDEX {from} RENAME TO {name}"),
        false => format!("ALTER TABLE {} RENAME CONSTRAINT {from} TO {name}", found.table),
    }
}

/// A name that somebody gave as they liked.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
