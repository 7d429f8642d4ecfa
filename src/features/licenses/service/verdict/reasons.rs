//! Everything that can be wrong with a licence, in the order of judgement.

use super::DRIFT;
use crate::{
    features::{
        licenses::model::{Code, Facts, HoldReason, KeyFacts, Next, Reason, Scope, State, Status, grants},
        policies::{ExpirationStrategy, Heartbeat, ScopeName},
    },
    kernel::check::tidy,
};

pub(super) fn reason(code: Code, detail: impl Into<String>, next: Next) -> Reason {
    Reason {
        code,
        detail: detail.into(),
        limit: None,
        used: None,
        max: None,
        next,
        retry_at: None,
    }
}

/// Everything that is wrong. After what ends a licence nothing more is judged.
pub(super) fn all(facts: &Facts, status: Status, scope: &Scope) -> Vec<Reason> {
    let ended = ended(facts);
    if !ended.is_empty() {
        return ended;
    }
    let mut reasons = Vec::new();
    if status == Status::NotStarted {
        reasons.push(Reason {
            retry_at: facts.starts_at,
            ..reason(Code::NotStarted, "The licence has not started yet.", Next::Retry)
        });
    }
    let expired = (status == Status::Expired).then(|| reason(Code::Expired, "The licence has expired.", Next::Renew));
    let (first, last) = match facts.terms.rules.expiration_strategy {
        ExpirationStrategy::RevokeAccess => (expired, None),
        ExpirationStrategy::RestrictAccess => (None, expired),
        ExpirationStrategy::AllowAccess => (None, None),
    };
    reasons.extend(first);
    reasons.extend(names(facts, scope));
    reasons.extend(entitled(facts, scope));
    reasons.extend(machine(facts, scope));
    reasons.extend(fingerprint(facts, scope));
    reasons.extend(limits(facts, scope));
    reasons.extend(last);
    reasons
}

/// Groups 1 and 2.
fn ended(facts: &Facts) -> Vec<Reason> {
    let dead = match facts.key {
        Some(KeyFacts::Dead) => true,
        Some(KeyFacts::Overlapping(ends_at)) => ends_at <= facts.now,
        _ => false,
    };
    // A revoked licence's keys are dead too; that it was revoked says more.
    if dead && facts.state != State::Revoked {
        return vec![reason(
            Code::KeyRevoked,
            "This key is no longer valid.",
            Next::ContactVendor,
        )];
    }
    if facts.state == State::Pooled {
        return vec![reason(
            Code::Pooled,
            "Nobody has claimed this licence yet.",
            Next::ContactVendor,
        )];
    }
    let mut reasons = Vec::new();
    match facts.state {
        State::Revoked => reasons.push(reason(Code::Revoked, "The licence was revoked.", Next::ContactVendor)),
        State::Suspended => {
            let why: Vec<_> = facts.holds.iter().map(|hold| hold.word().replace('_', " ")).collect();
            let unpaid = facts
                .holds
                .iter()
                .any(|hold| matches!(hold, HoldReason::Payment | HoldReason::PaymentMethod));
            let next = if unpaid { Next::Pay } else { Next::ContactVendor };
            let detail = format!("The licence is suspended: {}.", why.join(", "));
            reasons.push(reason(Code::Suspended, detail, next));
        }
        State::Active | State::Pooled => {}
    }
    if facts.customer_banned {
        reasons.push(reason(
            Code::CustomerBanned,
            "The customer is banned.",
            Next::ContactVendor,
        ));
    }
    reasons
}

/// Whether validation must be asked about this.
fn required(facts: &Facts, name: ScopeName) -> bool {
    facts.terms.rules.require_scopes.contains(&name)
}

/// Group 6: product and policy.
fn names(facts: &Facts, scope: &Scope) -> Vec<Reason> {
    let judged = |name: ScopeName, same: Option<bool>, missing: Code, mismatch: Code| match same {
        None if required(facts, name) => Some(reason(missing, format!("Ask about the {name}."), Next::UpdateVersion)),
        Some(false) => Some(reason(
            mismatch,
            format!("The licence is for another {name}."),
            Next::ContactVendor,
        )),
        _ => None,
    };
    let product = scope.product.map(|product| product == facts.product);
    let policy = scope.policy.map(|policy| policy == facts.policy);
    [
        judged(
            ScopeName::Product,
            product,
            Code::ProductScopeRequired,
            Code::ProductScopeMismatch,
        ),
        judged(
            ScopeName::Policy,
            policy,
            Code::PolicyScopeRequired,
            Code::PolicyScopeMismatch,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Group 7.
fn entitled(facts: &Facts, scope: &Scope) -> Option<Reason> {
    let asked = scope.entitlements.as_deref().unwrap_or_default();
    if asked.is_empty() {
        let empty = scope.entitlements.is_some() || required(facts, ScopeName::Entitlements);
        return empty.then(|| {
            reason(
                Code::EntitlementsScopeEmpty,
                "Ask about at least one entitlement.",
                Next::UpdateVersion,
            )
        });
    }
    let has = |code: &String| facts.terms.entitlements.get(code).is_some_and(grants);
    let missing: Vec<_> = asked.iter().filter(|code| !has(code)).map(String::as_str).collect();
    (!missing.is_empty()).then(|| {
        let detail = format!("The licence does not entitle to {}.", missing.join(", "));
        reason(Code::EntitlementsMissing, detail, Next::ContactVendor)
    })
}

/// The fingerprint that was asked, without white space at its ends.
fn asked_fingerprint(scope: &Scope) -> Option<String> {
    scope.fingerprint.as_deref().map(tidy)
}

/// Whether a machine was asked about, in either way, that can be one.
fn asks_machine(scope: &Scope) -> bool {
    scope.machine.is_some() || asked_fingerprint(scope).is_some_and(|text| !text.is_empty())
}

/// Group 8.
fn machine(facts: &Facts, scope: &Scope) -> Option<Reason> {
    let rules = &facts.terms.rules;
    if scope.machine.is_none() && required(facts, ScopeName::Machine) {
        return Some(reason(
            Code::MachineScopeRequired,
            "Ask about a machine.",
            Next::UpdateVersion,
        ));
    }
    if !asks_machine(scope) {
        return None;
    }
    match &facts.machine {
        None if facts.machines == 0 => Some(if rules.floating {
            reason(Code::NoMachines, "No machine is activated.", Next::ActivateMachine)
        } else {
            reason(
                Code::NoMachine,
                "The licence is not activated on any machine.",
                Next::ActivateMachine,
            )
        }),
        None if scope.machine.is_some() => {
            let detail = "That machine is not one of the licence's.";
            Some(reason(Code::MachineScopeMismatch, detail, Next::ActivateMachine))
        }
        None => None,
        Some(machine) if machine.dead || machine.due_at.is_some_and(|due| due + DRIFT < facts.now) => {
            let detail = "The machine gave no sign of life in time.";
            Some(reason(Code::MachineDead, detail, Next::ActivateMachine))
        }
        Some(machine) if rules.heartbeat == Heartbeat::Required && machine.due_at.is_none() => {
            let detail = "The machine has not given its first sign of life.";
            Some(reason(Code::HeartbeatNotStarted, detail, Next::Retry))
        }
        Some(_) => None,
    }
}

/// Group 9.
fn fingerprint(facts: &Facts, scope: &Scope) -> Option<Reason> {
    let Some(asked) = asked_fingerprint(scope) else {
        return required(facts, ScopeName::Fingerprint).then(|| {
            reason(
                Code::FingerprintScopeRequired,
                "Ask about a fingerprint.",
                Next::UpdateVersion,
            )
        });
    };
    if asked.is_empty() {
        return Some(reason(
            Code::FingerprintScopeEmpty,
            "The fingerprint is empty.",
            Next::UpdateVersion,
        ));
    }
    let known = facts
        .machine
        .as_ref()
        .is_some_and(|machine| machine.matches != Some(false));
    (!known && facts.machines > 0).then(|| {
        let detail = "No machine of the licence has this fingerprint.";
        reason(Code::FingerprintScopeMismatch, detail, Next::ActivateMachine)
    })
}

/// Group 12: of strict policies only. A machine that is not one of the licence's finds no place when the limit is reached.
fn limits(facts: &Facts, scope: &Scope) -> Vec<Reason> {
    let rules = &facts.terms.rules;
    if !rules.strict {
        return Vec::new();
    }
    let stranger = asks_machine(scope) && facts.machine.is_none();
    let machines = facts.machines + i32::from(stranger && facts.machines > 0);
    [
        (
            Code::TooManyMachines,
            "machines",
            machines,
            facts.machines,
            rules.max_machines,
        ),
        (Code::TooManyCores, "cores", facts.cores, facts.cores, rules.max_cores),
        (
            Code::TooMuchMemory,
            "memory_mb",
            facts.memory_mb,
            facts.memory_mb,
            rules.max_memory_mb,
        ),
        (
            Code::TooMuchDisk,
            "disk_mb",
            facts.disk_mb,
            facts.disk_mb,
            rules.max_disk_mb,
        ),
    ]
    .into_iter()
    .filter_map(|(code, limit, wanted, used, max)| {
        let most = rules.overage_strategy.most(max)?;
        (wanted > most).then(|| Reason {
            limit: Some(limit),
            used: Some(used),
            max,
            ..reason(
                code,
                format!(
                    "{used} of {} {} are in use.",
                    max.unwrap_or(most),
                    limit.replace("_mb", " in MiB")
                ),
                Next::DeactivateMachine,
            )
        })
    })
    .collect()
}
