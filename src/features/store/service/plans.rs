//! Plans of workspaces: a workspace holds a plan by being a machine of a licence in `platform`. Here the licences that it holds become what it
//! may do.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    features::{
        entitlements::Values,
        licenses::{HoldReason, License, Status, Via},
        machines,
        store::{jobs::plan_job, model::Offer, queries},
    },
    kernel::{
        db::Tenant,
        entitlements::{AccessLevel, Allowance, Plan},
        error::Result,
        id::{CustomerId, JobId, LicenseId, WorkspaceId},
        inbox::PLATFORM,
        jobs::{self, Lane, Push},
        outbox::Event,
        plans::{PlanPrice, PlanSource, Projection, PublishedPlan},
    },
};

/// The kind of the job that keeps a workspace's plan in step.
pub(in crate::features::store) const PLAN: &str = "workspace.plan";
/// The kind of the job that publishes plans.
pub(in crate::features::store) const PUBLISH: &str = "store.publish";
/// The kind of the job that makes a workspace a customer at Stripe.
pub(in crate::features::store) const CUSTOMER: &str = "store.customer";

/// The job that publishes the operator's plans.
pub(in crate::features::store) fn publish_job() -> Push {
    Push::now(Lane::System, PUBLISH, JobId::of(WorkspaceId::PLATFORM.uuid(), PUBLISH))
}

/// What a workspace's licences come to at this moment.
pub(in crate::features::store) fn sources(tx: &mut Tenant<'_>, workspace: WorkspaceId) -> Result<Projection> {
    let now = tx.now()?;
    let held = machines::held_by(tx, &workspace.to_string())?
        .into_iter()
        .map(Holding::from)
        .collect();
    let offers = queries::base_offers(tx.conn())?;
    let default = default_plan(tx, &offers)?;
    compute(now, held, &offers, default)
}

/// What a workspace without a licence may do: the smallest offer, or, before there is one, what the product comes with.
fn default_plan(tx: &mut Tenant<'_>, offers: &[Offer]) -> Result<Plan> {
    let Some(offer) = offers.iter().min_by_key(|offer| (offer.rank, offer.id)) else {
        return Ok(Plan::free());
    };
    let values = queries::policy_values(tx.conn(), offer.policy_id)?;
    Ok(Plan {
        code: offer.code.clone(),
        rank: offer.rank,
        access: AccessLevel::Full,
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
fn compute(now: DateTime<Utc>, held: Vec<Holding>, offers: &[Offer], default: Plan) -> Result<Projection> {
    let mut found: Vec<(PlanSource, Values)> = Vec::new();
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
        found.push((source, holding.entitlements));
    }
    found.sort_by_key(|(source, _)| {
        (
            source.access != AccessLevel::Full,
            -i64::from(source.rank),
            source.license_id,
        )
    });
    let valid_until = found.iter().filter_map(|(source, _)| source.expires_at).min();
    let Some((best, values)) = found.first() else {
        let Plan {
            code,
            rank,
            access,
            entitlements,
        } = default;
        return Ok(Projection {
            plan: code,
            rank,
            access,
            entitlements,
            sources: Vec::new(),
            valid_until: None,
        });
    };
    let entitlements = allowances(values.iter().map(|(code, value)| (code.clone(), Some(value.clone()))));
    Ok(Projection {
        plan: best.plan.clone(),
        rank: best.rank,
        access: best.access,
        entitlements,
        sources: found.iter().map(|(source, _)| source.clone()).collect(),
        valid_until,
    })
}

/// What counts of a licence that a workspace holds.
#[derive(Clone, Debug)]
struct Holding {
    license: LicenseId,
    policy: Uuid,
    status: Status,
    holds: Vec<HoldReason>,
    expires_at: Option<DateTime<Utc>>,
    via: Via,
    entitlements: Values,
}

impl From<License> for Holding {
    fn from(license: License) -> Holding {
        Holding {
            license: license.id,
            policy: license.policy_id.uuid(),
            status: license.status,
            holds: license.holds,
            expires_at: license.expires_at,
            via: license.issued_via,
            entitlements: license.terms.entitlements,
        }
    }
}

/// How much a licence lets a workspace be used; `None`: it gives no plan at this moment.
fn access(holding: &Holding, now: DateTime<Utc>) -> Option<AccessLevel> {
    if holding.expires_at.is_some_and(|at| at <= now) {
        return None;
    }
    match holding.status {
        Status::Suspended if holding.holds.iter().all(|reason| *reason == HoldReason::Payment) => {
            Some(AccessLevel::ReadOnly)
        }
        Status::Pooled | Status::Revoked | Status::Suspended | Status::NotStarted | Status::Expired => None,
        Status::InGrace | Status::Overdue | Status::Expiring | Status::Inactive | Status::Active => {
            Some(AccessLevel::Full)
        }
    }
}

/// The operator's plans as the world may see them.
pub(in crate::features::store) fn published(tx: &mut Tenant<'_>) -> Result<Vec<PublishedPlan>> {
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
    Ok(plans)
}

/// Follows the operator's own events: a new workspace becomes a customer, and a licence that changes changes the plans of those who hold it.
pub(in crate::features::store) fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    if tx.workspace() != WorkspaceId::PLATFORM {
        return Ok(());
    }
    let mut workspaces: Vec<Uuid> = Vec::new();
    for event in events {
        let Some(subject) = event.subject_id else { continue };
        match event.kind.split_once('.').unwrap_or_default() {
            ("workspace", "created") => welcome(tx, WorkspaceId::from_uuid(subject), &event.data)?,
            ("license", _) => workspaces.extend(holders(queries::holders_of_license(tx.conn(), subject)?)),
            ("machine", _) => workspaces.extend(holders(queries::holder_of_machine(tx.conn(), subject)?)),
            ("policy", "updated") => {
                workspaces.extend(holders(queries::holders_of_policy(tx.conn(), subject)?));
                jobs::push(tx, publish_job())?;
            }
            _ => {}
        }
    }
    workspaces.sort_unstable();
    workspaces.dedup();
    for workspace in workspaces {
        jobs::push(tx, plan_job(workspace, None))?;
    }
    Ok(())
}

/// Machines name the workspace that they stand for in clear.
fn holders(names: Vec<Option<String>>) -> impl Iterator<Item = Uuid> {
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.parse::<WorkspaceId>().ok())
        .map(WorkspaceId::uuid)
}

/// Makes a new workspace a customer of the operator.
fn welcome(tx: &mut Tenant<'_>, workspace: WorkspaceId, data: &Value) -> Result<()> {
    let name = data["name"]
        .as_str()
        .map(|name| name.chars().take(200).collect::<String>());
    super::access::customer_of_workspace(tx, workspace, name)?;
    let id = JobId::of(workspace.uuid(), CUSTOMER);
    jobs::push(
        tx,
        Push {
            group_id: workspace.uuid(),
            ..Push::now(Lane::System, CUSTOMER, id)
        },
    )
}

/// A customer who is to have an account at Stripe.
pub(in crate::features::store) struct ToOpen {
    pub(in crate::features::store) customer: CustomerId,
    pub(in crate::features::store) name: Option<String>,
    /// The account, if there is one.
    pub(in crate::features::store) account: Option<String>,
}

/// The customer of a workspace, what it is called, and its account at Stripe, if it has one. The intent to open one is written first.
pub(in crate::features::store) fn customer_to_open(
    tx: &mut Tenant<'_>,
    workspace: WorkspaceId,
) -> Result<Option<ToOpen>> {
    let Some((customer, name)) = queries::customer_named(tx.conn(), &workspace.to_string())? else {
        return Ok(None);
    };
    let fresh = LicenseId::new(tx.now()?).uuid();
    queries::intend_customer(tx.conn(), fresh, PLATFORM, customer)?;
    let account = queries::account_of(tx.conn(), PLATFORM, customer)?;
    Ok(Some(ToOpen {
        customer,
        name,
        account,
    }))
}

/// Notes a customer's account at Stripe, and lets what waited for it be looked at.
pub(in crate::features::store) fn bind_account(
    tx: &mut Tenant<'_>,
    customer: CustomerId,
    stripe_id: &str,
) -> Result<()> {
    queries::bind_customer(tx.conn(), PLATFORM, customer, stripe_id)?;
    crate::kernel::inbox::park_no_longer(tx, PLATFORM, &format!("customer:{stripe_id}"))?;
    Ok(())
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
            expires_at: ends_in.map(|days| DateTime::UNIX_EPOCH + Duration::days(days)),
            via: Via::Payment,
            entitlements: serde_json::from_value(entitlements).expect("values"),
        }
    }

    fn plan_of(held: Vec<Holding>) -> Projection {
        let offers = [offer("free", 0), offer("pro", 10), offer("business", 20)];
        compute(DateTime::UNIX_EPOCH, held, &offers, Plan::free()).expect("a plan")
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
        assert_eq!(one.valid_until, Some(DateTime::UNIX_EPOCH + Duration::days(30)));
    }

    #[test]
    fn without_a_licence_that_counts_it_is_the_default() {
        let other = holding(40, Status::Active, &[], None);
        for held in [
            vec![],
            vec![holding(10, Status::Revoked, &[], None)],
            vec![holding(10, Status::Expired, &[], Some(0))],
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
