//! `guildhall dev`, as somebody who has just cloned the project meets it.

mod named;
mod waiting;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::world::{patience::found, process::send};

/// A stack in a folder of its own, which goes with it.
pub struct Stack {
    folder: PathBuf,
    /// Of its shell, beside those that every one has.
    variables: Vec<(&'static str, String)>,
    process: Option<Child>,
}

impl Stack {
    pub fn new(name: &str) -> Stack {
        let folder = std::env::temp_dir().join(format!("guildhall-it-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Stack {
            folder,
            variables: Vec::new(),
            process: None,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command
            .arg("dev")
            .args(arguments)
            .env("GUILDHALL_HOME", &self.folder)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            // Of a deployment that its shell knows: it has its own.
            .env("DATABASE_TENANT_URL", "postgres://app_tenant@127.0.0.1:1/none")
            .env("DATABASE_KERNEL_URL", "postgres://app_kernel@127.0.0.1:1/none")
            .env(
                "DATABASE_MIGRATOR_URL",
                "postgres://guildhall_migrator@127.0.0.1:1/none",
            )
            .env(
                "GUILDHALL__SECRETS__KEKS",
                "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            )
            .env(
                "GUILDHALL__SECRETS__SIGNING",
                "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            )
            .env("GUILDHALL__SERVER__PUBLIC_URL", "https://api.example.com")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it says where it is.
    pub fn start(&mut self) -> Value {
        self.start_with(&[])
    }

    /// Starts it, and does not wait.
    fn begin(&mut self, options: &[&str]) {
        let log = fs::File::create(self.folder.join("log")).expect("a log");
        let mut command = self.command(&["--port", "0"]);
        command.args(options);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.process = Some(command.spawn().expect("started"));
    }

    fn start_with(&mut self, options: &[&str]) -> Value {
        self.begin(options);
        let child = self.process.as_mut().expect("begun");
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        found(Duration::from_secs(60), log, || {
            let text = fs::read_to_string(self.folder.join("stack/running.json")).ok();
            let running: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
            assert!(child.try_wait().expect("asked").is_none(), "it ended:\n{}", log());
            running.filter(|running| running["process"] == child.id())
        })
    }

    fn end(&mut self, signal: &str) -> ExitStatus {
        let mut child = self.process.take().expect("started");
        send(signal, &[child.id().to_string()]);
        child.wait().expect("ended")
    }

    fn secret(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join("stack/secrets.json")).expect("secrets");
        serde_json::from_str::<Value>(&text).expect("JSON")[name]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// What it has said at the terminal.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    /// What `--status` says.
    fn status(&self) -> String {
        let output = self.command(&["--status"]).output().expect("asked");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The processes whose command line names the folder, or anything below it.
    fn processes(&self) -> Vec<String> {
        let ours = self.folder.to_str().expect("text");
        command_lines().into_iter().filter(|line| line.contains(ours)).collect()
    }

    fn nothing_is_left(&self) {
        let left = || format!("still there: {:#?}", self.processes());
        found(Duration::from_secs(20), left, || {
            self.processes().is_empty().then_some(())
        });
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
            self.nothing_is_left();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Of every process of this machine. A bare Linux has no `ps`, and macOS has no `/proc`.
fn command_lines() -> Vec<String> {
    let read = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
    match fs::read_dir("/proc") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(read)
            .collect(),
        Err(_) => {
            let output = Command::new("ps").args(["-axo", "args="]).output().expect("ps");
            read(output.stdout).lines().map(str::to_owned).collect()
        }
    }
}

fn answers(running: &Value, path: &str) -> bool {
    asked(running, "GET", path, &[], None).is_some()
}

/// Asks as a person does, and answers what a success says: JSON, or null.
pub fn asked(
    running: &Value,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Option<Value> {
    let url = format!("{}{path}", running["url"].as_str().expect("a URL"));
    let request = async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = client.request(method.parse().expect("a method"), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await?.error_for_status()?.bytes().await
    };
    let answer = actix_web::rt::System::new().block_on(request).ok()?;
    Some(serde_json::from_slice(&answer).unwrap_or_default())
}

fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).expect("there").permissions().mode() & 0o077 == 0
}

#[test]
fn a_stack_keeps_what_it_has_and_leaves_no_process_behind_however_it_ends() {
    let mut stack = Stack::new("ends");
    assert!(
        !stack.command(&["--status"]).output().expect("asked").status.success(),
        "it does not run yet"
    );
    let left = fs::read_dir(&stack.folder).expect("a folder").count();
    assert_eq!(left, 0, "who only asks leaves nothing behind");

    let running = stack.start();
    assert!(answers(&running, "/readyz") && answers(&running, "/docs/"));
    assert!(!stack.processes().is_empty(), "PostgreSQL runs");
    assert!(
        is_private(&stack.folder.join("stack/secrets.json")) && is_private(&stack.folder.join("stack/running.json"))
    );
    assert!(stack.status().contains("Guildhall runs"));
    let second = stack.command(&[]).output().expect("refused");
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("runs already"));
    let kept = stack.command(&["--remove"]).output().expect("refused");
    assert!(!kept.status.success() && String::from_utf8_lossy(&kept.stderr).contains("runs already"));
    let password = stack.secret("administrator");

    assert!(stack.end("TERM").success(), "a signal is how it is meant to end");
    assert!(stack.processes().is_empty(), "it waits for what it started");

    stack.start();
    assert_eq!(stack.secret("administrator"), password, "the same stack again");
    assert!(!stack.end("KILL").success());
    stack.nothing_is_left();
    assert!(!stack.command(&["--status"]).output().expect("asked").status.success());

    // Whoever has other keys than those of the data is told what helps.
    let secrets = stack.folder.join("stack/secrets.json");
    let lost = "dev:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let text = fs::read_to_string(&secrets).expect("secrets");
    fs::write(&secrets, text.replace(&stack.secret("keks"), lost)).expect("written");
    let refused = stack.command(&["--port", "0"]).output().expect("refused");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("signing keys") && said.contains("`guildhall dev --reset`"),
        "{said}"
    );
    stack.nothing_is_left();
    let said = |command: &mut Command| {
        let output = command.output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), text)
    };
    let (refused, why) = said(
        stack
            .command(&["--remove"])
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
    );
    assert!(!refused && why.contains("would lose the keys"), "{why}");
    let (removed, text) = said(&mut stack.command(&["--remove"]));
    assert!(removed && text.contains("removed what the stack kept"), "{text}");
    for name in ["stack", "data", "lock"] {
        assert!(!stack.folder.join(name).exists(), "{name}");
    }
    for elsewhere in ["", "postgres://nobody@127.0.0.1:1/none"] {
        let (nothing, text) = said(stack.command(&["--remove"]).env("DATABASE_URL", elsewhere));
        assert!(nothing && text.contains("there is nothing to remove"), "{text}");
    }
    assert!(!stack.folder.join("lock").exists() && !stack.folder.join("stack").exists());
}

#[test]
fn a_stack_has_an_administrator_and_a_demonstration_that_stay_until_it_starts_over() {
    let mut stack = Stack::new("seed");
    let running = stack.start();
    let shown = |running: &Value, name: &str| running["demonstration"][name].as_str().expect("a text").to_owned();
    let [email, password, slug, key] = ["email", "password", "workspace", "api_key"].map(|name| shown(&running, name));

    let bearer = format!("Bearer {key}");
    let by_key = [("authorization", bearer.as_str())];
    let workspace = asked(&running, "GET", "/api/v1/workspace", &by_key, None).expect("the key opens it");
    assert_eq!((workspace["slug"].as_str(), slug.as_str()), (Some("demo"), "demo"));
    let agent = serde_json::json!({ "name": "Echo", "framework": "openai", "config": { "model": "sandbox", "prompt": "{{ input.say }}" } });
    asked(&running, "POST", "/api/v1/agents", &by_key, Some(agent)).expect("it may do things there");

    // What is caught is not counted: whoever tries webhooks can sign in all the same.
    for n in 0..60 {
        let letter = Some(serde_json::json!({ "n": n }));
        asked(&running, "POST", "/dev/hooks/many", &[], letter).expect("caught");
    }
    let login = serde_json::json!({ "identifier": email, "password": password });
    let session = asked(&running, "POST", "/api/v1/auth/login", &[], Some(login)).expect("signed in");
    let token = format!("Bearer {}", session["access_token"].as_str().expect("a token"));
    let me = asked(&running, "GET", "/api/v1/me", &[("authorization", &token)], None).expect("somebody");
    assert_eq!(me["platform_role"], "admin");

    for text in [stack.said(), stack.status()] {
        for told in [&email, &password, &slug, &key] {
            assert!(text.contains(told.as_str()), "{told} is not in\n{text}");
        }
    }
    assert!(stack.end("INT").success(), "Ctrl-C is how it is meant to end");
    assert!(stack.processes().is_empty(), "it waits for what it started");

    let again = stack.start();
    assert_eq!(again["demonstration"], running["demonstration"], "the same ones again");
    let agents = asked(&again, "GET", "/api/v1/agents", &by_key, None).expect("the key opens it still");
    assert_eq!(
        agents["data"].as_array().map(Vec::len),
        Some(1),
        "with everything in it"
    );
    assert!(stack.end("INT").success());

    let file = stack.folder.join("stack/secrets.json");
    let other = fs::read_to_string(&file).map(|text| text.replace(&stack.secret("database"), "another"));
    fs::write(&file, other.expect("secrets")).expect("written");
    let lost = stack.command(&["--port", "0"]).output().expect("it ends");
    let told = String::from_utf8_lossy(&lost.stderr);
    assert!(
        !lost.status.success() && told.contains("guildhall dev --reset"),
        "{told}"
    );

    let fresh = stack.start_with(&["--reset"]);
    assert_ne!(shown(&fresh, "api_key"), key);
    assert_ne!(shown(&fresh, "password"), password);
    assert!(
        asked(&fresh, "GET", "/api/v1/workspace", &by_key, None).is_none(),
        "the old key is worth nothing"
    );
    let new = format!("Bearer {}", shown(&fresh, "api_key"));
    let agents = asked(&fresh, "GET", "/api/v1/agents", &[("authorization", &new)], None).expect("the new one works");
    assert_eq!(agents["data"].as_array().map(Vec::len), Some(0));
}

#[test]
#[cfg(feature = "stripe-stub")]
fn the_quickstart_walks_from_the_front_door_to_the_vault_and_can_do_so_again() {
    let mut stack = Stack::new("quickstart");
    stack.start();
    let walk = || {
        let mut command = Command::new("bash");
        command
            .arg("examples/quickstart.sh")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("GUILDHALL_HOME", &stack.folder);
        for name in [
            "GUILDHALL_URL",
            "HOOKS_URL",
            "STRIPE_URL",
            "STRIPE_SECRET_KEY",
            "STRIPE_WEBHOOK_SECRET",
        ] {
            command.env_remove(name);
        }
        let output = command.output().expect("bash");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{complaint}\n{}", stack.said());
        assert_eq!(complaint, "", "nothing to complain about");
        said
    };
    let first = walk();
    let mut rest = first.as_str();
    for milestone in [
        "Register",
        "Confirm your e-mail address",
        "\"status\":\"verified\"",
        "Create a workspace",
        "Create an API key",
        "\"status\":409,\"code\":\"machine-limit-reached\"",
        "\"valid\":true",
        "before: free, with 5 agents",
        "a forged signature is refused",
        "{\"outcome\":\"stored\"}",
        "after: pro, with 100 agents",
        "\"status\":\"completed\"",
        "the signature is right",
        "license.issued",
        "plan.changed",
        "That was everything.",
    ] {
        let place = rest.find(milestone);
        let place = place.unwrap_or_else(|| panic!("{milestone} is not in its place in\n{first}"));
        rest = &rest[place + milestone.len()..];
    }
    assert!(walk().contains("That was everything."));
    let said = stack.said();
    let line = said.lines().find(|line| line.contains("operation=licenses_create "));
    let line = line.unwrap_or_else(|| panic!("a licence was issued, and no line says so:\n{said}"));
    for field in [
        "status=201",
        "ms=",
        "db_ms=",
        "bytes_in=",
        "bytes_out=",
        "workspace=wsp_",
        "actor_id=",
    ] {
        assert!(line.contains(&format!(" {field}")), "{field} is not in {line}");
    }
    let before = said.lines().find(|line| line.contains("operation=auth_register "));
    assert!(
        !before.expect("a sign-up").contains(" workspace="),
        "what is nothing is not said"
    );
}
