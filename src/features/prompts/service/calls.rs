//! What a tag calls, and with what.

use super::tags::{Tag, is_word, name_at, plain};

/// What an expression calls by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Called {
    Filter,
    Test,
}

/// A filter or a test, and what it is given beside the value.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Invocation {
    pub(super) called: Called,
    pub(super) name: String,
    /// How many arguments have no name,
    pub(super) unnamed: usize,
    /// and what the others are called.
    pub(super) named: Vec<String>,
}

impl Tag<'_> {
    /// The filters and tests that it has its values go through.
    pub(super) fn calls(&self) -> Vec<Invocation> {
        let plain = plain(self.inner);
        let filters = plain
            .match_indices('|')
            .map(|(place, _)| (Called::Filter, &plain[place + 1..]));
        let tests = plain.match_indices("is").filter_map(|(place, is)| {
            let (before, after) = (&plain[..place], &plain[place + is.len()..]);
            let is_part = before.ends_with(is_word) || after.starts_with(is_word) || before.trim_end().ends_with('.');
            let after = after.trim_start();
            let negated = after.strip_prefix("not").filter(|rest| !rest.starts_with(is_word));
            (!is_part).then_some((Called::Test, negated.unwrap_or(after)))
        });
        let calls = filters.chain(tests).map(|(called, text)| {
            let (text, name) = (text.trim_start(), name_at(text));
            let behind = &text[name.len()..];
            let given = match called {
                Called::Test if takes_what_follows(behind) => vec![behind],
                _ => arguments(behind),
            };
            let named: Vec<_> = given.iter().filter_map(|argument| name_of(argument)).collect();
            Invocation {
                called,
                name,
                unnamed: given.len() - named.len(),
                named,
            }
        });
        calls.filter(|call| !call.name.is_empty()).collect()
    }

    /// Whether it divides by a zero that it writes itself.
    pub(super) fn divides_by_zero(&self) -> bool {
        let plain = plain(self.inner);
        plain
            .match_indices(['/', '%'])
            .any(|(place, _)| begins_with_zero(plain[place + 1..].trim_start_matches('/')))
    }
}

/// Whether a zero stands there, alone in its parentheses if there are any, and nothing makes another number of it.
fn begins_with_zero(divisor: &str) -> bool {
    let digits = divisor.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '(' | '-' | '+'));
    let end = digits.find(|c: char| !is_word(c) && c != '.').unwrap_or(digits.len());
    let number = digits[..end].replace('_', "").to_ascii_lowercase();
    let based = number
        .strip_prefix('0')
        .and_then(|rest| rest.strip_prefix(['x', 'o', 'b']));
    let is_zero = based.is_some_and(|rest| rest.chars().all(|c| c == '0')) || number.parse() == Ok(0.0);
    let opened = divisor[..divisor.len() - digits.len()].matches('(').count();
    let closed = (0..opened).try_fold(&digits[end..], |behind, _| behind.trim_start().strip_prefix(')'));
    // A filter binds tighter than the division, and these may make another number of it.
    let is_replaced = |behind: &str| {
        let filter = behind
            .trim_start()
            .strip_prefix('|')
            .map(|text| name_at(text.trim_start()));
        filter.is_some_and(|name| ["default", "d"].contains(&name.as_str()))
    };
    is_zero && closed.is_some_and(|behind| !is_replaced(behind))
}

/// What stands between the parentheses that a text begins with, argument by argument.
fn arguments(text: &str) -> Vec<&str> {
    let Some(inner) = text.trim_start().strip_prefix('(') else {
        return Vec::new();
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (place, c) in inner.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' if depth == 0 => {
                found.push(&inner[start..place]);
                break;
            }
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inner[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    found.retain(|argument| !argument.trim().is_empty());
    found
}

/// Whether a test is given what stands behind its name without parentheses.
fn takes_what_follows(behind: &str) -> bool {
    let behind = behind.trim_start();
    let word = name_at(behind);
    let is_operator = ["", "and", "or", "else", "is"].contains(&word.as_str());
    !is_operator || behind.starts_with(['"', '\'', '+', '-', '[', '{'])
}

/// The name of an argument that has one.
fn name_of(argument: &str) -> Option<String> {
    let (name, value) = argument.split_once('=')?;
    let is_name = !name.trim().is_empty() && name.trim().chars().all(is_word) && !value.starts_with('=');
    is_name.then(|| name.trim().to_owned())
}
