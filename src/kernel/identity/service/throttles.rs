//! How often a credential may be guessed. Counted in PostgreSQL, so that neither replicas nor a dead Redis multiply it, and counted before the
//! guess is judged, so that guesses side by side do not slip through together.

use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, Duration, Utc};

use crate::kernel::{
    crypto,
    db::Kernel,
    error::{Problem, Result, TOO_MANY_ATTEMPTS},
    identity::queries::throttles::{self, Count},
};

/// One kind of guess.
pub struct Bucket {
    pub(super) name: &'static str,
    rule: Rule,
}

enum Rule {
    /// So many in so long.
    Window(i32, Duration),
    /// Ten in a row; then every further one costs a longer wait.
    Streak,
}

const fn window(name: &'static str, most: i32, seconds: i64) -> Bucket {
    Bucket {
        name,
        rule: Rule::Window(most, Duration::seconds(seconds)),
    }
}

const fn streak(name: &'static str) -> Bucket {
    Bucket {
        name,
        rule: Rule::Streak,
    }
}

/// Passwords from one address.
pub const LOGIN_IP: Bucket = window("login_ip", 10, 60);
/// Passwords for one account, by the name that was typed.
pub const LOGIN_ACCOUNT: Bucket = streak("login_account");
/// Passwords for one account from a device that its owner uses: strangers cannot lock that out.
pub const LOGIN_DEVICE: Bucket = streak("login_device");
/// Sign-ups from one address, at most so many in an hour.
pub const fn sign_ups(most: u32) -> Bucket {
    window("register_ip", most.cast_signed(), 3_600)
}
/// Refreshes of one session.
pub const REFRESH_SESSION: Bucket = window("refresh_session", 30, 300);
/// Refreshes from one address.
pub const REFRESH_IP: Bucket = window("refresh_ip", 150, 300);
/// Passwords of somebody who is signed in.
pub const STEP_UP: Bucket = window("step_up", 5, 600);
/// Mails to one address, close together.
pub const MAIL_MINUTE: Bucket = window("mail_minute", 1, 60);
/// Mails to one address.
pub const MAIL_HOUR: Bucket = window("mail_hour", 5, 3_600);
/// Mails that are asked for from one address, at most so many in an hour.
pub const fn mails_asked_for(most: u32) -> Bucket {
    window("mail_ip", most.cast_signed(), 3_600)
}

/// Guesses in a row that cost nothing.
const FREE: i32 = 10;
/// What the tenth and the following ones cost, in seconds. Never for ever, and never an administrator's business.
const WAITS: [i64; 6] = [30, 60, 120, 240, 480, 900];
/// A streak is forgotten after so long.
const FORGOTTEN: Duration = Duration::hours(12);

/// Takes one guess. A refusal is a value, not an error: the caller's transaction commits, so that what was counted stays counted.
///
/// # Errors
/// The database's.
pub fn take(tx: &mut Kernel<'_>, bucket: &Bucket, key: &str) -> Result<Option<Problem>> {
    let refused = take_each(tx, &[(bucket, key)])?;
    Ok(refused.map(|refused| {
        let wait = refused.wait.to_std().unwrap_or_default();
        Problem::from(TOO_MANY_ATTEMPTS).retry_after(wait)
    }))
}

/// A bucket that has nothing left.
pub struct Refused<'b> {
    pub bucket: &'b Bucket,
    /// For so long.
    pub wait: Duration,
}

/// Takes one from each of these, in this order, or none from any: the first that refuses.
///
/// # Errors
/// The database's.
pub fn take_each<'b>(tx: &mut Kernel<'_>, wanted: &[(&'b Bucket, &str)]) -> Result<Option<Refused<'b>>> {
    let now = tx.now()?;
    let mut taken = Vec::new();
    for &(bucket, key) in wanted {
        let hash = crypto::sha256(key.as_bytes());
        let mut count = throttles::lock(tx, bucket.name, &hash)?;
        if let Some(wait) = bucket.rule.judge(&mut count, now) {
            return Ok(Some(Refused { bucket, wait }));
        }
        taken.push((bucket.name, hash, count));
    }
    for (name, hash, count) in taken {
        throttles::store(tx, name, &hash, &count)?;
    }
    Ok(None)
}

/// Forgets the guesses: one was right.
///
/// # Errors
/// The database's.
pub fn clear(tx: &mut Kernel<'_>, bucket: &Bucket, key: &str) -> Result<()> {
    clear_each(tx, bucket, [key.to_owned()])
}

/// The same for many.
///
/// # Errors
/// The database's.
pub fn clear_each(tx: &mut Kernel<'_>, bucket: &Bucket, keys: impl IntoIterator<Item = String>) -> Result<()> {
    let keys: Vec<_> = keys.into_iter().map(|key| crypto::sha256(key.as_bytes())).collect();
    throttles::clear(tx, bucket.name, &keys)
}

/// Who an address stands for: whoever holds an IPv6 address holds its /64.
pub fn neighbourhood(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        None => "unknown".into(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).to_string(),
    }
}

impl Rule {
    /// Counts one, or says how long to wait: then nothing is counted.
    fn judge(&self, count: &mut Count, now: DateTime<Utc>) -> Option<Duration> {
        match *self {
            Rule::Window(most, length) => {
                if count.since + length <= now || count.failures == 0 {
                    count.since = now;
                    count.failures = 0;
                }
                if count.failures >= most {
                    return Some(count.since + length - now);
                }
                count.failures += 1;
            }
            Rule::Streak => {
                if let Some(until) = count.blocked_until.filter(|until| *until > now) {
                    return Some(until - now);
                }
                if count.last_at + FORGOTTEN <= now {
                    count.failures = 0;
                }
                count.failures += 1;
                let beyond = usize::try_from(count.failures - FREE).ok();
                count.blocked_until = beyond.map(|place| now + Duration::seconds(WAITS[place.min(WAITS.len() - 1)]));
            }
        }
        count.last_at = now;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Clock;

    fn new(now: DateTime<Utc>) -> Count {
        Count {
            failures: 0,
            since: now,
            last_at: now,
            blocked_until: None,
        }
    }

    #[test]
    fn a_window_lets_so_many_through_and_opens_again() {
        let mut now = Clock::system().now();
        let rule = Rule::Window(3, Duration::seconds(60));
        let mut count = new(now);
        for _ in 0..3 {
            assert_eq!(rule.judge(&mut count, now), None);
            now += Duration::seconds(10);
        }
        assert_eq!(rule.judge(&mut count, now), Some(Duration::seconds(30)));
        now += Duration::seconds(29);
        assert_eq!(rule.judge(&mut count, now), Some(Duration::seconds(1)));
        now += Duration::seconds(1);
        assert_eq!(rule.judge(&mut count, now), None);
        assert_eq!(count.failures, 1);
    }

    #[test]
    fn ten_in_a_row_are_free_and_each_further_one_costs_more() {
        let mut now = Clock::system().now();
        let mut count = new(now);
        for _ in 0..10 {
            assert_eq!(Rule::Streak.judge(&mut count, now), None);
        }
        for wait in [30, 60, 120, 240, 480, 900, 900] {
            let wait = Duration::seconds(wait);
            assert_eq!(Rule::Streak.judge(&mut count, now), Some(wait));
            let before = count.clone();
            now += wait - Duration::seconds(1);
            assert_eq!(Rule::Streak.judge(&mut count, now), Some(Duration::seconds(1)));
            assert_eq!(count, before, "trying meanwhile changes nothing");
            now += Duration::seconds(1);
            assert_eq!(Rule::Streak.judge(&mut count, now), None);
        }
    }

    #[test]
    fn a_streak_is_forgotten_after_half_a_day() {
        let mut now = Clock::system().now();
        let mut count = new(now);
        for _ in 0..9 {
            assert_eq!(Rule::Streak.judge(&mut count, now), None);
        }
        now += FORGOTTEN;
        assert_eq!(Rule::Streak.judge(&mut count, now), None);
        assert_eq!((count.failures, count.blocked_until), (1, None));
    }

    #[test]
    fn whoever_holds_an_address_holds_its_neighbours() {
        let of = |text: &str| neighbourhood(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
