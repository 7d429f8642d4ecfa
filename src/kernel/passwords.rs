//! Passwords: argon2id, never on a thread that serves requests, never more at once than there are cores, and only what the policy lets
//! through ([`policy`]).

mod policy;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::kernel::{
    crypto,
    error::{OVERLOADED, Outcome, Result},
    secret::Secret,
};

pub use policy::Policy;

/// What new hashes cost: 19 MiB, two passes, one lane (OWASP's first choice for argon2id).
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// What a stored hash may cost at most: an imported or tampered one must not take the machine with it. KiB, passes, lanes.
const BOUNDS: (u32, u32, u32) = (262_144, 10, 16);
/// How long somebody waits for their turn to hash.
const PATIENCE: Duration = Duration::from_secs(2);

/// Hashes and checks passwords. One per process: its copies share the line.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// What the password of an unknown account is compared with, so that the answer takes as long.
    nobody: Arc<str>,
}

/// What comparing a password with a stored hash says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is the right one.
    pub right: bool,
    /// The stored hash costs something else than new ones: hash again while the password is at hand.
    pub outdated: bool,
}

impl Passwords {
    /// With the gate's turns: as many at once as there are cores.
    pub fn new(turns: Arc<Semaphore>) -> Passwords {
        Passwords {
            turns,
            nobody: nobodys().into(),
        }
    }

    /// Hashes a password: a PHC string.
    ///
    /// # Errors
    /// 503 `overloaded` after two seconds in line.
    pub async fn hash(&self, password: Secret<String>) -> Result<String> {
        self.take_turn(move || hash(&password)).await
    }

    /// Compares a password with a stored hash. Without one (an unknown account, or one without a password) the answer is no, after the same
    /// work.
    ///
    /// # Errors
    /// 503 `overloaded` after two seconds in line; broken, if the stored hash cannot be read or would cost too much.
    pub async fn check(&self, password: Secret<String>, stored: Option<String>) -> Result<Verdict> {
        let nobody = self.nobody.clone();
        self.take_turn(move || match stored {
            Some(stored) => compare(&password, &stored),
            None => compare(&password, &nobody).map(|_| Verdict {
                right: false,
                outdated: false,
            }),
        })
        .await
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| OVERLOADED.with("reason", "passwords").outcome(Outcome::None))?
            .context("the line is never closed")?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that goes away does not make room that is not there.
            let _turn = turn;
            work()
        });
        Ok(done.await.map_err(|stopped| anyhow!("hashing stopped: {stopped}"))??)
    }
}

/// The form that is hashed: composed (NFC), so that every keyboard gives the same bytes.
fn composed(password: &Secret<String>) -> Secret<String> {
    Secret::new(password.expose().nfc().collect())
}

fn argon() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("known parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &Secret<String>) -> anyhow::Result<String> {
    let hashed: PasswordHash = argon()
        .hash_password_with_salt(composed(password).expose().as_bytes(), &crypto::random::<16>())
        .map_err(|error| anyhow!("hashing failed: {error}"))?;
    Ok(hashed.to_string())
}

/// A hash that costs as much to compare with as a new one, and that no password has: its bytes are random (PHC string format).
fn nobodys() -> String {
    let (memory, passes, lanes) = COST;
    let salt = STANDARD_NO_PAD.encode(crypto::random::<16>());
    let hash = STANDARD_NO_PAD.encode(crypto::random::<32>());
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

fn compare(password: &Secret<String>, stored: &str) -> anyhow::Result<Verdict> {
    let unreadable = "a stored password hash cannot be read";
    let stored = PasswordHash::new(stored).context(unreadable)?;
    let params = Params::try_from(&stored).context(unreadable)?;
    ensure!(
        stored.salt.is_some() && stored.hash.is_some(),
        "{unreadable}: it is not complete"
    );
    let cost = (params.m_cost(), params.t_cost(), params.p_cost());
    ensure!(
        cost.0 <= BOUNDS.0 && cost.1 <= BOUNDS.1 && cost.2 <= BOUNDS.2,
        "a stored password hash would cost {cost:?}, more than {BOUNDS:?}: it is not computed"
    );
    let right = argon()
        .verify_password(composed(password).expose().as_bytes(), &stored)
        .is_ok();
    let algorithm = Algorithm::Argon2id.ident();
    let current = stored.algorithm == algorithm && stored.version == Some(Version::V0x13.into()) && cost == COST;
    Ok(Verdict {
        right,
        outdated: !current,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::error::Error;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    const RIGHT: Verdict = Verdict {
        right: true,
        outdated: false,
    };

    fn with_turns(turns: usize) -> Passwords {
        Passwords::new(Arc::new(Semaphore::new(turns)))
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = with_turns(2);
        let stored = passwords.hash(secret("a fine long password")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(
            passwords
                .check(secret("a fine long password"), Some(stored.clone()))
                .await
                .unwrap(),
            RIGHT
        );
        assert!(
            !passwords
                .check(secret("a fine long Password"), Some(stored))
                .await
                .unwrap()
                .right
        );
        assert!(
            !passwords
                .check(secret("a fine long password"), None)
                .await
                .unwrap()
                .right
        );
    }

    #[tokio::test]
    async fn however_it_is_typed_it_is_the_same_password() {
        let passwords = with_turns(2);
        let stored = passwords.hash(secret("cafe\u{301} au lait, svp")).await.unwrap();
        assert_eq!(
            passwords
                .check(secret("caf\u{e9} au lait, svp"), Some(stored))
                .await
                .unwrap(),
            RIGHT
        );
    }

    #[test]
    fn a_hash_of_another_cost_still_counts_and_is_to_be_replaced() {
        let cheap = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 3, 1, None).unwrap(),
        );
        let stored: PasswordHash = cheap
            .hash_password_with_salt(b"a fine long password", b"0123456789abcdef")
            .unwrap();
        let verdict = compare(&secret("a fine long password"), &stored.to_string()).unwrap();
        assert_eq!(
            verdict,
            Verdict {
                right: true,
                outdated: true
            }
        );
    }

    #[test]
    fn nobodys_hash_costs_what_anybodys_does_and_no_password_has_it() {
        let verdict = compare(&secret("a fine long password"), &nobodys()).unwrap();
        assert_eq!(
            verdict,
            Verdict {
                right: false,
                outdated: false
            }
        );
        assert_ne!(nobodys(), nobodys());
    }

    #[test]
    fn a_hash_that_would_cost_too_much_is_never_computed() {
        let tail = "$MDEyMzQ1Njc4OWFiY2RlZg$KyKvw3LGTA4vvKJBCtKyRxkmKSMkJhwlFmEJ3wkNvSw";
        for cost in [
            "m=262145,t=2,p=1",
            "m=19456,t=11,p=1",
            "m=19456,t=2,p=17",
            "m=4294967295,t=4294967295,p=1",
        ] {
            let error = compare(&secret("x"), &format!("$argon2id$v=19${cost}{tail}")).expect_err("refused");
            assert!(error.to_string().contains("not computed"), "{cost}: {error}");
        }
        for stored in ["", "plain", "$2b$12$abc", "$argon2id$v=19$m=64"] {
            assert!(compare(&secret("x"), stored).is_err(), "{stored}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_to_come_back() {
        let passwords = with_turns(1);
        let _busy = passwords.turns.clone().acquire_owned().await.unwrap();
        let error = passwords
            .hash(secret("a fine long password"))
            .await
            .expect_err("no turn");
        assert!(
            matches!(&error, Error::Refused(problem) if problem.case().members["outcome"] == "none")
                && error.is(OVERLOADED)
        );
    }

    #[tokio::test]
    async fn a_caller_who_leaves_gives_up_the_turn_only_when_the_work_is_done() {
        let passwords = with_turns(1);
        let (started, begun) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let inner = passwords.clone();
        let leaving = tokio::spawn(async move {
            inner
                .take_turn(move || {
                    started.send(()).unwrap();
                    finished.recv().unwrap();
                    Ok(())
                })
                .await
        });
        tokio::task::spawn_blocking(move || begun.recv().unwrap())
            .await
            .unwrap();
        leaving.abort();
        assert!(leaving.await.is_err());
        assert_eq!(passwords.turns.available_permits(), 0);
        finish.send(()).unwrap();
        let back = async {
            while passwords.turns.available_permits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), back)
            .await
            .expect("the turn comes back");
    }
}
