//! Credentials of our own making: `gld_{live|test}_{kind}_`, a random body in base62, and a CRC-32 of everything before it, so that a
//! mistyped or made-up one is refused without asking the database.

use std::fmt;

use crate::kernel::{config::KeyMode, crypto, secret::Secret};

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A service account's API key.
    ServiceKey,
    /// A person's own API key.
    PersonalKey,
    /// A refresh token.
    Refresh,
    /// A link that works once.
    OneTime,
    /// Between a right password and a second factor.
    Challenge,
    /// Opens one live stream.
    StreamTicket,
    /// A URL that starts runs.
    Trigger,
    /// An OAuth client's secret.
    ClientSecret,
    /// A licence key.
    LicenseKey,
    /// What an activated machine holds.
    Activation,
    /// A customer's session in the portal.
    PortalSession,
}

impl TokenKind {
    /// All of them.
    pub const ALL: [TokenKind; 11] = [
        TokenKind::ServiceKey,
        TokenKind::PersonalKey,
        TokenKind::Refresh,
        TokenKind::OneTime,
        TokenKind::Challenge,
        TokenKind::StreamTicket,
        TokenKind::Trigger,
        TokenKind::ClientSecret,
        TokenKind::LicenseKey,
        TokenKind::Activation,
        TokenKind::PortalSession,
    ];

    /// The two letters that stand for it.
    pub const fn mark(self) -> &'static str {
        match self {
            TokenKind::ServiceKey => "sk",
            TokenKind::PersonalKey => "pk",
            TokenKind::Refresh => "rt",
            TokenKind::OneTime => "ot",
            TokenKind::Challenge => "mc",
            TokenKind::StreamTicket => "st",
            TokenKind::Trigger => "wt",
            TokenKind::ClientSecret => "cs",
            TokenKind::LicenseKey => "lk",
            TokenKind::Activation => "at",
            TokenKind::PortalSession => "ps",
        }
    }

    /// How long the body is, in characters. A refresh token says what it belongs to; every other body is random.
    const fn body(self) -> usize {
        match self {
            TokenKind::Refresh => 50,
            _ => RANDOM,
        }
    }
}

/// Characters of a random body: 178 bits.
const RANDOM: usize = 30;
/// Characters of the checksum: base62 of a CRC-32, with leading zeros.
const CHECKSUM: usize = 6;
/// `gld_live_sk_`.
const PREFIX: usize = 12;

/// What finds these credentials in a text that should not hold them. Published, so that repositories can be scanned for leaks.
pub const SCANNER: &str =
    r"\bgld_(?:live|test)_(?:(?:sk|pk|ot|mc|st|wt|cs|lk|at|ps)_[0-9A-Za-z]{36}|rt_[0-9A-Za-z]{56})\b";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed credential: its checksum holds. Whether it was ever given to anybody, only the database knows.
#[derive(Clone, PartialEq)]
pub struct Token {
    kind: TokenKind,
    mode: KeyMode,
    text: Secret<String>,
}

impl Token {
    /// A new random credential from the operating system's generator.
    pub fn mint(kind: TokenKind, mode: KeyMode) -> Token {
        debug_assert_ne!(kind, TokenKind::Refresh, "a refresh token is made of its session");
        let mut body = String::with_capacity(RANDOM);
        // Bytes of 248 and more would make the first eight characters likelier than the others.
        while body.len() < RANDOM {
            let bytes: [u8; 64] = crypto::random();
            let letters = bytes.iter().filter(|byte| **byte < 248);
            body.extend(
                letters
                    .take(RANDOM - body.len())
                    .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
            );
        }
        Token::of_body(kind, mode, &body)
    }

    /// The credential that says these bytes, in so many characters as its kind has.
    ///
    /// # Panics
    /// If the bytes do not fit.
    pub fn of_bytes(kind: TokenKind, mode: KeyMode, bytes: &[u8]) -> Token {
        let body = encode(bytes, kind.body()).expect("every kind has room for what it says");
        Token::of_body(kind, mode, &body)
    }

    fn of_body(kind: TokenKind, mode: KeyMode, body: &str) -> Token {
        let mut text = format!("gld_{}_{}_{body}", name(mode), kind.mark());
        text += &checksum(&text);
        Token {
            kind,
            mode,
            text: Secret::new(text),
        }
    }

    /// Reads a credential. `None` if it is malformed or its checksum is wrong.
    pub fn parse(text: &str) -> Option<Token> {
        let (mode, rest) = [KeyMode::Live, KeyMode::Test].into_iter().find_map(|mode| {
            Some((
                mode,
                text.strip_prefix("gld_")?.strip_prefix(name(mode))?.strip_prefix('_')?,
            ))
        })?;
        let (kind, body) = TokenKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, rest.strip_prefix(kind.mark())?.strip_prefix('_')?)))?;
        let shaped = body.len() == kind.body() + CHECKSUM && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !shaped {
            return None;
        }
        let (said, sum) = text.split_at(text.len() - CHECKSUM);
        (checksum(said) == sum).then(|| Token {
            kind,
            mode,
            text: Secret::new(text.to_owned()),
        })
    }

    /// Reads a credential of this kind and this deployment's mode. `None` for anything else.
    pub fn parse_as(text: &str, kind: TokenKind, mode: KeyMode) -> Option<Token> {
        Token::parse(text).filter(|token| token.kind == kind && token.mode == mode)
    }

    /// What it is for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Whether it belongs to a production deployment.
    pub fn mode(&self) -> KeyMode {
        self.mode
    }

    /// The credential itself: for the one answer or mail that shows it.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// The same, hidden again.
    pub fn secret(&self) -> Secret<String> {
        self.text.clone()
    }

    /// What the database holds instead: SHA-256. Random input needs no slow hash.
    pub fn digest(&self) -> [u8; 32] {
        crypto::sha256(self.expose().as_bytes())
    }

    /// What may be shown later, to tell one from another: `gld_live_sk_7fQ2`.
    pub fn start(&self) -> String {
        self.expose()[..PREFIX + 4].to_owned()
    }

    /// The bytes that [`Token::of_bytes`] was given; `None` if the body says more than `N` bytes.
    pub fn bytes<const N: usize>(&self) -> Option<[u8; N]> {
        let text = self.expose();
        decode(&text.as_bytes()[PREFIX..text.len() - CHECKSUM])
    }
}

/// Never the credential.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.start())
    }
}

const fn name(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::Live => "live",
        KeyMode::Test => "test",
    }
}

/// Base62 of the CRC-32 (IEEE) of a text, six characters, leading zeros kept.
fn checksum(text: &str) -> String {
    encode(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECKSUM).expect("62^6 is more than 2^32")
}

/// Bytes as one big-endian number in base62, in exactly `length` characters. `None` if they do not fit.
fn encode(bytes: &[u8], length: usize) -> Option<String> {
    let mut digits = vec![0_u8; length];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in digits.iter_mut().rev() {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 62) as u8;
            carry /= 62;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(
        digits
            .iter()
            .map(|digit| char::from(ALPHABET[usize::from(*digit)]))
            .collect(),
    )
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    for letter in text {
        let mut carry = ALPHABET.iter().position(|known| known == letter)? as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 62;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// What anybody who writes a scanner can check theirs against. Computed by another program.
    const VECTORS: [(&str, bool); 8] = [
        ("gld_live_sk_00000000000000000000000000000007BgSn", true),
        ("gld_test_pk_0123456789ABCDEFGHIJKLMNOPQRST1IeDPu", true),
        ("gld_live_lk_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz3CLNpk", true),
        ("gld_live_sk_00000000000000000000000000000007BgSo", false),
        ("gld_live_pk_00000000000000000000000000000007BgSn", false),
        ("gld_test_sk_00000000000000000000000000000007BgSn", false),
        ("gld_live_sk_00000000000000000000000000000070BgSn", false),
        ("gld_live_sk_0000000000000000000000000000007BgSn", false),
    ];

    #[test]
    fn the_published_vectors_hold() {
        for (text, good) in VECTORS {
            let body = &text[..text.len() - CHECKSUM];
            assert_eq!(
                Token::parse(text).is_some(),
                good,
                "{text}: the checksum of the first part is {}",
                checksum(body)
            );
        }
    }

    #[test]
    fn a_minted_credential_reads_back_and_no_two_are_alike() {
        let mut seen = HashSet::new();
        for kind in TokenKind::ALL.into_iter().filter(|kind| *kind != TokenKind::Refresh) {
            for mode in [KeyMode::Live, KeyMode::Test] {
                let token = Token::mint(kind, mode);
                let read = Token::parse(token.expose()).expect("well-formed");
                assert_eq!((read.kind(), read.mode(), read.digest()), (kind, mode, token.digest()));
                assert_eq!(token.expose().len(), PREFIX + RANDOM + CHECKSUM);
                assert!(token.expose().starts_with(&token.start()) && token.start().len() == 16);
                assert!(seen.insert(token.expose().to_owned()));
            }
        }
    }

    #[test]
    fn every_character_of_the_alphabet_is_used_about_equally() {
        let mut counts = [0_u32; 62];
        for _ in 0..2_000 {
            let token = Token::mint(TokenKind::OneTime, KeyMode::Test);
            for letter in token.expose()[PREFIX..PREFIX + RANDOM].bytes() {
                counts[ALPHABET.iter().position(|known| *known == letter).unwrap()] += 1;
            }
        }
        // 60,000 letters: 968 each; six standard deviations are 185.
        assert!(counts.iter().all(|count| (783..=1_153).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_credential_of_another_kind_or_mode_is_refused() {
        let token = Token::mint(TokenKind::PersonalKey, KeyMode::Test);
        assert!(Token::parse_as(token.expose(), TokenKind::PersonalKey, KeyMode::Test).is_some());
        assert!(Token::parse_as(token.expose(), TokenKind::PersonalKey, KeyMode::Live).is_none());
        assert!(Token::parse_as(token.expose(), TokenKind::ServiceKey, KeyMode::Test).is_none());
    }

    #[test]
    fn it_does_not_print_itself() {
        let token = Token::mint(TokenKind::ServiceKey, KeyMode::Live);
        assert_eq!(format!("{token:?}"), format!("{}…", token.start()));
    }

    proptest! {
        #[test]
        fn bytes_read_back(bytes in any::<[u8; 37]>()) {
            let token = Token::of_bytes(TokenKind::Refresh, KeyMode::Live, &bytes);
            let read = Token::parse(token.expose()).expect("well-formed");
            prop_assert_eq!(read.bytes::<37>(), Some(bytes));
        }

        #[test]
        fn one_changed_character_is_noticed(place in 0_usize..48, letter in "[ -~]") {
            let token = Token::mint(TokenKind::ServiceKey, KeyMode::Live);
            let mut text = token.expose().to_owned();
            text.replace_range(place..=place, &letter);
            prop_assert_eq!(Token::parse(&text).is_some(), text == token.expose());
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,80}") {
            prop_assert!(Token::parse(&text).is_none());
        }
    }
}
