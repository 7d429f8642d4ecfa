//! Prolonging. A renewal by periods moves the term's end; one until a date only stands beside it: the expiry is the later of both, so the
//! order in which invoices arrive does not matter, and one that is refunded can be taken back.

use chrono::{DateTime, Utc};

use crate::{
    features::{
        licenses::{
            model::{LICENSE_RENEWED, License, NewRenewal, Renewal, RenewalTerm, Row, State, Term},
            queries,
            service::shown,
        },
        policies::{RenewalBasis, Rules, SuspendedTime},
    },
    kernel::{
        clock,
        db::Tenant,
        error::{FieldCode, Result, STATE_CONFLICT, invalid},
        http::IfMatch,
        id::{EventId, LicenseId},
        outbox,
    },
};

/// Prolongs a licence because somebody said so.
pub(in crate::features::licenses) fn renew_seen(
    tx: &mut Tenant<'_>,
    id: LicenseId,
    seen: &IfMatch,
    new: &NewRenewal,
) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    // Without a ref of the caller's, every renewal is another one.
    let reference = match &new.reference {
        Some(reference) => reference.clone(),
        None => EventId::new(tx.now()?).uuid().to_string(),
    };
    let term = match (new.periods, new.until) {
        (Some(periods), _) => RenewalTerm::Periods(periods),
        (None, Some(until)) => RenewalTerm::Until(until),
        (None, None) => return Err(invalid("/periods", FieldCode::Required, "Either periods or until.")),
    };
    prolong(tx, row, &Renewal { term, reference })
}

/// Prolongs a licence. The same renewal again changes nothing.
///
/// # Errors
/// 404; 409 `state-conflict` for a licence that is revoked, that never expires, whose term has not begun, or would end no later.
pub fn renew(tx: &mut Tenant<'_>, id: LicenseId, renewal: &Renewal) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    prolong(tx, row, renewal)
}

fn prolong(tx: &mut Tenant<'_>, row: Row, renewal: &Renewal) -> Result<License> {
    let conflict = |state: &str, detail: &str| Err(STATE_CONFLICT.because(detail).with("state", state).into());
    if row.state == State::Revoked {
        return conflict("revoked", "The licence is revoked, which is for good.");
    }
    if row.expires_at.is_none() && row.terms.rules.term().is_none() {
        return conflict("perpetual", "The licence never expires.");
    }
    // What is bought while the clock stands begins where it stands: the suspension moves it as well.
    let now = match stopped_at(&row) {
        Some(since) => since,
        None => tx.now()?,
    };
    let term = match renewal.term {
        RenewalTerm::Until(_) => Term::from(&row),
        RenewalTerm::Periods(_) if row.started_at.is_none() && row.term_ends_at.is_none() => {
            return conflict("not_started", "The licence's term has not begun.");
        }
        RenewalTerm::Periods(periods) => match later(&row.terms.rules, Term::from(&row), now, periods) {
            Some(term) if term.ends_at > Some(clock::LAST) => {
                return conflict("too_far", "The term would end after the year 9999.");
            }
            Some(term) => term,
            None => return conflict("perpetual", "The policy has no term to renew by."),
        },
    };
    let ended = row.term_ends_at;
    let before = shown(tx, row)?;
    if !queries::insert_renewal(tx.conn(), &before, renewal)? {
        return Ok(before);
    }
    if matches!(renewal.term, RenewalTerm::Periods(_)) && term.ends_at == ended {
        return conflict(
            "no_later",
            "By the policy's renewal_basis the term would end no later than it does.",
        );
    }
    let license = set(tx, before.id, term)?;
    let event = LICENSE_RENEWED.of(license.id, &license).after(&before);
    let event = match renewal.term {
        RenewalTerm::Periods(periods) => event.noting("periods", Some(periods)),
        RenewalTerm::Until(until) => event.noting("until", Some(clock::written(until))),
    };
    // Periods beside a later date move nothing else.
    let hidden = term.ends_at != ended && license.expires_at == before.expires_at;
    let event = match hidden {
        true => event.moving(
            "term_ends_at",
            ended.map(clock::written),
            term.ends_at.map(clock::written),
        ),
        false => event,
    };
    outbox::emit(tx, event.noting("ref", Some(&renewal.reference)))?;
    Ok(license)
}

/// Takes back a renewal until a date, and that one only. Answers the licence as it is then.
///
/// # Errors
/// 404.
pub fn reverse_renewal(tx: &mut Tenant<'_>, id: LicenseId, reference: &str) -> Result<License> {
    let row = queries::lock(tx.conn(), id)?;
    let now = tx.now()?;
    let term = Term::from(&row);
    let before = shown(tx, row)?;
    if !queries::reverse_renewal(tx.conn(), id, reference, now)? {
        return Ok(before);
    }
    let license = set(tx, id, term)?;
    let event = LICENSE_RENEWED.of(license.id, &license).after(&before);
    outbox::emit(tx, event.moving("ref", reference, None::<()>))?;
    Ok(license)
}

/// Until when which renewals prolong a licence: those until a date that stand.
///
/// # Errors
/// 503 if the database fails.
pub fn renewals(tx: &mut Tenant<'_>, id: LicenseId) -> Result<Vec<(String, DateTime<Utc>)>> {
    Ok(queries::standing_renewals(tx.conn(), id)?)
}

/// Since when a suspension has stopped the clock of a licence that will expire.
pub(super) fn stopped_at(row: &Row) -> Option<DateTime<Utc>> {
    let stops = row.terms.rules.suspended_time == SuspendedTime::StopsClock && row.expires_at.is_some();
    row.suspended_at.filter(|_| stops)
}

fn set(tx: &mut Tenant<'_>, id: LicenseId, term: Term) -> Result<License> {
    let row = settle(tx, id, term)?;
    shown(tx, row)
}

/// Lets a licence, which is locked, expire when its term ends or its latest renewal until a date does, whichever is later.
pub(super) fn settle(tx: &mut Tenant<'_>, id: LicenseId, term: Term) -> Result<Row> {
    let until = queries::renewed_until(tx.conn(), id)?;
    Ok(queries::prolong(tx.conn(), id, term, term.ends_at.max(until))?)
}

/// The term with so many more periods; `None`: the policy has no term. Months that go on where the term ends are counted from where it began;
/// what begins now begins anew. A term that has not begun is not begun by that, and none ends earlier than it did.
fn later(rules: &Rules, term: Term, now: DateTime<Utc>, periods: i32) -> Option<Term> {
    let end = term.ends_at.unwrap_or(now);
    let from = match rules.renewal_basis {
        RenewalBasis::FromExpiry => end,
        RenewalBasis::FromNow => term.anchor.map_or(now, |start| start.max(now)),
        RenewalBasis::FromNowIfExpired => end.max(now),
    };
    let anchor = term.anchor.filter(|_| from == end).unwrap_or(from);
    let (anchor, ends_at) = rules.term()?.onward(anchor, from, periods)?;
    if term.ends_at > Some(ends_at) {
        return Some(term);
    }
    Some(Term {
        anchor: Some(anchor),
        ends_at: Some(ends_at),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::features::policies::Unit;

    #[test]
    fn a_renewal_begins_where_the_policy_says() {
        let day = |day: u32| Utc.with_ymd_and_hms(2026, 11, day, 0, 0, 0).unwrap();
        let rules = |renewal_basis| Rules {
            term_count: Some(1),
            term_unit: Some(Unit::Day),
            renewal_basis,
            ..Rules::default()
        };
        for (basis, expires, periods, end) in [
            (RenewalBasis::FromExpiry, 5, 2, 7),
            (RenewalBasis::FromNow, 5, 2, 12),
            (RenewalBasis::FromNow, 15, 1, 15),
            (RenewalBasis::FromNow, 15, 9, 19),
            (RenewalBasis::FromNowIfExpired, 5, 1, 11),
            (RenewalBasis::FromNowIfExpired, 15, 1, 16),
        ] {
            let term = Term {
                anchor: None,
                ends_at: Some(day(expires)),
            };
            let renewed = later(&rules(basis), term, day(10), periods);
            assert_eq!(renewed.and_then(|term| term.ends_at), Some(day(end)), "{basis}");
            let perpetual = later(&Rules::default(), term, day(10), 1);
            assert_eq!(perpetual, None);
        }
    }

    #[test]
    fn a_term_that_begins_anew_is_counted_from_there() {
        let at = |month: u32, day: u32| Utc.with_ymd_and_hms(2027, month, day, 0, 0, 0).unwrap();
        let rules = Rules {
            term_count: Some(1),
            term_unit: Some(Unit::Month),
            renewal_basis: RenewalBasis::FromNowIfExpired,
            ..Rules::default()
        };
        let mut term = Term {
            anchor: Some(at(1, 5)),
            ends_at: Some(at(3, 5)),
        };
        for (now, end) in [(at(3, 31), at(4, 30)), (at(4, 20), at(5, 31)), (at(5, 20), at(6, 30))] {
            term = later(&rules, term, now, 1).expect("a term");
            assert_eq!((term.anchor, term.ends_at), (Some(at(3, 31)), Some(end)));
        }
    }
}
