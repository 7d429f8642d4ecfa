//! Which buckets a request has to pass, and how large they are: by address from the configuration, in a workspace from its plan.

use std::net::IpAddr;

use uuid::Uuid;

use super::{Ask, Quota};
use crate::kernel::{
    access::{Actor, Person, Scope, Via},
    config::Limits as Settings,
    entitlements::{Allowance, Plan},
    http::operations::RateClass,
    id::WorkspaceId,
};

/// What a plan allows a minute when it does not say: the free plan's numbers.
const CREDENTIAL: u32 = 120;
const USER: u32 = 120;
const WORKSPACE: u32 = 300;
const EXECUTE: u32 = 10;
const BULK: u32 = 10;
/// The same an hour.
const EXPORT: u32 = 3;

/// Requests that show no credential that is known.
pub(super) fn anonymous(settings: &Settings) -> Ask {
    let quota = Quota::per_minute(settings.anonymous_per_minute).burst(settings.anonymous_burst);
    Ask::new("anonymous", quota.times(settings.factor))
}

/// Requests with a credential that may be good, where a token cannot be given back.
pub(super) fn doubtful(settings: &Settings) -> Ask {
    let Ask { quota, .. } = anonymous(settings);
    Ask::new("unproven", quota.times(10))
}

/// All requests from an address.
pub(super) fn address(settings: &Settings) -> Ask {
    let quota = Quota::per_minute(settings.ip_per_minute).burst(settings.ip_burst);
    Ask::new("ip", quota.times(settings.factor))
}

/// Requests that their licence's own bucket refused, or their workspace's share of places, from one address, as many as that has no share in.
/// A program in a loop asks ten times a second; whoever asks with many keys at once pays as all others do.
pub(super) fn forgiven(settings: &Settings) -> Ask {
    Ask::new("forgiven", Quota::per_second(50).burst(100).times(settings.factor))
}

/// Licence keys that lead nowhere, from one address. Others from there go on: behind it may be a whole company that has paid.
pub(super) fn unknown_license(settings: &Settings) -> Ask {
    Ask::new("unknown-license", Quota::per_minute(20).times(settings.factor))
}

/// What the customer's software has to pass: its licence's own buckets, and none of the vendor's. Whoever has one licence, a dead one perhaps,
/// keeps nobody else's from being answered; and whoever has an old key of a licence takes no place from those who have the new one. `shown`
/// is the hash of the key.
pub(super) fn of_license(settings: &Settings, address: Option<IpAddr>, shown: [u8; 32], class: RateClass) -> Vec<Ask> {
    let wide = |quota: Quota| quota.times(settings.factor);
    let mut asks = vec![Ask::new("public", wide(Quota::per_second(10).burst(30))).from(address)];
    if class == RateClass::Activation {
        let key = Uuid::from_slice(&shown[..16]).expect("16 bytes");
        asks.push(Ask::new("activation", wide(Quota::per_second(5).burst(100))).of(key));
    }
    asks
}

/// Calls to one host from all workspaces, a second …
const HOST: u32 = 100;
/// … and to those that refuse earlier: Zapier takes 30 a second.
const HOSTS: [(&str, u32); 1] = [("hooks.zapier.com", 25)];

/// Calls that this deployment makes to a host: those of one workspace, which are half of all at most, and all.
pub(super) fn host(settings: &Settings, name: &str, workspace: WorkspaceId) -> [Ask; 2] {
    let own = HOSTS.iter().find(|(known, _)| *known == name);
    let count = own.map_or(HOST, |(_, count)| *count);
    let quota = |count: u32| Quota::per_second(count).times(settings.factor);
    let share = Ask::new("host-share", quota(count.div_ceil(2)));
    [share.of(workspace.uuid()), Ask::new("host", quota(count))]
}

/// Everything that a request in a workspace has to pass, narrowest first.
pub(super) fn in_workspace(settings: &Settings, scope: &Scope, class: RateClass) -> Vec<Ask> {
    let plan = scope.plan();
    let wide = |quota: Quota| quota.times(settings.factor);
    let mut asks: Vec<Ask> = of_class(settings, plan, class).into_iter().collect();
    let credential = match scope.actor() {
        Actor::ApiKey(id) => Some(id.uuid()),
        Actor::Grant(id) => Some(id.uuid()),
        Actor::User { .. } => scope.call().session.map(|id| id.uuid()),
        _ => None,
    };
    if let (Some(credential), Some(quota)) = (credential, per_minute(plan, "rate.credential", CREDENTIAL)) {
        asks.push(Ask::new("credential", wide(quota)).of(credential));
    }
    if let (Actor::User { id, .. }, Some(quota)) = (scope.actor(), per_minute(plan, "rate.user", USER)) {
        asks.push(Ask::new("user", wide(quota)).of(id.uuid()));
    }
    if let Some(quota) = per_minute(plan, "rate.workspace", WORKSPACE) {
        asks.push(Ask::new("workspace", wide(quota)));
    }
    asks
}

/// What a request about the person alone has to pass: no plan speaks for it.
pub(super) fn of_person(settings: &Settings, person: &Person) -> [Ask; 2] {
    let credential = match person.via {
        Via::Session { id, .. } => id.uuid(),
        Via::Key(id) => id.uuid(),
    };
    [
        Ask::new("credential", Quota::per_minute(CREDENTIAL).times(settings.factor)).of(credential),
        Ask::new("user", Quota::per_minute(USER).times(settings.factor)),
    ]
}

/// What an export takes beside what any read takes.
pub(super) fn export(settings: &Settings, plan: &Plan) -> Option<Ask> {
    let quota = limit(plan, "rate.export", EXPORT).map(Quota::per_hour);
    Some(Ask::new("export", quota?.times(settings.factor)))
}

/// The bucket that counts what is started, not what is asked for.
pub(super) fn of_what_starts(settings: &Settings, plan: &Plan, class: RateClass) -> Option<Ask> {
    match class {
        RateClass::Execute => of_class(settings, plan, class),
        _ => None,
    }
}

/// The bucket of a class of operations, if it has one.
fn of_class(settings: &Settings, plan: &Plan, class: RateClass) -> Option<Ask> {
    let share = |percent: u32| {
        let whole = per_minute(plan, "rate.workspace", WORKSPACE)?;
        Some(Quota::per_minute((whole.count.saturating_mul(percent) / 100).max(1)))
    };
    let (bucket, quota) = match class {
        RateClass::Write | RateClass::Activation => ("write", share(50)),
        RateClass::Search => ("search", share(20)),
        RateClass::Bulk => ("bulk", per_minute(plan, "rate.bulk", BULK)),
        RateClass::Execute => ("execute", per_minute(plan, "rate.execute", EXECUTE)),
        RateClass::Read | RateClass::Public | RateClass::Anonymous | RateClass::Ingress | RateClass::Free => {
            return None;
        }
    };
    Some(Ask::new(bucket, quota?.times(settings.factor)))
}

fn per_minute(plan: &Plan, code: &str, otherwise: u32) -> Option<Quota> {
    limit(plan, code, otherwise).map(Quota::per_minute)
}

/// What the plan says; `None` for no limit.
fn limit(plan: &Plan, code: &str, otherwise: u32) -> Option<u32> {
    match plan.entitlements.get(code) {
        _ if plan.is_unlimited() => None,
        Some(Allowance::AtMost(most)) => Some(u32::try_from(*most).unwrap_or(u32::MAX)),
        Some(Allowance::Unlimited | Allowance::Flag(true)) => None,
        Some(Allowance::Flag(false)) | None => Some(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::kernel::{
        access::{Call, Reach},
        entitlements::AccessLevel,
        id::{SessionId, UserId, WorkspaceId},
    };

    fn settings() -> Settings {
        Settings {
            enabled: true,
            factor: 1,
            anonymous_per_minute: 100,
            anonymous_burst: 50,
            ip_per_minute: 3_000,
            ip_burst: 600,
        }
    }

    fn scope(plan: Plan) -> Scope {
        let call = Call {
            session: Some(SessionId::from_uuid(Uuid::from_u128(3))),
            ..Call::internal("test", "req_test".into())
        };
        let actor = Actor::User {
            id: UserId::from_uuid(Uuid::from_u128(2)),
            impersonator: None,
        };
        let workspace = WorkspaceId::from_uuid(Uuid::from_u128(1));
        Scope::grant(workspace, actor, Reach::default(), Arc::new(plan), Arc::new(call))
    }

    fn plan(entitlements: &[(&str, Allowance)]) -> Plan {
        Plan {
            code: "any".into(),
            rank: 1,
            access: AccessLevel::Full,
            unpaid_since: None,
            entitlements: entitlements
                .iter()
                .map(|(code, it)| ((*code).to_owned(), *it))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn sizes(plan: Plan, class: RateClass) -> Vec<(&'static str, u32)> {
        let asks = in_workspace(&settings(), &scope(plan), class);
        asks.iter().map(|ask| (ask.bucket, ask.quota.count)).collect()
    }

    #[test]
    fn a_plan_that_says_nothing_has_the_free_numbers() {
        assert_eq!(
            sizes(plan(&[]), RateClass::Write),
            [("write", 150), ("credential", 120), ("user", 120), ("workspace", 300)]
        );
        assert_eq!(sizes(plan(&[]), RateClass::Read).len(), 3);
        assert_eq!(sizes(plan(&[]), RateClass::Execute)[0], ("execute", 10));
        assert_eq!(sizes(plan(&[]), RateClass::Search)[0], ("search", 60));
    }

    #[test]
    fn a_plan_sets_the_numbers_and_the_classes_follow_the_workspace() {
        let own = [
            ("rate.workspace", Allowance::AtMost(6_000)),
            ("rate.user", Allowance::Unlimited),
            ("rate.credential", Allowance::AtMost(3_000)),
        ];
        assert_eq!(
            sizes(plan(&own), RateClass::Write),
            [("write", 3_000), ("credential", 3_000), ("workspace", 6_000)]
        );
    }

    #[test]
    fn software_has_the_buckets_of_its_licence_and_none_of_the_vendors() {
        let [one, two] = ["203.0.113.7", "2001:db8::1"].map(|text| text.parse().ok());
        let [old, new] = [[1; 32], [2; 32]];
        let asks = of_license(&settings(), one, old, RateClass::Public);
        assert_eq!(asks, [Ask::new("public", Quota::per_second(10).burst(30)).from(one)]);
        assert_ne!(asks, of_license(&settings(), two, old, RateClass::Public));
        let activation = |key| of_license(&settings(), one, key, RateClass::Activation);
        let of_key = Ask::new("activation", Quota::per_second(5).burst(100)).of(Uuid::from_bytes([1; 16]));
        assert_eq!(activation(old)[1], of_key);
        assert_eq!(activation(old).len(), 2);
        assert_eq!(activation(old)[0], activation(new)[0], "one licence from one address");
        assert_ne!(activation(old)[1], activation(new)[1]);
        assert_eq!(sizes(plan(&[]), RateClass::Activation)[0], ("write", 150));
    }

    #[test]
    fn a_host_that_is_known_to_refuse_early_is_called_less() {
        for (name, a_second) in [("hooks.zapier.com", 25), ("hooks.example.com", 100)] {
            let [share, all] = host(&settings(), name, WorkspaceId::from_uuid(Uuid::from_u128(1)));
            assert_eq!(all.quota, Quota::per_second(a_second));
            assert_eq!(share.quota, Quota::per_second(a_second.div_ceil(2)));
            assert!(share.key.is_some() && all.key.is_none());
        }
    }

    #[test]
    fn the_operator_has_no_limits_inside_its_workspace() {
        assert!(sizes(Plan::unlimited(), RateClass::Bulk).is_empty());
    }
}
