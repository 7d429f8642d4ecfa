//! Policies have exactly the canonical text (3, 13), grants are exactly those of the registry (4), and the functions that read the context
//! are strict (7).

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::catalogue::{
    Report,
    registry::{Class, Expected, Narrowing, Registry},
    snapshot::{Grant, Policy, Relation, Snapshot},
};

pub(super) fn judge(snapshot: &Snapshot, registry: &Registry, report: &mut Report) {
    for relation in &snapshot.relations {
        let wanted = relation.parent.as_deref().unwrap_or(&relation.name);
        let Some(expected) = registry.expected(wanted) else {
            continue;
        };
        policies(relation, &expected, report);
        if relation.parent.is_none() {
            grants(relation, &expected, report);
        }
    }
    context(snapshot, report);
}

/// A policy as it should be.
struct Wanted {
    name: &'static str,
    role: &'static str,
    permissive: bool,
    condition: String,
}

fn wanted(expected: &Expected) -> Vec<Wanted> {
    let Some(key) = &expected.key else { return Vec::new() };
    let canonical = format!("({key} = ( SELECT current_workspace()))");
    let mut wanted = Vec::new();
    for (name, role) in [
        ("tenant", "app_tenant"),
        ("kernel", "app_kernel"),
        ("keeper", "guildhall_keeper"),
    ] {
        if expected.verbs.contains_key(role) || (role == "app_tenant" && expected.class != Class::Excluded) {
            let condition = if role == "app_kernel" {
                "true".into()
            } else {
                canonical.clone()
            };
            wanted.push(Wanted {
                name,
                role,
                permissive: true,
                condition,
            });
        }
    }
    for (name, narrowing) in [("reseller", expected.reseller), ("customer", expected.customer)] {
        let everybody = format!("( SELECT (current_{name}() IS NULL))");
        let or_own = |column: &str| format!("({everybody} OR ({column} = ( SELECT current_{name}())))");
        let condition = match narrowing {
            Narrowing::Closed => everybody,
            Narrowing::Own => or_own(&format!("{name}_id")),
            Narrowing::Id => or_own("id"),
            Narrowing::Open => continue,
        };
        wanted.push(Wanted {
            name,
            role: "app_tenant",
            permissive: false,
            condition,
        });
    }
    wanted
}

impl Wanted {
    /// The statement that makes it.
    fn made_on(&self, relation: &Relation) -> String {
        let kind = if self.permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        format!(
            "CREATE POLICY {name} ON {table} AS {kind} FOR ALL TO {role} USING ({condition}) WITH CHECK ({condition})",
            name = self.name,
            table = relation.name,
            role = self.role,
            condition = self.condition,
        )
    }
}

fn policies(relation: &Relation, expected: &Expected, report: &mut Report) {
    let rule = if relation.parent.is_some() { 13 } else { 3 };
    let wanted = wanted(expected);
    for policy in &relation.policies {
        let Some(like) = wanted.iter().find(|wanted| wanted.name == policy.name) else {
            let how = if policy.permissive {
                "a permissive policy is OR-ed with the others, so this one shows more"
            } else {
                "nobody registered it"
            };
            let fix = format!("DROP POLICY \"{}\" ON {}", policy.name, relation.name);
            report.add(
                rule,
                &relation.name,
                format!("policy {} is not of the canon: {how}", policy.name),
                fix,
            );
            continue;
        };
        for what in differences(policy, like) {
            let fix = format!(
                "DROP POLICY \"{}\" ON {}; {}",
                policy.name,
                relation.name,
                like.made_on(relation)
            );
            report.add(rule, &relation.name, format!("policy {}: {what}", policy.name), fix);
        }
    }
    for like in &wanted {
        if !relation.policies.iter().any(|policy| policy.name == like.name) {
            let what = format!("policy {} for {} is missing", like.name, like.role);
            report.add(rule, &relation.name, what, like.made_on(relation));
        }
    }
}

fn differences(policy: &Policy, like: &Wanted) -> Vec<String> {
    let mut differences = Vec::new();
    if policy.permissive != like.permissive {
        differences.push("it is permissive where it should restrict, or the other way round".into());
    }
    if policy.command != '*' {
        differences.push("it is not FOR ALL, so some verb has no rule".into());
    }
    if policy.roles != [like.role] {
        differences.push(format!(
            "it is for {}, not for {} alone",
            policy.roles.join(", "),
            like.role
        ));
    }
    for (clause, text) in [("USING", &policy.using), ("WITH CHECK", &policy.check)] {
        let text = text.as_deref().map(plain).unwrap_or_default();
        if text != like.condition {
            let text = if text.is_empty() { "nothing" } else { &text };
            differences.push(format!("{clause} is {text}, not {}", like.condition));
        }
    }
    differences
}

/// PostgreSQL prints the name of a sub-select's column; it says nothing.
fn plain(text: &str) -> String {
    ["workspace", "reseller", "customer"]
        .iter()
        .fold(text.to_owned(), |text, who| {
            text.replace(&format!(" AS current_{who}"), "")
        })
}

/// By role and verb: all columns, or which.
type Granted = BTreeMap<(String, String), Option<BTreeSet<String>>>;

fn grants(relation: &Relation, expected: &Expected, report: &mut Report) {
    let is = granted(&relation.grants);
    let should_be = should_be(relation, expected);
    for ((role, verb), columns) in &is {
        // Those who may read everything anyway, and never serve.
        if matches!(role.as_str(), "guildhall_auditor" | "guildhall_backup") && verb == "SELECT" {
            continue;
        }
        match should_be.get(&(role.clone(), verb.clone())) {
            Some(wanted) if wanted == columns => {}
            Some(wanted) => {
                let what = format!(
                    "{role} has {verb} on {}, and should on {}",
                    shown(columns),
                    shown(wanted)
                );
                report.add(
                    4,
                    &relation.name,
                    what,
                    "Correct the grant in a migration, or the registry.",
                );
            }
            None => {
                let fix = format!("REVOKE {verb} ON {} FROM {role}", relation.name);
                report.add(
                    4,
                    &relation.name,
                    format!("{role} has {verb}, which its line does not give"),
                    fix,
                );
            }
        }
    }
    for (role, verb) in should_be.keys().filter(|wanted| !is.contains_key(*wanted)) {
        let fix = format!("GRANT {verb} ON {} TO {role}, or correct the registry.", relation.name);
        report.add(4, &relation.name, format!("{role} lacks {verb}"), fix);
    }
}

fn granted(grants: &[Grant]) -> Granted {
    let mut granted = Granted::new();
    for grant in grants {
        let columns = granted
            .entry((grant.role.clone(), grant.verb.clone()))
            .or_insert_with(|| Some(BTreeSet::new()));
        match (&grant.column, columns.as_mut()) {
            (Some(column), Some(some)) => {
                some.insert(column.clone());
            }
            (None, _) => *columns = None,
            (Some(_), None) => {}
        }
    }
    granted
}

fn should_be(relation: &Relation, expected: &Expected) -> Granted {
    let mut granted = Granted::new();
    for (role, verbs) in &expected.verbs {
        for verb in verbs {
            let (verb, columns) = match verb.split_once(" (") {
                Some((verb, list)) => (verb, Some(columns(relation, list.trim_end_matches(')')))),
                None => (verb.as_str(), None),
            };
            granted.insert((role.to_string(), verb.to_owned()), columns);
        }
    }
    granted
}

/// `a, b`: those. `-a, b`: all but those.
fn columns(relation: &Relation, list: &str) -> BTreeSet<String> {
    let (all_but, list) = list.strip_prefix('-').map_or((false, list), |list| (true, list));
    let named: BTreeSet<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
    if !all_but {
        return named;
    }
    relation
        .columns
        .iter()
        .map(|column| column.name.clone())
        .filter(|name| !named.contains(name))
        .collect()
}

fn shown(columns: &Option<BTreeSet<String>>) -> String {
    match columns {
        None => "the whole table".into(),
        Some(columns) => columns.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// The functions that policies stand on, as PostgreSQL prints them. `missing_ok` or a fallback would fail open.
const CONTEXT: [(&str, &str); 3] = [
    (
        "current_workspace",
        "RETURN (current_setting('app.workspace'::text))::uuid",
    ),
    (
        "current_reseller",
        "RETURN (NULLIF(current_setting('app.reseller'::text), 'none'::text))::uuid",
    ),
    (
        "current_customer",
        "RETURN (NULLIF(current_setting('app.customer'::text), 'none'::text))::uuid",
    ),
];

fn context(snapshot: &Snapshot, report: &mut Report) {
    for (name, body) in CONTEXT {
        let same_name: Vec<_> = snapshot
            .functions
            .iter()
            .filter(|function| function.name == name)
            .collect();
        match same_name.as_slice() {
            [function]
                if function.schema == "guildhall" && function.body.as_deref() == Some(body) && !function.definer => {}
            [] => report.add(7, name, "the function does not exist", "Run `guildhall migrate up`."),
            _ => {
                let what = "it is not the strict function: an unset context must be an error";
                report.add(
                    7,
                    name,
                    what,
                    format!("CREATE OR REPLACE FUNCTION {name}() RETURNS uuid STABLE PARALLEL SAFE {body}"),
                );
            }
        }
    }
}
