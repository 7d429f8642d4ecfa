//! Every relation has a line and every line a relation; rows of workspaces are behind row-level security (2), behind the same wall in every
//! partition (13), and read through no view that runs as somebody else (11).

use crate::kernel::catalogue::{
    Report, Severity,
    registry::{Expected, Narrowing, Registry},
    snapshot::{Relation, Snapshot},
};

pub(super) fn judge(snapshot: &Snapshot, registry: &Registry, ahead: bool, report: &mut Report) {
    for relation in &snapshot.relations {
        match (&relation.parent, registry.expected(&relation.name)) {
            (Some(parent), _) => partition(relation, parent, registry, report),
            (None, Some(expected)) => registered(relation, &expected, report),
            (None, None) => report.push(
                if ahead { Severity::Warn } else { Severity::Refuse },
                2,
                &relation.name,
                "the relation is in the database and not in the registry",
                "Give it a line, with its class, in tests/it/registry/tables.toml.",
            ),
        }
        by_kind(relation, report);
    }
    for name in registry.names() {
        if !snapshot
            .relations
            .iter()
            .any(|relation| relation.name == name && relation.schema == "guildhall")
        {
            report.add(
                2,
                name,
                "the relation is in the registry and not in the database",
                "Restore it from a backup; where a migration has dropped it, take its line out of the registry.",
            );
        }
    }
}

fn registered(relation: &Relation, expected: &Expected, report: &mut Report) {
    if relation.owner != "guildhall_owner" {
        let fix = format!("ALTER TABLE {} OWNER TO guildhall_owner", relation.name);
        report.add(1, &relation.name, format!("it belongs to {}", relation.owner), fix);
    }
    let Some(key) = &expected.key else {
        if relation.secured {
            let what = "row-level security is enabled on a table that has no policies by its class: its readers see nothing, silently";
            report.add(
                4,
                &relation.name,
                what,
                "Correct its class in the registry, or DISABLE ROW LEVEL SECURITY.",
            );
        }
        return;
    };
    secured(relation, 2, report);
    match relation.column(key) {
        Some(column) if column.kind == "uuid" && column.required => {
            if key == "workspace_id" && column.default.as_deref() != Some("current_workspace()") {
                let fix = format!(
                    "ALTER TABLE {} ALTER workspace_id SET DEFAULT current_workspace()",
                    relation.name
                );
                report.add(
                    2,
                    &relation.name,
                    "workspace_id does not come from the context by default",
                    fix,
                );
            }
        }
        _ => report.add(
            2,
            &relation.name,
            format!("{key} is not `uuid NOT NULL`"),
            "Make the table with make_tenant_table or make_shared_table.",
        ),
    }
    for (narrowing, column) in [(expected.reseller, "reseller_id"), (expected.customer, "customer_id")] {
        if narrowing == Narrowing::Own && relation.column(column).is_none() {
            report.add(
                3,
                &relation.name,
                format!("it is narrowed by {column}, which it does not have"),
                "Add the column, or correct the registry.",
            );
        }
    }
}

fn secured(relation: &Relation, rule: u8, report: &mut Report) {
    if !relation.secured {
        let fix = format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", relation.name);
        report.add(
            rule,
            &relation.name,
            "row-level security is not enabled: every workspace sees every row",
            fix,
        );
    }
    if !relation.forced {
        let fix = format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", relation.name);
        report.add(
            rule,
            &relation.name,
            "row-level security is not forced: the owner's views and functions see every row",
            fix,
        );
    }
}

fn partition(relation: &Relation, parent: &str, registry: &Registry, report: &mut Report) {
    let belongs_to_workspaces = registry.expected(parent).is_some_and(|expected| expected.key.is_some());
    if belongs_to_workspaces {
        secured(relation, 13, report);
    }
    for grant in &relation.grants {
        let fix = format!("REVOKE ALL ON {} FROM {}", relation.name, grant.role);
        let what = format!(
            "{} has {} on a partition by its own name, past its parent's policy",
            grant.role, grant.verb
        );
        report.add(13, &relation.name, what, fix);
    }
}

fn by_kind(relation: &Relation, report: &mut Report) {
    let granted = relation
        .grants
        .iter()
        .map(|grant| grant.role.as_str())
        .find(|role| !role.starts_with("guildhall_"));
    match relation.kind {
        'v' if !relation.options.iter().any(|option| {
            matches!(
                option.as_str(),
                "security_invoker=true" | "security_invoker=on" | "security_invoker=1"
            )
        }) =>
        {
            let fix = format!("ALTER VIEW {} SET (security_invoker = true)", relation.name);
            report.add(
                11,
                &relation.name,
                "the view reads as its owner, past the reader's policies",
                fix,
            );
        }
        'm' | 'f' => {
            if let Some(role) = granted {
                let kind = if relation.kind == 'm' {
                    "a materialized view"
                } else {
                    "a foreign table"
                };
                let fix = format!("REVOKE ALL ON {} FROM {role}", relation.name);
                report.add(
                    11,
                    &relation.name,
                    format!("{role} reads {kind}, which knows no policies"),
                    fix,
                );
            }
        }
        'S' => {
            if let Some(role) = granted {
                let fix = format!("REVOKE ALL ON SEQUENCE {} FROM {role}", relation.name);
                report.add(
                    14,
                    &relation.name,
                    format!("{role} may use the sequence, which tells how much others make"),
                    fix,
                );
            }
        }
        _ => {}
    }
}
