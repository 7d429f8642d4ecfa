//! Bootstrap and migrations: repeated, raced, taken back; and rows that point at nothing.

use std::{process::Command, thread};

use diesel::PgConnection;
use guildhall::app::migrate::{self, Bootstrap, Orphans};

use crate::database::{Database, PLATFORM, enter, fresh_name, number, refused, run, server, text};

/// Everything that defines the schema, as text, one line an object.
const DEFINITIONS: &str = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
  SELECT format('relation %s %s %s %s %s %s', c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relacl) AS line
    FROM pg_class c WHERE c.relnamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('column %s.%s %s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                          pg_get_expr(d.adbin, d.adrelid), a.attacl)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'guildhall'::regnamespace AND a.attnum > 0
  UNION ALL SELECT format('constraint %s on %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('index %s', pg_get_indexdef(i.indexrelid))
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('statistics %s %s', pg_get_statisticsobjdef(oid), stxstattarget)
    FROM pg_statistic_ext WHERE stxnamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('policy %s on %s %s %s %s %s', polname, polrelid::regclass, polpermissive, polroles::regrole[],
                          pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
  UNION ALL SELECT format('function %s %s %s', pg_get_functiondef(oid), proowner::regrole, proacl)
    FROM pg_proc WHERE pronamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('trigger %s', pg_get_triggerdef(t.oid))
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'guildhall'::regnamespace AND NOT t.tgisinternal
  UNION ALL SELECT format('type %s %s', typname, typtype) FROM pg_type WHERE typnamespace = 'guildhall'::regnamespace
  UNION ALL SELECT format('default %s %s %s', defaclrole::regrole, defaclobjtype, defaclacl) FROM pg_default_acl
  UNION ALL SELECT format('schema %s', nspacl) FROM pg_namespace WHERE nspname = 'guildhall') definitions";

fn definitions(conn: &mut PgConnection) -> String {
    text(conn, DEFINITIONS).expect("there is a schema")
}

#[test]
fn every_migration_goes_up_down_and_up_again_to_the_same_catalogue() {
    let database = Database::empty();
    let migrator = database.urls.migrator.expose();
    let mut conn = database.admin();
    // Asking makes the ledger, which no migration takes back.
    let waiting = migrate::pending(migrator).expect("pending");
    let before = definitions(&mut conn);

    let all = migrate::up(migrator).expect("up");
    assert_eq!(all, waiting);
    assert_eq!(migrate::applied(migrator).expect("applied"), all);
    assert_eq!(migrate::pending(migrator).expect("pending"), Vec::<String>::new());
    assert_eq!(all.last(), Some(&migrate::newest()));
    let after = definitions(&mut conn);

    // One at a time, so that no down leaves something which only the next one's would take along.
    for taken_back in 1..=all.len() {
        migrate::down(migrator, taken_back).expect("down");
        assert_eq!(migrate::pending(migrator).expect("pending").len(), taken_back);
        migrate::up(migrator).expect("up again");
        assert_same(&definitions(&mut conn), &after);
    }

    let more = migrate::down(migrator, all.len() + 1)
        .expect_err("more than there are")
        .to_string();
    assert!(more.contains("nothing was taken back"), "{more}");
    assert_eq!(migrate::applied(migrator).expect("applied"), all);
    migrate::down(migrator, all.len()).expect("down");
    assert_same(&definitions(&mut conn), &before);
}

/// Equal, or the lines that differ.
fn assert_same(is: &str, should_be: &str) {
    let lines = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (is, should_be) = (lines(is), lines(should_be));
    let more: Vec<_> = is.difference(&should_be).collect();
    let less: Vec<_> = should_be.difference(&is).collect();
    assert!(more.is_empty() && less.is_empty(), "more: {more:#?}\nless: {less:#?}");
}

#[test]
fn a_bootstrap_may_be_repeated_and_raced() {
    let name = fresh_name();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let wanted = Bootstrap {
                        database: name.clone(),
                        passwords: server().passwords(),
                    };
                    let urls = migrate::bootstrap(server().admin(), &wanted)?;
                    migrate::up(urls.migrator.expose())
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("no racer panics"))
            .collect()
    });
    let ran: Vec<Vec<String>> = outcomes
        .into_iter()
        .collect::<anyhow::Result<_>>()
        .expect("every racer succeeds");
    assert_eq!(
        ran.iter().filter(|ran| !ran.is_empty()).count(),
        1,
        "one of them ran the migrations, the others found them done"
    );
    migrate::drop_database(server().admin(), &name).expect("dropped");
}

#[test]
fn a_bootstrap_never_touches_the_servers_own_databases() {
    for name in ["postgres", "template1", ""] {
        let wanted = Bootstrap {
            database: name.into(),
            passwords: server().passwords(),
        };
        let Err(error) = migrate::bootstrap(server().admin(), &wanted) else {
            panic!("{name:?} was taken for Guildhall's database");
        };
        assert!(format!("{error:#}").contains("name one of its own"), "{error:#}");
    }
}

#[test]
fn application_roles_can_do_nothing_but_what_they_were_given() {
    let database = Database::migrated();
    for mut conn in [database.tenant(), database.kernel()] {
        for statement in [
            "CREATE TABLE mine (id int)",
            "CREATE TABLE public.mine (id int)",
            "CREATE TEMP TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "SELECT lo_create(0)",
            "SET ROLE guildhall_owner",
            "SET ROLE guildhall_keeper",
            "ALTER TABLE agents NO FORCE ROW LEVEL SECURITY",
            "TRUNCATE agents",
            "SELECT * FROM __diesel_schema_migrations",
            "SELECT * FROM outbox_default",
            "SELECT make_kernel_table('agents')",
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ] {
            let said = refused(&mut conn, statement);
            assert!(
                said.contains("permission denied") || said.contains("must be owner"),
                "{statement}: {said}"
            );
        }
        assert_eq!(text(&mut conn, "schema_version()"), Some(migrate::newest()));
    }
}

/// A key that the owner validated on forced tables is marked valid over orphans: only counting tells.
#[test]
fn rows_that_point_at_nothing_are_counted() {
    let database = Database::migrated();
    let auditor = database.urls.auditor.expose();
    let mut admin = database.admin();
    assert_eq!(migrate::orphans(auditor).expect("counted"), []);

    enter(&mut admin, PLATFORM);
    run(
        &mut admin,
        "SET LOCAL session_replication_role = replica;
         INSERT INTO memberships (id, user_id, display_name, role) VALUES (gen_random_uuid(), gen_random_uuid(), 'Nobody', 'viewer'); COMMIT",
    );
    let found = Orphans {
        constraint: "memberships_user_id_fkey".into(),
        table: "memberships".into(),
        rows: 1,
    };
    assert_eq!(migrate::orphans(auditor).expect("counted"), [found]);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM memberships"), 1);
}

/// What a migration may not do: the running version of the product would break, or rows would be changed that its role does not see.
#[test]
fn migrations_change_no_rows_of_workspaces_and_nothing_that_a_running_process_stands_on() {
    let registry: toml::Table = toml::from_str(include_str!("registry/tables.toml")).expect("well-formed");
    let tenant = registry["tenant"].as_table().expect("a section");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut broken = Vec::new();
    for entry in std::fs::read_dir(folder).expect("there are migrations") {
        let path = entry.expect("readable").path();
        let down = std::fs::read_to_string(path.join("down.sql")).unwrap_or_default();
        if down.trim().is_empty() {
            broken.push(format!("{} cannot be taken back", path.display()));
        }
        let up = std::fs::read_to_string(path.join("up.sql")).expect("a migration has an up.sql");
        for (number, line) in up.lines().enumerate() {
            let code = line.split("--").next().unwrap_or_default();
            let mut words = code.split_whitespace();
            // A function's body is indented: what it does it does later, in somebody's name.
            let table = match words.next() {
                Some("INSERT" | "DELETE") if !line.starts_with(' ') => words.nth(1),
                Some("UPDATE") if !line.starts_with(' ') => words.next(),
                _ => None,
            };
            if table.is_some_and(|table| tenant.contains_key(table)) {
                broken.push(format!(
                    "{}:{}: rows of workspaces are changed by jobs, 500 at a time",
                    path.display(),
                    number + 1
                ));
            }
            if code.replace("app_now()", "").contains("now()") && !line.contains("real") {
                broken.push(format!(
                    "{}:{}: time is app_now(), but for leases, which say that it is real",
                    path.display(),
                    number + 1
                ));
            }
            if code.contains(" RENAME ") || (code.contains(" ALTER COLUMN ") && code.contains(" TYPE ")) {
                broken.push(format!(
                    "{}:{}: add, move, then drop a release later",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_schema_of_a_newer_binary_is_named_and_left_alone() {
    let database = Database::migrated();
    run(
        &mut database.admin(),
        "INSERT INTO guildhall.__diesel_schema_migrations (version) VALUES ('20991231000100')",
    );
    let migrate = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command.arg("migrate").args(arguments);
        command.env("DATABASE_MIGRATOR_URL", database.urls.migrator.expose());
        let said = command.output().expect("it runs");
        (
            said.status.success(),
            String::from_utf8_lossy(&said.stderr).into_owned(),
        )
    };
    let (well, said) = migrate(&["up"]);
    assert!(
        well && said.contains("20991231000100, of a newer guildhall than this one"),
        "{said}"
    );
    let (well, said) = migrate(&["down", "--yes"]);
    assert!(
        !well && said.contains("20991231000100, which this guildhall does not know"),
        "{said}"
    );
    let kept = migrate::applied(database.urls.migrator.expose()).expect("applied");
    assert_eq!(kept.last().map(String::as_str), Some("20991231000100"));
}
