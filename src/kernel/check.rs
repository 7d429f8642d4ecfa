//! What an input must be. All that is wrong with a body is said at once, each with its pointer.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use serde::{Deserialize, Deserializer};
use unicode_normalization::UnicodeNormalization;

use crate::kernel::{
    clock,
    error::{Error, FieldCode, FieldError, Result, VALIDATION_FAILED},
};

/// An input that can be judged by itself, without the database.
pub trait Validate {
    /// Notes everything that is not acceptable.
    fn validate(&self, check: &mut Check);
}

/// Collects what is not acceptable.
#[derive(Default)]
pub struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    /// Notes one field.
    pub fn refuse(&mut self, pointer: impl Into<String>, code: FieldCode, detail: impl Into<String>) {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        });
    }

    /// A text of so many characters, without control characters but tab and line ends.
    pub fn text(&mut self, pointer: &str, text: &str, length: RangeInclusive<usize>) {
        let count = text.chars().count();
        if count < *length.start() {
            let code = if count == 0 {
                FieldCode::Required
            } else {
                FieldCode::TooShort
            };
            self.refuse(pointer, code, format!("At least {}.", characters(*length.start())));
        } else if count > *length.end() {
            self.refuse(
                pointer,
                FieldCode::TooLong,
                format!("At most {}.", characters(*length.end())),
            );
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            self.refuse(pointer, FieldCode::InvalidCharacters, "No control characters.");
        }
    }

    /// A text that fits on one line: for names and everything that reaches the head of a mail.
    pub fn line(&mut self, pointer: &str, text: &str, length: RangeInclusive<usize>) {
        self.text(pointer, text, length);
        let bidi = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let ends_line = |c| matches!(c, '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}');
        if text.chars().any(|c| ends_line(c) || bidi(c)) {
            self.refuse(
                pointer,
                FieldCode::InvalidCharacters,
                "One line, without direction marks.",
            );
        } else if !text.is_empty() && !text.chars().any(is_seen) {
            self.refuse(pointer, FieldCode::InvalidCharacters, "There is nothing to be seen.");
        }
    }

    /// The same, if it is there.
    pub fn text_if(&mut self, pointer: &str, text: Option<&String>, length: RangeInclusive<usize>) {
        if let Some(text) = text {
            self.text(pointer, text, length);
        }
    }

    /// An integer within bounds. Nothing beyond ±(2^53 − 1), which JSON readers cannot hold.
    pub fn number(&mut self, pointer: &str, number: i64, bounds: RangeInclusive<i64>) {
        if number < *bounds.start() {
            self.refuse(pointer, FieldCode::TooSmall, format!("At least {}.", bounds.start()));
        } else if number > *bounds.end() {
            self.refuse(pointer, FieldCode::TooLarge, format!("At most {}.", bounds.end()));
        }
    }

    /// A time that calendars agree on: of the years 1970 to 9999.
    pub fn time(&mut self, pointer: &str, time: Option<DateTime<Utc>>) {
        match time.map(|time| time.timestamp_millis()) {
            Some(millis) if millis < 0 => self.refuse(pointer, FieldCode::TooSmall, "Not before 1970."),
            Some(millis) if millis > clock::LAST.timestamp_millis() => {
                self.refuse(pointer, FieldCode::TooLarge, "Not after 9999.")
            }
            _ => {}
        }
    }

    /// A slug or code: lower-case letters, digits and hyphens, beginning with a letter.
    pub fn slug(&mut self, pointer: &str, slug: &str, length: RangeInclusive<usize>) {
        self.text(pointer, slug, length);
        let shaped = slug.starts_with(|c: char| c.is_ascii_lowercase())
            && slug.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !slug.is_empty() && !shaped {
            self.refuse(
                pointer,
                FieldCode::InvalidFormat,
                "Lower-case letters, digits and hyphens, beginning with a letter.",
            );
        }
    }

    /// A language tag: two or three letters, and perhaps a region.
    pub fn locale(&mut self, pointer: &str, locale: &str) {
        let mut parts = locale.split('-');
        let language = parts.next().unwrap_or_default();
        let fits = (2..=3).contains(&language.len())
            && language.bytes().all(|b| b.is_ascii_lowercase())
            && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
            && locale.len() <= 35;
        if !fits {
            self.refuse(pointer, FieldCode::InvalidFormat, "A language tag, as en or pt-BR.");
        }
    }

    /// At most so many.
    pub fn count(&mut self, pointer: &str, count: usize, most: usize) {
        if count > most {
            self.refuse(pointer, FieldCode::TooMany, format!("At most {most}."));
        }
    }

    /// The caller's own key.
    pub fn external_id(&mut self, external_id: Option<&String>) {
        if let Some(id) = external_id {
            self.line("/external_id", id, 1..=255);
        }
    }

    /// Tags: at most 50 keys of `[A-Za-z0-9_.-]{1,40}`, values of at most 500 characters, 8 KiB in all.
    pub fn metadata(&mut self, metadata: &Metadata) {
        self.count("/metadata", metadata.len(), 50);
        let mut bytes = 0;
        for (key, value) in metadata {
            let pointer = format!("/metadata/{}", escape(key));
            bytes += key.len() + value.len();
            if !is_metadata_key(key) {
                self.refuse(
                    &pointer,
                    FieldCode::InvalidFormat,
                    "A key is 1 to 40 of A-Z, a-z, 0-9, '_', '.', '-'.",
                );
            }
            self.text(&pointer, value, 0..=500);
        }
        if bytes > 8 * 1_024 {
            self.refuse("/metadata", FieldCode::TooLarge, "At most 8 KiB in all.");
        }
    }

    /// Everything that was noted, for who keeps it instead of refusing.
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// The verdict.
    ///
    /// # Errors
    /// 422 `validation-failed` with everything that was noted.
    pub fn done(self) -> Result<()> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(unfit(self.errors)),
        }
    }
}

/// Whether each % stands before two hexadecimal digits, and so encodes a byte.
pub fn is_percent_encoded(text: &str) -> bool {
    let mut parts = text.split('%').skip(1);
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether metadata may have this key: 1 to 40 of `A-Z`, `a-z`, `0-9`, `_`, `.`, `-`.
pub fn is_metadata_key(key: &str) -> bool {
    let shaped = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=40).contains(&key.len()) && key.bytes().all(shaped)
}

/// 422 `validation-failed` with all of these.
pub fn unfit(errors: Vec<FieldError>) -> Error {
    let detail = match errors.len() {
        1 => "1 field needs attention.".to_owned(),
        n => format!("{n} fields need attention."),
    };
    let mut problem = VALIDATION_FAILED.because(detail);
    problem.case_mut().errors = errors;
    problem.into()
}

/// Whether a reader would see it.
fn is_seen(c: char) -> bool {
    !c.is_whitespace() && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn characters(count: usize) -> String {
    if count == 1 {
        "1 character".into()
    } else {
        format!("{count} characters")
    }
}

/// A reference token of a JSON pointer (RFC 6901).
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// A customer's own tags.
pub type Metadata = BTreeMap<String, String>;

/// For `#[serde(deserialize_with)]`: human text without white space at its ends, in Unicode's composed form (NFC).
///
/// # Errors
/// Not a string.
pub fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| tidy(&text))
}

/// The same for what may be absent.
///
/// # Errors
/// Neither a string nor null.
pub fn trimmed_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(|text| tidy(&text)))
}

/// White space off the ends, NFC.
pub fn tidy(text: &str) -> String {
    text.trim().nfc().collect()
}

/// For `#[serde(default, deserialize_with)]` on a field of a JSON Merge Patch: absent is `None`, `null` is `Some(None)`.
///
/// # Errors
/// Whatever the inner type refuses.
pub fn patched<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// For `#[serde(default, deserialize_with)]` on what may be absent but cannot be cleared: `null` is refused.
///
/// # Errors
/// Whatever the inner type refuses.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The same for human text, as [`trimmed`].
///
/// # Errors
/// Not a string.
pub fn trimmed_given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    trimmed(deserializer).map(Some)
}

/// The beginning of a text that may be long, so many characters at most.
pub fn brief(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_at_once() {
        let mut check = Check::default();
        check.text("/name", "", 1..=10);
        check.number("/limit", 101, 1..=100);
        check.line("/title", "a\r\nBcc: b@example.com", 1..=100);
        check.slug("/code", "No", 1..=10);
        check.metadata(&Metadata::from([("a b".into(), "x".repeat(501))]));
        let Err(crate::kernel::error::Error::Refused(problem)) = check.done() else {
            panic!("refused")
        };
        let found: Vec<_> = problem
            .case()
            .errors
            .iter()
            .map(|error| (error.pointer.as_str(), error.code))
            .collect();
        assert_eq!(
            found,
            [
                ("/name", FieldCode::Required),
                ("/limit", FieldCode::TooLarge),
                ("/title", FieldCode::InvalidCharacters),
                ("/code", FieldCode::InvalidFormat),
                ("/metadata/a b", FieldCode::InvalidFormat),
                ("/metadata/a b", FieldCode::TooLong),
            ]
        );
    }

    #[test]
    fn a_name_can_be_seen_and_is_on_one_line() {
        let code = |name: &str| {
            let mut check = Check::default();
            check.line("/name", name, 1..=100);
            check.errors.first().map(|error| error.code)
        };
        for name in ["Ann", "名", "🐝", "a\u{200b}", "م\u{200c}ی"] {
            assert_eq!(code(name), None, "{name:?}");
        }
        for name in [
            "\u{200b}",
            "\u{feff}\u{ad}",
            "\u{3164}",
            "\u{a0}",
            "A\u{2028}B",
            "A\u{202e}B",
            "A\tB",
        ] {
            assert_eq!(code(name), Some(FieldCode::InvalidCharacters), "{name:?}");
        }
    }

    #[test]
    fn text_is_trimmed_and_composed() {
        assert_eq!(tidy("  e\u{301} "), "\u{e9}");
    }
}
