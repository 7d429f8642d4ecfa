//! L0: the gate over the catalogue is green, and each rule turns it red when its hole is opened.

use std::time::Duration;

use diesel::PgConnection;
use guildhall::{
    app::migrate,
    kernel::catalogue::{Depth, Report, Severity, inspect},
};

use crate::{
    database::{Database, run},
    world::patience::at_its_best,
};

fn report(conn: &mut PgConnection, depth: Depth) -> Report {
    inspect(conn, &migrate::newest(), depth).expect("the catalogue can be read")
}

#[tokio::test]
async fn the_database_is_as_the_registry_says_and_it_takes_under_a_second_to_know() {
    let database = Database::migrated();
    for mut conn in [database.kernel(), database.tenant(), database.admin()] {
        at_its_best(Duration::from_secs(1), "the catalogue is read", async || {
            let report = report(&mut conn, Depth::Full);
            assert!(report.findings.is_empty(), "\n{report}");
            assert!(report.allows_serving(true));
        })
        .await;
    }
}

/// Holes: the rule that each breaks, and how an administrator in a hurry would open it.
const HOLES: &[(u8, &str)] = &[
    (
        0,
        "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)",
    ),
    (1, "ALTER ROLE app_tenant BYPASSRLS"),
    (1, "ALTER ROLE app_kernel SUPERUSER"),
    (1, "ALTER ROLE app_kernel CREATEROLE"),
    (1, "ALTER ROLE app_tenant REPLICATION"),
    (1, "ALTER ROLE guildhall_keeper BYPASSRLS"),
    (1, "ALTER ROLE guildhall_owner LOGIN"),
    (1, "GRANT guildhall_owner TO app_tenant"),
    (1, "GRANT pg_read_all_data TO app_kernel"),
    (1, "GRANT guildhall_owner TO guildhall_keeper"),
    (1, "GRANT guildhall_owner TO guildhall_monitor"),
    (1, "GRANT pg_write_all_data TO guildhall_auditor"),
    (1, "GRANT pg_read_all_data TO guildhall_owner"),
    (1, "ALTER ROLE guildhall_backup SUPERUSER"),
    (1, "ALTER TABLE agents OWNER TO app_tenant"),
    (1, "ALTER FUNCTION app_now() OWNER TO app_kernel"),
    (1, "GRANT CREATE ON SCHEMA guildhall TO app_tenant"),
    (1, "GRANT USAGE ON SCHEMA public TO PUBLIC"),
    (1, "CREATE SCHEMA elsewhere"),
    (2, "ALTER TABLE agents DISABLE ROW LEVEL SECURITY"),
    (2, "ALTER TABLE api_keys NO FORCE ROW LEVEL SECURITY"),
    (2, "ALTER TABLE agents ALTER workspace_id DROP DEFAULT"),
    (
        2,
        "ALTER TABLE agent_labels DROP CONSTRAINT agent_labels_pkey; ALTER TABLE agent_labels ALTER workspace_id DROP NOT NULL",
    ),
    (2, "CREATE TABLE diary (id uuid)"),
    (2, "CREATE TABLE public.diary (id uuid)"),
    (2, "DROP TABLE agent_labels"),
    (3, "ALTER POLICY tenant ON agents USING (true)"),
    (3, "ALTER POLICY tenant ON agents WITH CHECK (true)"),
    (3, "ALTER POLICY tenant ON agents TO PUBLIC"),
    (3, "ALTER POLICY tenant ON agents TO app_tenant, app_kernel"),
    (3, "DROP POLICY tenant ON agents"),
    (3, "CREATE POLICY shown ON agents FOR SELECT TO app_tenant USING (true)"),
    (
        3,
        "ALTER POLICY tenant ON agents USING (workspace_id = (SELECT current_workspace()) OR (SELECT current_workspace()) IS NULL)",
    ),
    (
        3,
        "DROP POLICY tenant ON agents; CREATE POLICY tenant ON agents FOR SELECT TO app_tenant USING (workspace_id = (SELECT current_workspace()))",
    ),
    (
        3,
        "ALTER POLICY tenant ON agents USING (workspace_id = current_workspace()) WITH CHECK (workspace_id = current_workspace())",
    ),
    (3, "DROP POLICY reseller ON agents"),
    (3, "DROP POLICY customer ON api_keys"),
    (
        3,
        "DROP POLICY reseller ON agents; CREATE POLICY reseller ON agents TO app_tenant USING ((SELECT current_reseller() IS NULL))",
    ),
    (3, "ALTER POLICY reseller ON memberships USING (true) WITH CHECK (true)"),
    (3, "ALTER POLICY kernel ON memberships USING (false) WITH CHECK (true)"),
    (4, "GRANT SELECT ON agents TO app_kernel"),
    (4, "GRANT SELECT ON agents TO PUBLIC"),
    (4, "GRANT TRUNCATE ON agents TO app_tenant"),
    (4, "GRANT REFERENCES, TRIGGER ON agents TO app_tenant"),
    (4, "REVOKE UPDATE ON agents FROM app_tenant"),
    (4, "GRANT SELECT (hash) ON api_keys TO app_tenant"),
    (4, "GRANT UPDATE ON audit_log TO app_tenant"),
    (4, "GRANT SELECT (changes) ON audit_log TO app_kernel"),
    (4, "GRANT SELECT ON users TO app_tenant"),
    (4, "GRANT SELECT ON __diesel_schema_migrations TO app_kernel"),
    (4, "ALTER TABLE users ENABLE ROW LEVEL SECURITY"),
    (
        5,
        "ALTER ROLE app_tenant SET app.workspace = '00000000-0000-7000-8000-000000000001'",
    ),
    (
        5,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.reseller = ''none''', current_database()); END $$",
    ),
    (5, "ALTER ROLE app_tenant RESET statement_timeout"),
    (5, "ALTER ROLE app_tenant SET statement_timeout = 0"),
    (
        5,
        "ALTER ROLE app_kernel SET idle_in_transaction_session_timeout = '1h'",
    ),
    (5, "ALTER ROLE guildhall_migrator RESET row_security"),
    (5, "ALTER ROLE guildhall_migrator SET lock_timeout = 0"),
    (5, "ALTER ROLE guildhall_auditor RESET default_transaction_read_only"),
    (5, "ALTER ROLE app_kernel SET search_path = public"),
    (
        6,
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO app_tenant', current_database()); END $$",
    ),
    (
        6,
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO PUBLIC', current_database()); END $$",
    ),
    (
        7,
        "CREATE OR REPLACE FUNCTION current_workspace() RETURNS uuid STABLE PARALLEL SAFE RETURN nullif(current_setting('app.workspace', true), '')::uuid",
    ),
    (
        7,
        "CREATE OR REPLACE FUNCTION current_reseller() RETURNS uuid STABLE PARALLEL SAFE RETURN nullif(current_setting('app.reseller', true), 'none')::uuid",
    ),
    (
        7,
        "CREATE OR REPLACE FUNCTION current_customer() RETURNS uuid STABLE PARALLEL SAFE RETURN NULL::uuid",
    ),
    (
        7,
        "CREATE SCHEMA shadow; CREATE FUNCTION shadow.current_workspace() RETURNS uuid RETURN gen_random_uuid()",
    ),
    (
        8,
        "ALTER TABLE roles ADD UNIQUE (id); ALTER TABLE memberships ADD CONSTRAINT plain FOREIGN KEY (custom_role_id) REFERENCES roles (id)",
    ),
    (
        8,
        "ALTER TABLE roles ADD UNIQUE (id); ALTER TABLE memberships ADD CONSTRAINT plain FOREIGN KEY (custom_role_id) REFERENCES roles (id) ON DELETE CASCADE",
    ),
    (
        8,
        "ALTER TABLE memberships ADD CONSTRAINT clearing FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id) ON DELETE SET NULL",
    ),
    (
        8,
        "ALTER TABLE memberships ADD CONSTRAINT following FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id) ON UPDATE CASCADE",
    ),
    (
        8,
        "ALTER TABLE agents ADD UNIQUE (id); ALTER TABLE outbox_default ADD CONSTRAINT plain FOREIGN KEY (subject_id) REFERENCES agents (id)",
    ),
    (9, "CREATE UNIQUE INDEX ON outbox_default (request_id)"),
    (
        9,
        "DROP INDEX workspaces_slug_key; CREATE INDEX workspaces_slug_key ON workspaces (slug)",
    ),
    (9, "ALTER TABLE agents ADD UNIQUE (name)"),
    (9, "CREATE UNIQUE INDEX ON agents (lower(name))"),
    (9, "CREATE UNIQUE INDEX ON agents (id, workspace_id)"),
    (9, "DROP INDEX invitations_email_idx, workspaces_slug_key"),
    (10, "CREATE INDEX ON agents (name)"),
    (10, "CREATE INDEX ON outbox_default (request_id)"),
    (
        10,
        "DROP INDEX memberships_user_id_idx; CREATE INDEX memberships_user_id_idx ON memberships (workspace_id, user_id)",
    ),
    (10, "DROP INDEX memberships_user_id_idx"),
    (11, "CREATE VIEW all_agents AS SELECT * FROM agents"),
    (
        11,
        "CREATE MATERIALIZED VIEW agent_copies AS SELECT * FROM agents; GRANT SELECT ON agent_copies TO app_tenant",
    ),
    (11, "CREATE RULE also AS ON INSERT TO agents DO ALSO SELECT 1"),
    (
        12,
        "CREATE FUNCTION all_agents() RETURNS SETOF agents STABLE SECURITY DEFINER LANGUAGE sql AS 'SELECT * FROM guildhall.agents'",
    ),
    (
        12,
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; GRANT EXECUTE ON FUNCTION peek() TO app_tenant",
    ),
    (
        12,
        "CREATE FUNCTION open_to_all() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; GRANT EXECUTE ON FUNCTION open_to_all() TO PUBLIC",
    ),
    (
        12,
        "CREATE FUNCTION spy() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER spy AFTER INSERT ON agents FOR EACH ROW EXECUTE FUNCTION spy()",
    ),
    (12, "ALTER TABLE agents DISABLE TRIGGER bump_version"),
    (12, "ALTER TABLE agents ENABLE REPLICA TRIGGER bump_version"),
    (12, "DROP TRIGGER bump_version ON agents"),
    (12, "DROP TRIGGER metadata_updated ON customers"),
    (
        12,
        "CREATE OR REPLACE TRIGGER bump_version BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION bump_version('status')",
    ),
    (
        12,
        "CREATE OR REPLACE TRIGGER bump_version BEFORE UPDATE ON agents FOR EACH ROW WHEN (NEW.version > 9) EXECUTE FUNCTION bump_version()",
    ),
    (
        12,
        "CREATE TRIGGER also BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION bump_version()",
    ),
    (12, "DROP FUNCTION keep_metadata() CASCADE"),
    (12, "ALTER TABLE outbox_dead ADD version bigint"),
    (
        12,
        "ALTER FUNCTION audit_prune(uuid, timestamptz, integer) OWNER TO guildhall_owner",
    ),
    (
        12,
        "ALTER FUNCTION audit_prune(uuid, timestamptz, integer) RESET search_path",
    ),
    (
        12,
        "ALTER FUNCTION audit_prune(uuid, timestamptz, integer) SECURITY INVOKER",
    ),
    (
        12,
        "GRANT EXECUTE ON FUNCTION audit_prune(uuid, timestamptz, integer) TO app_tenant",
    ),
    (12, "REVOKE EXECUTE ON FUNCTION current_workspace() FROM app_tenant"),
    (12, "DROP FUNCTION schema_version()"),
    (
        12,
        "ALTER DEFAULT PRIVILEGES FOR ROLE guildhall_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    ),
    (
        12,
        "ALTER DEFAULT PRIVILEGES FOR ROLE guildhall_owner IN SCHEMA guildhall GRANT SELECT ON TABLES TO app_tenant",
    ),
    (
        12,
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()",
    ),
    (13, "GRANT SELECT ON audit_log_default TO app_tenant"),
    (13, "DROP POLICY tenant ON outbox_default"),
    (13, "ALTER POLICY tenant ON outbox_default USING (true)"),
    (13, "ALTER TABLE outbox_default DISABLE ROW LEVEL SECURITY"),
    (13, "ALTER TABLE outbox_default NO FORCE ROW LEVEL SECURITY"),
    (
        13,
        "CREATE TABLE outbox_bare PARTITION OF outbox FOR VALUES FROM ('01000000-0000-0000-0000-000000000000') TO ('01000000-0000-0000-0000-000000000001')",
    ),
    (14, "CREATE EXTENSION pgcrypto SCHEMA public"),
    (
        14,
        "CREATE SEQUENCE counter; GRANT USAGE ON SEQUENCE counter TO app_tenant",
    ),
    (14, "SELECT lo_create(0)"),
    (14, "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC"),
    (14, "GRANT EXECUTE ON FUNCTION loread(integer, integer) TO app_tenant"),
    (14, "CREATE LANGUAGE free HANDLER plpgsql_call_handler"),
    (
        19,
        "ALTER TABLE memberships ADD CONSTRAINT unproved FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id) NOT VALID",
    ),
    (23, "DROP INDEX agents_workspace_id_name_key"),
    (23, "DROP INDEX runs_status_idx"),
    (23, "DROP INDEX outbox_subject_id_idx"),
    (
        23,
        "DROP INDEX agents_workspace_id_name_key; CREATE UNIQUE INDEX agents_workspace_id_name_key ON agents (workspace_id, name, id)",
    ),
    (23, "CREATE INDEX ON agents (workspace_id, description)"),
    (23, "ALTER TABLE licenses DROP CONSTRAINT licenses_policy_id_fkey"),
    (
        23,
        "ALTER TABLE license_counters DROP CONSTRAINT license_counters_machines_check",
    ),
    (
        23,
        "ALTER TABLE license_counters DROP CONSTRAINT license_counters_machines_check, ADD CONSTRAINT license_counters_machines_check CHECK (machines >= 0)",
    ),
    (
        23,
        "ALTER TABLE mails DROP CONSTRAINT mails_workspace_id_dedupe_key_key",
    ),
    (23, "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE"),
    (23, "ALTER TABLE outbox_default ADD CONSTRAINT early CHECK (type <> '')"),
    (23, "ALTER TABLE licenses DISABLE TRIGGER ALL"),
    (
        23,
        "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE policies ENABLE REPLICA TRIGGER %I', max(tgname)) FROM pg_trigger WHERE tgrelid = 'policies'::regclass AND tgisinternal); END $$",
    ),
];

/// What the gate says while this is so, in a transaction that is rolled back: nobody else sees it, not even where it changes a role of the
/// whole cluster.
fn with(conn: &mut PgConnection, hole: &str, depth: Depth) -> Report {
    run(conn, "BEGIN");
    run(conn, hole);
    let report = report(conn, depth);
    run(conn, "ROLLBACK");
    report
}

#[test]
fn each_hole_turns_the_gate_red_and_the_finding_says_what_to_do() {
    let database = Database::migrated();
    let mut conn = database.admin();
    let mut blind = Vec::new();
    for (rule, hole) in HOLES {
        let report = with(&mut conn, hole, Depth::Full);
        if !report.broken().contains(rule) {
            blind.push(format!("rule {rule} does not see: {hole}\n{report}"));
        }
        assert!(
            report
                .findings
                .iter()
                .all(|finding| !finding.fix.is_empty() && !finding.object.is_empty()),
            "{report}"
        );
    }
    assert!(blind.is_empty(), "\n{}", blind.join("\n"));
    let report = report(&mut conn, Depth::Full);
    assert!(report.findings.is_empty(), "a hole stayed open:\n{report}");
}

#[test]
fn a_trigger_that_fires_always_fires() {
    let database = Database::migrated();
    let mut conn = database.admin();
    let always = "ALTER TABLE agents ENABLE ALWAYS TRIGGER bump_version";
    let report = with(&mut conn, always, Depth::Full);
    assert!(report.findings.is_empty(), "\n{report}");
}

#[test]
fn every_rule_of_the_gate_has_a_hole_that_proves_it() {
    let proved: std::collections::BTreeSet<u8> = HOLES.iter().map(|(rule, _)| *rule).collect();
    // 17, PostgreSQL's own version, is proved beside its code.
    let expected = (0..=14).chain([19, 23]).collect();
    assert_eq!(proved, expected);
}

#[test]
fn a_boot_refuses_what_would_leak_and_leaves_the_rest_to_the_doctor() {
    let database = Database::migrated();
    let mut conn = database.admin();
    for (hole, serves) in [
        ("ALTER TABLE agents NO FORCE ROW LEVEL SECURITY", false),
        ("GRANT guildhall_owner TO app_tenant", false),
        ("ALTER POLICY tenant ON agents USING (true)", false),
        ("CREATE INDEX ON agents (name)", true),
    ] {
        let report = with(&mut conn, hole, Depth::Boot);
        assert_eq!(report.allows_serving(true), serves, "{hole}\n{report}");
    }
}

/// During a deployment the old binary serves on while the schema is already the new one's.
#[test]
fn an_old_binary_serves_beside_relations_that_it_does_not_know_and_not_beside_known_ones_gone_wrong() {
    let database = Database::migrated();
    let mut conn = database.admin();
    run(
        &mut conn,
        "BEGIN; INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000000'); CREATE TABLE novelty (id uuid PRIMARY KEY)",
    );
    assert!(report(&mut conn, Depth::Boot).allows_serving(true));
    let ahead = report(&mut conn, Depth::Full);
    for novelty in ["novelty", "novelty.novelty_pkey"] {
        let mut findings = ahead.findings.iter();
        let warned = findings.any(|finding| finding.object == novelty && finding.severity == Severity::Warn);
        assert!(warned, "{novelty}\n{ahead}");
    }
    assert!(ahead.allows_serving(true), "{ahead}");

    run(&mut conn, "ALTER TABLE agents DISABLE ROW LEVEL SECURITY");
    assert!(!report(&mut conn, Depth::Boot).allows_serving(true));
    run(&mut conn, "ROLLBACK");
}

#[test]
fn a_database_without_our_schema_is_refused_and_the_report_says_how_to_make_it() {
    let database = Database::empty();
    let report = report(&mut database.admin(), Depth::Boot);
    assert!(!report.allows_serving(false));
    assert!(report.to_string().contains("guildhall migrate up"), "{report}");
    assert_eq!(report.findings.len(), 1, "{report}");
}
