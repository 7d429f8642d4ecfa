//! What is around the tables: other relations, functions, and everything that could outlive a transaction. An application role gets none
//! of it, whatever it says.

use diesel::PgConnection;

use super::{
    Lab, Surprise,
    contexts::Context,
    outcomes,
    seed::{A, B, insert},
    shape,
};
use crate::database::{run, text};

/// A statement, and whether it may succeed with no rows.
struct Attempt {
    statement: String,
    may_be_empty: bool,
}

impl Attempt {
    fn denied(statement: impl Into<String>) -> Attempt {
        Attempt {
            statement: statement.into(),
            may_be_empty: false,
        }
    }

    fn blind(statement: impl Into<String>) -> Attempt {
        Attempt {
            statement: statement.into(),
            may_be_empty: true,
        }
    }

    fn is_allowed(&self, outcome: &str) -> bool {
        outcome == "42501" || (self.may_be_empty && outcome == "0")
    }
}

fn names(admin: &mut PgConnection, query: &str) -> Vec<String> {
    let found = text(
        admin,
        &format!("SELECT coalesce(json_agg(n), '[]') FROM ({query}) AS found (n)"),
    );
    serde_json::from_str(&found.expect("an array")).expect("an array of names")
}

/// What an application role tries beyond its tables, as the database is now.
fn attempts(admin: &mut PgConnection, lab: &Lab) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = [
        "CREATE TEMP TABLE kept AS SELECT 1 AS one",
        "CREATE TABLE guildhall.kept (one int)",
        "CREATE TABLE public.kept (one int)",
        "CREATE SCHEMA kept",
        "SET ROLE guildhall_owner",
        "SET ROLE guildhall_keeper",
        "SET ROLE guildhall_migrator",
        "SELECT lo_create(0)",
        "SELECT lo_get(0)",
        "ALTER TABLE agents NO FORCE ROW LEVEL SECURITY",
        "COPY agents TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT rolpassword FROM pg_authid",
    ]
    .map(Attempt::denied)
    .into();
    let ours = "n.nspname IN ('guildhall', 'public') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";
    let relations = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    for sequence in names(
        admin,
        &format!("SELECT c.oid::regclass::text FROM {relations} WHERE {ours} AND c.relkind = 'S'"),
    ) {
        attempts.push(Attempt::denied(format!("SELECT nextval('{sequence}')")));
    }
    for partition in names(
        admin,
        &format!("SELECT c.oid::regclass::text FROM {relations} WHERE {ours} AND c.relispartition AND c.relkind = 'r'"),
    ) {
        attempts.push(Attempt::denied(format!("SELECT 1 FROM {partition}")));
    }
    for view in names(
        admin,
        &format!("SELECT c.oid::regclass::text FROM {relations} WHERE {ours} AND c.relkind IN ('v', 'm', 'f')"),
    ) {
        attempts.push(Attempt::blind(format!(
            "SELECT 1 FROM {view} v WHERE to_jsonb(v) ->> 'workspace_id' <> '{B}'"
        )));
    }
    // A function that needs to be told nothing and answers with rows.
    let telling = "SELECT p.oid::regproc::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_type t ON t.oid = p.prorettype
                    WHERE n.nspname = 'guildhall' AND p.pronargs = 0 AND t.typtype = 'c'";
    for function in names(admin, telling) {
        attempts.push(Attempt::blind(format!(
            "SELECT 1 FROM {function}() v WHERE to_jsonb(v) ->> 'workspace_id' <> '{B}'"
        )));
    }
    let walled = |name: &String| lab.registry.walled.contains_key(name);
    let tables = names(
        admin,
        "SELECT relname FROM pg_class WHERE relnamespace = 'guildhall'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition",
    );
    let reference = "SELECT relname FROM pg_class WHERE relnamespace = 'guildhall'::regnamespace AND has_table_privilege('app_tenant', oid, 'SELECT')";
    let readable = names(admin, reference);
    for table in tables.iter().filter(|name| !walled(name)) {
        let is_reference = REFERENCE.contains(&table.as_str()) && readable.contains(table);
        if !is_reference {
            attempts.push(Attempt::denied(format!("SELECT 1 FROM {table}")));
        }
        attempts.push(Attempt::denied(format!("DELETE FROM {table}")));
    }
    attempts
}

/// What tenants may read that belongs to nobody.
const REFERENCE: [&str; 2] = ["billing_plans", "model_prices"];

/// What the kernel's role tries on tables that are the tenants' alone.
fn kernel_attempts(admin: &mut PgConnection, lab: &Lab) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for table in shape::read(admin)
        .iter()
        .filter(|table| lab.registry.tenant.contains(&table.name))
    {
        let name = &table.name;
        attempts.push(Attempt::denied(format!("SELECT 1 FROM {name}")));
        attempts.push(Attempt::denied(format!(
            "UPDATE {name} SET workspace_id = workspace_id"
        )));
        attempts.push(Attempt::denied(format!(
            "DELETE FROM {name} WHERE workspace_id = '{A}'"
        )));
        let mut row = lab.row(B, name).clone();
        row.retain(|name, _| table.column(name).is_some_and(|column| !column.generated));
        attempts.push(Attempt::denied(insert(name, &row)));
    }
    attempts
}

/// What came out otherwise than denied, in a transaction that the administrator has open.
pub fn surprises(admin: &mut PgConnection, lab: &Lab) -> Vec<Surprise> {
    let of_tenant = attempts(admin, lab);
    let of_kernel = kernel_attempts(admin, lab);
    let mut surprises = Vec::new();
    for (role, attempts) in [("app_tenant", of_tenant), ("app_kernel", of_kernel)] {
        run(
            admin,
            &format!(
                "SAVEPOINT role; SET LOCAL SESSION AUTHORIZATION {role}; {}",
                Context::B.inside()
            ),
        );
        let statements: Vec<&str> = attempts.iter().map(|attempt| attempt.statement.as_str()).collect();
        let outcomes = outcomes(admin, &statements);
        run(admin, "ROLLBACK TO role");
        for (attempt, outcome) in attempts.iter().zip(outcomes) {
            if !attempt.is_allowed(&outcome) {
                surprises.push(Surprise {
                    what: format!("as {role}, this came to {outcome}: {}", attempt.statement),
                });
            }
        }
    }
    surprises
}

#[test]
fn around_the_tables_there_is_nothing_to_be_had() {
    let lab = Lab::new();
    let mut admin = lab.database.admin();
    run(&mut admin, "BEGIN");
    let surprises = surprises(&mut admin, &lab);
    run(&mut admin, "ROLLBACK");
    super::assert_none(&surprises);
}
