use std::collections::BTreeSet;

use chrono::TimeZone;
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::json;

use super::*;
use crate::{
    features::{
        licenses::model::{HoldReason, MachineFacts, MachineId, State},
        policies::{Heartbeat, Overage, PolicyId, Rules, ScopeName, Terms},
        products::ProductId,
    },
    kernel::{check::Metadata, id::LicenseId},
};

fn id(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

fn now() -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

/// A licence with nothing wrong.
fn sound() -> Facts {
    Facts {
        license: LicenseId::from_uuid(id(1)),
        product: ProductId::from_uuid(id(2)),
        policy: PolicyId::from_uuid(id(3)),
        customer: None,
        reseller: None,
        state: State::Active,
        terms: Terms {
            rules: Rules {
                max_machines: Some(3),
                ..Rules::default()
            },
            entitlements: Values::from([("sso".into(), json!(true)), ("seats".into(), json!(0))]),
        },
        starts_at: None,
        started_at: Some(now()),
        expires_at: None,
        last_validated_at: None,
        activated_at: None,
        created_at: now(),
        public_metadata: Metadata::new(),
        key: Some(KeyFacts::Current),
        holds: Vec::new(),
        customer_banned: false,
        vendor_barred: false,
        machines: 1,
        cores: 0,
        memory_mb: 0,
        disk_mb: 0,
        machine: None,
        now: now(),
    }
}

fn machine() -> MachineFacts {
    MachineFacts {
        id: MachineId::from_uuid(id(4)),
        dead: false,
        generation: 1,
        due_at: None,
        matches: Some(true),
    }
}

fn asked(scope: serde_json::Value) -> Asked {
    Asked {
        scope: serde_json::from_value(scope).expect("a scope"),
        nonce: Some("12345678".into()),
    }
}

fn codes(facts: &Facts, scope: serde_json::Value) -> Vec<Code> {
    let verdict = judge(facts, asked(scope));
    verdict.reasons.iter().map(|reason| reason.code).collect()
}

#[test]
fn everything_that_is_wrong_is_said_in_the_order_of_judgement() {
    let mut facts = sound();
    facts.starts_at = Some(now() + TimeDelta::days(1));
    facts.terms.rules.require_scopes = vec![ScopeName::Policy, ScopeName::Machine];
    facts.terms.rules.strict = true;
    facts.machines = 4;
    let scope = json!({"product": ProductId::from_uuid(id(9)), "entitlements": ["sso", "seats"], "fingerprint": "x"});
    assert_eq!(
        codes(&facts, scope),
        [
            Code::NotStarted,
            Code::ProductScopeMismatch,
            Code::PolicyScopeRequired,
            Code::EntitlementsMissing,
            Code::MachineScopeRequired,
            Code::FingerprintScopeMismatch,
            Code::TooManyMachines,
        ]
    );
}

#[test]
fn after_what_ends_a_licence_nothing_more_is_judged() {
    let mut facts = sound();
    facts.starts_at = Some(now() + TimeDelta::days(1));
    facts.state = State::Suspended;
    facts.holds = vec![HoldReason::Dispute, HoldReason::Payment];
    facts.customer_banned = true;
    let verdict = judge(&facts, Asked::default());
    let found: Vec<_> = verdict
        .reasons
        .iter()
        .map(|reason| (reason.code, reason.next))
        .collect();
    assert_eq!(
        found,
        [
            (Code::Suspended, Next::Pay),
            (Code::CustomerBanned, Next::ContactVendor)
        ]
    );

    facts.key = Some(KeyFacts::Dead);
    let verdict = judge(&facts, Asked::default());
    assert_eq!(
        (verdict.code, verdict.reasons.len(), verdict.license),
        (Code::KeyRevoked, 1, None)
    );
    assert!(verdict.entitlements.is_empty() && verdict.limits.is_none());

    facts.state = State::Revoked;
    assert_eq!(judge(&facts, Asked::default()).code, Code::Revoked);
}

#[test]
fn expiry_counts_as_the_policy_says() {
    let mut facts = sound();
    facts.expires_at = Some(now());
    assert_eq!(
        codes(&facts, json!({"entitlements": []})),
        [Code::EntitlementsScopeEmpty, Code::Expired]
    );
    facts.terms.rules.expiration_strategy = ExpirationStrategy::RevokeAccess;
    assert_eq!(
        codes(&facts, json!({"entitlements": []})),
        [Code::Expired, Code::EntitlementsScopeEmpty]
    );
    facts.terms.rules.expiration_strategy = ExpirationStrategy::AllowAccess;
    let verdict = judge(&facts, Asked::default());
    assert!(verdict.valid && verdict.notices[0].code == NoticeCode::Expired);
    assert_eq!(verdict.fresh_until, now() + TimeDelta::days(1));
}

#[test]
fn nobody_may_rely_on_a_verdict_past_the_end() {
    let mut facts = sound();
    facts.expires_at = Some(now() + TimeDelta::hours(2));
    facts.terms.rules.grace_seconds = 3_600;
    let end = now() + TimeDelta::hours(3);
    let verdict = judge(&facts, Asked::default());
    assert!(verdict.valid);
    assert_eq!((verdict.fresh_until, verdict.grace_until), (end, end));
    facts.key = Some(KeyFacts::Overlapping(now() + TimeDelta::hours(1)));
    let verdict = judge(&facts, Asked::default());
    assert_eq!(verdict.fresh_until, now() + TimeDelta::hours(1));
    assert_eq!(verdict.notices.last().expect("a notice").code, NoticeCode::KeyRotated);
}

#[test]
fn a_machine_is_judged_by_what_was_asked() {
    let mut facts = sound();
    let by_id = json!({"machine": MachineId::from_uuid(id(4))});
    assert_eq!(codes(&facts, by_id.clone()), [Code::MachineScopeMismatch]);
    assert_eq!(
        codes(&facts, json!({"fingerprint": "x"})),
        [Code::FingerprintScopeMismatch]
    );
    assert_eq!(
        codes(&facts, json!({"fingerprint": "  "})),
        [Code::FingerprintScopeEmpty]
    );
    facts.machines = 0;
    assert_eq!(codes(&facts, json!({"fingerprint": "x"})), [Code::NoMachine]);
    facts.terms.rules.floating = true;
    assert_eq!(codes(&facts, by_id.clone()), [Code::NoMachines]);

    facts.machines = 1;
    facts.machine = Some(machine());
    assert_eq!(codes(&facts, by_id.clone()), []);
    assert_eq!(codes(&facts, json!({"fingerprint": "x"})), []);
    facts.machine = Some(MachineFacts {
        matches: Some(false),
        ..machine()
    });
    assert_eq!(codes(&facts, by_id.clone()), []);
    assert_eq!(
        codes(
            &facts,
            json!({"machine": MachineId::from_uuid(id(4)), "fingerprint": "x"})
        ),
        [Code::FingerprintScopeMismatch]
    );

    facts.terms.rules.heartbeat = Heartbeat::Required;
    facts.machine = Some(machine());
    assert_eq!(codes(&facts, by_id.clone()), [Code::HeartbeatNotStarted]);
    facts.machine = Some(MachineFacts {
        due_at: Some(now() - DRIFT),
        ..machine()
    });
    assert_eq!(codes(&facts, by_id.clone()), []);
    facts.machine = Some(MachineFacts {
        due_at: Some(now() - DRIFT - TimeDelta::milliseconds(1)),
        ..machine()
    });
    assert_eq!(codes(&facts, by_id.clone()), [Code::MachineDead]);
    facts.machine = Some(MachineFacts {
        dead: true,
        ..machine()
    });
    assert_eq!(codes(&facts, by_id), [Code::MachineDead]);
}

#[test]
fn strict_limits_bind_at_every_validation_and_overage_loosens_them() {
    let mut facts = sound();
    facts.machines = 4;
    let verdict = judge(&facts, Asked::default());
    assert!(verdict.valid && verdict.notices[0].code == NoticeCode::OverLimit);
    facts.terms.rules.strict = true;
    let verdict = judge(&facts, Asked::default());
    let first = &verdict.reasons[0];
    assert_eq!(
        (first.code, first.used, first.max, first.detail.as_str()),
        (Code::TooManyMachines, Some(4), Some(3), "4 of 3 machines are in use.")
    );
    facts.terms.rules.overage_strategy = Overage::Allow150;
    assert!(judge(&facts, Asked::default()).valid);
    (facts.cores, facts.memory_mb, facts.disk_mb) = (2, 2, 2);
    let rules = &mut facts.terms.rules;
    (rules.max_cores, rules.max_memory_mb, rules.max_disk_mb) = (Some(1), Some(1), Some(1));
    assert_eq!(
        codes(&facts, json!({})),
        [Code::TooManyCores, Code::TooMuchMemory, Code::TooMuchDisk]
    );
}

fn facts() -> impl Strategy<Value = Facts> {
    let time = || prop::option::of((-40_i64..40).prop_map(|days| now() + TimeDelta::days(days)));
    let key = prop_oneof![
        Just(None),
        Just(Some(KeyFacts::Current)),
        Just(Some(KeyFacts::Dead)),
        (-2_i64..3).prop_map(|hours| Some(KeyFacts::Overlapping(now() + TimeDelta::hours(hours)))),
    ];
    let machine = prop::option::of(
        (
            any::<bool>(),
            -120_i64..120,
            any::<bool>(),
            prop::option::of(any::<bool>()),
        )
            .prop_map(|(dead, due, beats, matches)| MachineFacts {
                dead,
                due_at: beats.then(|| now() + TimeDelta::seconds(due)),
                matches,
                ..machine()
            }),
    );
    let rules = (
        0_usize..3,
        0_i32..200_000,
        any::<[bool; 5]>(),
        0_usize..5,
        0_usize..3,
        prop::sample::subsequence(ScopeName::ALL.to_vec(), 0..=3),
    );
    let state = (0_usize..4, any::<bool>(), 0_i32..6, 0_i32..3);
    (state, time(), time(), key, machine, rules).prop_map(|(state, starts_at, expires_at, key, machine, rules)| {
        let (strategy, grace_seconds, [strict, floating, trial, small, hold], overage, heartbeat, require_scopes) =
            rules;
        let mut facts = sound();
        facts.state = State::ALL[state.0];
        facts.customer_banned = state.1 && state.3 == 0;
        facts.machines = state.2;
        facts.cores = state.3;
        facts.memory_mb = state.3;
        facts.disk_mb = state.3;
        facts.holds = if hold {
            vec![HoldReason::Payment]
        } else {
            vec![HoldReason::Abuse]
        };
        (facts.starts_at, facts.expires_at, facts.key, facts.machine) = (starts_at, expires_at, key, machine);
        facts.terms.rules = Rules {
            expiration_strategy: ExpirationStrategy::ALL[strategy],
            overage_strategy: Overage::ALL[overage],
            heartbeat: Heartbeat::ALL[heartbeat],
            max_cores: small.then_some(1),
            max_memory_mb: small.then_some(1),
            max_disk_mb: small.then_some(1),
            grace_seconds,
            strict,
            floating,
            trial,
            require_scopes,
            ..facts.terms.rules
        };
        facts
    })
}

fn scopes() -> impl Strategy<Value = Scope> {
    let text = prop::option::of(prop_oneof![Just("abc".to_owned()), Just("  ".to_owned())]);
    let codes = prop::option::of(prop::sample::subsequence(
        vec!["sso".to_owned(), "seats".to_owned()],
        0..=2,
    ));
    (
        prop::option::of(2_u128..4),
        prop::option::of(3_u128..5),
        prop::option::of(Just(4_u128)),
        text,
        codes,
    )
        .prop_map(|(product, policy, machine, fingerprint, entitlements)| Scope {
            product: product.map(id).map(ProductId::from_uuid),
            policy: policy.map(id).map(PolicyId::from_uuid),
            machine: machine.map(id).map(MachineId::from_uuid),
            fingerprint,
            entitlements,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn valid_means_no_reasons_means_code_valid(facts in facts(), scope in scopes()) {
        let verdict = judge(&facts, Asked { scope: scope.clone(), nonce: None });
        prop_assert_eq!(verdict.valid, verdict.reasons.is_empty());
        prop_assert_eq!(verdict.valid, verdict.code == Code::Valid);
        prop_assert_eq!(verdict.reasons.first().map(|reason| reason.code), (!verdict.valid).then_some(verdict.code));
        prop_assert!(verdict.valid || verdict.notices.is_empty());
        // In the order of judgement; what an expired key may not do at all is judged before the scopes.
        let rest = verdict.reasons.iter().map(|reason| reason.code).filter(|code| *code != Code::Expired);
        prop_assert!(rest.clone().zip(rest.skip(1)).all(|(one, next)| one < next));
        prop_assert!(verdict.fresh_until >= verdict.checked_at && verdict.grace_until >= verdict.fresh_until);
        prop_assert_eq!(verdict.scope, scope);
    }
}

#[test]
fn a_verdict_on_a_machine_is_fresh_until_it_would_be_dead() {
    let mut facts = sound();
    facts.terms.rules.heartbeat = Heartbeat::Required;
    let due = now() + TimeDelta::minutes(10);
    facts.machine = Some(MachineFacts {
        due_at: Some(due),
        ..machine()
    });
    let of_machine = || asked(serde_json::json!({ "fingerprint": "x" }));
    let verdict = judge(&facts, of_machine());
    assert_eq!((verdict.code, verdict.fresh_until), (Code::Valid, due + DRIFT));
    assert!(
        verdict.grace_until > due + TimeDelta::days(1),
        "who cannot reach us is tolerated"
    );
    facts.now = verdict.fresh_until;
    assert!(judge(&facts, of_machine()).valid);
    facts.now += TimeDelta::milliseconds(1);
    assert_eq!(judge(&facts, of_machine()).code, Code::MachineDead);
}

#[test]
fn a_verdict_is_fresh_when_it_is_given_whatever_machine_nobody_asked_about() {
    let mut facts = sound();
    facts.machine = Some(MachineFacts {
        due_at: Some(now() - DRIFT - TimeDelta::seconds(1)),
        ..machine()
    });
    assert_eq!(judge(&facts, Asked::default()).fresh_until, now());
}

#[test]
fn every_code_can_be_reached() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeSet::from([unknown(Asked::default(), now()).code]);
    for _ in 0..20_000 {
        let facts = facts().new_tree(&mut runner).expect("facts").current();
        let scope = scopes().new_tree(&mut runner).expect("a scope").current();
        let verdict = judge(&facts, Asked { scope, nonce: None });
        seen.insert(verdict.code);
        seen.extend(verdict.reasons.iter().map(|reason| reason.code));
    }
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}
