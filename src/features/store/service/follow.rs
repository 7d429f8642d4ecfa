//! What follows from the operator's own events: workspaces become customers, and plans are kept in step.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    access,
    plans::{publish_job, replan_job, smallest},
};
use crate::{
    features::store::{
        jobs::{Urgency, plan_job},
        queries,
    },
    kernel::{
        db::Tenant,
        error::Result,
        id::{CustomerId, JobId, LicenseId, WorkspaceId},
        inbox::{self, ConnectionId, PLATFORM},
        jobs::{self, Lane, Push},
        outbox::Event,
    },
};

/// The kind of the job that makes a workspace a customer at Stripe.
pub(in crate::features::store) const CUSTOMER: &str = "store.customer";

/// Follows the operator's own events: a new workspace becomes a customer, and a licence that changes changes the plans of those who hold it.
pub(in crate::features::store) fn follow(tx: &mut Tenant<'_>, events: &[Event]) -> Result<()> {
    if tx.workspace() != WorkspaceId::PLATFORM {
        return Ok(());
    }
    let (mut workspaces, mut policies) = (BTreeSet::<Uuid>::new(), BTreeSet::<Uuid>::new());
    let mut fresh = Vec::new();
    for event in events {
        let Some(subject) = event.subject_id else { continue };
        match event.kind.split_once('.').unwrap_or_default() {
            ("workspace", "created") => {
                let workspace = WorkspaceId::from_uuid(subject);
                welcome(tx, workspace, &event.data)?;
                fresh.push(workspace);
            }
            ("license", _) => {
                workspaces.extend(holders(queries::holders_of_licenses(tx.conn(), [subject])?));
            }
            ("machine", _) => {
                workspaces.extend(holders(queries::holder_of_machine(tx.conn(), subject)?));
            }
            ("policy", "updated") if !is_a_label(event.previous.as_ref()) => drop(policies.insert(subject)),
            _ => {}
        }
    }
    if !policies.is_empty() {
        let offers = queries::base_offers(tx.conn())?;
        let default = smallest(&offers).map(|offer| offer.policy_id);
        let everybody = default.is_some_and(|default| policies.contains(&default));
        jobs::push(tx, if everybody { replan_job() } else { publish_job() })?;
    }
    for policy in policies {
        jobs::push(tx, holders_job(policy))?;
    }
    for workspace in workspaces {
        jobs::push(tx, plan_job(workspace, Urgency::AtOnce))?;
    }
    fresh
        .into_iter()
        .try_for_each(|workspace| jobs::push(tx, customer_job(workspace)))
}

/// Whether all that changed of a policy is what it is called: no plan follows from that.
fn is_a_label(previous: Option<&Value>) -> bool {
    let labels = ["name", "code", "metadata"];
    let changed = previous.and_then(Value::as_object);
    changed.is_some_and(|changed| changed.keys().all(|field| labels.contains(&field.as_str())))
}

/// The kind of the job that brings the plans of all those up to date who hold a licence by a policy.
pub(in crate::features::store) const HOLDERS: &str = "store.holders";

fn holders_job(policy: Uuid) -> Push {
    Push {
        group_id: policy,
        priority: 1,
        ..Push::now(Lane::System, HOLDERS, JobId::of(policy, HOLDERS))
    }
}

/// Has the plans brought up to date of those who hold the next licences by a policy beyond this one, so many of them. Answers the last of
/// these, while there may be more.
pub(in crate::features::store) fn plans_of_holders(
    tx: &mut Tenant<'_>,
    policy: Uuid,
    after: Option<(DateTime<Utc>, Uuid)>,
    most: i64,
) -> Result<Option<(DateTime<Utc>, Uuid)>> {
    let licenses = queries::licenses_of_policy(tx.conn(), policy, after, most)?;
    let ids = licenses.iter().map(|(_, license)| *license);
    let found: BTreeSet<Uuid> = holders(queries::holders_of_licenses(tx.conn(), ids)?).collect();
    for workspace in found {
        jobs::push(tx, plan_job(workspace, Urgency::Chore))?;
    }
    let more = licenses.len() as i64 == most;
    Ok(licenses.last().copied().filter(|_| more))
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
    access::customer_of_workspace(tx, workspace, name)?;
    Ok(())
}

/// Pushed after all that goes into [`Lane::System`], and last in its transaction: each lane's slot is a hot row, and is locked to the end.
/// Whoever wants both takes them in this order.
fn customer_job(workspace: WorkspaceId) -> Push {
    Push {
        group_id: workspace.uuid(),
        ..Push::now(Lane::Slow, CUSTOMER, JobId::of(workspace.uuid(), CUSTOMER))
    }
}

/// Has another account opened for a workspace whose own was deleted at Stripe: what it buys from now on is bought for that one.
pub(super) fn another_account(tx: &mut Tenant<'_>, connection: ConnectionId, customer: CustomerId) -> Result<()> {
    if connection != PLATFORM {
        return Ok(());
    }
    for workspace in queries::names(tx.conn(), &[customer])? {
        if let Ok(workspace) = workspace.parse::<WorkspaceId>() {
            jobs::push(tx, customer_job(workspace))?;
        }
    }
    Ok(())
}

/// Has accounts opened for the next customers beyond this one that have none: they came before there was a Stripe. Answers the last of
/// them, while there may be more.
pub(in crate::features::store) fn open_accounts(
    tx: &mut Tenant<'_>,
    after: Option<CustomerId>,
    most: i64,
) -> Result<Option<CustomerId>> {
    let without = queries::without_account(tx.conn(), PLATFORM, after, most)?;
    for workspace in queries::names(tx.conn(), &without)? {
        if let Ok(workspace) = workspace.parse::<WorkspaceId>() {
            jobs::push(tx, customer_job(workspace))?;
        }
    }
    let more = without.len() as i64 == most;
    Ok(without.last().copied().filter(|_| more))
}

/// A customer who is to have an account at Stripe.
pub(in crate::features::store) struct ToOpen {
    pub(in crate::features::store) customer: CustomerId,
    pub(in crate::features::store) name: Option<String>,
    /// Our row of the account, which outlives the call that opens it.
    pub(in crate::features::store) row: Uuid,
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
    let Some((row, account)) = queries::account_of(tx.conn(), PLATFORM, customer)? else {
        return Ok(None);
    };
    Ok(Some(ToOpen {
        customer,
        name,
        row,
        account,
    }))
}

/// Notes a customer's account at Stripe, and lets what waited for it be looked at. Whoever looks at the account's lane at this moment does not
/// know it yet, and is waited for first: what they park is found.
pub(in crate::features::store) fn bind_account(
    tx: &mut Tenant<'_>,
    customer: CustomerId,
    stripe_id: &str,
) -> Result<()> {
    inbox::open(tx, PLATFORM, stripe_id)?;
    queries::bind_customer(tx.conn(), PLATFORM, customer, stripe_id)?;
    inbox::park_no_longer(tx, PLATFORM, &format!("customer:{stripe_id}"))?;
    Ok(())
}
