//! What was decided, and how callers read it.

use std::time::Duration;

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue},
    web::Bytes,
};

use super::Quota;
use crate::kernel::error::{Error, Problem, RATE_LIMITED, Result};

/// The headers that tell of limits: all policies, and how the tightest bucket stands.
static NAMES: [HeaderName; 5] = [
    POLICY,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
/// The one of them that there may be several of.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How one bucket stands after a request was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The bucket's name.
    pub bucket: &'static str,
    /// How much it holds.
    pub quota: Quota,
    /// Tokens that are left.
    pub left: u32,
    /// Until it is full again.
    pub full_in: Duration,
    /// If it was this one that refused: until it would not.
    pub wait: Option<Duration>,
}

/// What was decided about a request: it passed all its buckets or took from none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    standings: Vec<Standing>,
    shared: bool,
}

impl Verdict {
    pub(super) fn new(standings: Vec<Standing>, shared: bool) -> Verdict {
        Verdict { standings, shared }
    }

    /// One that was made by hand.
    #[cfg(test)]
    pub(in crate::kernel::http) fn of(standings: Vec<Standing>) -> Verdict {
        Verdict::new(standings, true)
    }

    /// The bucket that refused, the one with the longest wait if there were several.
    pub fn refused(&self) -> Option<&Standing> {
        let refusing = self.standings.iter().filter(|standing| standing.wait.is_some());
        refusing.max_by_key(|standing| standing.wait)
    }

    /// True if nothing refused.
    pub fn is_allowed(&self) -> bool {
        self.refused().is_none()
    }

    /// True if all processes were judged together.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// How every bucket stands.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Both verdicts about one request. A bucket that was judged twice stands as it did at last.
    pub fn and(mut self, later: Verdict) -> Verdict {
        for standing in &later.standings {
            self.forget(standing.bucket);
        }
        self.standings.extend(later.standings);
        self
    }

    /// A bucket that got its token back does not concern the caller.
    pub(super) fn forget(&mut self, bucket: &str) {
        self.standings.retain(|standing| standing.bucket != bucket);
    }

    /// The refusal: `rate-limited`, with when to come back.
    pub fn problem(&self) -> Option<Problem> {
        let refused = self.refused()?;
        let problem = RATE_LIMITED
            .with("bucket", refused.bucket)
            .with("limit", refused.quota.count)
            .with("window_seconds", refused.quota.window.as_secs())
            .retry_after(refused.wait.unwrap_or_default());
        Some(problem)
    }

    /// `Err` with the refusal, which says how its bucket stands.
    ///
    /// # Errors
    /// 429 `rate-limited`.
    pub fn result(&self) -> Result<()> {
        let Some(problem) = self.problem() else { return Ok(()) };
        let told = NAMES.iter().zip(self.told().into_iter().flatten());
        let told = told.fold(problem, |problem, (name, value)| {
            problem.header(name.as_str(), String::from_utf8_lossy(value.as_bytes()))
        });
        Err(Error::from(told))
    }

    /// What every answer says about the limits that it met: the policies, and how the tightest of them stands.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let told = self.told().into_iter();
        told.flat_map(|values| NAMES.iter().cloned().zip(values))
    }

    /// Says the same in the headers of an answer. What was judged later has said there how it stands; its policy stands beside the others.
    pub(in crate::kernel::http) fn dress(&self, headers: &mut HeaderMap) {
        let Some(values) = self.told() else { return };
        let is_told = headers.contains_key(&POLICY);
        for (name, value) in NAMES.iter().zip(values) {
            match (is_told, *name == POLICY) {
                (false, _) | (true, true) => headers.append(name.clone(), value),
                (true, false) => {}
            }
        }
    }

    /// The values of the five headers, parts of one text.
    fn told(&self) -> Option<[HeaderValue; 5]> {
        let tightest = self
            .refused()
            .or_else(|| self.standings.iter().min_by_key(|standing| standing.left));
        let tightest = tightest?;
        let left = if tightest.wait.is_some() { 0 } else { tightest.left };
        let reset = seconds(tightest.wait.unwrap_or(tightest.full_in));
        let mut text = Text(Vec::with_capacity(128 + 32 * self.standings.len()));
        for (at, standing) in self.standings.iter().enumerate() {
            text.word(if at == 0 { "\"" } else { ", \"" });
            text.word(standing.bucket);
            text.word("\";q=").number(standing.quota.count.into());
            text.word(";w=").number(standing.quota.window.as_secs());
        }
        let policy = text.0.len();
        text.word("\"").word(tightest.bucket).word("\";r=").number(left.into());
        text.word(";t=").number(reset);
        let standing = text.0.len();
        let limit = text.number(tightest.quota.count.into()).0.len();
        let remaining = text.number(left.into()).0.len();
        text.number(reset);
        let all = Bytes::from(text.0);
        let ends = [policy, standing, limit, remaining, all.len()];
        let mut from = 0;
        let parts = ends.map(|end| all.slice(std::mem::replace(&mut from, end)..end));
        Some(parts.map(|part| HeaderValue::from_maybe_shared(part).expect("names and numbers")))
    }
}

/// Words and numbers one after the other. Every answer has five such values, for which `write!` took three times as long.
struct Text(Vec<u8>);

impl Text {
    fn word(&mut self, word: &str) -> &mut Text {
        self.0.extend_from_slice(word.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Text {
        self.word(itoa::Buffer::new().format(number))
    }
}

/// Rounded up: who waits that long has waited long enough.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(bucket: &'static str, quota: Quota, left: u32, wait: Option<u64>) -> Standing {
        Standing {
            bucket,
            quota,
            left,
            full_in: Duration::from_millis(6_200),
            wait: wait.map(Duration::from_millis),
        }
    }

    fn told(verdict: &Verdict) -> Vec<(String, String)> {
        let text = |value: HeaderValue| value.to_str().expect("plain").to_owned();
        let headers = verdict.headers();
        headers.map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn of(standings: Vec<Standing>) -> Verdict {
        Verdict::new(standings, true)
    }

    #[test]
    fn the_headers_name_every_policy_and_the_tightest() {
        let verdict = of(vec![
            standing("workspace", Quota::per_minute(1_200), 900, None),
            standing("execute", Quota::per_minute(60), 12, None),
        ]);
        assert_eq!(
            told(&verdict),
            [
                (
                    "ratelimit-policy".to_owned(),
                    "\"workspace\";q=1200;w=60, \"execute\";q=60;w=60".to_owned()
                ),
                ("ratelimit".to_owned(), "\"execute\";r=12;t=7".to_owned()),
                ("x-ratelimit-limit".to_owned(), "60".to_owned()),
                ("x-ratelimit-remaining".to_owned(), "12".to_owned()),
                ("x-ratelimit-reset".to_owned(), "7".to_owned()),
            ]
        );
        assert!(verdict.is_allowed() && verdict.problem().is_none());
    }

    #[test]
    fn a_refusal_names_the_bucket_that_takes_longest() {
        let verdict = of(vec![
            standing("ip", Quota::per_minute(3_000), 0, Some(20)),
            standing("export", Quota::per_hour(3), 0, Some(1_200_001)),
            standing("workspace", Quota::per_minute(300), 7, None),
        ]);
        let problem = verdict.problem().expect("refused");
        assert_eq!(problem.kind(), RATE_LIMITED);
        assert_eq!(told(&verdict)[1].1, "\"export\";r=0;t=1201");
        assert_eq!(verdict.refused().map(|it| it.bucket), Some("export"));
    }

    #[test]
    fn what_no_bucket_concerns_says_nothing() {
        assert!(told(&Verdict::default()).is_empty() && Verdict::default().is_allowed());
    }

    #[test]
    fn a_bucket_judged_twice_stands_as_it_did_at_last() {
        let quota = Quota::per_minute(100);
        let both =
            of(vec![standing("anonymous", quota, 9, None)]).and(of(vec![standing("anonymous", quota, 0, Some(600))]));
        assert_eq!(both.standings().len(), 1);
        assert!(!both.is_allowed());
    }
}
