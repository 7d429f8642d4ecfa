//! What stands between the braces, read before the template engine sees it.
//!
//! Fuel counts instructions, not bytes: `{% set a = a ~ a %}` thirty times over is thirty instructions and sixteen gibibytes. So whatever
//! builds a new value out of others is refused here; what is left can only choose, repeat and print.

use super::Fault;

/// The block tags that are left.
const BLOCKS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// The longest list that one may write, all lists of a tag together: what stands in it may be large, and is looked at again for each.
const ELEMENTS: usize = 50;

/// The most words and signs of one tag. The engine goes a step deeper for each of a chain (`a.b.c`, `a|b|c`, `a or b or c`), guards that by
/// nothing, and looks at the whole chain again at each step.
const WORDS: usize = 500;

/// The most tags of the kind `elif`: the engine goes a step deeper for each.
const ALTERNATIVES: usize = 100;

/// One `{{ … }}` or `{% … %}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) start: usize,
    end: usize,
    inner: &'a str,
    is_block: bool,
}

/// All tags of a template.
///
/// # Errors
/// A tag that does not end, a block that is not allowed, an operator that builds, a function.
pub(super) fn read(source: &str) -> Result<Vec<Tag<'_>>, Fault> {
    let mut tags = Vec::new();
    let mut place = 0;
    let mut alternatives = 0;
    while let Some(found) = source[place..].find('{') {
        let start = place + found;
        let (is_block, close) = match source.as_bytes().get(start + 1) {
            Some(b'{') => (false, "}}"),
            Some(b'%') => (true, "%}"),
            Some(b'#') => {
                let length = source[start..]
                    .find("#}")
                    .ok_or_else(|| fault(source, start, "This remark does not end."))?;
                place = start + length + 2;
                continue;
            }
            _ => {
                place = start + 1;
                continue;
            }
        };
        let length = inside(&source[start + 2..], close).map_err(|detail| fault(source, start, detail))?;
        let inner = source[start + 2..start + 2 + length].trim_matches(['-', '+']).trim();
        if is_block {
            let word = inner
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            if !BLOCKS.contains(&word) {
                return Err(fault(
                    source,
                    start,
                    &format!("Blocks are {}; not '{word}'.", BLOCKS.join(", ")),
                ));
            }
            alternatives += usize::from(word == "elif");
            if alternatives > ALTERNATIVES {
                return Err(fault(source, start, "A template has at most 100 elif."));
            }
        }
        if words(inner) > WORDS {
            return Err(fault(
                source,
                start,
                "A tag has at most 500 words and signs: make several of it.",
            ));
        }
        if let Some(name) = called(inner) {
            return Err(fault(source, start, &format!("There are no functions: '{name}'.")));
        }
        place = start + 2 + length + 2;
        tags.push(Tag {
            start,
            end: place,
            inner,
            is_block,
        });
    }
    Ok(tags)
}

/// What an expression calls by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    Filter,
    Test,
}

/// A filter or a test, and what it is given beside the value.
#[derive(Debug, PartialEq, Eq)]
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
        plain.match_indices(['/', '%']).any(|(place, _)| {
            let divisor = plain[place + 1..]
                .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '(' | '-' | '+'));
            let end = divisor.find(|c: char| !is_word(c) && c != '.').unwrap_or(divisor.len());
            let digits = divisor[..end].replace('_', "").to_ascii_lowercase();
            let plain_zero = digits
                .strip_prefix(['0'])
                .and_then(|rest| rest.strip_prefix(['x', 'o', 'b']));
            plain_zero.is_some_and(|rest| rest.chars().all(|c| c == '0')) || digits.parse() == Ok(0.0)
        })
    }
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
    !is_operator || behind.starts_with(['"', '\'', '+', '-', '['])
}

/// The name of an argument that has one.
fn name_of(argument: &str) -> Option<String> {
    let (name, value) = argument.split_once('=')?;
    let is_name = !name.trim().is_empty() && name.trim().chars().all(is_word) && !value.starts_with('=');
    is_name.then(|| name.trim().to_owned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name that a text begins with. It may have dots in it.
fn name_at(text: &str) -> String {
    let text = text.trim_start();
    let end = text.find(|c| !is_word(c) && c != '.').unwrap_or(text.len());
    text[..end].to_owned()
}

/// The expression, if the template is `{{ expression }}` and nothing else.
///
/// # Errors
/// As [`read`].
pub(super) fn only_expression(source: &str) -> Result<Option<&str>, Fault> {
    let tags = read(source)?;
    let around = |tag: &Tag<'_>| source[..tag.start].trim().is_empty() && source[tag.end..].trim().is_empty();
    Ok(match tags.as_slice() {
        [tag] if !tag.is_block && around(tag) => Some(tag.inner),
        _ => None,
    })
}

/// If a template compares or measures anything: how long a text may be that it writes itself, in bytes.
///
/// # Errors
/// As [`read`].
pub(super) fn compared(source: &str) -> Result<Option<usize>, Fault> {
    let tags = read(source)?;
    let longest = tags.iter().map(|tag| tag.inner.len()).max();
    Ok(longest.filter(|_| tags.iter().any(|tag| compares(tag.inner))))
}

/// Whether there is an operator or a filter whose work grows with what it looks at.
fn compares(inner: &str) -> bool {
    let plain = plain(inner);
    let words = || plain.split(|c: char| !c.is_alphanumeric() && c != '_');
    // One `in` belongs to the loop.
    let own = usize::from(words().next() == Some("for"));
    likens(&plain) && (inner.len() > SHORT || !likens_to_literals(&plain))
        || words().filter(|word| *word == "in").count() > own
        || words().any(|word| ["length", "count"].contains(&word))
        || indexes(&plain)
}

/// A tag with longer texts in it is no cheap comparison, in bytes.
const SHORT: usize = 1_024;
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

fn likens(plain: &str) -> bool {
    OPERATORS.iter().any(|operator| plain.contains(operator))
}

/// Whether every comparison is with a text or a number that stands in the template: it looks at no more than that.
fn likens_to_literals(plain: &str) -> bool {
    let mut rest = plain;
    while let Some(place) = rest.find(['=', '!', '<', '>']) {
        let right = rest[place..].trim_start_matches(['=', '!', '<', '>']);
        let (before, after) = (rest[..place].trim_end(), right.trim_start());
        // One sign of equality names an argument.
        let is_argument = &rest[place..rest.len() - right.len()] == "=";
        if !is_argument && !before.ends_with(['"', '\'']) && !begins_with_literal(after) {
            return false;
        }
        rest = right;
    }
    true
}

/// Whether a text or a number of the template's own stands there, and nothing behind it that makes something else of it: a filter binds
/// tighter than a comparison.
fn begins_with_literal(operand: &str) -> bool {
    let behind = match operand.chars().next() {
        // What the quotes hold is left out.
        Some(quote @ ('"' | '\'')) => operand[1..].strip_prefix(quote),
        Some(c) if c.is_ascii_digit() => {
            Some(operand.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
        }
        _ => None,
    };
    behind.is_some_and(|behind| !behind.trim_start().starts_with(['|', '[', '~']))
}

/// Whether something is looked up by a place, which in a text means to count its characters.
fn indexes(plain: &str) -> bool {
    plain.match_indices('[').any(|(place, _)| {
        let before = plain[..place].trim_end();
        let is_list = before.is_empty()
            || !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '"' | '\''));
        let by_name = plain[place + 1..].trim_start().starts_with(['"', '\'']);
        !is_list && !by_name && !KEYWORDS.contains(&last_word(before))
    })
}

/// The function or method that is called, if one is: there are none.
fn called(inner: &str) -> Option<String> {
    let plain = plain(inner);
    let mut calls = plain.match_indices('(').filter_map(|(place, _)| {
        let before = plain[..place].trim_end();
        let name = last_word(before);
        let what = before[..before.len() - name.len()].trim_end();
        let is_test = ["is", "not"].contains(&last_word(what));
        let is_group = name.is_empty() && !before.ends_with([')', ']', '"', '\'']) || KEYWORDS.contains(&name);
        (!is_group && !is_test && !what.ends_with('|')).then(|| name.to_owned())
    });
    calls.next()
}

/// What may stand before a parenthesis or a list that has nothing to do with it.
const KEYWORDS: [&str; 9] = ["if", "elif", "else", "for", "in", "is", "and", "or", "not"];

fn last_word(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || *c == '_')
        .last();
    start.map_or("", |(start, _)| &text[start..])
}

/// How many words and signs stand there. Of what is quoted, only the quotes are.
fn words(inner: &str) -> usize {
    let plain = plain(inner);
    let begins = plain.char_indices().filter(|(place, c)| {
        let goes_on = is_word(*c) && plain[..*place].ends_with(is_word);
        !goes_on && !c.is_whitespace()
    });
    begins.count()
}

/// What stands there without what its quotes hold.
fn plain(inner: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut escaped = false;
    for c in inner.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(end) if c == end => {
                quote = None;
                plain.push(c);
            }
            Some(_) => {}
            None => {
                quote = Some(c).filter(|c| matches!(c, '"' | '\''));
                plain.push(c);
            }
        }
    }
    plain
}

/// How many bytes stand before `close`, which does not count inside of quotes.
fn inside(text: &str, close: &str) -> Result<usize, &'static str> {
    let bytes = text.as_bytes();
    let mut place = 0;
    let mut commas = 0;
    while place < bytes.len() {
        if text[place..].starts_with(close) {
            return Ok(place);
        }
        match bytes[place] {
            quote @ (b'"' | b'\'') => {
                place += 1;
                while *bytes.get(place).ok_or("This text does not end.")? != quote {
                    place += if bytes[place] == b'\\' { 2 } else { 1 };
                }
            }
            b'~' | b'*' => return Err("The operators ~ and * are not available: write the parts side by side."),
            // A sign is no sum, and `{{+` asks to keep white space.
            b'+' if place > 0 && !text[place + 1..].starts_with(close) => {
                return Err("The operator + is not available: write the parts side by side.");
            }
            b':' => return Err("Slices and maps are not available."),
            b',' if commas + 1 == ELEMENTS => return Err("The lists of a tag have at most 50 elements."),
            b',' => commas += 1,
            _ => {}
        }
        place += 1;
        while !text.is_char_boundary(place.min(text.len())) {
            place += 1;
        }
    }
    Err("This tag does not end.")
}

pub(super) fn fault(source: &str, place: usize, detail: &str) -> Fault {
    Fault {
        detail: detail.to_owned(),
        line: Some(source[..place].matches('\n').count() + 1),
    }
}
