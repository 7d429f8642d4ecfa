//! Billing periods on the calendar: months keep their day where they have it.

use chrono::{DateTime, Days, Months};
use serde_json::Value;

/// The end of the period that starts at `start`, counted from the anchor so that the 31st stays the 31st.
pub(super) fn period_end(anchor: i64, start: i64, recurring: &Value) -> i64 {
    let count = recurring["interval_count"].as_u64().unwrap_or(1).max(1) as u32;
    let interval = recurring["interval"].as_str().unwrap_or("month");
    (1..=12_000u32)
        .map(|n| add(anchor, interval, count * n))
        .find(|end| *end > start)
        .unwrap_or(start + 86_400)
}

fn add(from: i64, interval: &str, count: u32) -> i64 {
    let moment = DateTime::from_timestamp(from, 0).unwrap_or_default();
    let later = match interval {
        "day" => moment.checked_add_days(Days::new(count.into())),
        "week" => moment.checked_add_days(Days::new(u64::from(count) * 7)),
        "year" => moment.checked_add_months(Months::new(count * 12)),
        _ => moment.checked_add_months(Months::new(count)),
    };
    later.unwrap_or(moment).timestamp()
}

#[cfg(test)]
mod tests {
    use super::period_end;
    use serde_json::json;

    #[test]
    fn the_thirty_first_comes_back_after_february() {
        let day = |text: &str| {
            chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z"))
                .unwrap()
                .timestamp()
        };
        let monthly = json!({ "interval": "month", "interval_count": 1 });
        let anchor = day("2027-01-31");
        assert_eq!(period_end(anchor, anchor, &monthly), day("2027-02-28"));
        assert_eq!(period_end(anchor, day("2027-02-28"), &monthly), day("2027-03-31"));
    }
}
