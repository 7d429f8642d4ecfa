//! `guildhall admin`: what the operator does by hand.

use std::{
    net::TcpListener,
    process::{Command, Output},
    sync::Arc,
};

use guildhall::{
    app::{api, boot::Deployment, worker},
    kernel::{
        audit,
        clock::Clock,
        config::{Config, Environment},
        id::WorkspaceId,
    },
};
use serde_json::json;

use crate::{
    database::{Database, PLATFORM, number, run, text},
    world::Caller,
};

const ANN: &str = "ann@operator.example";
const PASSWORD: &str = "nine yellow lamps glow";

/// A deployment that nobody has been let into.
struct Fresh {
    database: Database,
    variables: Vec<(&'static str, String)>,
}

impl Fresh {
    fn new() -> Fresh {
        let database = Database::migrated();
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let variables = vec![
            ("DATABASE_TENANT_URL", database.urls.tenant.expose().clone()),
            ("DATABASE_KERNEL_URL", database.urls.kernel.expose().clone()),
            ("REDIS_URL", "off".to_owned()),
            ("GUILDHALL__SECRETS__SIGNING", key.to_owned()),
            ("GUILDHALL__SECRETS__KEKS", format!("k1:{key}")),
        ];
        Fresh { database, variables }
    }

    /// `guildhall admin bootstrap`, as it is typed.
    fn bootstrap(&self, email: &str) -> Output {
        self.admin(&["bootstrap", "--email", email])
    }

    /// `guildhall admin …`
    fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command
            .args(["--env", "development", "admin"])
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.output().expect("it runs")
    }

    fn deployment(&self) -> Arc<Deployment> {
        let named = self
            .variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let config = Config::from_variables(Environment::Development, named.collect()).expect("a sound configuration");
        Arc::new(Deployment::new(config, Clock::system()).expect("a deployment"))
    }

    fn count(&self, rows: &str) -> i64 {
        number(&mut self.database.admin(), &format!("SELECT count(*) FROM {rows}"))
    }
}

/// The token of the link that was printed.
fn token(said: &Output) -> String {
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let link = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let (page, token) = link.split_once('#').expect("a token in the fragment");
    assert!(page.ends_with("/auth/reset"), "{page}");
    token.to_owned()
}

fn refusal(said: &Output) -> String {
    assert!(!said.status.success(), "it should have been refused");
    assert!(said.stdout.is_empty(), "no link");
    String::from_utf8_lossy(&said.stderr).into_owned()
}

#[actix_web::test]
async fn the_first_administrator_gets_in_by_the_printed_link() {
    let fresh = Fresh::new();
    let (first, second) = (
        token(&fresh.bootstrap(ANN)),
        token(&fresh.bootstrap("Ann@Operator.example")),
    );
    assert_ne!(first, second, "asked again, there is a new link");

    let deployment = fresh.deployment();
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("an address"));
    let server = api::serve(deployment.clone(), socket).expect("a server");
    deployment.readiness.booted();
    actix_web::rt::spawn(server);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let anybody = Caller::new(client, &base, None);

    let with = |token: &str| json!({ "token": token, "password": PASSWORD });
    anybody
        .post("/auth/password/reset", with(&first))
        .await
        .refused("one-time-token-invalid");
    anybody.post("/auth/password/reset", with(&second)).await.gone();
    let login = json!({ "identifier": ANN, "password": PASSWORD });
    let session = anybody.post("/auth/login", login).await.ok();
    let ann = anybody.bearer(&session.text_at("/access_token"));
    assert_eq!(ann.get("/me").await.ok().text_at("/platform_role"), "admin");
    let own = ann.get("/workspaces").await.ok();
    assert_eq!(
        (own.text_at("/data/0/slug"), own.text_at("/data/0/role")),
        ("platform".into(), "owner".into())
    );
    ann.get("/members").await.ok();

    let joined = format!("(SELECT action || ' by ' || actor_type FROM audit_log WHERE workspace_id = '{PLATFORM}')");
    assert_eq!(
        text(&mut fresh.database.admin(), &joined).as_deref(),
        Some("member.joined by system"),
        "once, although it was asked for twice"
    );
    assert_eq!(fresh.count("outbox WHERE type = 'member.joined'"), 1);
    assert_eq!(fresh.count("workspaces WHERE slug = 'platform' AND seats_used = 1"), 1);
}

#[actix_web::test]
async fn the_operator_sees_whether_an_audit_log_was_altered() {
    let fresh = Fresh::new();
    token(&fresh.bootstrap(ANN));
    let deployment = fresh.deployment();
    audit::sweep(deployment.db.clone()).await.expect("a look");
    let runner = worker::runner(&deployment);
    while runner.turn().await.expect("the queue can be worked") > 0 {}
    let platform = WorkspaceId::PLATFORM.to_string();
    let verify = || fresh.admin(&["audit", "verify", "--workspace", &platform]);

    let said = verify();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success() && text.contains("holds; entries: 1, signed heads: 1"),
        "{said:?}"
    );

    run(
        &mut fresh.database.admin(),
        "UPDATE guildhall.audit_log SET action = 'member.invited'",
    );
    let said = verify();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        !said.status.success() && text.contains("is broken at place 1: altered (aud_"),
        "{said:?}"
    );
    let unknown = WorkspaceId::nil().to_string();
    let said = fresh.admin(&["audit", "verify", "--workspace", &unknown]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        !said.status.success() && text.contains("there is no workspace wsp_"),
        "{said:?}"
    );
    assert!(
        !fresh
            .admin(&["audit", "verify", "--workspace", "nonsense"])
            .status
            .success()
    );
}

#[test]
fn nobody_is_let_in_beside_the_first_administrator_or_without_an_address() {
    let fresh = Fresh::new();
    for wrong in [
        "ann",
        "ann@",
        "ann@localhost",
        "ann@operator.example\nbcc: all@operator.example",
    ] {
        let said = refusal(&fresh.bootstrap(wrong));
        assert!(said.contains("is not an e-mail address"), "{said}");
    }
    token(&fresh.bootstrap(ANN));

    let said = refusal(&fresh.bootstrap("bob@operator.example"));

    assert!(
        said.contains("platform has an owner already, ann@operator.example"),
        "{said}"
    );
    assert_eq!(fresh.count("users"), 1, "a refusal leaves nobody behind");
}

#[test]
fn where_the_database_is_away_a_command_says_so_and_ends() {
    let mut fresh = Fresh::new();
    for (name, url) in &mut fresh.variables {
        if name.starts_with("DATABASE_") {
            *url = "postgres://app_kernel:x@127.0.0.1:1/guildhall".into();
        }
    }
    let said = refusal(&fresh.bootstrap(ANN));
    for door in ["DATABASE_TENANT_URL opens nothing", "DATABASE_KERNEL_URL opens nothing"] {
        assert!(said.contains(door), "{said}");
    }
}

#[tokio::test]
async fn of_two_first_administrators_at_once_one_is_the_first() {
    let fresh = Fresh::new();
    let deployment = fresh.deployment();
    let names = ["ann", "bob", "cid", "dee"].map(|name| format!("{name}@operator.example"));
    let all = names.iter().map(|name| deployment.identity.bootstrap(name));
    let let_in = futures_util::future::join_all(all)
        .await
        .into_iter()
        .filter(Result::is_ok);
    assert_eq!(let_in.count(), 1);
    assert_eq!(
        fresh.count(&format!("memberships WHERE workspace_id = '{PLATFORM}'")),
        1
    );
}

#[test]
fn signing_keys_are_changed_before_their_time() {
    let fresh = Fresh::new();
    let said = |arguments: &[&str]| {
        let output = fresh.admin(&[&["keys"], arguments].concat());
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let active = || {
        let kid = "(SELECT kid FROM signing_keys WHERE use = 'access' AND state = 'active')";
        text(&mut fresh.database.admin(), &format!("SELECT {kid}")).expect("a key that signs")
    };
    for _ in 0..2 {
        let (done, why) = said(&["rotate", "access"]);
        assert!(!done && why.contains("fifteen minutes"), "{why}");
    }
    let first = active();
    run(
        &mut fresh.database.admin(),
        "UPDATE guildhall.signing_keys SET publish_at = publish_at - interval '1 hour' WHERE state = 'published'",
    );
    let (done, why) = said(&["rotate", "access"]);
    assert!(done, "{why}");
    let second = active();
    assert_ne!(second, first);

    let listed = String::from_utf8(fresh.admin(&["keys", "list"]).stdout).expect("text");
    for (kid, is) in [(&first, "access   retiring since"), (&second, "access   active since")] {
        assert!(listed.contains(&format!("{kid}  {is}")), "{listed}");
    }
    assert!(listed.contains("  audit    active since"), "{listed}");

    let (done, why) = said(&["revoke", "-looks-like-an-option"]);
    assert!(!done && why.contains("no signing key -looks"), "{why}");
    let (done, why) = said(&["revoke", &second]);
    assert!(done, "{why}");
    assert_ne!(active(), second);
    let told = "(SELECT string_agg(action || ' ' || (changes #>> '{}'), '; ' ORDER BY id) FROM audit_log WHERE action LIKE 'signing_key.%')";
    let told = text(&mut fresh.database.admin(), &format!("SELECT {told}")).expect("platform's audit log");
    let [rotated, revoked] = told.split("; ").collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    assert!(
        rotated.starts_with("signing_key.rotated") && rotated.contains(&first) && rotated.contains(&second),
        "{told}"
    );
    assert!(
        revoked.starts_with("signing_key.revoked") && revoked.contains(&second),
        "{told}"
    );
    let (done, why) = said(&["revoke", "nonsense"]);
    assert!(!done && why.contains("there is no signing key nonsense"), "{why}");
    let (done, why) = said(&["rotate", "license"]);
    assert!(!done && why.contains("access, audit or webhook"), "{why}");
}

#[test]
fn whoever_reads_only_the_beginning_of_what_is_printed_hears_no_complaint() {
    let script = format!(
        "set -o pipefail; '{}' openapi | head -c 10",
        env!("CARGO_BIN_EXE_guildhall")
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.stdout.len(), 10);
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_hears_no_complaint_still_reads_how_it_ended() {
    for output in ["2>/dev/full", ">/dev/full 2>&1"] {
        let script = format!("'{}' migrate status {output}", env!("CARGO_BIN_EXE_guildhall"));
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_remove("DATABASE_MIGRATOR_URL");
        assert_eq!(command.status().expect("bash").code(), Some(1), "{output}");
    }
}
