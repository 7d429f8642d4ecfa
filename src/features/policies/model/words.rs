//! What policies choose from.

use chrono::{DateTime, Datelike, Days, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

crate::words! {
    /// A unit of calendar time, in UTC.
    pub enum Unit {
        /// Sixty minutes.
        Hour "hour",
        /// A day.
        Day "day",
        /// Seven days.
        Week "week",
        /// A calendar month: from the 31st it ends with a shorter month.
        Month "month",
        /// A calendar year.
        Year "year",
    }
}

/// So many units of calendar time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// How many, at least one.
    pub count: i32,
    /// Of what.
    pub unit: Unit,
}

impl Span {
    /// A hundred years: the longest span there is.
    const LONGEST: TimeDelta = TimeDelta::days(36_525);

    /// The instant `times` spans later. Counted from the start at once, so that a month's end that was cut short comes back: January
    /// 31st and two months is March 31st. `None` beyond what can be told.
    pub fn after(self, start: DateTime<Utc>, times: i32) -> Option<DateTime<Utc>> {
        let count = u32::try_from(self.count.checked_mul(times)?).ok()?;
        match self.unit {
            Unit::Hour => start.checked_add_signed(TimeDelta::hours(i64::from(count))),
            Unit::Day => start.checked_add_days(Days::new(u64::from(count))),
            Unit::Week => start.checked_add_days(Days::new(u64::from(count) * 7)),
            Unit::Month => start.checked_add_months(Months::new(count)),
            Unit::Year => start.checked_add_months(Months::new(count.checked_mul(12)?)),
        }
    }

    /// The instant `times` spans after `from`, the end of spans that began at `anchor`, and where to count from the next time. Months are
    /// counted from the anchor as long as `from` is so many of them after it; else, and in all other units, from `from`.
    pub fn onward(
        self,
        anchor: DateTime<Utc>,
        from: DateTime<Utc>,
        times: i32,
    ) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        if !matches!(self.unit, Unit::Month | Unit::Year) {
            return Some((from, self.after(from, times)?));
        }
        let months = |at: DateTime<Utc>| i64::from(at.year()) * 12 + i64::from(at.month());
        let so_far = u32::try_from(months(from) - months(anchor)).ok().map(Months::new);
        let goes_on = so_far.is_some_and(|so_far| anchor.checked_add_months(so_far) == Some(from));
        let (anchor, so_far) = match so_far.filter(|_| goes_on) {
            Some(so_far) => (anchor, so_far.as_u32()),
            None => (from, 0),
        };
        let each = if self.unit == Unit::Year { 12 } else { 1 };
        let more = u32::try_from(self.count.checked_mul(each)?.checked_mul(times)?).ok()?;
        let end = anchor.checked_add_months(Months::new(so_far.checked_add(more)?))?;
        Some((anchor, end))
    }

    /// Whether it is between an hour and a hundred years.
    pub fn is_sound(self) -> bool {
        let start = DateTime::UNIX_EPOCH;
        self.count >= 1 && self.after(start, 1).is_some_and(|end| end - start <= Span::LONGEST)
    }
}

crate::words! {
    /// When the term begins to run.
    pub enum ExpirationBasis {
        /// When the licence is issued, or starts.
        FromCreation "from_creation",
        /// When it is first validated.
        FromFirstValidation "from_first_validation",
        /// When it is first activated.
        FromFirstActivation "from_first_activation",
    }
}

crate::words! {
    /// What an expired licence still may.
    pub enum ExpirationStrategy {
        /// It is not valid; its key may still call, to renew or to deactivate.
        RestrictAccess "restrict_access",
        /// It is not valid, and its key is a credential no more.
        RevokeAccess "revoke_access",
        /// It stays valid, with the notice `expired`.
        AllowAccess "allow_access",
    }
}

crate::words! {
    /// Where a renewal by periods begins.
    pub enum RenewalBasis {
        /// Where the term ends.
        FromExpiry "from_expiry",
        /// Now; where a suspension has stopped the clock, when it did.
        FromNow "from_now",
        /// Now, likewise, if it has expired, else where it ends.
        FromNowIfExpired "from_now_if_expired",
    }
}

crate::words! {
    /// What a suspension does to the term.
    pub enum SuspendedTime {
        /// The term runs on.
        Runs "runs",
        /// The suspended time is added when it is lifted.
        StopsClock "stops_clock",
    }
}

crate::words! {
    /// How far a limit may be exceeded.
    pub enum Overage {
        /// Not at all.
        NoOverage "no_overage",
        /// By a quarter.
        Allow125 "allow_1_25x",
        /// By a half.
        Allow150 "allow_1_5x",
        /// Twice.
        Allow200 "allow_2x",
        /// As far as wanted, with the notice `over_limit`.
        AlwaysAllow "always_allow",
    }
}

impl Overage {
    /// The most that may be used of a limit; `None`: as much as wanted. `used * 4 <= max * 5` in whole numbers.
    pub fn most(self, max: Option<i32>) -> Option<i32> {
        let max = i64::from(max?);
        let most = match self {
            Overage::NoOverage => max,
            Overage::Allow125 => max * 5 / 4,
            Overage::Allow150 => max * 3 / 2,
            Overage::Allow200 => max * 2,
            Overage::AlwaysAllow => return None,
        };
        Some(i32::try_from(most).unwrap_or(i32::MAX))
    }
}

crate::words! {
    /// Inside what a fingerprint is the only one of its kind.
    pub enum Uniqueness {
        /// The workspace.
        PerWorkspace "per_workspace",
        /// The product.
        PerProduct "per_product",
        /// The policy.
        PerPolicy "per_policy",
        /// The licence.
        PerLicense "per_license",
    }
}

crate::words! {
    /// Whether machines give signs of life.
    pub enum Heartbeat {
        /// No.
        None "none",
        /// Those that do are watched.
        Optional "optional",
        /// All must.
        Required "required",
    }
}

crate::words! {
    /// When a machine's first sign of life is due.
    pub enum HeartbeatBasis {
        /// Counted from its activation.
        FromCreation "from_creation",
        /// Only once it has given one.
        FromFirstPing "from_first_ping",
    }
}

crate::words! {
    /// What becomes of a machine whose sign of life is overdue.
    pub enum Cull {
        /// It is deactivated, and its place is free.
        DeactivateDead "deactivate_dead",
        /// It is dead, and keeps its place.
        KeepDead "keep_dead",
    }
}

crate::words! {
    /// How long after its death a machine may come back by a sign of life.
    pub enum Resurrection {
        /// Not at all.
        NoRevive "no_revive",
        /// A minute.
        Revive1m "revive_1m",
        /// Two minutes.
        Revive2m "revive_2m",
        /// Five minutes.
        Revive5m "revive_5m",
        /// Ten minutes.
        Revive10m "revive_10m",
        /// A quarter of an hour.
        Revive15m "revive_15m",
        /// As long as it takes.
        Always "always",
    }
}

impl Resurrection {
    /// How long; `None`: for ever.
    pub fn window(self) -> Option<TimeDelta> {
        let minutes = match self {
            Resurrection::NoRevive => 0,
            Resurrection::Revive1m => 1,
            Resurrection::Revive2m => 2,
            Resurrection::Revive5m => 5,
            Resurrection::Revive10m => 10,
            Resurrection::Revive15m => 15,
            Resurrection::Always => return None,
        };
        Some(TimeDelta::minutes(minutes))
    }
}

crate::words! {
    /// What a validation can be asked about.
    pub enum ScopeName {
        /// The product.
        Product "product",
        /// The policy.
        Policy "policy",
        /// A machine by its id.
        Machine "machine",
        /// A machine by its fingerprint.
        Fingerprint "fingerprint",
        /// What it entitles to.
        Entitlements "entitlements",
    }
}

crate::words! {
    /// What the customer's software shows to be let in.
    pub enum Authentication {
        /// The licence key.
        License "license",
        /// Nothing: only the vendor's server asks.
        None "none",
    }
}

crate::words! {
    /// What the customer's software may do with its key.
    pub enum ClientVerb {
        /// Ask whether the licence is valid.
        Validate "validate",
        /// Activate its machine.
        Activate "activate",
        /// Deactivate its machine.
        Deactivate "deactivate",
        /// Give signs of life.
        Heartbeat "heartbeat",
        /// Check in.
        CheckIn "check_in",
        /// Report usage.
        Usage "usage",
        /// Take floating seats.
        Lease "lease",
        /// Take licence files.
        CheckOut "check_out",
        /// Hand the licence over.
        Transfer "transfer",
    }
}

#[cfg(test)]
mod tests;
