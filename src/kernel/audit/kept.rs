//! How much of a workspace's log is kept, as plans come and go.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{AsChangeset, Queryable, Selectable};

use crate::kernel::schema::workspace_plans;

/// How long a log is kept as before although the plan keeps less of it: a downgrade, or a payment that is late, takes nothing away that
/// cannot be had back, and hides nothing from whoever is still there.
const SEASON: TimeDelta = TimeDelta::days(90);

/// How much of a workspace's log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = workspace_plans, treat_none_as_null = true)]
pub(super) struct Kept {
    /// Days; `None`: all of it.
    #[diesel(column_name = audit_days)]
    pub(super) days: Option<i64>,
    /// As many will be.
    #[diesel(column_name = audit_days_next)]
    next: Option<i64>,
    /// From then on.
    #[diesel(column_name = audit_days_turn_at)]
    turn_at: Option<DateTime<Utc>>,
}

impl Kept {
    /// What is kept now by a plan that keeps so many days. More is kept at once; fewer are once they were the plan's for a season, each
    /// step for itself.
    pub(super) fn by(self, plan: Option<i64>, now: DateTime<Utc>) -> Kept {
        let all = |days: Option<i64>| days.unwrap_or(i64::MAX);
        let kept = match (self.next, self.turn_at) {
            (Some(next), Some(at)) if at <= now => Kept {
                days: Some(next),
                ..Kept::default()
            },
            _ => self,
        };
        match plan.filter(|days| *days < all(kept.days)) {
            None => Kept {
                days: plan,
                ..Kept::default()
            },
            Some(days) => Kept {
                next: Some(kept.next.map_or(days, |next| next.max(days))),
                turn_at: kept.turn_at.or(Some(now + SEASON)),
                ..kept
            },
        }
    }

    /// Nothing made before is kept; `None`: everything is.
    pub(super) fn since(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_signed(TimeDelta::try_days(self.days?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_days_are_kept_once_they_were_the_plans_for_a_season() {
        let day = |n| DateTime::UNIX_EPOCH + TimeDelta::days(n);
        let mut kept = Kept::default();
        for (at, plan, days) in [
            (0, Some(2_555), None),
            (90, Some(2_555), Some(2_555)),
            (100, Some(365), Some(2_555)),
            (180, Some(90), Some(2_555)),
            (190, Some(90), Some(365)),
            (279, Some(90), Some(365)),
            (280, Some(90), Some(90)),
            (281, Some(365), Some(365)),
            (282, Some(90), Some(365)),
            (300, None, None),
            (301, Some(90), None),
            (302, Some(365), None),
            (391, Some(90), Some(365)),
        ] {
            kept = kept.by(plan, day(at));
            assert_eq!(kept.days, days, "day {at}");
        }
        assert_eq!(kept.since(day(400)), Some(day(35)));
        assert_eq!(Kept::default().since(day(400)), None);
        let for_ever = Kept {
            days: Some(i64::MAX),
            ..kept
        };
        assert_eq!(for_ever.since(day(400)), None);
    }
}
