//! What the image and the chart name, the product has: settings that it takes, probes that it answers, files that it is built from.
//! `scripts/chart` sees to it that the chart renders.

use std::{collections::HashMap, fs, net::TcpListener, path::Path};

use guildhall::{
    app::admin,
    kernel::config::{Config, Environment},
};

use crate::{
    rules::{none, sources},
    world::{Caller, World},
};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn templates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/guildhall/templates");
    let entries = fs::read_dir(folder).expect("the chart's templates").flatten();
    let name = |entry: fs::DirEntry| format!("helm/guildhall/templates/{}", entry.file_name().to_string_lossy());
    entries.map(name).map(|name| (name.clone(), file(&name))).collect()
}

/// The lines of a part of values.yaml.
fn part<'v>(values: &'v str, name: &str) -> impl Iterator<Item = &'v str> {
    let (_, after) = values.split_once(&format!("\n{name}:\n")).expect("a part of that name");
    let inside = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with(' '));
    inside.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

/// The variables that `config` becomes.
fn settings(values: &str) -> Vec<(String, String)> {
    let (mut found, mut section) = (Vec::new(), "");
    for line in part(values, "config") {
        let (name, value) = line.trim().split_once(':').expect("a key");
        if !line.starts_with("    ") {
            section = name;
            continue;
        }
        let value = value.trim().trim_matches('"');
        let variable = format!("GUILDHALL__{section}__{name}").to_uppercase();
        if !value.is_empty() && value != "[]" {
            found.push((variable, value.to_owned()));
        }
    }
    found
}

/// The variables that stand in the templates by name, or come from a Secret.
fn named(values: &str) -> Vec<String> {
    let shouted = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let in_templates: Vec<String> = templates()
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim().strip_prefix("- name: ").map(str::to_owned))
        .collect();
    let in_secrets = part(values, "secrets").filter_map(|line| line.trim().strip_prefix("- ").map(str::to_owned));
    in_templates
        .into_iter()
        .chain(in_secrets)
        .filter(|name| shouted(name))
        .collect()
}

/// What somebody would put there.
fn plausible(variable: &str) -> &'static str {
    match variable {
        "DATABASE_TENANT_URL" | "DATABASE_KERNEL_URL" | "DATABASE_MIGRATOR_URL" => "postgres://role:word@db/guildhall",
        "GUILDHALL__SECRETS__KEKS" => "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "GUILDHALL__SECRETS__SIGNING" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "GUILDHALL__MAIL__SMTP_URL" => "smtps://user:word@smtp.example.com",
        "GUILDHALL__SERVER__ADMIN_HOST" => "10.1.2.3",
        "REDIS_URL" => "redis://redis:6379",
        "STRIPE_SECRET_KEY" => "sk_live_one",
        "STRIPE_WEBHOOK_SECRET" => "whsec_one",
        "SENTRY_DSN" => "https://one@errors.example.com/1",
        "GUILDHALL_REPLICAS" => "2",
        "GUILDHALL_ENV" => "production",
        other => panic!("what is {other}?"),
    }
}

#[test]
fn every_variable_of_the_chart_is_a_setting_and_production_takes_them_all() {
    let values = file("helm/guildhall/values.yaml");
    let (known, cli) = (file("src/kernel/config/mod.rs"), file("src/app/cli.rs"));
    let is_known = |name: &String| {
        name.starts_with("GUILDHALL__")
            || known.contains(&format!("(\"{name}\", \""))
            || cli.contains(&format!("env = \"{name}\""))
    };
    let named = named(&values);
    let strange = named.iter().filter(|name| !is_known(name)).cloned().collect();
    none("variables that nothing reads", strange);

    let mut variables: HashMap<String, String> = settings(&values).into_iter().collect();
    assert!(variables.len() > 4 && named.len() > 10, "{variables:?} {named:?}");
    variables.extend(
        named
            .into_iter()
            .map(|name| (name.clone(), plausible(&name).to_owned())),
    );
    for (said, value) in [
        ("SERVER__PUBLIC_URL", "https://api.example.com"),
        ("MAIL__FROM", "a@example.com"),
    ] {
        let before = variables.insert(format!("GUILDHALL__{said}"), value.to_owned());
        assert_eq!(before, None, "{said} is everybody's own");
    }
    let config = Config::from_variables(Environment::Production, variables.clone()).expect("a sound configuration");
    assert_eq!(config.server.replicas, 2);
    assert_eq!(config.server.admin_host.to_string(), "10.1.2.3");

    variables.insert("GUILDHALL__WORKER__PARALLEL".into(), "1".into());
    let refused = Config::from_variables(Environment::Production, variables).expect_err("an unknown key");
    assert!(refused.to_string().contains("worker"), "{refused}");
}

/// The probes of a template: a path, and the name of a port.
fn probes(text: &str) -> Vec<(String, String)> {
    let after = |line: &str, word: &str| line.trim().strip_prefix(word).map(str::to_owned);
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(3).filter(|three| three[0].trim() == "httpGet:");
    pairs
        .map(|three| (after(three[1], "path: "), after(three[2], "port: ")))
        .map(|(path, port)| (path.expect("a path"), port.expect("a port")))
        .collect()
}

#[actix_web::test]
async fn every_probe_of_the_chart_is_answered_by_the_listener_that_it_asks() {
    let world = World::new().await;
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    actix_web::rt::spawn(admin::serve(world.deployment.clone(), socket).expect("a server"));
    let admin = Caller::new(reqwest::Client::new(), &base, None);
    let public = world.anonymous();
    for (name, ports) in [
        ("serve", vec![("http", "server.port"), ("admin", "server.admin_port")]),
        ("worker", vec![("admin", "worker.admin_port")]),
    ] {
        let text = file(&format!("helm/guildhall/templates/{name}.yaml"));
        for (port, key) in &ports {
            let container = format!("- name: {port}\n              containerPort: {{{{ .Values.config.{key} }}}}\n");
            assert!(text.contains(&container), "{name}: {port} is not {key}");
        }
        let probes = probes(&text);
        assert_eq!(probes.len(), 2, "{name}: {probes:?}");
        for (path, port) in probes {
            assert!(ports.iter().any(|(known, _)| *known == port), "{name}: {port}");
            let asked = if port == "http" { &public } else { &admin };
            asked.get(&path).await.ok();
            assert_eq!(asked.get("/livez").await.status, 404);
        }
    }
    let metrics = file("helm/guildhall/templates/monitor.yaml");
    assert!(metrics.contains("path: /metrics") && metrics.starts_with("{{- if .Values.serviceMonitor.enabled }}"));
    assert_eq!(admin.get("/metrics").await.status, 200);
    for (name, text) in templates() {
        let leads = text.contains("targetPort: admin");
        assert_eq!(leads, name.ends_with("/monitor.yaml"), "{name}");
    }
}

#[test]
fn the_image_is_built_from_what_it_needs_and_runs_as_nobody() {
    let (image, left_out) = (file("Dockerfile"), file(".dockerignore"));
    let build = image
        .lines()
        .find(|line| line.contains("cargo build"))
        .expect("a build");
    let (command, _) = build.trim().split_once(" && ").expect("and a copy of it");
    assert_eq!(
        command,
        "cargo build --locked --release --features vendored-openssl --bin guildhall"
    );
    let rust = format!("FROM rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(image.contains(&rust), "{rust}");
    let user = "65532";
    assert!(image.contains(&format!("\nUSER {user}:{user}\n")));
    let pod = file("helm/guildhall/templates/_helpers.tpl");
    assert!(pod.contains(&format!("runAsUser: {user}\n")) && pod.contains("readOnlyRootFilesystem: true"));
    let chart = file("helm/guildhall/Chart.yaml");
    assert!(chart.contains(&format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"))));

    let mut needed: Vec<String> = vec!["src".into(), "migrations".into(), "build.rs".into()];
    for (_, text) in sources("src") {
        let embedded = text
            .split("include_str!(\"")
            .skip(1)
            .filter_map(|after| after.split('"').next());
        let outside = embedded.filter(|path| path.starts_with("../../../"));
        needed.extend(outside.filter_map(|path| path.trim_start_matches("../").split('/').next().map(str::to_owned)));
    }
    let targets = file("Cargo.toml");
    let paths = targets
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.split('/').next());
    needed.extend(paths.map(str::to_owned));
    assert!(needed.iter().any(|folder| folder == "config") && needed.iter().any(|folder| folder == "benches"));
    needed.retain(|folder| left_out.lines().any(|line| line == folder));
    none("what the build needs and .dockerignore leaves out", needed);
}

/// Whatever a pod is, it has the files that all have: what every pod and every container is says so, and each template asks for both.
#[test]
fn files_of_ones_own_are_in_every_pod_of_the_chart() {
    let helpers = file("helm/guildhall/templates/_helpers.tpl");
    let values = file("helm/guildhall/values.yaml");
    for (of, key, name) in [
        ("pod", "volumes", "extraVolumes"),
        ("container", "volumeMounts", "extraVolumeMounts"),
    ] {
        let (_, defined) = helpers
            .split_once(&format!("{{{{- define \"guildhall.{of}\" -}}}}"))
            .expect("what every one is");
        let defined = defined.split("{{- define").next().unwrap_or_default();
        let said =
            format!("{{{{- with .Values.{name} }}}}\n{key}:\n  {{{{- toYaml . | nindent 2 }}}}\n{{{{- end }}}}\n");
        assert!(defined.contains(&said), "guildhall.{of} has no {name}");
        assert!(
            values.contains(&format!("\n{name}: []\n")),
            "{name} is nothing by itself"
        );
    }
    for kind in ["serve", "worker", "migrate"] {
        let text = file(&format!("helm/guildhall/templates/{kind}.yaml"));
        let asks = ["guildhall.pod", "guildhall.container"];
        assert!(
            asks.iter().all(|what| text.contains(&format!("include \"{what}\" ."))),
            "{kind}"
        );
        // Said twice, a key is an error or wins over what all have.
        assert!(!text.contains("volumes:") && !text.contains("volumeMounts:"), "{kind}");
    }
}
