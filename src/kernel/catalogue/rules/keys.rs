//! Keys: references stay inside a workspace (8, 19), unique keys tell nothing of others (9), indexes begin with the workspace (10).

use crate::kernel::catalogue::{
    Report,
    registry::{Class, Registry},
    snapshot::{ForeignKey, Index, Snapshot},
};

pub(super) fn judge(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    for key in &snapshot.foreign_keys {
        reference(key, registry, report);
    }
    for index in &snapshot.indexes {
        unique_or_list(index, registry, report);
    }
    for (rule, unique, names) in [(9, true, &registry.unique), (10, false, &registry.indexes)] {
        let needs = |name: &str| {
            let of_name = |index: &&Index| index.name == name && index.unique == unique;
            let found = snapshot.indexes.iter().find(of_name);
            found.is_some_and(|index| tells_of_others(index, registry))
        };
        for name in names.keys().filter(|name| !needs(name)) {
            report.add(
                rule,
                name,
                "the registry excuses an index that does not exist or needs no excuse",
                "Make it again as its migration does; where a migration has dropped it, take its line out of the registry.",
            );
        }
    }
    for name in registry
        .foreign_keys
        .keys()
        .filter(|name| !snapshot.foreign_keys.iter().any(|key| key.name == **name))
    {
        report.add(
            8,
            name,
            "the registry excuses a foreign key that does not exist",
            "Make it again as its migration does; where a migration has dropped it, take its line out of the registry.",
        );
    }
}

/// The column that holds the workspace, on tables whose rows belong to one.
fn workspace_column(registry: &Registry, table: &str) -> Option<String> {
    let expected = registry.expected(table)?;
    matches!(expected.class, Class::Tenant | Class::Shared)
        .then_some(expected.key)
        .flatten()
}

fn reference(key: &ForeignKey, registry: &Registry, report: &mut Report) {
    if !key.validated {
        let fix = format!(
            "As guildhall_migrator itself: ALTER TABLE {} VALIDATE CONSTRAINT {}",
            key.table, key.name
        );
        report.add(19, &key.name, "the foreign key was never validated", fix);
    }
    let Some(own) = workspace_column(registry, &key.table) else {
        return;
    };
    if key.on_update != 'a' {
        report.add(
            8,
            &key.name,
            "it follows updates: a row could be moved to another workspace",
            "Make it without ON UPDATE.",
        );
    }
    if key.on_delete == 'n' || key.on_delete == 'd' {
        let touches_workspace =
            key.set_columns.is_empty() && key.columns.contains(&own) || key.set_columns.contains(&own);
        if touches_workspace {
            report.add(
                8,
                &key.name,
                "ON DELETE SET NULL would clear the workspace",
                "Name the column: ON DELETE SET NULL (x_id).",
            );
        }
    }
    if matches!(key.target.as_str(), "workspaces" | "users") || registry.foreign_keys.contains_key(&key.name) {
        return;
    }
    let Some(other) = workspace_column(registry, &key.target) else {
        return;
    };
    let pairs = key.columns.iter().zip(&key.target_columns);
    if !pairs.into_iter().any(|(from, to)| *from == own && *to == other) {
        let what = format!(
            "{} points at {} without the workspace: it could point at another's row",
            key.table, key.target
        );
        let fix = format!("FOREIGN KEY ({own}, …) REFERENCES {} ({other}, …)", key.target);
        report.add(8, &key.name, what, fix);
    }
}

/// Whether rows of several workspaces meet in it.
fn tells_of_others(index: &Index, registry: &Registry) -> bool {
    let key = workspace_column(registry, &index.table);
    key.is_some_and(|key| key != "workspace_id" || index.columns.first() != Some(&key))
}

fn unique_or_list(index: &Index, registry: &Registry, report: &mut Report) {
    if !index.valid {
        let fix = format!("DROP INDEX {} and make it again", index.name);
        report.add(
            10,
            &index.name,
            "the index is not valid: its making was interrupted",
            fix,
        );
    }
    if !tells_of_others(index, registry) {
        return;
    }
    if index.unique && !registry.unique.contains_key(&index.name) {
        let what = format!(
            "unique key of {} does not begin with the workspace: a duplicate tells that another has it",
            index.table
        );
        report.add(
            9,
            &index.name,
            what,
            "Begin it with workspace_id, or say in the registry why nothing can be learnt.",
        );
    }
    if !index.unique && !registry.indexes.contains_key(&index.name) {
        let what = format!("index of {} does not begin with the workspace", index.table);
        report.add(
            10,
            &index.name,
            what,
            "Begin it with workspace_id, or say in the registry who looks before a workspace is known.",
        );
    }
}
