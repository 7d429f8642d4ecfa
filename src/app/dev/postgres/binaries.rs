//! PostgreSQL's programs, wherever they were installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::app::dev::home::Home;

/// The oldest major version that serves Guildhall.
const OLDEST: u32 = 15;

/// One installation.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Where `postgres` and `initdb` lie.
    pub folder: PathBuf,
    /// As in "15.18".
    pub version: String,
}

impl Binaries {
    /// Looks where `GUILDHALL_PG_BIN` says, and only there if it says anything; else asks `pg_config`, then looks along `PATH`, where
    /// distributions and Homebrew install, and in the stack's own folder. The first of version 15 or newer serves.
    ///
    /// # Errors
    /// There is none; the message says how to get one.
    pub fn find(home: &Home) -> Result<Binaries> {
        choose(home, |found| found.major() >= OLDEST)?.with_context(|| {
            format!("no PostgreSQL {OLDEST} or newer was found: run scripts/setup, or set GUILDHALL_PG_BIN to the folder of its programs")
        })
    }

    /// The same for the one major version that can read a cluster.
    ///
    /// # Errors
    /// There is none.
    pub fn of_major(home: &Home, major: &str) -> Result<Binaries> {
        choose(home, |found| found.major().to_string() == major)?
            .with_context(|| format!("PostgreSQL {major} is not installed"))
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// True if the server could preload a library.
    pub(super) fn has_library(&self, name: &str) -> bool {
        let beside = ["../lib", "../lib/postgresql"].map(|folder| self.folder.join(folder));
        let told = told(&self.program("pg_config"), "--pkglibdir");
        let mut folders = beside.into_iter().chain(told);
        folders.any(|folder| {
            ["so", "dylib"]
                .iter()
                .any(|end| folder.join(name).with_extension(end).exists())
        })
    }

    fn major(&self) -> u32 {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    /// The installation in a folder, if there is a whole one.
    fn at(folder: &Path) -> Option<Binaries> {
        // PATH may hold a link to a program whose companions lie elsewhere.
        let server = fs::canonicalize(folder.join("postgres")).ok()?;
        let folder = server.parent()?.to_owned();
        if !folder.join("initdb").exists() {
            return None;
        }
        let output = Command::new(&server).arg("--version").output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let version = version_in(&said)?.to_owned();
        Some(Binaries { folder, version })
    }
}

fn choose(home: &Home, serves: impl Fn(&Binaries) -> bool) -> Result<Option<Binaries>> {
    if let Some(named) = env::var_os("GUILDHALL_PG_BIN").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let found = Binaries::at(&named).ok_or_else(|| {
            anyhow!(
                "GUILDHALL_PG_BIN names {}, where there is no PostgreSQL server",
                named.display()
            )
        })?;
        ensure!(
            serves(&found),
            "GUILDHALL_PG_BIN names {}, which is PostgreSQL {}",
            named.display(),
            found.version
        );
        return Ok(Some(found));
    }
    Ok(places(home)
        .iter()
        .filter_map(|folder| Binaries::at(folder))
        .find(serves))
}

/// Where to look, the best first.
fn places(home: &Home) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = told(Path::new("pg_config"), "--bindir").into_iter().collect();
    places.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    places.extend(newest_first("/usr/lib/postgresql", "", "bin"));
    places.extend(newest_first("/usr", "pgsql-", "bin"));
    for brew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        places.extend(newest_first(brew, "postgresql@", "bin"));
        places.push(Path::new(brew).join("postgresql/bin"));
    }
    places.extend(newest_first("/Applications/Postgres.app/Contents/Versions", "", "bin"));
    places.push(home.join("postgres/bin"));
    places
}

/// The folders `parent/prefixN/child`, the highest N first.
fn newest_first(parent: &str, prefix: &str, child: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(child)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// What a `pg_config` answers.
fn told(program: &Path, question: &str) -> Option<PathBuf> {
    let output = Command::new(program).arg(question).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let said = said.trim();
    (!said.is_empty()).then(|| PathBuf::from(said))
}

/// The version in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
fn version_in(said: &str) -> Option<&str> {
    said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_however_it_is_written() {
        let of = |said: &str| {
            let version = version_in(said).expect("a version").to_owned();
            Binaries {
                folder: PathBuf::new(),
                version,
            }
            .major()
        };
        assert_eq!(of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), 15);
        assert_eq!(of("postgres (PostgreSQL) 18.4\n"), 18);
        assert_eq!(of("postgres (PostgreSQL) 19beta1\n"), 19);
        assert_eq!(version_in("postgres: command not found"), None);
    }

    #[test]
    fn newer_installations_come_first() {
        let parent = super::super::temporary_folder(crate::app::dev::leash::Owner::Same).expect("a folder");
        for name in ["9.6", "15", "18", "16", "notes"] {
            fs::create_dir(parent.join(name)).expect("made");
        }
        let found = newest_first(parent.to_str().expect("text"), "", "bin");
        assert_eq!(found, ["18", "16", "15"].map(|name| parent.join(name).join("bin")));
        fs::remove_dir_all(parent).expect("removed");
    }
}
