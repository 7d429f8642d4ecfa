//! Lists: newest first, by a cursor that is bound to its resource, workspace, order and filters.

mod declared;
mod described;
mod made;
mod order;
mod seals;
mod shared;

pub use seals::Seals;
pub use shared::{Shared, Span, bound};

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, TimeZone, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kernel::{
    error::{FieldCode, INVALID_CURSOR, INVALID_PARAMETER, Problem, UNKNOWN_PARAMETER},
    id::{Id, Resource},
};

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// What a list can be filtered by, beside what lists share. A parameter that is given twice means either value, and a time is given once.
pub trait Filters: Default {
    /// Names the resource in cursors: one list's cursor is not another's.
    const RESOURCE: &'static str;
    /// The list's own parameters.
    const NAMES: &'static [&'static str];
    /// The rows change and have `updated_at`: the list can be had in that order, and narrowed by it.
    const CHANGES: bool = false;
    /// The rows have `metadata`, which the list can be narrowed by.
    const TAGGED: bool = false;
    /// Those of [`Filters::NAMES`] whose values are about a person: the audit log, which cannot be changed, does not tell them.
    const PERSONAL: &'static [&'static str] = &[];
    /// As many rows as a page may have: fewer where each may be large, for all of them are read before the page is cut.
    const MOST: i64 = 100;
    /// All rows at once can be had as `application/x-ndjson`.
    const EXPORTED: bool = false;

    /// Takes one value of one of [`Filters::NAMES`].
    ///
    /// # Errors
    /// What is wrong with the value.
    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit>;
}

/// Why a value does not fit a filter.
pub struct Unfit(pub FieldCode, pub String);

impl Unfit {
    /// Not one of the choices.
    pub fn choice(choices: &[&str]) -> Unfit {
        Unfit(FieldCode::InvalidChoice, format!("One of {}.", choices.join(", ")))
    }
}

/// An id in a filter. One that cannot exist matches nothing, exactly as one of another workspace.
pub fn id_filter<T: Resource>(value: &str) -> Id<T> {
    value.parse().unwrap_or_else(|_| Id::nil())
}

/// An instant in a filter.
///
/// # Errors
/// Not RFC 3339, which knows four digits of a year.
pub fn time_filter(value: &str) -> Result<DateTime<Utc>, Unfit> {
    DateTime::parse_from_rfc3339(value)
        .ok()
        .map(|time| time.to_utc())
        .filter(|time| (0..=9_999).contains(&time.year()))
        .ok_or_else(|| {
            Unfit(
                FieldCode::InvalidFormat,
                "An RFC 3339 time, as 2026-11-20T17:30:00Z.".into(),
            )
        })
}

/// What the caller asked for: at most how many, from where, in which order, filtered how.
#[derive(Clone)]
pub struct PageQuery<F> {
    /// The list's own filters.
    pub filters: F,
    /// The filters that lists share.
    pub shared: Shared,
    limit: i64,
    skip: i64,
    is_paged: bool,
    is_in_lines: bool,
    order: &'static str,
    /// The filters as they were asked.
    asked: BTreeMap<String, Vec<String>>,
    after: Option<(DateTime<Utc>, Uuid)>,
    /// What a cursor must have been made for.
    binding: [u8; 16],
    seals: Seals,
}

impl<F: Filters> PageQuery<F> {
    /// Reads a query string. `workspace` (nil where there is none) is part of what a cursor is bound to.
    ///
    /// # Errors
    /// 400 `unknown-parameter`, `invalid-parameter` or `invalid-cursor`.
    pub fn parse(query: &str, workspace: Uuid, seals: &Seals) -> Result<PageQuery<F>, Problem> {
        let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            pairs.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let is_paged = pairs.contains_key("limit") || pairs.contains_key("cursor");
        let limit = match pairs.remove("limit").as_deref() {
            None => 25,
            Some([text]) => read_limit(text)?,
            Some(_) => return Err(twice("limit")),
        }
        .min(F::MOST);
        let order = match pairs.remove("order").as_deref() {
            None => "-created_at",
            Some([text]) => known_order::<F>(text)?,
            Some(_) => return Err(twice("order")),
        };
        let cursor = pairs.remove("cursor");
        let (mut filters, mut shared) = (F::default(), Shared::default());
        read_filters(&mut filters, &mut shared, &mut pairs)?;
        let binding = binding(F::RESOURCE, workspace, order, &pairs);
        let mut query = PageQuery {
            filters,
            shared,
            limit,
            skip: 0,
            is_paged,
            is_in_lines: false,
            order,
            asked: pairs,
            after: None,
            binding,
            seals: seals.clone(),
        };
        query.after = match cursor.as_deref() {
            None => None,
            Some([text]) => Some(query.open(text).ok_or(INVALID_CURSOR)?),
            Some(_) => return Err(twice("cursor")),
        };
        Ok(query)
    }

    /// How many rows to fetch: one more than the page holds.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// How many rows to leave out first: none, but where somebody asks whether there are so many.
    pub fn skip(&self) -> i64 {
        self.skip
    }

    /// Says whether all rows are wanted, a line each, or a page.
    ///
    /// # Errors
    /// 400 `invalid-parameter`: what names a page where there are none.
    pub fn given_in(mut self, lines: bool) -> Result<PageQuery<F>, Problem> {
        if lines && self.is_paged {
            let problem = INVALID_PARAMETER.because("All rows are given at once: there is no limit and no cursor.");
            return Err(problem.field(
                "query/limit",
                FieldCode::ConflictsWith,
                "Not with application/x-ndjson.",
            ));
        }
        self.is_in_lines = lines;
        Ok(self)
    }

    /// What was asked for, as the audit log tells of it: the filters, each from nothing to what it lets through, and in which order. The log
    /// cannot be changed, so what is about a person is not in it.
    pub fn told(&self) -> Value {
        let asked = self.asked.iter().map(|(name, values)| match values.as_slice() {
            _ if F::PERSONAL.contains(&name.as_str()) => (name.clone(), json!("[changed]")),
            [one] => (name.clone(), json!([null, one])),
            several => (name.clone(), json!([null, several])),
        });
        asked.chain([("order".to_owned(), json!([null, self.order]))]).collect()
    }

    /// All rows are wanted, a line each.
    pub fn is_in_lines(&self) -> bool {
        self.is_in_lines
    }

    /// Turns pages into slices of this many rows.
    pub fn slice(&mut self, rows: i64) {
        self.limit = rows;
    }

    /// Goes to the row after that many, to see whether there is one.
    pub fn leap(&mut self, rows: i64) {
        (self.skip, self.limit) = (rows, 0);
    }

    /// Goes on after a page of this query.
    ///
    /// # Errors
    /// 400 `invalid-cursor`: it is not a page of this query.
    pub fn go_on(&mut self, cursor: &str) -> Result<(), Problem> {
        self.after = Some(self.open(cursor).ok_or(INVALID_CURSOR)?);
        Ok(())
    }

    /// The same question to a list that has these filters among others.
    pub fn widened<G>(self, widen: impl FnOnce(F) -> G) -> PageQuery<G> {
        PageQuery {
            filters: widen(self.filters),
            shared: self.shared,
            limit: self.limit,
            skip: self.skip,
            is_paged: self.is_paged,
            is_in_lines: self.is_in_lines,
            order: self.order,
            asked: self.asked,
            after: self.after,
            binding: self.binding,
            seals: self.seals,
        }
    }

    /// The row to go on after: its time and id. In descending order, rows are *before* it.
    pub fn after(&self) -> Option<(DateTime<Utc>, Uuid)> {
        self.after
    }

    /// Newest first.
    pub fn is_descending(&self) -> bool {
        self.order.starts_with('-')
    }

    /// In the order of the last change.
    pub fn is_by_change(&self) -> bool {
        self.order.ends_with("updated_at")
    }

    /// The number to go on after, in a list whose rows are numbered.
    pub fn after_number(&self) -> Option<i64> {
        self.after.map(|(number, _)| number.timestamp_micros())
    }

    /// `base64url(version, binding, time, id, 16 bytes of HMAC)`.
    fn seal(&self, (time, id): (DateTime<Utc>, Uuid)) -> String {
        let mut bytes = vec![1_u8];
        bytes.extend(self.binding);
        bytes.extend(time.timestamp_micros().to_be_bytes());
        bytes.extend(id.as_bytes());
        bytes.extend(self.seals.sign(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(&self, text: &str) -> Option<(DateTime<Utc>, Uuid)> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() == 57 && bytes[0] == 1)?;
        let (body, tag) = bytes.split_at(41);
        if !self.seals.is_genuine(body, tag) && !crate::leak!("cursor-unsigned") {
            return None;
        }
        if body[1..17] != self.binding && !crate::leak!("cursor-unscoped") {
            return None;
        }
        let micros = i64::from_be_bytes(body[17..25].try_into().ok()?);
        Some((
            Utc.timestamp_micros(micros).single()?,
            Uuid::from_slice(&body[25..41]).ok()?,
        ))
    }
}

/// Gives every value to the filter of its name. The values end up sorted: their order means nothing.
fn read_filters<F: Filters>(
    filters: &mut F,
    shared: &mut Shared,
    pairs: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), Problem> {
    for (name, values) in pairs {
        if name.ends_with("_id") && crate::leak!("filter-dropped") {
            continue;
        }
        let is_own = F::NAMES.contains(&name.as_str());
        if !is_own && !shared::is_known::<F>(name) {
            let known = described::names::<F>().join(", ");
            return Err(UNKNOWN_PARAMETER.because(format!("Known are: {known}.")).field(
                format!("query/{name}"),
                FieldCode::UnknownField,
                "There is no such parameter.",
            ));
        }
        values.sort();
        for value in values {
            let taken = match value.contains('\0') {
                true => Err(Unfit(FieldCode::InvalidCharacters, "U+0000 is in no text.".into())),
                false if is_own => filters.add(name, value),
                false => shared.add(name, value),
            };
            taken.map_err(|Unfit(code, detail)| {
                Problem::from(INVALID_PARAMETER).field(format!("query/{name}"), code, detail)
            })?;
        }
    }
    Ok(())
}

fn known_order<F: Filters>(text: &str) -> Result<&'static str, Problem> {
    let known = described::orders::<F>().iter().find(|order| **order == text);
    known.copied().ok_or_else(bad_order::<F>)
}

fn bad_order<F: Filters>() -> Problem {
    let choices = described::orders::<F>().join(", ");
    Problem::from(INVALID_PARAMETER).field("query/order", FieldCode::InvalidChoice, format!("One of {choices}."))
}

/// What is wrong with a parameter that means one thing and is there more than once.
fn twice(name: &str) -> Problem {
    Problem::from(INVALID_PARAMETER).field(format!("query/{name}"), FieldCode::TooMany, "Once only.")
}

fn read_limit(text: &str) -> Result<i64, Problem> {
    let code = match text.parse::<i64>() {
        Ok(limit @ 1..=100) => return Ok(limit),
        Ok(..=0) => FieldCode::TooSmall,
        Ok(_) => FieldCode::TooLarge,
        Err(_) => FieldCode::InvalidFormat,
    };
    Err(Problem::from(INVALID_PARAMETER).field("query/limit", code, "A number from 1 to 100."))
}

fn binding(resource: &str, workspace: Uuid, order: &str, filters: &BTreeMap<String, Vec<String>>) -> [u8; 16] {
    let text = serde_json::to_vec(&(resource, workspace, order, filters)).expect("plain strings");
    digest::digest(&digest::SHA256, &text).as_ref()[..16]
        .try_into()
        .expect("32 bytes")
}

impl<T> Page<T> {
    /// The same page of something made of each row.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(make).collect(),
            next_cursor: self.next_cursor,
            has_more: self.has_more,
        }
    }
}

#[cfg(test)]
mod tests;
