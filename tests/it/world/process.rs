//! Processes of a world beside the test's own.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{World, patience::found};

/// A process of its own. It is killed with the test.
pub struct Process(Child);

impl Process {
    /// One that says what it does at its end.
    pub fn of(mut command: Command) -> Process {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Process(command.spawn().expect("a process"))
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("asked").is_some()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        send("TERM", &[self.0.id().to_string()]);
    }

    /// Its exit code, which it must have within that time.
    pub fn code(&mut self, longest: Duration) -> Option<i32> {
        code(&mut self.0, longest)
    }

    /// What it said, and whether it was content, once it is over.
    pub fn said(mut self) -> (String, bool) {
        let mut text = String::new();
        let (mut out, mut err) = (self.0.stdout.take().expect("kept"), self.0.stderr.take().expect("kept"));
        out.read_to_string(&mut text).expect("a text");
        err.read_to_string(&mut text).expect("a text");
        let well = self.0.wait().expect("ended").success();
        (text, well)
    }

    pub fn worker(world: &World) -> Process {
        Process::quiet(command(world, "worker"))
    }

    /// One of which only the end is asked, or what it writes where its command says.
    pub fn quiet(mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Process(command.spawn().expect("a process"))
    }

    /// Ends it by a signal that it cannot see coming.
    pub fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command of the product in this world, and in no other environment.
pub fn command(world: &World, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    command
        .args(["--env", "development", name])
        .env_clear()
        .envs(world.variables())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Sends a signal to processes that are there. The shell's own: a bare machine has no program of that name.
pub fn send(signal: &str, processes: &[String]) {
    let line = format!("kill -s {signal} {}", processes.join(" "));
    let sent = Command::new("/bin/sh").args(["-c", &line]).status().expect("a shell");
    assert!(sent.success(), "{line}");
}

/// The exit code of a process that ends within that time.
pub fn code(child: &mut Child, longest: Duration) -> Option<i32> {
    let over = || child.try_wait().expect("asked");
    found(longest, || "it goes on".into(), over).code()
}
