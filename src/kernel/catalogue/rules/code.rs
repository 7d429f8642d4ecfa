//! Code in the database: functions and triggers (12), rewrite rules (11), extensions, languages and large objects (14).

use std::collections::BTreeSet;

use crate::kernel::catalogue::{
    Report,
    registry::{Class, Registry},
    snapshot::{Function, Snapshot},
};

pub(super) fn judge(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    for function in &snapshot.functions {
        judge_function(function, registry, report);
    }
    listed_exist(snapshot, registry, report);
    triggers(snapshot, registry, report);
    versions(snapshot, registry, report);
    trigger_functions(snapshot, registry, report);
    for rule in &snapshot.rules {
        let what = format!("rule {} rewrites what is asked of it", rule.name);
        report.add(
            11,
            &rule.table,
            what,
            format!("DROP RULE \"{}\" ON {}", rule.name, rule.table),
        );
    }
    extras(snapshot, registry, report);
}

fn judge_function(function: &Function, registry: &Registry, report: &mut Report) {
    let name = &function.signature;
    let execute: BTreeSet<String> = function.execute.iter().cloned().collect();
    if execute.contains("PUBLIC") {
        let fix = format!("REVOKE EXECUTE ON FUNCTION {}.{name} FROM PUBLIC", function.schema);
        report.add(12, name, "everybody may run it", fix);
    }
    if function.of_extension {
        return;
    }
    if matches!(function.language.as_str(), "c" | "internal") {
        let what = format!("it is written in {}, which can read anything", function.language);
        report.add(14, name, what, format!("DROP FUNCTION {name}"));
    }
    rights(function, registry, report);
    executors(function, &execute, registry, report);
}

/// Whose rights it runs with, and by which search path.
fn rights(function: &Function, registry: &Registry, report: &mut Report) {
    let name = &function.signature;
    let line = registry.definer.get(name);
    if let Some(line) = line.filter(|line| line.owner != function.owner) {
        let what = format!("it runs as {}, and should as {}", function.owner, line.owner);
        report.add(12, name, what, format!("ALTER FUNCTION {name} OWNER TO {}", line.owner));
    }
    match (function.definer, line.is_some()) {
        (true, false) => {
            let fix = format!("ALTER FUNCTION {name} SECURITY INVOKER");
            report.add(12, name, "it lends its owner's rights and is not on the list", fix);
        }
        (false, true) => {
            let fix = format!("ALTER FUNCTION {name} SECURITY DEFINER");
            report.add(
                12,
                name,
                "it is listed as running with its owner's rights and does not",
                fix,
            );
        }
        _ => {}
    }
    let path = |setting: &String| setting == "search_path=guildhall, pg_temp";
    if function.definer && !function.settings.iter().any(path) {
        let what = "its search path is its caller's: a caller could lend it other tables";
        report.add(
            12,
            name,
            what,
            format!("ALTER FUNCTION {name} SET search_path = guildhall, pg_temp"),
        );
    }
}

/// Who may run it, compared both ways.
fn executors(function: &Function, execute: &BTreeSet<String>, registry: &Registry, report: &mut Report) {
    let name = &function.signature;
    let listed = registry.definer.get(name).map(|line| &line.execute);
    let wanted = listed
        .or_else(|| registry.functions.get(name))
        .cloned()
        .unwrap_or_default();
    for role in execute.difference(&wanted).filter(|role| *role != "PUBLIC") {
        let what = format!("{role} may run it, which the list does not say");
        report.add(12, name, what, format!("REVOKE EXECUTE ON FUNCTION {name} FROM {role}"));
    }
    for role in wanted.difference(execute) {
        let fix = format!("GRANT EXECUTE ON FUNCTION {name} TO {role}");
        report.add(12, name, format!("{role} may not run it, and should"), fix);
    }
}

fn listed_exist(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    let exists = |name: &str| snapshot.functions.iter().any(|function| function.signature == name);
    for name in registry
        .definer
        .keys()
        .chain(registry.functions.keys())
        .filter(|name| !exists(name))
    {
        report.add(
            12,
            name,
            "the list names a function that does not exist",
            "Make it again as its migration does; where a migration has dropped it, take its line out of the registry.",
        );
    }
    if !snapshot.functions_closed_by_default {
        let fix = "ALTER DEFAULT PRIVILEGES FOR ROLE guildhall_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC";
        report.add(
            12,
            "guildhall_owner",
            "everybody may run the functions that it makes from now on",
            fix,
        );
    }
    for grant in &snapshot.default_grants {
        report.add(12, "default privileges", grant, "ALTER DEFAULT PRIVILEGES … REVOKE it.");
    }
}

/// Which table has which, compared both ways: one that is gone guards nothing, and says nothing either.
fn triggers(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    let mut missing = registry.triggers();
    for trigger in &snapshot.triggers {
        let object = format!("{}.{}", trigger.table, trigger.name);
        let drop = format!("DROP TRIGGER \"{}\" ON {}", trigger.name, trigger.table);
        match missing.remove(&(trigger.table.as_str(), trigger.name.as_str())) {
            None => {
                let fix = format!("Give it a line under [triggers] in the registry, or {drop}");
                report.add(12, object, "the trigger is not in the registry", fix);
            }
            Some(wanted) if wanted != trigger.definition => {
                let what = format!("the trigger is not the registry's, but {}", trigger.definition);
                report.add(12, object, what, format!("{drop}; {wanted}"));
            }
            // `A` fires always, and so where `O` does; `R` only for rows that come from another database.
            Some(_) if !matches!(trigger.enabled, 'O' | 'A') => {
                let fix = format!("ALTER TABLE {} ENABLE TRIGGER \"{}\"", trigger.table, trigger.name);
                report.add(12, object, "the trigger does not fire", fix);
            }
            Some(_) => {}
        }
    }
    for ((table, name), wanted) in missing {
        report.add(12, format!("{table}.{name}"), "the trigger is missing", wanted);
    }
    for name in &snapshot.event_triggers {
        report.add(
            12,
            name,
            "an event trigger runs at every change of the schema",
            format!("DROP EVENT TRIGGER \"{name}\""),
        );
    }
}

/// What a writer shows to prove that nobody wrote in between must rise with every change.
fn versions(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    let triggers = registry.triggers();
    for relation in &snapshot.relations {
        let of_ours = registry
            .expected(&relation.name)
            .is_some_and(|line| line.class != Class::Excluded);
        let rises = triggers.contains_key(&(relation.name.as_str(), "bump_version"));
        if of_ours && relation.column("version").is_some() && !rises {
            let fix =
                "Make its trigger in the migration, and give it a line under [triggers.bump_version] in the registry.";
            report.add(12, &relation.name, "it has a version, which nothing raises", fix);
        }
    }
}

fn trigger_functions(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    let listed = &registry.trigger_functions;
    let exists = |name: &str| snapshot.functions.iter().any(|function| function.name == name);
    for name in listed.keys().filter(|name| !exists(name)) {
        report.add(
            12,
            name,
            "the list names a trigger's function that does not exist",
            "Run `guildhall migrate up`, or take its line out of the registry.",
        );
    }
    for function in snapshot
        .functions
        .iter()
        .filter(|function| function.is_trigger && !function.of_extension)
    {
        if !listed.contains_key(&function.name) {
            let what = "it is a trigger's function and is not on the list";
            report.add(
                12,
                &function.signature,
                what,
                "Give it a line under [trigger_functions] in the registry, or drop it.",
            );
        }
    }
}

fn extras(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    for extension in snapshot
        .extensions
        .iter()
        .filter(|name| !registry.extensions.contains_key(*name))
    {
        report.add(
            14,
            extension,
            "the extension is not on the list",
            format!("DROP EXTENSION \"{extension}\""),
        );
    }
    for extension in registry
        .extensions
        .keys()
        .filter(|name| !snapshot.extensions.contains(name))
    {
        report.add(
            14,
            extension,
            "the extension is missing",
            "Run `guildhall migrate bootstrap` as an administrator.",
        );
    }
    for language in &snapshot.untrusted_languages {
        report.add(
            14,
            language,
            "the language can read files and other rows",
            format!("DROP LANGUAGE \"{language}\""),
        );
    }
    if snapshot.large_objects > 0 {
        let what = format!(
            "there are {} large objects, which know no row-level security",
            snapshot.large_objects
        );
        report.add(14, "large objects", what, "Find who made them, then lo_unlink them.");
    }
    for function in &snapshot.large_object_functions {
        report.add(
            14,
            function,
            "application roles can reach large objects",
            "Run `guildhall migrate bootstrap` as an administrator.",
        );
    }
}
