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
    pub(super) inner: &'a str,
    /// Words and signs.
    pub(super) words: usize,
    is_block: bool,
}

/// The word that a block begins with.
fn block(inner: &str) -> Result<&str, String> {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let word = &inner[..end.unwrap_or(inner.len())];
    match BLOCKS.contains(&word) {
        true => Ok(word),
        false => Err(format!("Blocks are {}; not '{word}'.", BLOCKS.join(", "))),
    }
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
        let inner = &source[start + 2..start + 2 + length];
        // With all signs: of those at its ends the engine takes one for a wish about white space.
        let words = words(inner);
        let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
        let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner).trim();
        if words > WORDS {
            let detail = "A tag has at most 500 words and signs: make several of it.";
            return Err(fault(source, start, detail));
        }
        if is_block {
            let word = block(inner).map_err(|detail| fault(source, start, &detail))?;
            alternatives += usize::from(word == "elif");
        }
        if alternatives > ALTERNATIVES {
            return Err(fault(source, start, "A template has at most 100 elif."));
        }
        if let Some(name) = called(inner) {
            return Err(fault(source, start, &format!("There are no functions: '{name}'.")));
        }
        place = start + 2 + length + 2;
        tags.push(Tag {
            start,
            end: place,
            inner,
            words,
            is_block,
        });
    }
    Ok(tags)
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name that a text begins with. It may have dots in it.
pub(super) fn name_at(text: &str) -> String {
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
pub(super) fn plain(inner: &str) -> String {
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
    Fault::at(Some(source[..place].matches('\n').count() + 1), detail)
}
