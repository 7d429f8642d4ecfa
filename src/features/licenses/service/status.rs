//! How a licence stands: derived, never stored.

use chrono::{DateTime, TimeDelta, Utc};

use crate::features::{
    licenses::model::{Facts, Row, State, Status},
    policies::Rules,
};

/// Without a sign of use for so long, a licence is inactive.
const INACTIVE: TimeDelta = TimeDelta::days(90);

/// What a status is derived from.
pub(super) struct Standing<'a> {
    pub(super) state: State,
    pub(super) rules: &'a Rules,
    pub(super) starts_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) check_in_due_at: Option<DateTime<Utc>>,
    /// When it was last used in any way, or issued.
    pub(super) last_contact: DateTime<Utc>,
}

impl<'a> From<&'a Row> for Standing<'a> {
    fn from(row: &'a Row) -> Standing<'a> {
        Standing {
            state: row.state,
            rules: &row.terms.rules,
            starts_at: row.starts_at,
            expires_at: row.expires_at,
            check_in_due_at: row.check_in_due_at,
            last_contact: latest(row.created_at, [row.last_validated_at, row.activated_at]),
        }
    }
}

impl<'a> From<&'a Facts> for Standing<'a> {
    fn from(facts: &'a Facts) -> Standing<'a> {
        Standing {
            state: facts.state,
            rules: &facts.terms.rules,
            starts_at: facts.starts_at,
            expires_at: facts.expires_at,
            check_in_due_at: None,
            last_contact: latest(facts.created_at, [facts.last_validated_at, facts.activated_at]),
        }
    }
}

fn latest(first: DateTime<Utc>, others: [Option<DateTime<Utc>>; 2]) -> DateTime<Utc> {
    others.into_iter().flatten().fold(first, DateTime::max)
}

impl Standing<'_> {
    /// When the grace after the expiry ends; `None`: it never expires.
    pub(super) fn grace_ends_at(&self) -> Option<DateTime<Utc>> {
        let grace = TimeDelta::seconds(i64::from(self.rules.grace_seconds));
        Some(
            self.expires_at?
                .checked_add_signed(grace)
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        )
    }

    /// The first that applies.
    pub(super) fn status(&self, now: DateTime<Utc>) -> Status {
        let passed = |instant: Option<DateTime<Utc>>| instant.is_some_and(|instant| instant <= now);
        let soon = self
            .expires_at
            .map(|at| at - TimeDelta::days(i64::from(self.rules.expiring_days)));
        match self.state {
            State::Pooled => Status::Pooled,
            State::Revoked => Status::Revoked,
            State::Suspended => Status::Suspended,
            State::Active if self.starts_at.is_some_and(|start| start > now) => Status::NotStarted,
            State::Active if passed(self.grace_ends_at()) => Status::Expired,
            State::Active if passed(self.expires_at) => Status::InGrace,
            State::Active if passed(self.check_in_due_at) => Status::Overdue,
            State::Active if passed(soon) => Status::Expiring,
            State::Active if passed(Some(self.last_contact + INACTIVE)) => Status::Inactive,
            State::Active => Status::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn status(state: State, starts: Option<i64>, expires: Option<i64>, contact: i64, grace_seconds: i32) -> Status {
        let day = |day: i64| Utc.timestamp_opt(day * 86_400, 0).unwrap();
        let rules = Rules {
            grace_seconds,
            ..Rules::default()
        };
        let standing = Standing {
            state,
            rules: &rules,
            starts_at: starts.map(day),
            expires_at: expires.map(day),
            check_in_due_at: None,
            last_contact: day(contact),
        };
        standing.status(day(1_000))
    }

    #[test]
    fn the_first_that_applies_is_the_status() {
        let week = 7 * 86_400;
        for (state, starts, expires, contact, grace, expected) in [
            (State::Pooled, Some(2_000), Some(1), 0, 0, Status::Pooled),
            (State::Revoked, None, Some(1), 0, 0, Status::Revoked),
            (State::Suspended, None, Some(1), 0, 0, Status::Suspended),
            (State::Active, Some(1_001), Some(1), 0, 0, Status::NotStarted),
            (State::Active, Some(1_000), None, 1_000, 0, Status::Active),
            (State::Active, None, Some(1_000), 1_000, 0, Status::Expired),
            (State::Active, None, Some(1_000), 1_000, week, Status::InGrace),
            (State::Active, None, Some(993), 1_000, week, Status::Expired),
            (State::Active, None, Some(1_003), 1_000, week, Status::Expiring),
            (State::Active, None, Some(1_004), 1_000, week, Status::Active),
            (State::Active, None, None, 910, 0, Status::Inactive),
            (State::Active, None, None, 911, 0, Status::Active),
        ] {
            assert_eq!(
                status(state, starts, expires, contact, grace),
                expected,
                "{state} {starts:?} {expires:?} {contact}"
            );
        }
    }
}
