//! The time, handed in. Nothing else in the house asks the operating system what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serializer;
#[cfg(feature = "lab")]
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Tells the time in UTC, to the millisecond. Copies of one clock tell the same time.
///
/// With feature `lab` a clock can be *fake*: it runs on, shifted by an offset that only tests move. The database follows it through
/// `app.clock_offset` (see [`crate::kernel::db`]).
#[derive(Clone, Default)]
pub struct Clock {
    #[cfg(feature = "lab")]
    offset: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_millis(millis.saturating_add(self.offset().num_milliseconds())).unwrap_or(LAST)
    }

    /// How far this clock is ahead of the machine's.
    #[cfg(not(feature = "lab"))]
    pub fn offset(&self) -> chrono::Duration {
        chrono::Duration::zero()
    }

    /// How far this clock is ahead of the machine's.
    #[cfg(feature = "lab")]
    pub fn offset(&self) -> chrono::Duration {
        let millis = self.offset.as_ref().map_or(0, |offset| offset.load(Ordering::SeqCst));
        chrono::Duration::milliseconds(millis)
    }

    /// A clock that tests may move.
    #[cfg(feature = "lab")]
    pub fn fake() -> Clock {
        Clock {
            offset: Some(Arc::new(AtomicI64::new(0))),
        }
    }

    /// Moves a fake clock forward. A system clock stays as it is.
    #[cfg(feature = "lab")]
    pub fn advance(&self, by: chrono::Duration) {
        if let Some(offset) = &self.offset {
            offset.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Sets a fake clock back to the machine's time.
    #[cfg(feature = "lab")]
    pub fn reset(&self) {
        if let Some(offset) = &self.offset {
            offset.store(0, Ordering::SeqCst);
        }
    }
}

/// An instant, or perhaps none, as JSON shows it.
pub trait Moment {
    /// As [`written`] has it, if there is one.
    fn text(&self) -> Option<String>;
}

/// The last millisecond of 9999: RFC 3339 writes nothing later. A leap second at the end of that year would be stored as the next one.
pub const LAST: DateTime<Utc> = DateTime::from_timestamp_millis(253_402_300_799_999).expect("a date");

/// An instant so much later, but none that could not be written.
pub fn later(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).map_or(LAST, |later| later.min(LAST))
}

/// An instant as answers, events and refusals write it: RFC 3339 in UTC with three decimals.
pub fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Moment for DateTime<Utc> {
    fn text(&self) -> Option<String> {
        Some(written(*self))
    }
}

impl Moment for Option<DateTime<Utc>> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(Moment::text)
    }
}

/// Every instant of an answer or an event is written by this: `#[serde(serialize_with = "crate::kernel::clock::millis")]`. Left to itself,
/// an instant would leave its decimals out when they are zeros, and microseconds in.
///
/// # Errors
/// The writer's own.
pub fn millis<S: Serializer>(at: &impl Moment, serializer: S) -> Result<S::Ok, S::Error> {
    match at.text() {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Shown {
        #[serde(serialize_with = "millis")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "millis")]
        never: Option<DateTime<Utc>>,
    }

    #[test]
    fn an_instant_has_three_decimals_whatever_they_are() {
        for (micros, text) in [
            (0, "2026-11-20T17:30:00.000Z"),
            (120_000, "2026-11-20T17:30:00.120Z"),
            (123_456, "2026-11-20T17:30:00.123Z"),
        ] {
            let whole: DateTime<Utc> = "2026-11-20T17:30:00Z".parse().expect("an instant");
            let shown = Shown {
                at: whole + chrono::Duration::microseconds(micros),
                never: None,
            };
            let json = serde_json::to_value(&shown).expect("JSON");
            assert_eq!(json, serde_json::json!({ "at": text, "never": null }));
        }
    }
}
