//! Where the development stack keeps what it has: `.guildhall/` in the project.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use uuid::Uuid;

use super::leash::Owner;

/// What a stack writes into its folder, beside the data of its servers.
const KEPT: &[&str] = &["stack"];
/// What whoever runs the stack of the folder holds.
pub(super) const LOCK: &str = "lock";

/// The folder of one development stack.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder that `GUILDHALL_HOME` names, else `.guildhall/` in the working directory. Nothing is made yet.
    ///
    /// # Errors
    /// The working directory is gone.
    pub fn find() -> Result<Home> {
        let named = std::env::var_os("GUILDHALL_HOME").filter(|name| !name.is_empty());
        Home::at(named.unwrap_or_else(|| ".guildhall".into()))
    }

    /// The stack in a given folder.
    ///
    /// # Errors
    /// The working directory is gone.
    pub fn at(folder: impl AsRef<Path>) -> Result<Home> {
        Ok(Home(
            std::path::absolute(folder).context("the working directory is gone")?,
        ))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What the stack keeps for itself.
    pub(super) fn stack(&self, name: &str) -> PathBuf {
        self.0.join("stack").join(name)
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> Result<()> {
        let stack = self.join("stack");
        fs::create_dir_all(&stack).with_context(|| format!("{} cannot be made", stack.display()))
    }

    /// Removes what the stack made: data, secrets, notes. What `scripts/setup` installed stays.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn remove(&self) -> Result<()> {
        let data = self.data(Owner::find()?)?;
        Home::gone(KEPT.iter().map(|name| self.join(name)).chain([data]))?;
        // Only if nothing else is in it.
        let _ = fs::remove_dir(&self.0);
        Ok(())
    }

    /// Whether a stack left anything here.
    pub(super) fn is_used(&self) -> bool {
        ["stack", "data", LOCK].iter().any(|name| self.join(name).exists())
    }

    /// Removes a file of the folder, and the folder if nothing else is in it.
    pub(super) fn leave(&self, last: &str) {
        let _ = fs::remove_file(self.join(last));
        let _ = fs::remove_dir(&self.0);
    }

    /// Removes the data of servers alone: without the stack's secrets nobody can read what is in it.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub(super) fn remove_data(&self) -> Result<()> {
        Home::gone([self.data(Owner::find()?)?])
    }

    fn gone(paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        for path in paths {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The folder for the data of servers. It is `data` in the home, unless this process is root and the home lies where the
    /// unprivileged account of the servers cannot go: then it is one under `/var/tmp` that belongs to this home alone.
    pub(super) fn data(&self, owner: Owner) -> Result<PathBuf> {
        self.make()?;
        let inside = self.join("data");
        if owner == Owner::Same || owner.can_enter(&self.0) {
            return Ok(inside);
        }
        let number = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.0.as_os_str().as_encoded_bytes());
        Ok(Path::new("/var/tmp").join(format!("guildhall-{}", number.simple())))
    }
}

/// Writes a file that only this account may read. It is complete or not there.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// A new folder that is gone after the run, where the account can go.
pub(super) fn temporary_folder(owner: Owner) -> Result<PathBuf> {
    let named = std::env::temp_dir();
    let places = [named.as_path(), Path::new("/tmp"), Path::new("/var/tmp")];
    // A socket's path must stay under 104 bytes on every system.
    let fits = |place: &&Path| place.as_os_str().len() <= 60 && owner.can_enter(place);
    let place = places
        .into_iter()
        .find(fits)
        .context("there is no temporary folder that servers could use")?;
    let folder = place.join(format!("guildhall-{}", &Uuid::new_v4().simple().to_string()[..12]));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    owner.folder(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private_and_replaced_whole() {
        let folder = temporary_folder(Owner::Same).expect("a folder");
        let file = folder.join("secret");
        write_private(&file, "one").expect("written");
        write_private(&file, "two").expect("written again");

        assert_eq!(fs::read_to_string(&file).expect("read"), "two");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).expect("listed").count(), 1);
        fs::remove_dir_all(folder).expect("removed");
    }
}
