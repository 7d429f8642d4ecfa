//! What an answer means, when the next attempt is due, and when an endpoint is given a rest. Pure functions.

use chrono::{DateTime, Duration, Utc};

use crate::features::webhooks::model::DisabledReason;

/// Delays between attempts, in seconds: ten attempts over 75 h 35 min.
const SCHEDULE: [i64; 10] = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A receiver cannot park a delivery for longer.
const LONGEST_HINT: Duration = Duration::hours(10);

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// Try again; not before the hint. `busy`: the receiver asks for less.
    Failed { busy: bool, hint: Option<Duration> },
    /// The receiver gives this delivery up.
    Abort,
    /// The receiver wants no more.
    Disable(DisabledReason),
}

/// Judges an answer by its status and headers.
pub fn judge(status: u16, control: Option<&str>, retry_after: Option<&str>, now: DateTime<Utc>) -> Verdict {
    match (status, control) {
        (_, Some("disable")) => Verdict::Disable(DisabledReason::Receiver),
        (200..=299, _) => Verdict::Delivered,
        (410, _) => Verdict::Disable(DisabledReason::Gone),
        (_, Some("abort")) => Verdict::Abort,
        (429 | 502 | 503 | 504, _) => Verdict::Failed {
            busy: true,
            hint: retry_after.and_then(|text| hint(text, now)),
        },
        _ => Verdict::Failed {
            busy: false,
            hint: None,
        },
    }
}

/// `Retry-After` in seconds or as a date; what lies in the past says nothing.
fn hint(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<i64>() {
        Ok(seconds) => Duration::try_seconds(seconds)?,
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now,
    };
    (wait > Duration::zero()).then(|| wait.min(LONGEST_HINT))
}

/// The delay after so many attempts, or `None` when there are no more. `random` is from 0 to 1: jitter is only added, up to a tenth, at
/// least 2 s and at most 15 min.
pub fn delay(attempts: i32, hint: Option<Duration>, random: f64) -> Option<Duration> {
    let base = *SCHEDULE.get(usize::try_from(attempts).ok()?)?;
    let jitter = (base as f64 * 100.0 * random).round() as i64;
    let jitter = Duration::milliseconds(jitter.clamp(2_000, 900_000));
    Some((Duration::seconds(base) + jitter).max(hint.unwrap_or_default()))
}

/// How an endpoint's recent attempts went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circuit {
    /// Since when nothing is sent, until when.
    pub open_until: Option<DateTime<Utc>>,
    /// Openings in a row.
    pub step: i32,
    /// When the window began.
    pub window_at: DateTime<Utc>,
    /// Attempts in it that arrived.
    pub ok: i32,
    /// Attempts in it that failed.
    pub bad: i32,
}

impl Circuit {
    /// The same after some attempts. 70 % of at least ten failures in five minutes open it: for 30 s, doubling to five minutes. A probe
    /// that arrives closes it.
    pub fn after(mut self, ok: i32, bad: i32, now: DateTime<Utc>) -> Circuit {
        let probing = self.open_until.is_some();
        if now - self.window_at > Duration::minutes(5) {
            (self.window_at, self.ok, self.bad) = (now, 0, 0);
        }
        self.ok += ok;
        self.bad += bad;
        if probing && ok > 0 {
            return Circuit {
                open_until: None,
                step: 0,
                window_at: now,
                ok: 0,
                bad: 0,
            };
        }
        let all = self.ok + self.bad;
        if (probing && bad > 0) || (all >= 10 && self.bad * 10 >= all * 7) {
            let rest = Duration::seconds(30 << self.step.clamp(0, 4)).min(Duration::minutes(5));
            return Circuit {
                open_until: Some(now + rest),
                step: self.step + 1,
                window_at: now,
                ok: 0,
                bad: 0,
            };
        }
        self
    }
}

/// How many may be sent at `now`, and the throttle's new state: GCRA with a burst of one second.
pub fn allowance(tat: DateTime<Utc>, now: DateTime<Utc>, per_second: i32, wanted: i64) -> (i64, DateTime<Utc>) {
    let interval = 1_000_000 / i64::from(per_second.max(1));
    let behind = (tat - now).num_microseconds().unwrap_or(i64::MIN).max(0);
    let free = ((1_000_000 - behind) / interval).max(0);
    let taken = free.min(wanted);
    let start = tat.max(now);
    (taken, start + Duration::microseconds(interval * taken))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 20, 17, 30, 0).unwrap()
    }

    #[test]
    fn the_schedule_is_ten_attempts_over_three_days() {
        let all: Vec<_> = (1..=10).map(|attempts| delay(attempts, None, 0.0)).collect();
        let hours: i64 = all.iter().flatten().map(|delay| delay.num_seconds()).sum();
        assert_eq!(all.iter().flatten().count(), 9);
        assert_eq!(hours, 75 * 3_600 + 35 * 60 + 5 + 9 * 2);
        let most = delay(9, None, 1.0).expect("a tenth");
        assert_eq!(most, Duration::seconds(86_400 + 900));
        assert_eq!(delay(1, Some(Duration::hours(1)), 0.5), Some(Duration::hours(1)));
    }

    #[test]
    fn answers_mean_what_the_documentation_says() {
        let judge = |status, control, after| judge(status, control, after, now());
        assert_eq!(judge(204, None, None), Verdict::Delivered);
        assert_eq!(
            judge(301, None, None),
            Verdict::Failed {
                busy: false,
                hint: None
            }
        );
        assert_eq!(judge(410, None, None), Verdict::Disable(DisabledReason::Gone));
        assert_eq!(
            judge(200, Some("disable"), None),
            Verdict::Disable(DisabledReason::Receiver)
        );
        assert_eq!(judge(500, Some("abort"), None), Verdict::Abort);
        for (text, hint) in [
            ("120", Some(Duration::minutes(2))),
            ("-5", None),
            ("soon", None),
            ("Fri, 20 Nov 2026 17:31:00 GMT", Some(Duration::minutes(1))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(Duration::hours(10))),
            ("99999999999999999999", None),
        ] {
            assert_eq!(
                judge(503, None, Some(text)),
                Verdict::Failed { busy: true, hint },
                "{text}"
            );
        }
    }

    #[test]
    fn a_circuit_opens_after_failures_probes_and_closes_again() {
        let closed = Circuit {
            open_until: None,
            step: 0,
            window_at: now(),
            ok: 0,
            bad: 0,
        };
        assert_eq!(closed.after(3, 6, now()).open_until, None);
        let open = closed.after(3, 7, now());
        assert_eq!(open.open_until, Some(now() + Duration::seconds(30)));
        let again = open.after(0, 1, now());
        assert_eq!(again.open_until, Some(now() + Duration::seconds(60)));
        assert_eq!(again.after(1, 0, now()).open_until, None);
        assert_eq!(
            closed
                .after(0, 9, now())
                .after(0, 1, now() + Duration::minutes(6))
                .open_until,
            None
        );
    }

    #[test]
    fn the_throttle_lets_a_seconds_worth_go_and_then_its_rate() {
        let (first, tat) = allowance(now() - Duration::hours(1), now(), 10, 50);
        assert_eq!((first, tat), (10, now() + Duration::seconds(1)));
        assert_eq!(allowance(tat, now(), 10, 50).0, 0);
        assert_eq!(allowance(tat, now() + Duration::milliseconds(250), 10, 50).0, 2);
        assert_eq!(allowance(tat, now() + Duration::milliseconds(250), 10, 1).0, 1);
    }
}
