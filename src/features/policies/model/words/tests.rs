use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

#[test]
fn terms_follow_the_calendar() {
    for (start, count, unit, times, end) in [
        ("2026-01-31T12:00:00Z", 1, Unit::Month, 1, "2026-02-28T12:00:00Z"),
        ("2026-01-31T12:00:00Z", 1, Unit::Month, 2, "2026-03-31T12:00:00Z"),
        ("2028-02-29T00:00:00Z", 1, Unit::Year, 1, "2029-02-28T00:00:00Z"),
        ("2028-02-29T00:00:00Z", 1, Unit::Year, 4, "2032-02-29T00:00:00Z"),
        ("2026-03-29T01:30:00Z", 1, Unit::Day, 1, "2026-03-30T01:30:00Z"),
        ("2026-12-31T23:59:59.999Z", 2, Unit::Week, 1, "2027-01-14T23:59:59.999Z"),
        ("2026-10-25T00:30:00Z", 3, Unit::Hour, 1, "2026-10-25T03:30:00Z"),
    ] {
        assert_eq!(
            Span { count, unit }.after(at(start), times),
            Some(at(end)),
            "{start} + {count} {unit}"
        );
    }
}

#[test]
fn a_month_that_was_cut_short_comes_back_span_by_span() {
    let month = Span {
        count: 1,
        unit: Unit::Month,
    };
    let (mut anchor, mut end) = (at("2026-01-31T12:00:00Z"), at("2026-02-28T12:00:00Z"));
    for next in ["2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z", "2026-05-31T12:00:00Z"] {
        (anchor, end) = month.onward(anchor, end, 1).expect("a date");
        assert_eq!(end, at(next));
    }
    // Months go on with years, and years with months.
    let year = Span {
        count: 1,
        unit: Unit::Year,
    };
    let leap = at("2028-02-29T00:00:00Z");
    assert_eq!(
        year.onward(leap, at("2029-02-28T00:00:00Z"), 3),
        Some((leap, at("2032-02-29T00:00:00Z")))
    );
    assert_eq!(
        month.onward(leap, at("2029-02-28T00:00:00Z"), 1),
        Some((leap, at("2029-03-29T00:00:00Z")))
    );
    // What is no number of months after it is counted by itself, and so is what is no month.
    for from in ["2026-03-02T12:00:00Z", "2026-02-28T12:00:01Z", "2025-12-31T12:00:00Z"] {
        let from = at(from);
        let later = month.after(from, 1).expect("a date");
        assert_eq!(month.onward(at("2026-01-31T12:00:00Z"), from, 1), Some((from, later)));
    }
    let week = Span {
        count: 1,
        unit: Unit::Week,
    };
    let from = at("2026-02-28T12:00:00Z");
    let later = at("2026-03-07T12:00:00Z");
    assert_eq!(week.onward(at("2026-01-31T12:00:00Z"), from, 1), Some((from, later)));
}

#[test]
fn a_term_is_an_hour_at_least_and_a_hundred_years_at_most() {
    let sound = |count, unit| Span { count, unit }.is_sound();
    assert!(sound(1, Unit::Hour) && sound(100, Unit::Year) && sound(36_525, Unit::Day));
    assert!(!sound(0, Unit::Year) && !sound(-1, Unit::Day) && !sound(101, Unit::Year) && !sound(i32::MAX, Unit::Hour));
}

#[test]
fn overage_counts_in_whole_numbers() {
    assert_eq!(Overage::NoOverage.most(Some(3)), Some(3));
    assert_eq!(Overage::Allow125.most(Some(3)), Some(3));
    assert_eq!(Overage::Allow125.most(Some(4)), Some(5));
    assert_eq!(Overage::Allow150.most(Some(3)), Some(4));
    assert_eq!(Overage::Allow200.most(Some(i32::MAX)), Some(i32::MAX));
    assert_eq!(Overage::AlwaysAllow.most(Some(3)), None);
    assert_eq!(Overage::NoOverage.most(None), None);
}

proptest! {
    #[test]
    fn a_longer_term_ends_later(start in 0_i64..4_000_000_000, count in 1_i32..400, unit in 0_usize..5, times in 1_i32..12) {
        let start = Utc.timestamp_opt(start, 0).unwrap();
        let span = Span { count, unit: Unit::ALL[unit] };
        let (one, more) = (span.after(start, times), span.after(start, times + 1));
        prop_assert!(one.is_none() || one > Some(start));
        prop_assert!(more.is_none() || more > one);
    }

    #[test]
    fn one_renewal_after_another_comes_to_as_much_as_all_at_once(
        start in 0_i64..4_000_000_000, count in 1_i32..30, unit in 0_usize..5, times in 1_i32..12,
    ) {
        let start = Utc.timestamp_opt(start, 0).unwrap();
        let span = Span { count, unit: Unit::ALL[unit] };
        let (mut anchor, mut end) = (start, span.after(start, 1).expect("a date"));
        for _ in 0..times {
            let plain = span.after(end, 1);
            (anchor, end) = span.onward(anchor, end, 1).expect("a date");
            prop_assert!(Some(end) >= plain);
        }
        prop_assert_eq!(Some(end), span.after(start, times + 1));
    }

    #[test]
    fn overage_never_takes_away(max in 1_i32.., overage in 0_usize..4) {
        let most = Overage::ALL[overage].most(Some(max)).expect("limited");
        prop_assert!(most >= max && i64::from(most) <= 2 * i64::from(max));
    }
}
