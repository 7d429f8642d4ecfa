//! `guildhall doctor`, and the gate that every serving process passes first.

use std::{collections::HashMap, time::Duration};

use guildhall::{
    app::{boot::Deployment, doctor, guard},
    kernel::{
        clock::Clock,
        config::{Config, Environment},
        db::{Db, Sizes},
        secret::Secret,
    },
};

use crate::database::{Database, PLATFORM, enter, run};

const SIZES: Sizes = Sizes { tenant: 1, kernel: 1 };

fn config(database: &Database) -> Config {
    config_with(database, &[])
}

/// What a deployment has in its environment.
fn variables(database: &Database) -> HashMap<String, String> {
    let urls = &database.urls;
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    [
        ("DATABASE_TENANT_URL", urls.tenant.expose().clone()),
        ("DATABASE_KERNEL_URL", urls.kernel.expose().clone()),
        ("DATABASE_MIGRATOR_URL", urls.migrator.expose().clone()),
        ("GUILDHALL__SECRETS__SIGNING", key.to_owned()),
        ("GUILDHALL__SECRETS__KEKS", format!("k1:{key}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn config_with(database: &Database, settings: &[(&str, &str)]) -> Config {
    let mut variables = variables(database);
    let settings = settings.iter().map(|(name, value)| (*name, *value));
    variables.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Config::from_variables(Environment::Development, variables).expect("a sound configuration")
}

fn db(tenant: &str, kernel: &str) -> Db {
    let secret = |url: &str| Secret::new(url.to_owned());
    Db::open(secret(tenant), secret(kernel), SIZES, Clock::system())
}

#[test]
fn the_doctor_is_content_with_a_healthy_deployment() {
    let database = Database::migrated();
    doctor::run(&config(&database), true).expect("nothing is wrong");
}

#[test]
fn what_no_process_would_start_with_the_doctor_names() {
    let database = Database::migrated();
    for (name, value) in [
        ("GUILDHALL__CORS__ORIGINS", "*"),
        ("GUILDHALL__CORS__ORIGINS", "https://app.example.com/path"),
        ("GUILDHALL__MAIL__FROM", "nobody"),
        ("GUILDHALL__SECRETS__KEKS", "k1:short"),
        ("GUILDHALL__SECRETS__SIGNING", "short"),
        ("GUILDHALL__SECRETS__KEKS", ""),
        (
            "DATABASE_TENANT_URL",
            "postgres://app_tenant@db/guildhall?service=nowhere",
        ),
        (
            "DATABASE_KERNEL_URL",
            "postgres://app_kernel@db/guildhall?options=-crole%3Dnobody",
        ),
    ] {
        let config = config_with(&database, &[(name, value)]);
        let serves = async { Deployment::new(config.clone(), Clock::system()).is_ok() };
        assert!(!actix_web::rt::System::new().block_on(serves), "{name}={value} serves");
        doctor::run(&config, false).expect_err(name);
    }
}

#[test]
fn the_doctor_finds_a_hole_a_relay_that_stands_still_and_rows_that_point_at_nothing() {
    let orphan = "SET LOCAL session_replication_role = replica;
        INSERT INTO memberships (id, user_id, display_name, role) VALUES (gen_random_uuid(), gen_random_uuid(), 'Nobody', 'viewer')";
    for (trouble, rows, well) in [
        ("ALTER TABLE agents DISABLE ROW LEVEL SECURITY", false, false),
        (
            "INSERT INTO outbox_queue (event_id, due_at) VALUES (gen_random_uuid(), app_now() - interval '10 minutes')",
            false,
            false,
        ),
        (orphan, false, true),
        (orphan, true, false),
    ] {
        let database = Database::migrated();
        let mut admin = database.admin();
        enter(&mut admin, PLATFORM);
        run(&mut admin, &format!("{trouble}; COMMIT"));
        let answer = doctor::run(&config(&database), rows);
        assert_eq!(answer.is_ok(), well, "{trouble}: {answer:?}");
    }
}

/// What the command prints, and whether it is content.
fn report(variables: HashMap<String, String>) -> (String, bool) {
    let mut doctor = std::process::Command::new(env!("CARGO_BIN_EXE_guildhall"));
    doctor
        .args(["--env", "development", "doctor"])
        .env_clear()
        .envs(variables)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = doctor.output().expect("a process");
    (String::from_utf8(said.stdout).expect("text"), said.status.success())
}

#[test]
fn the_doctor_says_which_door_does_not_open_and_why() {
    let database = Database::migrated();
    let mut variables = variables(&database);
    let nowhere = "postgres://app_kernel:S3CRET@127.0.0.1:1/guildhall";
    variables.insert("DATABASE_KERNEL_URL".into(), nowhere.into());
    let (said, content) = report(variables);
    let wrong = said
        .lines()
        .find(|line| line.contains("database: "))
        .expect("a line about the database");
    assert!(
        !content && wrong.starts_with("WRONG  database: DATABASE_KERNEL_URL opens nothing: "),
        "{said}"
    );
    assert!(wrong.contains("port 1 failed") && !said.contains("S3CRET"), "{said}");
}

#[test]
fn an_empty_variable_is_for_the_doctor_what_it_is_for_who_serves() {
    let database = Database::migrated();
    for name in ["GUILDHALL__LOG__LEVEL", "GUILDHALL__SERVR__PORT"] {
        let mut variables = variables(&database);
        assert!(report(variables.clone()).1);
        variables.insert(name.into(), String::new());
        let (said, content) = report(variables);
        assert!(!content && !said.contains("every key known"), "{name}: {said}");
    }
}

#[test]
fn of_a_database_without_our_schema_the_doctor_says_only_that() {
    let (said, content) = report(variables(&Database::empty()));
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert!(!content && wrong.len() == 1 && wrong[0].contains("schema"), "{said}");
    assert!(said.contains("Run `guildhall migrate up`."), "{said}");
}

#[test]
fn whoever_reads_only_the_beginning_of_the_report_hears_no_complaint() {
    let database = Database::migrated();
    let script = format!("'{}' doctor | head -c 5", env!("CARGO_BIN_EXE_guildhall"));
    let mut shell = std::process::Command::new("bash");
    shell
        .args(["-c", &script])
        .env_remove("REDIS_URL")
        .env("GUILDHALL_ENV", "development")
        .envs(variables(&database));
    let output = shell.output().expect("bash");
    assert_eq!(output.stdout, b"ok   ");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        !complaint.contains("panicked") && !complaint.contains("Broken pipe"),
        "{complaint}"
    );
}

/// The line of the report that is about partitions.
fn of_partitions(database: &Database) -> String {
    let (said, content) = report(variables(database));
    assert!(content, "{said}");
    let line = said.lines().find(|line| line.contains("partitions: "));
    line.expect("a line about partitions").to_owned()
}

#[test]
fn the_doctor_tells_of_rows_for_which_there_was_no_partition() {
    let database = Database::migrated();
    assert!(of_partitions(&database).starts_with("ok "));
    let mut admin = database.admin();
    enter(&mut admin, PLATFORM);
    run(
        &mut admin,
        "INSERT INTO outbox (id, type, api_version, data) VALUES (uuid_at('2001-01-01'), 'test.happened', '2026-11-01', '{}'); COMMIT",
    );
    let told = of_partitions(&database);
    assert!(
        told.starts_with("look ") && told.contains("rows of outbox are in outbox_default"),
        "{told}"
    );
}

#[tokio::test]
async fn a_sound_database_may_be_served_and_a_wrong_one_is_refused_with_what_to_do() {
    let database = Database::migrated();
    let (tenant, kernel) = (database.urls.tenant.expose(), database.urls.kernel.expose());
    guard::may_serve(&db(tenant, kernel), true).await.expect("sound");

    let (migrator, admin) = (database.urls.migrator.expose(), database.admin_url());
    for (tenant, kernel, variable) in [
        (admin.as_str(), kernel, "DATABASE_TENANT_URL"),
        (migrator, kernel, "DATABASE_TENANT_URL"),
        (kernel, kernel, "DATABASE_TENANT_URL"),
        (tenant, migrator, "DATABASE_KERNEL_URL"),
    ] {
        let refused = guard::may_serve(&db(tenant, kernel), true)
            .await
            .expect_err("a stronger role");
        assert!(
            refused.to_string().contains(&format!("{variable}: it logs in as")),
            "{refused}"
        );
    }

    let other = Database::migrated();
    for (tenant, kernel) in [
        (tenant, other.urls.kernel.expose()),
        (other.urls.tenant.expose(), kernel),
    ] {
        let refused = guard::may_serve(&db(tenant, kernel), false)
            .await
            .expect_err("two databases");
        let opens = "DATABASE_TENANT_URL: it opens another database than DATABASE_KERNEL_URL";
        assert!(refused.to_string().contains(opens), "{refused}");
    }

    let platform = "00000000-0000-7000-8000-000000000001";
    for option in [
        "row_security%3Doff".to_owned(),
        format!("app.workspace%3D{platform}"),
        "app.reseller%3Dnone".to_owned(),
        "statement_timeout%3D0".to_owned(),
        "lock_timeout%3D0".to_owned(),
    ] {
        let with = |url: &str| {
            let joint = if url.contains('?') { '&' } else { '?' };
            format!("{url}{joint}options=-c%20{option}")
        };
        for (tenant, kernel, variable) in [
            (with(tenant), kernel.clone(), "DATABASE_TENANT_URL"),
            (tenant.clone(), with(kernel), "DATABASE_KERNEL_URL"),
        ] {
            let refused = guard::may_serve(&db(&tenant, &kernel), false).await;
            let refused = refused.expect_err("nobody gave that").to_string();
            let begins = format!("{variable}: its connections begin with {}", option.replace("%3D", "="));
            assert!(refused.contains(&begins), "{refused}");
        }
    }

    let name = &database.name;
    let off = format!("ALTER DATABASE {name} SET session_replication_role = replica");
    run(&mut database.admin(), &off);
    let refused = guard::may_serve(&db(tenant, kernel), false).await.expect_err("no keys");
    let begins = "DATABASE_TENANT_URL: its connections begin with session_replication_role=replica";
    assert!(refused.to_string().contains(begins), "{refused}");
    let on = format!("ALTER DATABASE {name} RESET session_replication_role");
    run(&mut database.admin(), &on);

    run(&mut database.admin(), "ALTER TABLE agents NO FORCE ROW LEVEL SECURITY");
    let refused = guard::may_serve(&db(tenant, kernel), true).await.expect_err("a hole");
    assert!(
        refused
            .to_string()
            .contains("ALTER TABLE agents FORCE ROW LEVEL SECURITY"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let database = Database::migrated();
    let away = |url: &str| url.replace(&database.name, "guildhall_nowhere");
    let db = db(
        &away(database.urls.tenant.expose()),
        &away(database.urls.kernel.expose()),
    );
    let waiting = tokio::time::timeout(Duration::from_secs(3), guard::may_serve(&db, true)).await;
    assert!(waiting.is_err(), "it neither gave up nor served");
}
