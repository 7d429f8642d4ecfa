//! L0: the gate over the catalogue is green, and each rule turns it red when its hole is opened.

mod holes;

use std::time::Duration;

use diesel::PgConnection;
use guildhall::{
    app::migrate,
    kernel::catalogue::{Depth, Report, Severity, inspect},
};

use self::holes::HOLES;
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

/// Twice, where a key was made again that others refer to: they went with it, and are told of then.
#[test]
fn what_the_gate_says_of_a_key_can_be_pasted() {
    let database = Database::migrated();
    let mut conn = database.admin();
    for hole in HOLES.iter().filter(|(rule, _)| *rule >= 23) {
        run(&mut conn, "BEGIN");
        run(&mut conn, hole.1);
        for _ in 0..2 {
            let findings = report(&mut conn, Depth::Full).findings;
            for finding in findings.iter().filter(|finding| finding.rule >= 23) {
                run(&mut conn, &finding.fix);
            }
        }
        let report = report(&mut conn, Depth::Full);
        assert!(report.findings.is_empty(), "{}\n{report}", hole.1);
        run(&mut conn, "ROLLBACK");
    }
}

#[test]
fn an_index_of_an_operator_s_own_is_only_worth_a_look() {
    let database = Database::migrated();
    let mut conn = database.admin();
    for (own, serves) in [("INDEX", true), ("UNIQUE INDEX", false)] {
        let made = format!("CREATE {own} own ON agents (workspace_id, description)");
        let report = with(&mut conn, &made, Depth::Full);
        assert_eq!(
            (report.findings.len(), report.allows_serving(true)),
            (1, serves),
            "{report}"
        );
    }
}

#[test]
fn what_opens_no_hole_is_none() {
    let database = Database::migrated();
    let mut conn = database.admin();
    for harmless in [
        "ALTER TABLE agents ENABLE ALWAYS TRIGGER bump_version",
        "GRANT SET ON PARAMETER work_mem TO app_tenant",
        "ALTER ROLE guildhall_migrator SET session_replication_role = 'LOCAL'",
    ] {
        let report = with(&mut conn, harmless, Depth::Full);
        assert!(report.findings.is_empty(), "{harmless}\n{report}");
    }
}

#[test]
fn what_the_gate_says_of_a_setting_can_be_pasted() {
    let database = Database::migrated();
    let mut conn = database.admin();
    let name = &database.name;
    for whose in [
        "ROLE guildhall_migrator",
        "ROLE ALL",
        &format!("ROLE guildhall_auditor IN DATABASE {name}"),
        &format!("DATABASE {name}"),
    ] {
        run(&mut conn, "BEGIN");
        run(
            &mut conn,
            &format!("ALTER {whose} SET session_replication_role = replica"),
        );
        let findings = report(&mut conn, Depth::Full).findings;
        assert_eq!(findings.len(), 1, "{whose}: {findings:?}");
        run(&mut conn, &findings[0].fix);
        let report = report(&mut conn, Depth::Full);
        assert!(report.findings.is_empty(), "{whose}\n{report}");
        run(&mut conn, "ROLLBACK");
    }
}

#[test]
fn every_rule_of_the_gate_has_a_hole_that_proves_it() {
    let proved: std::collections::BTreeSet<u8> = HOLES.iter().map(|(rule, _)| *rule).collect();
    // 17, PostgreSQL's own version, is proved beside its code.
    let expected = (0..=14).chain([19, 23, 24]).collect();
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
