//! One connection, first A's, then B's, however A's transaction ended. And what lives as long as a connection does: prepared statements.

use diesel::PgConnection;

use super::{
    Lab, assert_none,
    contexts::{Context, of_a},
    outcomes,
    seed::{A, B},
    statements,
};
use crate::database::{refused, run, text};

/// How A's transaction ends, and whether what ended it was an error.
const ENDINGS: [(&str, &[&str], Option<&str>); 6] = [
    ("commit", &["COMMIT"], None),
    ("rollback", &["ROLLBACK"], None),
    ("an error", &["ROLLBACK"], Some("SELECT 1 / 0")),
    (
        "a statement's timeout",
        &["ROLLBACK"],
        Some("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(2)"),
    ),
    (
        "a rollback to a savepoint",
        &[
            "SAVEPOINT s",
            "SELECT set_config('app.workspace', '0b000000-0000-7000-8000-00000000000b', true)",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        None,
    ),
    (
        "the rollback of a failed savepoint",
        &["ROLLBACK TO s", "COMMIT"],
        Some("SAVEPOINT s; SELECT 1 / 0"),
    ),
];

fn rows_of_a(conn: &mut PgConnection) -> Option<String> {
    text(conn, &format!("SELECT count(*) FROM agents WHERE workspace_id = '{A}'"))
}

#[test]
fn nothing_of_the_last_workspace_is_left_on_its_connection_however_its_transaction_ended() {
    let lab = Lab::new();
    let mut admin = lab.database.admin();
    let probes = lab.probes(&mut admin, &[]);
    let statements = statements(&probes);
    let mut surprises = Vec::new();
    for (ending, steps, failure) in ENDINGS {
        let mut conn = lab.database.tenant();
        run(&mut conn, &format!("BEGIN; {}", of_a()));
        assert_eq!(
            rows_of_a(&mut conn).as_deref(),
            Some("1"),
            "before {ending}, A sees its row"
        );
        if let Some(failure) = failure {
            refused(&mut conn, failure);
        }
        for step in steps {
            run(&mut conn, step);
        }
        let said = refused(&mut conn, "SELECT 1 FROM agents");
        assert!(
            said.contains("invalid input syntax for type uuid")
                || said.contains("unrecognized configuration parameter"),
            "{said}"
        );
        run(
            &mut conn,
            &format!("{}; SET LOCAL statement_timeout = 0", Context::B.opening()),
        );
        let outcomes = outcomes(&mut conn, &statements);
        run(&mut conn, "ROLLBACK");
        surprises.extend(
            lab.judge(Context::B, &probes, &outcomes)
                .into_iter()
                .map(|mut surprise| {
                    surprise.what = format!("after {ending}: {}", surprise.what);
                    surprise
                }),
        );
    }
    assert_none(&surprises);
}

/// After five executions PostgreSQL keeps one plan for all: it must not keep the workspace that it was made in.
#[test]
fn a_prepared_statement_belongs_to_whoever_executes_it() {
    let lab = Lab::new();
    let mut conn = lab.database.tenant();
    let tables: Vec<&String> = lab.registry.walled.keys().collect();
    for (number, table) in tables.iter().enumerate() {
        run(
            &mut conn,
            &format!(
                "PREPARE held_{number} AS SELECT 1 FROM {table} WHERE {} = '{A}'",
                lab.registry.walled[*table].key
            ),
        );
    }
    let executions = |conn: &mut PgConnection, opening: &str| -> Vec<String> {
        run(conn, opening);
        let executions: Vec<String> = (0..tables.len())
            .map(|number| format!("EXECUTE held_{number}"))
            .collect();
        let executions: Vec<&str> = executions.iter().map(String::as_str).collect();
        let seen = outcomes(conn, &executions);
        run(conn, "COMMIT");
        seen
    };
    for _ in 0..6 {
        let seen = executions(&mut conn, &format!("BEGIN; {}", of_a()));
        for (table, seen) in tables.iter().zip(&seen) {
            assert!(
                seen.parse::<u32>().is_ok_and(|rows| rows > 0),
                "A does not see its {table}: {seen}"
            );
        }
    }
    let seen = executions(&mut conn, &Context::B.opening());
    for (table, seen) in tables.iter().zip(&seen) {
        assert_eq!(seen, "0", "B executes A's statement on {table}");
    }
}

/// A statement that enters by its limit, as those that read one row do: nothing stands before it, and nothing is left after it.
#[test]
fn a_statement_that_enters_by_itself_reads_its_own_workspace_and_leaves_nothing_behind() {
    let lab = Lab::new();
    let mut conn = lab.database.tenant();
    for (table, walled) in &lab.registry.walled {
        let reads = |workspace: &str| {
            format!(
                "SELECT 'a row' FROM {table} WHERE {} = '{A}' LIMIT enter(ARRAY['{workspace}', 'system:', 'none', 'none', NULL])",
                walled.key
            )
        };
        assert_eq!(
            text(&mut conn, &reads(A)).as_deref(),
            Some("a row"),
            "A does not see its {table}"
        );
        assert_eq!(text(&mut conn, &reads(B)), None, "B reads A's {table}");
        let said = refused(&mut conn, &format!("SELECT 1 FROM {table}"));
        assert!(said.contains("invalid input syntax for type uuid"), "{table}: {said}");
    }
    // Nothing that begins after it can write.
    let enters = format!("SELECT enter(ARRAY['{A}', 'system:', 'none', 'none', NULL])::text");
    run(&mut conn, "BEGIN");
    assert_eq!(text(&mut conn, &enters).as_deref(), Some("1"));
    let said = refused(&mut conn, "UPDATE agents SET name = name");
    assert!(said.contains("read-only transaction"), "{said}");
    run(&mut conn, "ROLLBACK");
}

mod copied {
    diesel::table! { guildhall.agents (id) { id -> Uuid, workspace_id -> Uuid, name -> Text, } }
    diesel::table! { guildhall.memberships (id) { id -> Uuid, workspace_id -> Uuid, display_name -> Text, } }
    diesel::table! { guildhall.mails (id) { id -> Uuid, workspace_id -> Uuid, recipient -> Text, } }
}

/// Everything that `COPY … TO STDOUT` sends of a table.
macro_rules! copied {
    ($lab:expr, $table:ident) => {{
        // One connection a copy: a raw one is left with the end of the copy unread.
        let conn = &mut $lab.database.tenant();
        run(conn, &Context::B.opening());
        let mut sent = String::new();
        let mut reader = diesel::copy_to(copied::$table::table)
            .load_raw(conn)
            .expect("a table may be copied");
        std::io::Read::read_to_string(&mut reader, &mut sent).expect("text");
        sent
    }};
}

#[test]
fn a_copy_holds_the_rows_of_one_workspace() {
    let lab = Lab::new();
    for (table, sent) in [
        ("agents", copied!(lab, agents)),
        ("memberships", copied!(lab, memberships)),
        ("mails", copied!(lab, mails)),
    ] {
        assert!(sent.contains(B), "B's {table} are copied: {sent}");
        assert!(!sent.contains(A), "A's {table} are not");
    }
}
