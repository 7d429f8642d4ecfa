//! `guildhall dev`, as somebody who has just cloned the project meets it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A stack in a folder of its own, which goes with it.
struct Stack {
    folder: PathBuf,
    process: Option<Child>,
}

impl Stack {
    fn new(name: &str) -> Stack {
        let folder = std::env::temp_dir().join(format!("guildhall-it-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Stack { folder, process: None }
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
            .stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it says where it is.
    fn start(&mut self) -> Value {
        let log = fs::File::create(self.folder.join("log")).expect("a log");
        let mut command = self.command(&["--port", "0"]);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let child = self.process.insert(command.spawn().expect("started"));
        let begun = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(self.folder.join("stack/running.json"))
                && let Ok(Value::Object(running)) = serde_json::from_str(&text)
                && running["process"] == child.id()
            {
                return Value::Object(running);
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(child.try_wait().expect("asked").is_none(), "it ended:\n{}", log());
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it takes too long:\n{}",
                log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(&mut self, signal: &str) -> ExitStatus {
        let mut child = self.process.take().expect("started");
        // The shell's own: a bare machine has no program of that name.
        let line = format!("kill -s {signal} {}", child.id());
        let sent = Command::new("/bin/sh").args(["-c", &line]).status().expect("a shell");
        assert!(sent.success());
        child.wait().expect("ended")
    }

    fn secret(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join("stack/secrets.json")).expect("secrets");
        serde_json::from_str::<Value>(&text).expect("JSON")[name]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// The processes whose command line names the folder, or anything below it.
    fn processes(&self) -> Vec<String> {
        let ours = self.folder.to_str().expect("text");
        command_lines().into_iter().filter(|line| line.contains(ours)).collect()
    }

    fn nothing_is_left(&self) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "still there: {:#?}",
                self.processes()
            );
            thread::sleep(Duration::from_millis(50));
        }
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
    let url = format!("{}{path}", running["url"].as_str().expect("a URL"));
    let request = async { reqwest::Client::builder().no_proxy().build()?.get(url).send().await };
    actix_web::rt::System::new()
        .block_on(request)
        .is_ok_and(|answer| answer.status().is_success())
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

    let running = stack.start();
    assert!(answers(&running, "/readyz") && answers(&running, "/docs/"));
    assert!(!stack.processes().is_empty(), "PostgreSQL runs");
    assert!(
        is_private(&stack.folder.join("stack/secrets.json")) && is_private(&stack.folder.join("stack/running.json"))
    );
    let status = stack.command(&["--status"]).output().expect("asked");
    assert!(status.status.success() && String::from_utf8_lossy(&status.stdout).contains("Guildhall runs"));
    let second = stack.command(&[]).output().expect("refused");
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("runs already"));
    let password = stack.secret("administrator");

    assert!(stack.end("TERM").success(), "a signal is how it is meant to end");
    assert!(stack.processes().is_empty(), "it waits for what it started");

    stack.start();
    assert_eq!(stack.secret("administrator"), password, "the same stack again");
    assert!(!stack.end("KILL").success());
    stack.nothing_is_left();
    assert!(!stack.command(&["--status"]).output().expect("asked").status.success());
}
