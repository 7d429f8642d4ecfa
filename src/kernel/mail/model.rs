//! Addresses, and what mails there are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An e-mail address that may stand in the head of a mail: at most 254 ASCII characters, none of which could begin another header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(lettre::Address);

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an e-mail address")
    }
}

impl std::error::Error for NotAnAddress {}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        let shaped = text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let address: lettre::Address = text.parse().map_err(|_| NotAnAddress)?;
        // A domain of one label reaches nobody but the machine itself.
        let known = address.user().len() <= 64 && address.domain().contains('.') && !address.domain().starts_with('[');
        if shaped && known {
            Ok(Address(address))
        } else {
            Err(NotAnAddress)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        String::deserialize(deserializer)?
            .trim()
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Address {
    pub(super) fn mailbox(&self) -> lettre::message::Mailbox {
        lettre::message::Mailbox::new(None, self.0.clone())
    }
}

/// A kind of mail: `templates/{locale}/{name}.txt`, which begins with its subject, and `.html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template(&'static str);

impl Template {
    /// Its name in files and rows.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

macro_rules! templates {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        impl Template {
            $($(#[$doc])* pub const $name: Template = Template($file);)*
            /// All of them.
            pub const ALL: &[Template] = &[$(Template::$name),*];
        }

        /// Names and texts of the files, in English.
        pub(super) const ENGLISH: &[(&str, &str)] = &[
            ("en/layout.html", include_str!("templates/en/layout.html")),
            $(
                (concat!("en/", $file, ".txt"), include_str!(concat!("templates/en/", $file, ".txt"))),
                (concat!("en/", $file, ".html"), include_str!(concat!("templates/en/", $file, ".html"))),
            )*
        ];
    };
}

templates! {
    /// Proves an address: `link`, `within`.
    VERIFY_EMAIL = "verify_email";
    /// Somebody registered with an address that has an account already: `link` (to reset the password).
    ACCOUNT_EXISTS = "account_exists";
    /// Sets a new password: `link`, `within`.
    PASSWORD_RESET = "password_reset";
    /// The password was changed: `at`, `ip`, `link` (to reset it).
    PASSWORD_CHANGED = "password_changed";
    /// An old refresh token was used: `at`, `ip`, `link` (to the sessions).
    SESSION_REUSED = "session_reused";
    /// Asks somebody to join: `workspace`, `inviter`, `role`, `link`, `days`.
    INVITATION = "invitation";
    /// A webhook endpoint could not be reached for an event: `workspace`, `url`, `event`, `link`.
    WEBHOOK_EXHAUSTED = "webhook_exhausted";
    /// A webhook endpoint was disabled: `workspace`, `url`, `reason`, `link`.
    WEBHOOK_DISABLED = "webhook_disabled";
}

impl Template {
    /// The template of that name, as a row holds it.
    pub fn named(name: &str) -> Option<Template> {
        Template::ALL.iter().copied().find(|template| template.0 == name)
    }
}

/// A mail that is wanted.
pub struct NewMail<'a> {
    /// Which.
    pub template: Template,
    /// To whom.
    pub to: &'a Address,
    /// In which language; English where there is no such translation.
    pub locale: &'a str,
    /// A workspace sends one mail for a key.
    pub dedupe_key: &'a str,
    /// What the template says it needs.
    pub data: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_bring_a_header_with_it() {
        for good in ["ann@example.com", "a.b+c@sub.example.co", "o'neil@example.com"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "ann@[127.0.0.1]",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@example.com\0",
            "ann\n@example.com",
            "Ann <ann@example.com>",
            "ann@example.com,eve@example.com",
            "ann @example.com",
            &format!("{}@example.com", "a".repeat(65)),
            &format!("ann@{}.com", "a".repeat(250)),
        ] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad:?}");
        }
    }
}
