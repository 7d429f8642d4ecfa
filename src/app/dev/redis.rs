//! A private Redis, where there is one to start. Everything works without.

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{self, Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use super::{
    home::{Home, temporary_folder},
    leash::{Folder, Leash, Owner, Stop, free_port},
};
use crate::kernel::secret::Secret;

/// A running server, reachable over 127.0.0.1 with a password. It keeps nothing: dropping it leaves no file behind.
pub struct Redis {
    port: u16,
    password: String,
    _leash: Leash,
}

impl Redis {
    /// Starts one, or answers `None` where none is installed or `REDIS` is `off`.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn start(home: &Home) -> Result<Option<Redis>> {
        let Some(program) = find(home)? else { return Ok(None) };
        let mut tries = 0;
        loop {
            tries += 1;
            match run(&program) {
                // Somebody else may have been quicker to take the port.
                Err(_) if tries < 3 => {}
                outcome => return outcome.map(Some),
            }
        }
    }

    /// How to reach it.
    pub fn url(&self) -> Secret<String> {
        Secret::new(format!("redis://:{}@127.0.0.1:{}/0", self.password, self.port))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn run(program: &Path) -> Result<Redis> {
    let owner = Owner::find()?;
    let folder = temporary_folder(owner)?;
    let (port, password) = (free_port()?, Uuid::new_v4().simple().to_string());
    let settings = format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly no\ndaemonize no\ndir \"{}\"\n",
        folder.display().to_string().replace('\\', r"\\").replace('"', r#"\""#)
    );
    let file = folder.join("redis.conf");
    owner.write(&file, &settings)?;
    let mut leash = Leash::start(
        owner,
        &folder,
        Folder::Goes,
        Stop::Plainly,
        program,
        [OsString::from(file)],
    )?;
    leash.wait_until("Redis", || answers(port, &password).ok())?;
    Ok(Redis {
        port,
        password,
        _leash: leash,
    })
}

/// Asks the server whether it is there, and whether it is ours: another one would refuse the password.
fn answers(port: u16, password: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    match &answer {
        b"+OK\r\n+PONG\r\n" => Ok(()),
        _ => Err(std::io::Error::other("another answer")),
    }
}

/// Looks where `GUILDHALL_REDIS_SERVER` says, along `PATH`, where Homebrew installs, and in the stack's own folder.
fn find(home: &Home) -> Result<Option<PathBuf>> {
    if env::var_os("REDIS").is_some_and(|value| value == "off") {
        return Ok(None);
    }
    if let Some(named) = env::var_os("GUILDHALL_REDIS_SERVER").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        ensure!(
            named.exists(),
            "GUILDHALL_REDIS_SERVER names {}, which is not there",
            named.display()
        );
        return Ok(Some(named));
    }
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    folders.extend(["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    folders.push(home.join("redis/bin"));
    let mut programs = folders
        .iter()
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    let found = programs.find(|program| program.is_file());
    // Not followed: distributions link it to a program that looks at the name it was called by.
    found
        .map(|program| path::absolute(&program).context("the working directory is gone"))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_to_its_own_password_only_and_ends_with_its_handle() {
        let home = Home::find().expect("a folder");
        let Some(redis) = Redis::start(&home).expect("started where it is installed") else {
            // Absent is no error, and then there is nothing to ask.
            assert!(find(&home).expect("looked for").is_none());
            return;
        };
        let port = redis.port();
        answers(port, &redis.password).expect("ours");
        answers(port, "wrong").expect_err("refused");

        drop(redis);

        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect_err("nobody listens any more");
    }
}
