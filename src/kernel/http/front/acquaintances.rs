//! Credentials that were good a moment ago. Whoever shows one is no stranger, and is not counted as one: the credential is judged anew
//! all the same.

use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;

use super::overdrawn::Overdrawn;
use crate::kernel::{access::Credential, http::limits::Shown, secret::Token};

/// How long a good credential is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// Remembers them by their hash.
pub struct Acquaintances {
    good: Cache<[u8; 32], ()>,
    /// Those of them that asked for too much.
    pub(super) overdrawn: Overdrawn,
}

impl Default for Acquaintances {
    fn default() -> Acquaintances {
        Acquaintances {
            good: Cache::builder().max_capacity(50_000).time_to_live(MEMORY).build(),
            overdrawn: Overdrawn::default(),
        }
    }
}

/// A credential as it was met.
pub(super) struct Met {
    pub(super) shown: Shown,
    pub(super) hash: Option<[u8; 32]>,
}

impl Acquaintances {
    /// What the process knows of a credential without asking anybody.
    pub(super) fn meet(&self, credential: &Credential) -> Met {
        let hash = hash(credential);
        let shown = match (credential, &hash) {
            (_, Some(hash)) if self.good.contains_key(hash) => Shown::Known,
            // What cannot be ours is as good as nothing: the database need not be asked.
            (Credential::Key(text), _) if Token::parse(text.expose()).is_none() => Shown::Nothing,
            (_, Some(_)) => Shown::Unknown,
            (_, None) => Shown::Nothing,
        };
        Met { shown, hash }
    }

    /// Remembers how the credential was judged.
    pub(super) fn learn(&self, met: &Met, good: bool) {
        match (met.hash, met.shown) {
            (Some(hash), Shown::Unknown) if good => self.good.insert(hash, ()),
            (Some(hash), Shown::Known) if !good => self.good.invalidate(&hash),
            _ => {}
        }
    }
}

fn hash(credential: &Credential) -> Option<[u8; 32]> {
    let text = match credential {
        Credential::Token(text) | Credential::Key(text) | Credential::License(text) => text.expose(),
        Credential::None | Credential::Several => return None,
    };
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    Some(hash.as_ref().try_into().expect("32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        config::KeyMode,
        secret::{Secret, TokenKind},
    };

    fn key(text: &str) -> Credential {
        Credential::Key(Secret::new(text.to_owned()))
    }

    #[test]
    fn a_credential_is_known_from_when_it_proved_good_until_it_proves_bad() {
        let acquaintances = Acquaintances::default();
        let ours = key(Token::mint(TokenKind::PersonalKey, KeyMode::Test).expose());
        for (before, good) in [
            (Shown::Unknown, true),
            (Shown::Known, true),
            (Shown::Known, false),
            (Shown::Unknown, false),
        ] {
            let met = acquaintances.meet(&ours);
            assert_eq!(met.shown, before);
            acquaintances.learn(&met, good);
        }
        assert_eq!(acquaintances.meet(&ours).shown, Shown::Unknown);
    }

    #[test]
    fn what_cannot_be_ours_is_nothing() {
        let acquaintances = Acquaintances::default();
        for nothing in [
            key("gld_test_pk_nonsense"),
            key(""),
            Credential::None,
            Credential::Several,
        ] {
            let met = acquaintances.meet(&nothing);
            acquaintances.learn(&met, true);
            assert_eq!(acquaintances.meet(&nothing).shown, Shown::Nothing);
        }
    }
}
