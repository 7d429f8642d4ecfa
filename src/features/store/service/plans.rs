//! Plans of workspaces: a workspace holds a plan by being a machine of a licence in `platform`. Here the licences that it holds become what it
//! may do.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    features::{
        entitlements::Values,
        licenses::{HoldReason, License, Status, Via},
        machines,
        policies::ExpirationStrategy,
        store::{model::Offer, queries},
    },
    kernel::{
        db::Tenant,
        entitlements::{AccessLevel, Allowance, Plan},
        error::Result,
        id::{JobId, LicenseId, WorkspaceId},
        jobs::{Lane, Push},
        plans::{PlanPrice, PlanSource, Projection, PublishedPlan},
    },
};

/// The kind of the job that publishes plans.
pub(in crate::features::store) const PUBLISH: &str = "store.publish";
/// The job that publishes the operator's plans.
pub(in crate::features::store) fn publish_job() -> Push {
    Push::now(Lane::System, PUBLISH, JobId::of(WorkspaceId::PLATFORM.uuid(), PUBLISH))
}

/// The kind of the job that publishes plans and brings the plan of every workspace without a licence up to date.
pub(in crate::features::store) const REPLAN: &str = "store.replan";

/// The job that does so.
pub(super) fn replan_job() -> Push {
    Push::now(Lane::System, REPLAN, JobId::of(WorkspaceId::PLATFORM.uuid(), REPLAN))
}

/// What a workspace's licences come to.
pub(in crate::features::store) struct Reading {
    pub(in crate::features::store) projection: Projection,
    /// When the status of one of them turns by itself, and they come to something else.
    pub(in crate::features::store) turns_at: Option<DateTime<Utc>>,
}

/// What a workspace's licences come to at this moment.
pub(in crate::features::store) fn sources(tx: &mut Tenant<'_>, workspace: WorkspaceId) -> Result<Reading> {
    let now = tx.now()?;
    let held: Vec<Holding> = machines::held_by(tx, &workspace.to_string())?
        .into_iter()
        .map(Holding::from)
        .collect();
    let offers = queries::base_offers(tx.conn())?;
    let default = default_plan(tx, &offers)?;
    let turns_at = held.iter().flat_map(Holding::turns).filter(|at| *at > now).min();
    Ok(Reading {
        projection: compute(now, held, &offers, default),
        turns_at,
    })
}

/// What a workspace without a licence has: the smallest of the offers.
pub(super) fn smallest(offers: &[Offer]) -> Option<&Offer> {
    offers.iter().min_by_key(|offer| (offer.rank, offer.id))
}

/// What a workspace without a licence may do; before there are offers, what the product comes with.
fn default_plan(tx: &mut Tenant<'_>, offers: &[Offer]) -> Result<Plan> {
    let Some(offer) = smallest(offers) else {
        return Ok(Plan::free());
    };
    let values = queries::policy_values(tx.conn(), offer.policy_id)?;
    Ok(Plan {
        code: offer.code.clone(),
        rank: offer.rank,
        access: AccessLevel::Full,
        unpaid_since: None,
        entitlements: allowances(values),
    })
}

/// What a plan's entitlements allow. One that is neither a number nor yes or no is no limit of ours: it is left out, and told.
fn allowances(values: impl IntoIterator<Item = (String, Option<Value>)>) -> BTreeMap<String, Allowance> {
    let read = |(code, value): (String, Option<Value>)| match serde_json::from_value(value.unwrap_or(Value::Null)) {
        Ok(allowance) => Some((code, allowance)),
        Err(_) => {
            tracing::warn!(
                code,
                "an entitlement of a plan is neither a number nor yes or no: it is left out"
            );
            None
        }
    };
    values.into_iter().filter_map(read).collect()
}

/// The highest plan counts; a plan whose payment is due lets only be read, and counts less than any that is paid. The order in which
/// licences are listed does not matter.
fn compute(now: DateTime<Utc>, held: Vec<Holding>, offers: &[Offer], default: Plan) -> Projection {
    let mut found: Vec<(PlanSource, Holding)> = Vec::new();
    for holding in held {
        let offer = offers.iter().find(|offer| offer.policy_id == holding.policy);
        let (Some(offer), Some(access)) = (offer, access(&holding, now)) else {
            continue;
        };
        let source = PlanSource {
            license_id: holding.license,
            via: holding.via.to_string(),
            plan: offer.code.clone(),
            rank: offer.rank,
            access,
            expires_at: holding.expires_at,
        };
        found.push((source, holding));
    }
    found.sort_by_key(|(source, _)| {
        (
            source.access != AccessLevel::Full,
            -i64::from(source.rank),
            source.license_id,
        )
    });
    let valid_until = found.iter().filter_map(|(_, holding)| holding.ends_at()).min();
    let Some((best, holding)) = found.first() else {
        let Plan {
            code,
            rank,
            access,
            entitlements,
            ..
        } = default;
        return Projection {
            plan: code,
            rank,
            access,
            entitlements,
            sources: Vec::new(),
            valid_until: None,
        };
    };
    let values = holding.entitlements.iter();
    let entitlements = allowances(values.map(|(code, value)| (code.clone(), Some(value.clone()))));
    Projection {
        plan: best.plan.clone(),
        rank: best.rank,
        access: best.access,
        entitlements,
        sources: found.iter().map(|(source, _)| source.clone()).collect(),
        valid_until,
    }
}

/// What counts of a licence that a workspace holds.
#[derive(Clone, Debug)]
struct Holding {
    license: LicenseId,
    policy: Uuid,
    status: Status,
    holds: Vec<HoldReason>,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    /// How long after its expiry it still counts; `None`: for good.
    grace: Option<TimeDelta>,
    via: Via,
    entitlements: Values,
}

impl Holding {
    /// When it counts no more.
    fn ends_at(&self) -> Option<DateTime<Utc>> {
        let end = self.expires_at?;
        Some(end.checked_add_signed(self.grace?).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// When its status turns by itself.
    fn turns(&self) -> impl Iterator<Item = DateTime<Utc>> {
        [self.starts_at, self.expires_at, self.ends_at()].into_iter().flatten()
    }
}

impl From<License> for Holding {
    fn from(license: License) -> Holding {
        let rules = &license.terms.rules;
        Holding {
            license: license.id,
            policy: license.policy_id.uuid(),
            status: license.status,
            holds: license.reasons().collect(),
            starts_at: license.starts_at,
            expires_at: license.expires_at,
            grace: match rules.expiration_strategy {
                ExpirationStrategy::AllowAccess => None,
                _ => Some(TimeDelta::seconds(i64::from(rules.grace_seconds))),
            },
            via: license.issued_via,
            entitlements: license.terms.entitlements,
        }
    }
}

/// How much a licence lets a workspace be used; `None`: it gives no plan at this moment.
fn access(holding: &Holding, now: DateTime<Utc>) -> Option<AccessLevel> {
    let is_over = || holding.ends_at().is_some_and(|at| at <= now);
    match holding.status {
        // A hold hides that it expired; what is over is nobody's to pay for.
        Status::Suspended if holding.holds.iter().all(|reason| *reason == HoldReason::Payment) => {
            (!is_over()).then_some(AccessLevel::ReadOnly)
        }
        Status::Expired => (!is_over()).then_some(AccessLevel::Full),
        Status::Pooled | Status::Revoked | Status::Suspended | Status::NotStarted => None,
        Status::InGrace | Status::Overdue | Status::Expiring | Status::Inactive | Status::Active => {
            Some(AccessLevel::Full)
        }
    }
}

/// The operator's plans as the world may see them, and when they were read.
pub(in crate::features::store) fn published(tx: &mut Tenant<'_>) -> Result<(Vec<PublishedPlan>, DateTime<Utc>)> {
    let offers = queries::base_offers(tx.conn())?;
    let mut plans = Vec::with_capacity(offers.len());
    for offer in offers {
        let prices = queries::prices_of(tx.conn(), offer.id)?
            .into_iter()
            .map(|price| PlanPrice {
                id: price.id,
                amount: price.unit_amount,
                currency: price.currency,
                interval: price.interval,
                interval_count: price.interval_count,
            });
        let prices = prices.collect();
        let values = queries::policy_values(tx.conn(), offer.policy_id)?;
        plans.push(PublishedPlan {
            code: offer.code,
            name: offer.name,
            rank: offer.rank,
            public: offer.public,
            trial_days: offer.trial_days,
            seats: offer.seats,
            features: offer.features,
            entitlements: allowances(values),
            prices,
            archived: offer.archived_at.is_some(),
        });
    }
    Ok((plans, tx.now()?))
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use serde_json::json;

    use super::*;
    use crate::kernel::id::Id;

    fn offer(code: &str, rank: i32) -> Offer {
        Offer {
            id: Id::nil(),
            code: code.into(),
            name: code.into(),
            policy_id: policy(rank),
            kind: crate::features::store::model::OfferKind::Base,
            line: "plan".into(),
            rank,
            public: true,
            trial_days: 0,
            seats: "none".into(),
            features: json!([]),
            lookup_keys: Vec::new(),
            archived_at: None,
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn policy(rank: i32) -> Uuid {
        Uuid::from_u128(rank as u128 + 1)
    }

    fn holding(rank: i32, status: Status, holds: &[HoldReason], ends_in: Option<i64>) -> Holding {
        let entitlements = json!({ "agents": rank * 10, "sso": rank > 0, "runs": null });
        Holding {
            license: LicenseId::from_uuid(Uuid::from_u128(rank as u128)),
            policy: policy(rank),
            status,
            holds: holds.to_vec(),
            starts_at: None,
            expires_at: ends_in.map(|days| DateTime::UNIX_EPOCH + Duration::days(days)),
            grace: Some(Duration::days(2)),
            via: Via::Payment,
            entitlements: serde_json::from_value(entitlements).expect("values"),
        }
    }

    fn plan_of(held: Vec<Holding>) -> Projection {
        let offers = [offer("free", 0), offer("pro", 10), offer("business", 20)];
        compute(DateTime::UNIX_EPOCH, held, &offers, Plan::free())
    }

    #[test]
    fn the_highest_counts_in_whatever_order_they_are_listed() {
        let (pro, business) = (
            holding(10, Status::Active, &[], Some(30)),
            holding(20, Status::Expiring, &[], None),
        );
        let one = plan_of(vec![pro.clone(), business.clone()]);
        assert_eq!(one, plan_of(vec![business, pro]));
        assert_eq!((one.plan.as_str(), one.rank, one.sources.len()), ("business", 20, 2));
        assert_eq!(one.entitlements["agents"], Allowance::AtMost(200));
        assert_eq!(one.entitlements["runs"], Allowance::Unlimited);
        assert_eq!(one.entitlements["sso"], Allowance::Flag(true));
        assert_eq!(one.valid_until, Some(DateTime::UNIX_EPOCH + Duration::days(32)));
    }

    #[test]
    fn a_plan_turns_when_its_licence_begins_expires_and_is_out_of_grace() {
        let later = Holding {
            starts_at: Some(DateTime::UNIX_EPOCH + Duration::days(3)),
            ..holding(10, Status::NotStarted, &[], Some(30))
        };
        let days: Vec<i64> = later.turns().map(|at| (at - DateTime::UNIX_EPOCH).num_days()).collect();
        assert_eq!(days, [3, 30, 32]);
        assert_eq!(plan_of(vec![later]).plan, "free");
        let graceful = holding(10, Status::InGrace, &[], Some(-1));
        assert_eq!(plan_of(vec![graceful]).plan, "pro");
        let for_good = Holding {
            grace: None,
            ..holding(10, Status::Expired, &[], Some(-9))
        };
        assert_eq!(
            (for_good.ends_at(), plan_of(vec![for_good]).plan.as_str()),
            (None, "pro")
        );
    }

    #[test]
    fn without_a_licence_that_counts_it_is_the_default() {
        let other = holding(40, Status::Active, &[], None);
        for held in [
            vec![],
            vec![holding(10, Status::Revoked, &[], None)],
            vec![holding(10, Status::Expired, &[], Some(-2))],
            vec![holding(10, Status::Suspended, &[HoldReason::Payment], Some(-2))],
            vec![holding(10, Status::Suspended, &[HoldReason::Manual], None)],
            vec![holding(
                10,
                Status::Suspended,
                &[HoldReason::Payment, HoldReason::Dispute],
                None,
            )],
            vec![holding(10, Status::Suspended, &[HoldReason::PaymentMethod], None)],
            vec![other],
        ] {
            let plan = plan_of(held);
            assert_eq!(
                (plan.plan.as_str(), plan.access, plan.sources.len()),
                ("free", AccessLevel::Full, 0)
            );
        }
    }

    #[test]
    fn what_is_owed_for_can_only_be_read_unless_something_else_is_paid() {
        let owed = holding(20, Status::Suspended, &[HoldReason::Payment], None);
        let alone = plan_of(vec![owed.clone()]);
        assert_eq!((alone.plan.as_str(), alone.access), ("business", AccessLevel::ReadOnly));
        let beside = plan_of(vec![owed, holding(10, Status::Active, &[], None)]);
        assert_eq!((beside.plan.as_str(), beside.access), ("pro", AccessLevel::Full));
    }
}
