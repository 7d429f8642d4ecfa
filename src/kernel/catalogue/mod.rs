//! The catalogue gate: whether the database is behind the walls that it should be behind. One report over PostgreSQL's catalogue, compared
//! both ways with the registry of tables: tests want it empty, `guildhall doctor` prints it, and a boot that finds a hole refuses to serve.

mod registry;
mod rules;
mod snapshot;

use std::{cmp::Ordering, fmt};

use diesel::PgConnection;

use crate::kernel::{
    access::Call,
    db::{Db, Entry},
    error::Result,
};
use registry::REGISTRY;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What a boot must know: roles, row-level security, policies, the context, PostgreSQL's version.
    Boot,
    /// Every rule.
    Full,
}

/// What a finding means for a process that would serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It must not.
    Refuse,
    /// It must not in production.
    RefuseInProduction,
    /// It may; somebody should look.
    Warn,
}

/// One difference between what is and what should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: u8,
    /// The object that breaks it.
    pub object: String,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// What it means for serving.
    pub severity: Severity,
}

/// All findings. Empty is what it should be.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The differences, by rule.
    pub findings: Vec<Finding>,
}

/// The rule of the schema's age: without it nothing else can be looked at.
pub const SCHEMA: u8 = 0;

/// What is looked at of each rule, for people.
const RULES: [(u8, &str); 20] = [
    (SCHEMA, "the schema is as new as this binary"),
    (1, "roles own nothing and can become nobody"),
    (2, "row-level security is enabled and forced"),
    (3, "policies have the canonical text"),
    (4, "grants and policies belong together"),
    (5, "settings supply no context, and switch nothing off"),
    (6, "nothing outlives a transaction"),
    (7, "an unset context is an error"),
    (8, "foreign keys stay inside a workspace"),
    (9, "unique keys tell nothing of others"),
    (10, "indexes begin with the workspace"),
    (11, "views run as their reader"),
    (
        12,
        "functions and triggers are as the lists say, and lend no rights but by them",
    ),
    (13, "partitions are behind the same wall"),
    (14, "no extension, language, sequence or large object but by the list"),
    (17, "PostgreSQL has its fixes"),
    (19, "foreign keys are validated"),
    (20, "both doors open one database"),
    (23, "keys, checks and indexes are as the registry says"),
    (24, "foreign keys are as the registry says, and are looked at"),
];

/// The rules that a boot checks: without them nothing else holds.
const AT_BOOT: [u8; 6] = [0, 1, 2, 3, 7, 17];

impl Report {
    /// Whether a process may serve.
    pub fn allows_serving(&self, production: bool) -> bool {
        self.findings.iter().all(|finding| match finding.severity {
            Severity::Refuse => false,
            Severity::RefuseInProduction => !production,
            Severity::Warn => true,
        })
    }

    /// The rules that are broken, each once, in order.
    pub fn broken(&self) -> Vec<u8> {
        let mut rules: Vec<u8> = self.findings.iter().map(|finding| finding.rule).collect();
        rules.dedup();
        rules
    }

    fn add(&mut self, rule: u8, object: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Refuse, rule, object, what, fix);
    }

    fn push(
        &mut self,
        severity: Severity,
        rule: u8,
        object: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.findings.push(Finding {
            rule,
            object: object.into(),
            what: what.into(),
            fix: fix.into(),
            severity,
        });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = RULES
            .iter()
            .find(|(rule, _)| *rule == self.rule)
            .map_or("", |(_, meaning)| meaning);
        write!(
            f,
            "{}: {} (rule {}: {meaning})\n    {}",
            self.object, self.what, self.rule, self.fix
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Looks at the database behind a connection of any role whose search path is ours. `newest` is the version of this binary's schema: where
/// the database is ahead of it, relations that it does not know are only worth a warning, for an old binary serves on during a deployment.
///
/// # Errors
/// A connection that breaks.
pub fn inspect(conn: &mut PgConnection, newest: &str, depth: Depth) -> Result<Report> {
    let snapshot = snapshot::read(conn)?;
    let age = rules::schema_is(conn, &snapshot, newest)?;
    let mut report = rules::judge(&snapshot, &REGISTRY, age == Ordering::Greater);
    if age == Ordering::Less {
        // What migrations have not made yet is missing everywhere: that is one thing to do, not a hundred. But somebody may only have taken
        // away what tells how far they came.
        let is_bare = !snapshot.relations.iter().any(|relation| relation.schema == "guildhall");
        if is_bare || rules::tells_its_version(&snapshot) {
            report.findings.clear();
        }
        let what = format!("migrations up to {newest} have not all run");
        report.add(SCHEMA, "schema", what, "Run `guildhall migrate up`.");
    }
    if depth == Depth::Boot {
        report.findings.retain(|finding| AT_BOOT.contains(&finding.rule));
    }
    report
        .findings
        .sort_by(|a, b| (a.rule, &a.object).cmp(&(b.rule, &b.object)));
    Ok(report)
}

/// Whether both doors open one database, belong to whom they should and begin with nothing that nobody gave: through a stronger role's, or
/// where a setting says so, row-level security holds nobody, and who signs in at another database may be nobody here. If they do, [`inspect`]
/// through the kernel's.
///
/// # Errors
/// 503 if the database cannot be reached.
pub async fn check(db: &Db, newest: String, depth: Depth) -> Result<Report> {
    let mut report = Report::default();
    let variables = ["DATABASE_TENANT_URL", "DATABASE_KERNEL_URL"];
    for (
        Entry {
            role,
            login,
            begins_with,
        },
        variable,
    ) in db.entries().await?.into_iter().zip(variables)
    {
        if login != role {
            let what = format!("it logs in as {login}, and not as {role}");
            let fix = format!("Name {role} in it: `guildhall migrate bootstrap` prints the URL.");
            report.add(1, variable, what, fix);
        }
        if !begins_with.is_empty() {
            let what = format!("its connections begin with {begins_with}");
            let fix = "Take that out of its `options`, out of PGOPTIONS, and out of the settings of roles, database and server (ALTER SYSTEM RESET …).";
            report.add(5, variable, what, fix);
        }
    }
    if report.broken().contains(&1) {
        return Ok(report);
    }
    let call = Call::internal("catalogue_check", "catalogue".into());
    let inspected = match db.is_one().await {
        Ok(true) => db.unscoped(&call, move |tx| inspect(tx.conn(), &newest, depth)).await,
        Ok(false) => {
            let what = format!("it opens another database than {}", variables[1]);
            report.add(20, variables[0], what, "Name one server and one database in both.");
            return Ok(report);
        }
        Err(error) => Err(error),
    };
    match inspected {
        Ok(found) => report.findings.extend(found.findings),
        // What the connections begin with may be why.
        Err(_) if !report.findings.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(report)
}
