//! Processes of a world beside the test's own.

use std::process::{Child, Command, Stdio};

use super::World;

/// A worker in a process of its own. It is killed with the test.
pub struct Process(Child);

impl Process {
    pub fn worker(world: &World) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
        command
            .args(["--env", "development", "worker"])
            .env_clear()
            .envs(world.variables())
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Process(child.expect("a process"))
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
