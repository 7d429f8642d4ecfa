//! The filters that lists share.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Filters, Unfit, time_filter};
use crate::kernel::{check::is_metadata_key, error::FieldCode};

/// What every list can be narrowed by, and what those can whose rows change or carry tags.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// `created_after`, `created_before`.
    pub created: Span,
    /// `updated_after`, `updated_before`.
    pub updated: Span,
    /// `metadata[key]`: each key has one of its values.
    pub metadata: BTreeMap<String, Vec<String>>,
}

/// A time between two others, neither included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Only later ones.
    pub after: Option<DateTime<Utc>>,
    /// Only earlier ones.
    pub before: Option<DateTime<Utc>>,
}

/// Takes a bound. Of two, one would mean nothing: the wider one is everything that the caller wanted to leave out.
///
/// # Errors
/// It is no time, or there is one already.
pub fn bound(bound: &mut Option<DateTime<Utc>>, value: &str) -> Result<(), Unfit> {
    match bound.replace(time_filter(value)?) {
        None => Ok(()),
        Some(_) => Err(Unfit(FieldCode::TooMany, "Once only.".into())),
    }
}

/// The parameters of every list.
pub(super) const ALWAYS: [&str; 2] = ["created_after", "created_before"];
/// Those of lists of what changes.
pub(super) const CHANGING: [&str; 2] = ["updated_after", "updated_before"];

/// Whether a list shares this parameter.
pub(super) fn is_known<F: Filters>(name: &str) -> bool {
    ALWAYS.contains(&name) || (F::CHANGES && CHANGING.contains(&name)) || (F::TAGGED && key_of(name).is_some())
}

/// The key of `metadata[key]`.
fn key_of(name: &str) -> Option<&str> {
    name.strip_prefix("metadata[")?.strip_suffix(']')
}

impl Shared {
    /// Takes one value of a parameter that the list shares.
    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "created_after" => bound(&mut self.created.after, value),
            "created_before" => bound(&mut self.created.before, value),
            "updated_after" => bound(&mut self.updated.after, value),
            "updated_before" => bound(&mut self.updated.before, value),
            tag => self.tag(key_of(tag).unwrap_or_default(), value),
        }
    }

    fn tag(&mut self, key: &str, value: &str) -> Result<(), Unfit> {
        if !is_metadata_key(key) {
            let shape = "A key is 1 to 40 of A-Z, a-z, 0-9, '_', '.', '-'.";
            return Err(Unfit(FieldCode::InvalidFormat, shape.into()));
        }
        if !self.metadata.contains_key(key) && self.metadata.len() >= MOST_KEYS {
            return Err(Unfit(FieldCode::TooMany, format!("At most {MOST_KEYS} keys at once.")));
        }
        self.metadata.entry(key.to_owned()).or_default().push(value.to_owned());
        Ok(())
    }
}

/// Keys in one question. Each is a look of its own.
const MOST_KEYS: usize = 10;
