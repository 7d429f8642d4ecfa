//! The verdict: a pure function of what is known and what was asked. Everything that is wrong is collected, in the order of [`Code`].

mod reasons;

use chrono::{DateTime, TimeDelta, Utc};

use self::reasons::reason;
use super::status::Standing;
use crate::features::{
    entitlements::Values,
    licenses::model::{
        Code, Facts, KeyFacts, LicenseView, Limits, MachineView, Next, Notice, NoticeCode, Scope, Status, Usage,
        Verdict,
    },
    policies::ExpirationStrategy,
};

/// How far clocks may differ before a sign of life is overdue.
pub const DRIFT: TimeDelta = TimeDelta::seconds(30);

/// What was asked beside the licence.
#[derive(Clone, Debug, Default)]
pub(in crate::features::licenses) struct Asked {
    pub(in crate::features::licenses) scope: Scope,
    pub(in crate::features::licenses) nonce: Option<String>,
}

/// The verdict on a licence that there is.
pub(in crate::features::licenses) fn judge(facts: &Facts, asked: Asked) -> Verdict {
    let standing = Standing::from(facts);
    let status = standing.status(facts.now);
    let reasons = reasons::all(facts, status, &asked.scope);
    let notices = if reasons.is_empty() {
        notices(facts, status, &standing)
    } else {
        Vec::new()
    };
    let rules = &facts.terms.rules;
    let code = reasons.first().map_or(Code::Valid, |reason| reason.code);
    let (fresh_until, grace_until) = lifetime(facts, &standing, code);
    // A dead key teaches a stranger nothing.
    let over = matches!(code, Code::KeyRevoked | Code::Pooled | Code::Revoked);
    let shown = facts.key.is_none() || !over;
    Verdict {
        valid: reasons.is_empty(),
        code,
        reasons,
        notices,
        license: shown.then(|| LicenseView {
            id: facts.license,
            status,
            product: facts.product,
            policy: facts.policy,
            expires_at: facts.expires_at,
            public_metadata: facts.public_metadata.clone(),
        }),
        machine: facts.machine.as_ref().filter(|_| shown).map(|machine| MachineView {
            id: machine.id,
            generation: machine.generation,
            heartbeat_due_at: machine.due_at,
        }),
        limits: shown.then(|| Limits {
            machines: usage(facts.machines, rules.max_machines),
            cores: usage(facts.cores, rules.max_cores),
            memory_mb: usage(facts.memory_mb, rules.max_memory_mb),
            disk_mb: usage(facts.disk_mb, rules.max_disk_mb),
        }),
        entitlements: if shown {
            facts.terms.entitlements.clone()
        } else {
            Values::new()
        },
        nonce: asked.nonce,
        scope: asked.scope,
        checked_at: facts.now,
        fresh_until,
        grace_until,
        signed: None,
    }
}

/// The verdict on a licence that there is not.
pub(in crate::features::licenses) fn unknown(asked: Asked, now: DateTime<Utc>) -> Verdict {
    Verdict {
        valid: false,
        code: Code::NotFound,
        reasons: vec![reason(Code::NotFound, "There is no such licence.", Next::ContactVendor)],
        notices: Vec::new(),
        license: None,
        machine: None,
        limits: None,
        entitlements: Values::new(),
        nonce: asked.nonce,
        scope: asked.scope,
        checked_at: now,
        fresh_until: now,
        grace_until: now,
        signed: None,
    }
}

fn usage(used: i32, max: Option<i32>) -> Usage {
    Usage { used, max }
}

/// How long a verdict may be relied on: never past the moment at which it changes by itself. A refusal is remembered, not relied on.
fn lifetime(facts: &Facts, standing: &Standing<'_>, code: Code) -> (DateTime<Utc>, DateTime<Utc>) {
    if code != Code::Valid {
        return (facts.now, facts.now);
    }
    let rules = &facts.terms.rules;
    let end = match rules.expiration_strategy {
        ExpirationStrategy::AllowAccess => None,
        _ => standing.grace_ends_at(),
    };
    let key_ends = match facts.key {
        Some(KeyFacts::Overlapping(ends_at)) => Some(ends_at),
        _ => None,
    };
    let capped = |instant: DateTime<Utc>| [end, key_ends].into_iter().flatten().fold(instant, DateTime::min);
    // A machine that gives no sign of life any more is dead by then, but one that cannot reach us is tolerated as any other.
    let dies_at = facts.machine.as_ref().and_then(|machine| machine.due_at);
    let alive = |instant: DateTime<Utc>| dies_at.map_or(instant, |due| instant.min(due + DRIFT));
    let fresh = facts.now + TimeDelta::seconds(i64::from(rules.validation_ttl_seconds));
    let grace = fresh + TimeDelta::seconds(i64::from(rules.offline_grace_seconds));
    // A machine that nobody asked about may be overdue: then its verdict is worth no more than this answer.
    (alive(capped(fresh)).max(facts.now), capped(grace))
}

/// What to know of a valid licence.
fn notices(facts: &Facts, status: Status, standing: &Standing<'_>) -> Vec<Notice> {
    let rules = &facts.terms.rules;
    let notice = |code, at, next| Notice { code, at, next };
    let mut notices = Vec::new();
    match status {
        Status::Expiring => notices.push(notice(NoticeCode::Expiring, facts.expires_at, Next::Renew)),
        Status::InGrace => notices.push(notice(NoticeCode::InGrace, standing.grace_ends_at(), Next::Renew)),
        Status::Expired => notices.push(notice(NoticeCode::Expired, facts.expires_at, Next::Renew)),
        _ => {}
    }
    let over = [
        (facts.machines, rules.max_machines),
        (facts.cores, rules.max_cores),
        (facts.memory_mb, rules.max_memory_mb),
        (facts.disk_mb, rules.max_disk_mb),
    ];
    if over.into_iter().any(|(used, max)| max.is_some_and(|max| used > max)) {
        notices.push(notice(NoticeCode::OverLimit, None, Next::DeactivateMachine));
    }
    if let Some(KeyFacts::Overlapping(ends_at)) = facts.key {
        notices.push(notice(NoticeCode::KeyRotated, Some(ends_at), Next::ContactVendor));
    }
    if rules.trial {
        notices.push(notice(NoticeCode::Trial, facts.expires_at, Next::None));
    }
    notices
}

#[cfg(test)]
mod tests;
