//! L5, the database's half: "no leak" from a blind suite means nothing, so every hole is opened on purpose, and must be caught. Each mutant
//! lives in a transaction that is rolled back.

use diesel::PgConnection;
use guildhall::{
    app::migrate,
    kernel::catalogue::{Depth, inspect},
};

use super::{Lab, contexts::Context, environment, outcomes, statements};
use crate::database::run;

/// Who noticed: `L0` the gate over the catalogue, `L1` the statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Gate,
    Both,
}
use By::{Both, Gate};

/// Name, who must notice, the tables that the statements look at, and the hole.
const MUTANTS: [(&str, By, &[&str], &str); 26] = [
    (
        "not enabled",
        Both,
        &["agents"],
        "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
    ),
    (
        "not forced",
        Gate,
        &["agents"],
        "ALTER TABLE agents NO FORCE ROW LEVEL SECURITY",
    ),
    ("policy dropped", Both, &["agents"], "DROP POLICY tenant ON agents"),
    (
        "USING (true)",
        Both,
        &["agents"],
        "ALTER POLICY tenant ON agents USING (true)",
    ),
    (
        "WITH CHECK (true)",
        Both,
        &["agents"],
        "ALTER POLICY tenant ON agents WITH CHECK (true)",
    ),
    (
        "second permissive",
        Both,
        &["agents"],
        "CREATE POLICY shown ON agents FOR SELECT TO app_tenant USING (true)",
    ),
    (
        "OR … IS NULL",
        Both,
        &["agents"],
        "ALTER POLICY tenant ON agents USING (nullif(current_setting('app.workspace', true), '') IS NULL OR workspace_id = (SELECT current_workspace()))",
    ),
    (
        "missing_ok context",
        Both,
        &["agents"],
        "CREATE OR REPLACE FUNCTION current_workspace() RETURNS uuid STABLE PARALLEL SAFE RETURN nullif(current_setting('app.workspace', true), '')::uuid",
    ),
    (
        "policy to PUBLIC",
        Gate,
        &["agents"],
        "ALTER POLICY tenant ON agents TO PUBLIC",
    ),
    (
        "member of owner",
        Both,
        &["agents"],
        "GRANT guildhall_owner TO app_tenant",
    ),
    ("BYPASSRLS", Both, &["agents"], "ALTER ROLE app_tenant BYPASSRLS"),
    (
        "plain foreign key",
        Both,
        &["agent_versions"],
        "ALTER TABLE agents ADD UNIQUE (id); ALTER TABLE agent_versions DROP CONSTRAINT agent_versions_agent_id_fkey, ADD CONSTRAINT plain FOREIGN KEY (agent_id) REFERENCES agents (id)",
    ),
    (
        "plain cascade",
        Both,
        &["agent_versions"],
        "ALTER TABLE agents ADD UNIQUE (id); ALTER TABLE agent_versions DROP CONSTRAINT agent_versions_agent_id_fkey, ADD CONSTRAINT plain FOREIGN KEY (agent_id) REFERENCES agents (id) ON DELETE CASCADE",
    ),
    (
        "unique without workspace",
        Both,
        &["agents"],
        "ALTER TABLE agents ADD CONSTRAINT met UNIQUE (name)",
    ),
    (
        "view without invoker",
        Both,
        &["agents"],
        "CREATE VIEW all_agents AS SELECT * FROM agents; GRANT SELECT ON all_agents TO app_tenant",
    ),
    (
        "matview granted",
        Both,
        &["agents"],
        "CREATE MATERIALIZED VIEW agent_copies AS SELECT * FROM agents; GRANT SELECT ON agent_copies TO app_tenant",
    ),
    (
        "definer function",
        Both,
        &["agents"],
        "CREATE FUNCTION all_agents() RETURNS SETOF agents STABLE SECURITY DEFINER LANGUAGE sql AS 'SELECT * FROM guildhall.agents'; GRANT EXECUTE ON FUNCTION all_agents() TO app_tenant",
    ),
    (
        "definer trigger",
        Gate,
        &["agents"],
        "CREATE FUNCTION spy() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER spy AFTER INSERT ON agents FOR EACH ROW EXECUTE FUNCTION spy()",
    ),
    (
        "partition granted",
        Both,
        &["outbox"],
        "GRANT SELECT ON outbox_default TO app_tenant",
    ),
    (
        "partition without policy",
        Gate,
        &["outbox"],
        "DROP POLICY tenant ON outbox_default",
    ),
    (
        "TEMP",
        Both,
        &["agents"],
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO app_tenant', current_database()); END $$",
    ),
    (
        "sequence",
        Both,
        &["agents"],
        "CREATE SEQUENCE counter; GRANT USAGE ON SEQUENCE counter TO app_tenant",
    ),
    (
        "large objects",
        Both,
        &["agents"],
        "GRANT EXECUTE ON FUNCTION lo_create(oid) TO app_tenant",
    ),
    (
        "TRUNCATE",
        Both,
        &["run_logs"],
        "GRANT TRUNCATE ON run_logs TO app_tenant",
    ),
    (
        "kernel granted a tenant table",
        Both,
        &["agents"],
        "GRANT SELECT ON agents TO app_kernel",
    ),
    (
        "reseller policy dropped",
        Both,
        &["agents"],
        "DROP POLICY reseller ON agents",
    ),
];

/// What the statements notice, in a transaction that the administrator has open.
fn noticed(lab: &Lab, admin: &mut PgConnection, only: &[&str]) -> usize {
    let probes = lab.probes(admin, only);
    let statements = statements(&probes);
    let mut surprises = environment::surprises(admin, lab);
    for context in Context::ALL {
        run(
            admin,
            &format!(
                "SAVEPOINT state; SET LOCAL SESSION AUTHORIZATION app_tenant; {}",
                context.inside()
            ),
        );
        let outcomes = outcomes(admin, &statements);
        run(admin, "ROLLBACK TO state");
        surprises.extend(lab.judge(context, &probes, &outcomes));
    }
    surprises.len()
}

#[test]
fn every_hole_in_the_database_is_caught_and_by_whom_is_known() {
    let lab = Lab::new();
    let mut admin = lab.database.admin();

    run(&mut admin, "BEGIN");
    assert_eq!(
        noticed(&lab, &mut admin, &["agents", "agent_versions", "outbox", "run_logs"]),
        0,
        "without a hole nobody cries"
    );
    run(&mut admin, "ROLLBACK");

    let mut missed = Vec::new();
    for (name, by, tables, hole) in MUTANTS {
        run(&mut admin, "BEGIN");
        run(&mut admin, hole);
        let gate = inspect(&mut admin, &migrate::newest(), Depth::Full)
            .expect("read")
            .findings
            .len();
        let statements = noticed(&lab, &mut admin, tables);
        run(&mut admin, "ROLLBACK");
        let caught = match by {
            Gate => gate > 0 && statements == 0,
            Both => gate > 0 && statements > 0,
        };
        if !caught {
            missed.push(format!(
                "{name}: the gate has {gate} findings, the statements {statements}; expected {by:?}"
            ));
        }
    }
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}
