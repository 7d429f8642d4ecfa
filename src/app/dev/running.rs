//! Which stack runs in a folder. There is one at most.

use std::{
    fs::{self, File, TryLockError},
    process,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    home::{Home, LOCK, write_private},
    seed::Demonstration,
};

/// The right to run the stack of a folder. The system takes it back when the process ends, however it ends.
pub(super) struct Lock(#[expect(dead_code, reason = "held for as long as it is open")] File);

impl Lock {
    /// Takes the right.
    ///
    /// # Errors
    /// A stack runs here already.
    pub(super) fn take(home: &Home) -> Result<Lock> {
        home.make()?;
        match Lock::try_take(home)? {
            Some(lock) => Ok(lock),
            None => match Running::read(home) {
                Some(it) => bail!("it runs already, at {} (process {})", it.url, it.process),
                None => bail!("another process is starting or stopping it"),
            },
        }
    }

    /// Whether anybody ever took it here.
    pub(super) fn is_made(home: &Home) -> bool {
        home.join(LOCK).exists()
    }

    /// Takes away what the right is to, where nothing is left to run.
    pub(super) fn forget(home: &Home) {
        home.leave(LOCK);
    }

    /// The right, unless somebody has it.
    pub(super) fn try_take(home: &Home) -> Result<Option<Lock>> {
        let path = home.join(LOCK);
        let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", path.display()))
            }
        }
    }
}

/// How to talk to the Stripe of a stack, and in its name.
#[derive(Serialize, Deserialize)]
pub(super) struct Till {
    /// Where it answers, as `https://api.stripe.com` would.
    pub(super) url: String,
    /// The secret key of the account.
    pub(super) key: String,
    /// What its events are signed with.
    pub(super) webhook_secret: String,
}

/// What a running stack says about itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Running {
    /// Of `guildhall dev`.
    pub(super) process: u32,
    /// Of the API.
    pub(super) url: String,
    /// Metrics and detailed readiness.
    pub(super) admin_url: String,
    /// How an administrator reaches the database.
    pub(super) database: String,
    /// Where Redis is, if there is one.
    pub(super) redis: Option<String>,
    /// The Stripe beside it; nothing if an account of one's own is configured.
    pub(super) stripe: Option<Till>,
    /// How to get in; nothing if the database belongs to somebody else.
    pub(super) demonstration: Option<Demonstration>,
}

impl Running {
    /// What a person needs to begin.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let url = &self.url;
        let mut lines = vec![
            ("API", format!("{url}/api/v1")),
            ("docs", format!("{url}/docs")),
            ("mails", format!("{url}/dev/mails?to=")),
            ("hook catcher", format!("{url}/dev/hooks/anything")),
        ];
        if let Some(stripe) = &self.stripe {
            lines.push(("Stripe", format!("{} (a stub; its key is {})", stripe.url, stripe.key)));
        }
        if let Some(it) = &self.demonstration {
            lines.extend([
                ("administrator", it.email.clone()),
                ("password", it.password.clone()),
                ("demo workspace", it.workspace.clone()),
                ("demo API key", it.api_key.clone()),
            ]);
        }
        lines
    }

    /// Writes it down; it holds passwords.
    pub(super) fn keep(&self, home: &Home) -> Result<()> {
        write_private(&home.stack("running.json"), &serde_json::to_string_pretty(self)?)
    }

    /// What the stack of a folder said last.
    pub(super) fn read(home: &Home) -> Option<Running> {
        serde_json::from_str(&fs::read_to_string(home.stack("running.json")).ok()?).ok()
    }

    /// It runs no more.
    pub(super) fn forget(home: &Home) {
        if Running::read(home).is_some_and(|it| it.process == process::id()) {
            // Left behind, it would be replaced by the next start.
            let _ = fs::remove_file(home.stack("running.json"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::dev::{home::temporary_folder, leash::Owner};

    #[test]
    fn one_stack_runs_in_a_folder() {
        let folder = temporary_folder(Owner::Same).expect("a folder");
        let home = Home::at(&folder).expect("a home");
        let held = Lock::take(&home).expect("free");
        assert!(Lock::take(&home).is_err());
        drop(held);
        Lock::take(&home).map(drop).expect("free again");
        fs::remove_dir_all(folder).expect("removed");
    }
}
