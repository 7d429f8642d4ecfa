//! The secrets of a development stack: made once, kept in its folder, readable by its owner alone.

use std::fs;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};

use super::home::{Home, write_private};

/// All of them, and what the demonstration needs to be shown again.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    /// The key-encryption key, as the configuration wants it.
    pub(super) keks: String,
    /// Signs cursors.
    pub(super) signing: String,
    /// The password of every database role.
    pub(super) database: String,
    /// Signs the events of the Stripe stub.
    pub(super) stripe_webhook: String,
    /// The platform administrator's password.
    pub(super) administrator: String,
    /// The demonstration's API key, once it was made.
    pub(super) demo_key: Option<String>,
}

impl Secrets {
    /// Reads them, or makes them, and then data that only older ones opened is removed.
    pub(super) fn of(home: &Home) -> Result<Secrets> {
        let file = home.stack("secrets.json");
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is not what this version keeps; `guildhall dev --reset` starts over",
                    file.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                home.remove_data()?;
                let made = Secrets::new()?;
                made.keep(home)?;
                Ok(made)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
        }
    }

    /// Writes them down.
    pub(super) fn keep(&self, home: &Home) -> Result<()> {
        write_private(&home.stack("secrets.json"), &serde_json::to_string_pretty(self)?)
    }

    fn new() -> Result<Secrets> {
        Ok(Secrets {
            keks: format!("dev:{}", STANDARD.encode(random::<32>()?)),
            signing: STANDARD.encode(random::<32>()?),
            database: URL_SAFE_NO_PAD.encode(random::<24>()?),
            stripe_webhook: format!("whsec_{}", STANDARD.encode(random::<24>()?)),
            administrator: URL_SAFE_NO_PAD.encode(random::<18>()?),
            demo_key: None,
        })
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).context("this machine gives no random bytes")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::dev::{home::temporary_folder, leash::Owner};

    #[test]
    fn they_are_made_once_and_differ_between_stacks() {
        let folder = temporary_folder(Owner::Same).expect("a folder");
        let (one, other) = (folder.join("one"), folder.join("other"));
        let secrets = |path: &std::path::Path| {
            let home = Home::at(path).expect("a home");
            home.make().expect("made");
            Secrets::of(&home).expect("secrets")
        };
        let first = secrets(&one);
        assert_eq!(first.administrator, secrets(&one).administrator);
        assert_ne!(first.administrator, secrets(&other).administrator);
        assert!(first.administrator.len() >= 15, "long enough to be a password here");
        fs::remove_dir_all(folder).expect("removed");
    }
}
