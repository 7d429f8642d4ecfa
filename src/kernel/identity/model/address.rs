//! E-mail addresses, in one form.

use unicode_normalization::UnicodeNormalization;
use url::Host;

/// An address that could receive mail: trimmed, its domain in lower-case ASCII (IDNA). What stands before the `@` is ASCII (beyond that few
/// servers deliver) and is left as it is, tags and dots included; the database compares without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Reads an address. `None` if it cannot be one, or could break out of a mail's head.
    pub fn parse(text: &str) -> Option<Address> {
        let text: String = text.trim().nfc().collect();
        let (local, domain) = text.rsplit_once('@')?;
        let dots_fit = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
        let plain = local
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        if local.is_empty() || local.len() > 64 || !dots_fit || !plain {
            return None;
        }
        let Ok(Host::Domain(domain)) = Host::parse(domain) else {
            return None;
        };
        let labels_fit = domain.contains('.')
            && domain
                .split('.')
                .all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'));
        let named = domain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        let whole = format!("{local}@{domain}");
        (labels_fit && named && whole.len() <= 254).then_some(Address(whole))
    }

    /// As it is stored and written to.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is compared.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (text, form) in [
            (" Ann@Example.COM ", "Ann@example.com"),
            ("ann+tag.x@example.com", "ann+tag.x@example.com"),
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("o'brien@mail.example.co.uk", "o'brien@mail.example.co.uk"),
        ] {
            assert_eq!(
                Address::parse(text).map(|address| address.0),
                Some(form.to_owned()),
                "{text}"
            );
        }
        assert_eq!(Address::parse("Ann@example.com").unwrap().folded(), "ann@example.com");
    }

    #[test]
    fn what_is_none_or_breaks_out_of_a_head_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let wide = format!("a@{}.com", "b".repeat(64));
        for text in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "ann@example",
            "ann@.com",
            "ann@example.",
            "ann@example..com",
            "a@b@c@",
            ".ann@example.com",
            "ann.@example.com",
            "a..b@example.com",
            "ann@127.0.0.1",
            "ann@[::1]",
            "ann@-example.com",
            "a b@example.com",
            "ann@exa mple.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann\r\n@example.com",
            "ann\0@example.com",
            "<ann@example.com>",
            "\"ann\"@example.com",
            "ann@example.com,eve@example.com",
            "Ann <ann@example.com>",
            "ann\u{202e}@example.com",
            "jos\u{e9}@example.com",
            "ann@exam_ple.com",
            &long,
            &wide,
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }
}
