//! Encryption at rest. Every record has a random key of its own (AES-256-GCM); that key is wrapped by a key-encryption key (KEK) which the
//! database never holds. What is sealed is bound to where it stands: moved to another row, column or workspace, it does not open.

use std::{collections::HashMap, fmt};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::aead::{self, AES_256_GCM, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    serialize::{self, Output, ToSql},
    sql_types::Binary,
};
use uuid::Uuid;
use zeroize::Zeroize;

use crate::kernel::{crypto::random, error::Error, secret::Secret};

/// The layout of a sealed record; a byte of its own, so that a later one can stand beside it.
const VERSION: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
const KEY: usize = 32;

/// A sealed record: version, KEK id, wrapped key, ciphertext. Safe to store and to print.
#[derive(Clone, PartialEq, Eq, FromSqlRow, AsExpression)]
#[diesel(sql_type = Binary)]
pub struct Sealed(Vec<u8>);

/// Where a record stands. It is authenticated, not stored.
#[derive(Clone)]
pub struct Aad(Vec<u8>);

impl Aad {
    /// The place of a record: its workspace (the nil UUID outside of any), table, column, and what identifies its row.
    pub fn new(workspace: Option<Uuid>, table: &str, column: &str, row: impl AsRef<[u8]>) -> Aad {
        let workspace = workspace.unwrap_or_default();
        let mut place = vec![VERSION];
        // Each part with its length: no two places read the same.
        for part in [workspace.as_bytes(), table.as_bytes(), column.as_bytes(), row.as_ref()] {
            place.extend_from_slice(&(part.len() as u32).to_be_bytes());
            place.extend_from_slice(part);
        }
        Aad(place)
    }
}

/// Why a record does not open.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is wrapped by a KEK that this process was not given.
    MissingKek(String),
    /// It was altered, or stands in another place than it was sealed for.
    Altered,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::MissingKek(id) => write!(
                f,
                "a record is sealed under the key-encryption key {id:?}, which is not among secrets.keks: add it behind the current one"
            ),
            Unreadable::Altered => f.write_str("a sealed record was altered, or does not belong where it stands"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Error {
        Error::Broken(unreadable.into())
    }
}

/// The key-encryption keys: the current one seals, all of them open.
pub struct Keyring {
    current: String,
    keks: HashMap<String, Secret<[u8; KEY]>>,
}

impl Keyring {
    /// Reads `id:base64 of 32 bytes`, separated by commas; the first one is the current one.
    ///
    /// # Errors
    /// An entry that cannot be read, an id twice, no entry at all. The message shows ids only.
    pub fn parse(text: &Secret<String>) -> Result<Keyring> {
        let mut current = None;
        let mut keks = HashMap::new();
        for (place, entry) in text
            .expose()
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .enumerate()
        {
            let (id, key) = entry
                .split_once(':')
                .with_context(|| format!("secrets.keks: entry {} is not `id:base64`", place + 1))?;
            let shaped = (1..=64).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            ensure!(
                shaped,
                "secrets.keks: entry {}: an id is 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.'",
                place + 1
            );
            let mut bytes = STANDARD
                .decode(key)
                .map_err(|_| anyhow!("secrets.keks: the key {id} is not base64"))?;
            let key = <[u8; KEY]>::try_from(bytes.as_slice());
            bytes.zeroize();
            let key = key.map_err(|_| anyhow!("secrets.keks: the key {id} is not {KEY} bytes long"))?;
            current.get_or_insert_with(|| id.to_owned());
            ensure!(
                keks.insert(id.to_owned(), Secret::new(key)).is_none(),
                "secrets.keks: the id {id} stands there twice"
            );
        }
        let current = current.context("secrets.keks is empty: set `id:base64 of 32 random bytes`")?;
        Ok(Keyring { current, keks })
    }

    /// A ring with one random key, for tests and throw-away deployments.
    pub fn random() -> Keyring {
        Keyring {
            current: "random".into(),
            keks: HashMap::from([("random".into(), Secret::new(random()))]),
        }
    }

    /// The id of the key that seals.
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Whether this ring can open what that key wraps.
    pub fn has(&self, kek: &str) -> bool {
        self.keks.contains_key(kek)
    }

    /// Encrypts a record for its place.
    pub fn seal(&self, place: &Aad, record: &[u8]) -> Sealed {
        let key = Secret::new(random::<KEY>());
        let mut sealed = self.wrap(place, &key);
        sealed.extend(encrypt(key.expose(), place, record));
        Sealed(sealed)
    }

    /// Decrypts a record that stands in this place.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn open(&self, place: &Aad, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Unreadable> {
        let parts = sealed.parts().ok_or(Unreadable::Altered)?;
        let key = self.unwrap(place, &parts)?;
        decrypt(key.expose(), place, parts.record).ok_or(Unreadable::Altered)
    }

    /// The same record with its key wrapped by the current KEK; `None` if it already is. The record itself is not decrypted.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn rewrap(&self, place: &Aad, sealed: &Sealed) -> Result<Option<Sealed>, Unreadable> {
        let parts = sealed.parts().ok_or(Unreadable::Altered)?;
        if parts.kek == self.current {
            return Ok(None);
        }
        let key = self.unwrap(place, &parts)?;
        let key = <[u8; KEY]>::try_from(key.expose().as_slice()).map_err(|_| Unreadable::Altered)?;
        let mut fresh = self.wrap(place, &Secret::new(key));
        fresh.extend_from_slice(parts.record);
        Ok(Some(Sealed(fresh)))
    }

    /// Version, KEK id and wrapped key.
    fn wrap(&self, place: &Aad, key: &Secret<[u8; KEY]>) -> Vec<u8> {
        let kek = &self.keks[&self.current];
        let mut head = vec![VERSION, self.current.len() as u8];
        head.extend_from_slice(self.current.as_bytes());
        head.extend(encrypt(kek.expose(), place, key.expose()));
        head
    }

    fn unwrap(&self, place: &Aad, parts: &Parts<'_>) -> Result<Secret<Vec<u8>>, Unreadable> {
        let kek = self
            .keks
            .get(parts.kek)
            .ok_or_else(|| Unreadable::MissingKek(parts.kek.to_owned()))?;
        decrypt(kek.expose(), place, parts.key).ok_or(Unreadable::Altered)
    }
}

struct Parts<'a> {
    kek: &'a str,
    key: &'a [u8],
    record: &'a [u8],
}

impl Sealed {
    /// The id of the KEK that wraps it; `None` if it is no sealed record.
    pub fn kek(&self) -> Option<&str> {
        self.parts().map(|parts| parts.kek)
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let (version, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (kek, rest) = rest.split_at_checked(usize::from(*length))?;
        let (key, record) = rest.split_at_checked(NONCE + KEY + TAG)?;
        let kek = std::str::from_utf8(kek).ok()?;
        (*version == VERSION).then_some(Parts { kek, key, record })
    }
}

/// Nonce and ciphertext with its tag.
fn encrypt(key: &[u8; KEY], place: &Aad, plain: &[u8]) -> Vec<u8> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes are a key");
    let mut text = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(aead::Aad::from(&place.0), &mut text)
        .expect("records are smaller than 64 GiB");
    let mut sealed = nonce.as_ref().to_vec();
    sealed.append(&mut text);
    sealed
}

fn decrypt(key: &[u8], place: &Aad, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let length = key
        .open_in_place(nonce, aead::Aad::from(&place.0), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(Secret::new(text))
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({} bytes under {:?})",
            self.0.len(),
            self.kek().unwrap_or("?")
        )
    }
}

impl ToSql<Binary, Pg> for Sealed {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Vec<u8> as ToSql<Binary, Pg>>::to_sql(&self.0, out)
    }
}

impl FromSql<Binary, Pg> for Sealed {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Sealed> {
        <Vec<u8> as FromSql<Binary, Pg>>::from_sql(value).map(Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> Result<Keyring> {
        Keyring::parse(&Secret::new(text.to_owned()))
    }

    fn kek(byte: u8) -> String {
        STANDARD.encode([byte; KEY])
    }

    fn place() -> Aad {
        Aad::new(None, "users", "secret", b"row")
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_in_no_other() {
        let keys = Keyring::random();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let at = |workspace, table, column, row: &str| Aad::new(workspace, table, column, row);
        let sealed = keys.seal(&at(Some(one), "apps", "key", "a"), b"secret");
        assert_eq!(
            keys.open(&at(Some(one), "apps", "key", "a"), &sealed).unwrap().expose(),
            b"secret"
        );
        for elsewhere in [
            at(Some(two), "apps", "key", "a"),
            at(None, "apps", "key", "a"),
            at(Some(one), "hooks", "key", "a"),
            at(Some(one), "apps", "token", "a"),
            at(Some(one), "apps", "key", "b"),
            at(Some(one), "appsk", "ey", "a"),
            at(Some(one), "apps", "keya", ""),
        ] {
            assert_eq!(keys.open(&elsewhere, &sealed).err(), Some(Unreadable::Altered));
        }
    }

    #[test]
    fn no_flipped_bit_passes() {
        let keys = Keyring::random();
        let sealed = keys.seal(&place(), b"secret");
        for bit in 0..sealed.0.len() * 8 {
            let mut altered = sealed.clone();
            altered.0[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(&place(), &altered).is_err(), "bit {bit}");
        }
        for length in 0..sealed.0.len() {
            assert!(
                keys.open(&place(), &Sealed(sealed.0[..length].to_vec())).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn the_parts_of_two_records_cannot_be_put_together() {
        let keys = Keyring::random();
        let (one, two) = (keys.seal(&place(), b"one"), keys.seal(&place(), b"two"));
        let head = one.0.len() - one.parts().unwrap().record.len();
        let mixed = Sealed([&one.0[..head], &two.0[head..]].concat());
        assert_eq!(keys.open(&place(), &mixed).err(), Some(Unreadable::Altered));
        assert_ne!(
            one,
            keys.seal(&place(), b"one"),
            "the same record is never sealed alike"
        );
    }

    #[test]
    fn an_older_key_still_opens_and_rewrapping_moves_to_the_current_one() {
        let old = ring(&format!("2025:{}", kek(1))).unwrap();
        let both = ring(&format!("2026:{}, 2025:{}", kek(2), kek(1))).unwrap();
        let new = ring(&format!("2026:{}", kek(2))).unwrap();
        let sealed = old.seal(&place(), b"secret");
        assert_eq!(
            (sealed.kek(), both.current(), both.has("2025")),
            (Some("2025"), "2026", true)
        );
        assert_eq!(both.open(&place(), &sealed).unwrap().expose(), b"secret");
        assert_eq!(
            new.open(&place(), &sealed).err(),
            Some(Unreadable::MissingKek("2025".into()))
        );

        let moved = both.rewrap(&place(), &sealed).unwrap().expect("it was on the old one");
        assert_eq!(moved.kek(), Some("2026"));
        assert_eq!(new.open(&place(), &moved).unwrap().expose(), b"secret");
        assert_eq!(both.rewrap(&place(), &moved), Ok(None));
        let elsewhere = Aad::new(None, "users", "secret", b"another row");
        assert!(both.rewrap(&elsewhere, &sealed).is_err() && new.open(&elsewhere, &moved).is_err());
    }

    #[test]
    fn a_ring_that_cannot_be_read_says_why_and_shows_no_key() {
        for (text, why) in [
            (String::new(), "empty"),
            (kek(1), "not `id:base64`"),
            (format!("a b:{}", kek(1)), "an id is"),
            ("a:???".into(), "not base64"),
            ("a:AAAA".into(), "32 bytes"),
            (format!("a:{},a:{}", kek(1), kek(2)), "twice"),
        ] {
            let error = format!("{:#}", ring(&text).err().expect("refused"));
            assert!(
                error.contains(why) && !error.contains(&kek(1)) && !error.contains("???"),
                "{error}"
            );
        }
    }
}
