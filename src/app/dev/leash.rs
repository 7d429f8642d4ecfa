//! Servers on a leash: a server that this process started ends when this process ends, also by SIGKILL, and takes its files along.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{self as unix, DirBuilderExt, MetadataExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// Sits between this process and the server, in a process group of its own, so that a Ctrl-C in the terminal reaches neither. It waits
/// for the end of its standard input, which only this process holds open, then stops the server, by force where asking does not help. A SIGHUP
/// comes from the system if the server is paused (SIGSTOP) when this process ends, and must not end the leash.
const SUPERVISOR: &str = r#"
trap '' HUP
folder=$1 keep=$2 signal=$3 patience=$4; shift 4
exec 3<&0 </dev/null
"$@" 3<&- >>"$folder/server.log" 2>&1 &
server=$!
{
  read -r _ <&3
  tries=0
  while [ ! -e "$folder/ended" ] && kill -s "$signal" "$server" 2>/dev/null; do
    sleep 0.05
    tries=$((tries + 1))
    if [ "$tries" -gt "$patience" ]; then signal=KILL; fi
  done
} &
leash=$!
exec 3<&-
wait "$server"
echo "$?" >"$folder/ended"
wait "$leash"
if [ "$keep" = no ]; then rm -rf "$folder"; fi
"#;

/// How a server is asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// `SIGINT`: PostgreSQL disconnects everybody and writes out what it has.
    Tidily,
    /// `SIGQUIT`: PostgreSQL drops everything. For data that nobody will read.
    AtOnce,
    /// `SIGTERM`: what other servers understand.
    Plainly,
}

/// What becomes of the server's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// It stays, with everything in it.
    Stays,
    /// It goes when the server has ended.
    Goes,
}

/// A running server. Dropping it stops the server.
pub(super) struct Leash {
    supervisor: Child,
    held: Option<ChildStdin>,
    folder: PathBuf,
    fate: Folder,
}

impl Leash {
    /// Starts a server that works in `folder` and logs to `server.log` there.
    pub(super) fn start<A: AsRef<OsStr>>(
        owner: Owner,
        folder: &Path,
        fate: Folder,
        stop: Stop,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Leash> {
        // How often it is asked, about 18 times a second, before it is forced.
        let (signal, patience) = match stop {
            Stop::Tidily => ("INT", "180"),
            Stop::AtOnce => ("QUIT", "18"),
            Stop::Plainly => ("TERM", "90"),
        };
        for stale in ["ended", "server.log"] {
            let stale = folder.join(stale);
            if stale.exists() {
                fs::remove_file(&stale).with_context(|| format!("{} cannot be removed", stale.display()))?;
            }
        }
        let mut command = owner.command("/bin/sh");
        command.args(["-c", SUPERVISOR, "guildhall-leash"]).arg(folder);
        command
            .args([if fate == Folder::Stays { "yes" } else { "no" }, signal, patience])
            .arg(program)
            .args(arguments);
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut supervisor = command
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Leash {
            held: supervisor.stdin.take(),
            supervisor,
            folder: folder.to_owned(),
            fate,
        })
    }

    /// Waits until `ready` answers, for at most 30 s.
    ///
    /// # Errors
    /// The server ended or never got ready; the message ends with its last log lines.
    pub(super) fn wait_until<T>(&mut self, name: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ready() {
                return Ok(answer);
            }
            let ended = self.folder.join("ended").exists() || self.supervisor.try_wait()?.is_some();
            if ended {
                bail!("{name} ended instead of starting:\n{}", self.last_words());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("{name} was not ready after 30 s:\n{}", self.last_words());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last lines of the server's log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.held = None;
        let begun = Instant::now();
        // Longer than the supervisor's own patience.
        while begun.elapsed() < Duration::from_secs(20) {
            match self.supervisor.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        if self.fate == Folder::Goes && self.folder.exists() {
            // Only where somebody killed the supervisor. What cannot be removed is left to the system's own sweep.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The account that servers run as. PostgreSQL refuses root, so where this process is root an unprivileged account takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The account of this process.
    Same,
    /// An account without privileges.
    Other { user: u32, group: u32 },
}

impl Owner {
    /// The account for this process's servers.
    ///
    /// # Errors
    /// This process is root and the system knows neither `postgres` nor `nobody`.
    pub(super) fn find() -> Result<Owner> {
        if id(&["-u"])? != Some(0) {
            return Ok(Owner::Same);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(user), Some(group)) = (id(&["-u", name])?, id(&["-g", name])?) {
                return Ok(Owner::Other { user, group });
            }
        }
        bail!("PostgreSQL refuses to run as root, and there is no account postgres or nobody that could run it");
    }

    /// A command that runs as this account, in the root folder, with an environment that changes nothing.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([("LC_ALL", "C"), ("TZ", "UTC")])
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Owner::Other { user, group } = self {
            command.uid(user).gid(group);
        }
        command
    }

    /// True if the account can enter a folder: every folder above it lets it pass.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        let status = self.command("/bin/sh").args(["-c", ":"]).current_dir(folder).status();
        status.is_ok_and(|status| status.success())
    }

    /// Makes a folder that only this account (and root) may look into. One that is there already must be the account's own.
    pub(super) fn folder(self, path: &Path) -> Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let known = fs::symlink_metadata(path)?;
                ensure!(known.is_dir(), "{} is not a folder", path.display());
                if let Owner::Other { user, .. } = self {
                    let whose = known.uid();
                    ensure!(
                        whose == user || whose == 0,
                        "{} belongs to somebody else",
                        path.display()
                    );
                }
                return self.adopt(path);
            }
            made => made.with_context(|| format!("{} cannot be made", path.display()))?,
        }
        self.adopt(path)
    }

    /// Writes a file that only this account (and root) may read.
    pub(super) fn write(self, path: &Path, text: &str) -> Result<()> {
        super::home::write_private(path, text)?;
        self.adopt(path)
    }

    fn adopt(self, path: &Path) -> Result<()> {
        if let Owner::Other { user, group } = self {
            unix::lchown(path, Some(user), Some(group))
                .with_context(|| format!("{} cannot be handed to the account of the servers", path.display()))?;
        }
        Ok(())
    }
}

/// What `id` says, `None` where it knows no such account.
fn id(arguments: &[&str]) -> Result<Option<u32>> {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .context("the command `id` is missing")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(process: &str) -> bool {
        // The shell's own: a bare machine has no program of that name.
        let line = format!("kill -0 {process} 2>/dev/null");
        Command::new("/bin/sh")
            .args(["-c", &line])
            .status()
            .expect("a shell")
            .success()
    }

    fn shell(script: &str, fate: Folder, stop: Stop) -> (Leash, PathBuf) {
        let owner = Owner::find().expect("an account");
        let folder = super::super::home::temporary_folder(owner).expect("a folder");
        let arguments = ["-c", script, "server"].map(str::to_owned);
        let arguments = arguments.into_iter().chain([folder.display().to_string()]);
        let leash = Leash::start(owner, &folder, fate, stop, Path::new("/bin/sh"), arguments).expect("started");
        (leash, folder)
    }

    const SERVER: &str = r#"echo $$ >"$1/pid.new"; mv "$1/pid.new" "$1/pid"; exec sleep 600"#;

    fn process_of(leash: &mut Leash, folder: &Path) -> String {
        let read = || fs::read_to_string(folder.join("pid")).ok();
        leash.wait_until("the server", read).expect("ready").trim().to_owned()
    }

    #[test]
    fn letting_go_ends_the_server_and_takes_its_folder_along() {
        let (mut leash, folder) = shell(SERVER, Folder::Goes, Stop::Plainly);
        let process = process_of(&mut leash, &folder);
        assert!(is_alive(&process));

        drop(leash);

        assert!(!is_alive(&process));
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_does_not_listen_is_ended_by_force() {
        // Background commands of a shell ignore SIGQUIT, and sleep leaves it at that.
        let (mut leash, folder) = shell(SERVER, Folder::Goes, Stop::AtOnce);
        let process = process_of(&mut leash, &folder);

        drop(leash);

        assert!(!is_alive(&process));
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_ends_at_once_says_why() {
        let (mut leash, folder) = shell("echo the disk is full; exit 3", Folder::Goes, Stop::Plainly);
        let refusal = leash
            .wait_until("the server", || None::<()>)
            .expect_err("ended")
            .to_string();
        assert!(refusal.contains("the disk is full"), "{refusal}");
        drop(leash);
        assert!(!folder.exists());
    }
}
