//! Lists: newest first, by a cursor that is bound to its resource, workspace, order and filters.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, TimeZone, Utc};
use serde::Serialize;
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

/// Declares the pages of a slice's lists, each with a name of its own in the OpenAPI document.
///
/// ```text
/// pages! {
///     /// A page of agents.
///     pub AgentPage of Agent;
/// }
/// ```
#[macro_export]
macro_rules! pages {
    ($($(#[$doc:meta])* $vis:vis $name:ident of $row:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, ::serde::Serialize, ::utoipa::ToSchema)]
        $vis struct $name {
            /// The rows.
            pub data: Vec<$row>,
            /// Pass it as `cursor` for the next page; null at the end.
            #[schema(required)]
            pub next_cursor: Option<String>,
            /// Whether there is a next page.
            pub has_more: bool,
        }

        impl From<$crate::kernel::page::Page<$row>> for $name {
            fn from(page: $crate::kernel::page::Page<$row>) -> $name {
                $name { data: page.data, next_cursor: page.next_cursor, has_more: page.has_more }
            }
        }
    )*};
}

/// What a list can be filtered by. A parameter that is given twice means either value.
pub trait Filters: Default {
    /// Names the resource in cursors: one list's cursor is not another's.
    const RESOURCE: &'static str;
    /// The parameters.
    const NAMES: &'static [&'static str];
    /// Besides `-created_at` and `created_at`.
    const ORDERS: &'static [&'static str] = &[];

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
pub struct PageQuery<F> {
    /// The filters.
    pub filters: F,
    limit: i64,
    order: &'static str,
    after: Option<(DateTime<Utc>, Uuid)>,
    /// What a cursor must have been made for.
    binding: [u8; 16],
    key: hmac::Key,
}

impl<F: Filters> PageQuery<F> {
    /// Reads a query string. `workspace` (nil where there is none) is part of what a cursor is bound to.
    ///
    /// # Errors
    /// 400 `unknown-parameter`, `invalid-parameter` or `invalid-cursor`.
    pub fn parse(query: &str, workspace: Uuid, key: &hmac::Key) -> Result<PageQuery<F>, Problem> {
        let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            pairs.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let limit = match pairs.remove("limit").as_deref() {
            None => 25,
            Some([text]) => text
                .parse()
                .ok()
                .filter(|limit| (1..=100).contains(limit))
                .ok_or_else(bad_limit)?,
            Some(_) => return Err(bad_limit()),
        };
        let order = match pairs.remove("order").as_deref() {
            None => "-created_at",
            Some([text]) => known_order::<F>(text)?,
            Some(_) => return Err(bad_order::<F>()),
        };
        let cursor = pairs.remove("cursor");
        let mut filters = F::default();
        read_filters(&mut filters, &mut pairs)?;
        let binding = binding(F::RESOURCE, workspace, order, &pairs);
        let mut query = PageQuery {
            filters,
            limit,
            order,
            after: None,
            binding,
            key: key.clone(),
        };
        query.after = match cursor.as_deref() {
            None => None,
            Some([text]) => Some(query.open(text).ok_or(INVALID_CURSOR)?),
            Some(_) => return Err(INVALID_CURSOR.into()),
        };
        Ok(query)
    }

    /// How many rows to fetch: one more than the page holds.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// The row to go on after: its time and id. In descending order, rows are *before* it.
    pub fn after(&self) -> Option<(DateTime<Utc>, Uuid)> {
        self.after
    }

    /// The order that was chosen, `-created_at` unless the list offers more.
    pub fn order(&self) -> &'static str {
        self.order
    }

    /// Newest first.
    pub fn is_descending(&self) -> bool {
        self.order.starts_with('-')
    }

    /// Makes the page of what [`PageQuery::fetch`] rows were found; `key` gives a row's time and id, the list's sort key.
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        let has_more = rows.len() as i64 > self.limit;
        rows.truncate(self.limit as usize);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| self.seal(key(last)));
        Page {
            data: rows,
            next_cursor,
            has_more,
        }
    }

    /// The number to go on after, in a list whose rows are numbered.
    pub fn after_number(&self) -> Option<i64> {
        self.after.map(|(number, _)| number.timestamp_micros())
    }

    /// As [`PageQuery::page`] for rows that are numbered; `number` is the list's sort key.
    pub fn numbered<T>(&self, rows: Vec<T>, number: impl Fn(&T) -> i64) -> Page<T> {
        self.page(rows, |row| {
            let number = DateTime::from_timestamp_micros(number(row));
            (number.unwrap_or_default(), Uuid::nil())
        })
    }

    /// `base64url(version, binding, time, id, 16 bytes of HMAC)`.
    fn seal(&self, (time, id): (DateTime<Utc>, Uuid)) -> String {
        let mut bytes = vec![1_u8];
        bytes.extend(self.binding);
        bytes.extend(time.timestamp_micros().to_be_bytes());
        bytes.extend(id.as_bytes());
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend(&tag.as_ref()[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(&self, text: &str) -> Option<(DateTime<Utc>, Uuid)> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() == 57 && bytes[0] == 1)?;
        let (body, tag) = bytes.split_at(41);
        let expected = hmac::sign(&self.key, body);
        if !crate::leak!("cursor-unsigned") {
            constant_time::verify_slices_are_equal(&expected.as_ref()[..16], tag).ok()?;
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
fn read_filters<F: Filters>(filters: &mut F, pairs: &mut BTreeMap<String, Vec<String>>) -> Result<(), Problem> {
    for (name, values) in pairs {
        if name.ends_with("_id") && crate::leak!("filter-dropped") {
            continue;
        }
        if !F::NAMES.contains(&name.as_str()) {
            let known = ["limit", "cursor", "order"]
                .iter()
                .chain(F::NAMES)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            return Err(UNKNOWN_PARAMETER.because(format!("Known are: {known}.")).field(
                format!("query/{name}"),
                FieldCode::UnknownField,
                "There is no such parameter.",
            ));
        }
        values.sort();
        for value in values {
            if value.contains('\0') {
                return Err(Problem::from(INVALID_PARAMETER).field(
                    format!("query/{name}"),
                    FieldCode::InvalidCharacters,
                    "U+0000 is in no text.",
                ));
            }
            filters.add(name, value).map_err(|Unfit(code, detail)| {
                Problem::from(INVALID_PARAMETER).field(format!("query/{name}"), code, detail)
            })?;
        }
    }
    Ok(())
}

fn known_order<F: Filters>(text: &str) -> Result<&'static str, Problem> {
    ["-created_at", "created_at"]
        .iter()
        .chain(F::ORDERS)
        .find(|order| **order == text)
        .copied()
        .ok_or_else(bad_order::<F>)
}

fn bad_order<F: Filters>() -> Problem {
    let choices: Vec<_> = ["-created_at", "created_at"].iter().chain(F::ORDERS).copied().collect();
    Problem::from(INVALID_PARAMETER).field(
        "query/order",
        FieldCode::InvalidChoice,
        format!("One of {}.", choices.join(", ")),
    )
}

fn bad_limit() -> Problem {
    Problem::from(INVALID_PARAMETER).field("query/limit", FieldCode::TooLarge, "A number from 1 to 100.")
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

/// Puts the rows of a boxed query in the order that was asked for, and begins where the page before ended. The table has `created_at` and
/// `id`, and the tables' DSL traits are in scope.
#[macro_export]
macro_rules! in_order {
    ($rows:expr, $table:ident, $query:expr) => {
        match ($query.is_descending(), $query.after()) {
            (true, None) => $rows.order(($table::created_at.desc(), $table::id.desc())),
            (true, Some((time, id))) => $rows
                .filter($table::created_at.le(time))
                .filter($table::created_at.lt(time).or($table::id.lt(id)))
                .order(($table::created_at.desc(), $table::id.desc())),
            (false, None) => $rows.order(($table::created_at.asc(), $table::id.asc())),
            (false, Some((time, id))) => $rows
                .filter($table::created_at.ge(time))
                .filter($table::created_at.gt(time).or($table::id.gt(id)))
                .order(($table::created_at.asc(), $table::id.asc())),
        }
    };
}

/// The same for rows that are counted within something: `number` is their place in it.
#[macro_export]
macro_rules! in_number {
    ($rows:expr, $number:expr, $query:expr) => {
        match (
            $query.is_descending(),
            $query.after_number().map(|number| number as i32),
        ) {
            (true, None) => $rows.order($number.desc()),
            (true, Some(after)) => $rows.filter($number.lt(after)).order($number.desc()),
            (false, None) => $rows.order($number.asc()),
            (false, Some(after)) => $rows.filter($number.gt(after)).order($number.asc()),
        }
    };
}

/// Narrows a boxed query to rows whose column is any of the values, where there are values. A single one is compared by `=`: the index that
/// begins with the column then gives the page in its order, which it cannot for a list of values.
#[macro_export]
macro_rules! any_of {
    ($rows:ident, $($column:expr => $values:expr),* $(,)?) => {
        $(match $values.as_slice() {
            [] => {}
            [one] => $rows = $rows.filter($column.eq(one)),
            several => $rows = $rows.filter($column.eq_any(several)),
        })*
    };
}

#[cfg(test)]
mod tests;
