//! Servers of somebody's own.

use std::fs;

use super::Stack;

#[test]
fn a_stack_takes_the_servers_that_variables_or_a_file_name() {
    let stack = Stack::new("named");
    let (database, redis) = ("postgres://nobody@127.0.0.1:1/none?connect_timeout=1", "off");
    let file = stack.folder.join("own.toml");
    let text = format!("[database]\nadmin_url = \"{database}\"\n[redis]\nurl = \"{redis}\"\n");
    fs::write(&file, text).expect("written");
    let file = file.to_str().expect("text");
    for given in [
        [("DATABASE_URL", database), ("REDIS_URL", redis)],
        [
            ("GUILDHALL__DATABASE__ADMIN_URL", database),
            ("GUILDHALL__REDIS__URL", redis),
        ],
        [("GUILDHALL_CONFIG", file), ("GUILDHALL__LOG__LEVEL", "info")],
    ] {
        let output = stack.command(&["--port", "0"]).envs(given).output();
        let output = output.expect("it ends: there is no database");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("using the PostgreSQL of DATABASE_URL"),
            "{said}"
        );
        assert!(said.contains("REDIS_URL is off: no Redis here"), "{said}");
        let kept = stack.command(&["--reset"]).envs(given).output().expect("refused");
        let said = String::from_utf8_lossy(&kept.stderr);
        assert!(!kept.status.success() && said.contains("would lose the keys"), "{said}");
    }
}

#[test]
fn an_empty_variable_names_nobody_and_whatever_a_stack_does_not_use_it_says() {
    let mut stack = Stack::new("empty");
    let file = stack.folder.join("signing");
    fs::write(&file, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").expect("written");
    stack.variables = [
        ("DATABASE_URL", ""),
        ("GUILDHALL__DATABASE__ADMIN_URL", ""),
        ("GUILDHALL__REDIS__URL", ""),
        ("GUILDHALL__STRIPE__SECRET_KEY", ""),
        ("GUILDHALL__SECRETS__SIGNING_FILE", file.to_str().expect("text")),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let running = stack.start();
    assert!(!stack.said().contains("no webhook is ever sent"), "{}", stack.said());
    assert_eq!(
        running["stripe"].is_null(),
        cfg!(not(feature = "stripe-stub")),
        "{running}"
    );
    let said = stack.said();
    assert!(
        said.contains("PostgreSQL 1") && !said.contains("DATABASE_URL"),
        "{said}"
    );
    for key in [
        "database.tenant_url",
        "database.kernel_url",
        "database.migrator_url",
        "secrets.keks",
        "secrets.signing",
        "secrets.signing_file",
        "server.public_url",
    ] {
        assert!(said.contains(&format!("{key} is not used here")), "{key}: {said}");
    }
    assert!(stack.end("TERM").success());
    let removed = stack.command(&["--remove"]).output().expect("asked");
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
}

#[cfg(feature = "stripe-stub")]
#[test]
fn a_stack_takes_the_stripe_that_a_file_names() {
    let mut stack = Stack::new("account");
    let file = stack.folder.join("own.toml");
    fs::write(
        &file,
        "[stripe]\nsecret_key = \"sk_test_of_somebody\"\nwebhook_secrets = \"whsec_of_somebody\"\n",
    )
    .expect("written");
    stack.variables.push(("GUILDHALL_CONFIG", file.display().to_string()));
    let running = stack.start();
    assert!(running["stripe"].is_null(), "{running}");
    assert!(stack.end("TERM").success());
}
