//! What the seller does after a commit: prepares what is sold, publishes plans, opens accounts at Stripe, and keeps the plans of workspaces in
//! step with the licences that they hold.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Looker, account};
use crate::{
    features::store::{
        model::SubscriptionId,
        service::{self, CUSTOMER, HOLDERS, LOOK, MAPPED, PUBLISH, REPLAN, ToOpen},
    },
    kernel::{
        db::Tenant,
        error::{Error, Result},
        id::{CustomerId, JobId, PriceId, WorkspaceId},
        inbox::{self, PLATFORM, PREPARE, RECONCILE, Wanted, Worker},
        jobs::{self, JobContext, Lane, Push, Runner},
        metrics,
        outbox::Relay,
        plans,
        stripe::{Account, Intent, NewCustomer, StripeError},
    },
};

/// Lookup keys that Stripe takes in one question.
const KEYS_AT_ONCE: usize = 10;
/// Customers or workspaces that one transaction sees to.
const AT_ONCE: i64 = 500;
/// How far back events are listed at first, and how far beyond the last time: an event is listed a little after it was made.
const FIRST_LOOK_BACK: TimeDelta = TimeDelta::days(1);
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// After how long what Stripe did not know is looked at again, and how old that may be: a worker with another key, that ended since, may have
/// been who asked.
const UNKNOWN_FOR: TimeDelta = TimeDelta::hours(1);
const UNKNOWN_SINCE: TimeDelta = TimeDelta::days(7);
/// How long a job waits for a Stripe that is away.
const AWAY: Duration = Duration::from_secs(60);

/// Registers everything that the store does outside of requests.
pub fn register(runner: &mut Runner, relay: &mut Relay, looker: &Looker) {
    runner.inbox(Worker::new(looker.db.clone(), looker.clone().look()));
    relay.hand_to("store", service::follow);
    let at = looker.clone();
    runner.on(PREPARE, Lane::Slow, move |job| prepare(at.clone(), job));
    runner.on(PUBLISH, Lane::System, publish);
    let at = looker.clone();
    runner.on(CUSTOMER, Lane::Slow, move |job| customer(at.clone(), job));
    runner.on(plans::PLAN, Lane::System, plan);
    let at = looker.clone();
    runner.on(RECONCILE, Lane::Slow, move |job| reconcile(at.clone(), job));
    runner.on(LOOK, Lane::System, look_again);
    runner.on(MAPPED, Lane::System, mapped);
    runner.on(REPLAN, Lane::System, replan);
    runner.on(HOLDERS, Lane::System, holders);
}

/// Makes the plans that a deployment begins with, and has the prices looked at that belong to them at Stripe.
async fn prepare(looker: Looker, job: JobContext) -> Result<()> {
    let keys = job.db.tenant(job.scope(), service::seed).await?;
    if let Some(account) = account::platform(&looker) {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            match account.prices(keys).await {
                Ok(prices) => {
                    let wanted = prices.into_iter().map(|price| Wanted {
                        kind: "price.updated",
                        object: price.id.clone(),
                        lane: price.id,
                    });
                    inbox::look_at(&job.db, &job.scope(), PLATFORM, wanted.collect()).await?;
                }
                Err(error) => return later(job, error).await,
            }
        }
    }
    if looker.secrets.platform.is_some() {
        make_up(&job).await?;
    }
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| {
            jobs::push(tx, service::publish_job())?;
            jobs::finish(tx, &ending.job)
        })
        .await
}

/// Makes up for what could not be done while there was no key, or a wrong one.
async fn make_up(job: &JobContext) -> Result<()> {
    job.db
        .tenant(job.scope(), |tx| {
            inbox::park_no_longer(tx, PLATFORM, inbox::ACCOUNT)?;
            let missed = JobId::of(WorkspaceId::PLATFORM.uuid(), RECONCILE);
            jobs::push(tx, Push::now(Lane::Slow, RECONCILE, missed))
        })
        .await?;
    let mut last = None;
    loop {
        let opened = job
            .db
            .tenant(job.scope(), move |tx| service::open_accounts(tx, last, AT_ONCE));
        last = opened.await?;
        if last.is_none() {
            return Ok(());
        }
    }
}

/// Asks for events that never came in: webhooks may be lost, and what they would have told is looked at all the same. So is, now and then,
/// what Stripe did not know.
async fn reconcile(looker: Looker, job: JobContext) -> Result<()> {
    let Some(account) = account::platform(&looker) else {
        return finish(job).await;
    };
    let begun = job.db.clock().now();
    let known = job
        .db
        .tenant(job.scope(), |tx| inbox::reconciled_at(tx, PLATFORM))
        .await?;
    let since = known.unwrap_or(begun - FIRST_LOOK_BACK) - OVERLAP;
    let (mut older, mut missed) = (None::<String>, 0);
    loop {
        let page = match account.events(since, older.as_deref()).await {
            Ok(page) => page,
            Err(error) => return later(job, error).await,
        };
        older = page
            .data
            .last()
            .and_then(|event| event["id"].as_str())
            .map(str::to_owned);
        let listed = page.data.iter().map(|event| event.to_string().into_bytes()).collect();
        missed += inbox::catch_up(&job.db, &job.scope(), PLATFORM, listed).await?;
        if !page.has_more || older.is_none() {
            break;
        }
    }
    // At the first look everything is new: nothing was missed that nobody waited for.
    if missed > 0 && known.is_some() {
        metrics::RECONCILE_DRIFT.with_label_values(&["event"]).inc_by(missed);
        tracing::warn!(missed, "Stripe lists events that never came in");
    }
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| {
            let now = tx.now()?;
            let within = now - UNKNOWN_SINCE..=now - UNKNOWN_FOR;
            inbox::look_again(tx, PLATFORM, inbox::ACCOUNT, within)?;
            inbox::reconciled(tx, PLATFORM, begun)?;
            jobs::finish(tx, &ending.job)
        })
        .await
}

/// Stripe cannot be asked at this moment.
async fn later(job: JobContext, error: StripeError) -> Result<()> {
    tracing::warn!(kind = job.job.kind, %error, "Stripe cannot be asked; the job is done later");
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| {
            let due = tx.now()? + AWAY;
            jobs::retry(tx, &ending.job, Some(due))
        })
        .await
}

/// Publishes the plans: offers of the operator with their prices and entitlements.
async fn publish(job: JobContext) -> Result<()> {
    publish_all(&job).await?;
    finish(job).await
}

async fn publish_all(job: &JobContext) -> Result<()> {
    let (plans, read_at) = job.db.tenant(job.scope(), service::published).await?;
    plans::publish(&job.db, &job.scope(), plans, read_at).await
}

/// Brings the plan of every workspace without a licence up to date. Published first: who comes meanwhile begins with what is true now.
async fn replan(job: JobContext) -> Result<()> {
    publish_all(&job).await?;
    let mut last = WorkspaceId::nil();
    loop {
        let found = plans::without_source(&job.db, &job.scope(), last, AT_ONCE).await?;
        let Some(next) = found.last().copied() else { break };
        last = next;
        let queue = move |tx: &mut Tenant<'_>| {
            let mut plans = found.iter().map(|workspace| plan_job(workspace.uuid(), Urgency::Chore));
            plans.try_for_each(|plan| jobs::push(tx, plan))
        };
        job.db.tenant(job.scope(), queue).await?;
    }
    finish(job).await
}

/// Brings the plans up to date of all those who hold a licence by a policy that was edited.
async fn holders(job: JobContext) -> Result<()> {
    let (policy, mut last) = (job.job.group_id, None);
    loop {
        let page = job.db.tenant(job.scope(), move |tx| {
            service::plans_of_holders(tx, policy, last, AT_ONCE)
        });
        last = page.await?;
        if last.is_none() {
            return finish(job).await;
        }
    }
}

async fn finish(job: JobContext) -> Result<()> {
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| jobs::finish(tx, &ending.job))
        .await
}

/// Binds a workspace to its customer in `platform`, and opens the customer's account at Stripe.
async fn customer(looker: Looker, job: JobContext) -> Result<()> {
    let workspace = WorkspaceId::from_uuid(job.job.group_id);
    let found = job
        .db
        .tenant(job.scope(), move |tx| service::customer_to_open(tx, workspace))
        .await?;
    let Some(ToOpen {
        customer,
        name,
        row,
        account: known,
    }) = found
    else {
        return finish(job).await;
    };
    plans::bind_customer(&job.db, &job.scope(), workspace, customer).await?;
    if known.is_none()
        && let Some(account) = account::platform(&looker)
    {
        match open_account(&account, workspace, (customer, row), name).await {
            Ok(stripe_id) => {
                job.db
                    .tenant(job.scope(), move |tx| service::bind_account(tx, customer, &stripe_id))
                    .await?;
            }
            Err(error @ (StripeError::Away | StripeError::Denied(_))) => return later(job, error).await,
            Err(error) => return Err(Error::from(error)),
        }
    }
    finish(job).await
}

async fn open_account(
    account: &Account,
    workspace: WorkspaceId,
    (customer, row): (CustomerId, Uuid),
    name: Option<String>,
) -> Result<String, StripeError> {
    let metadata = HashMap::from([
        ("guildhall_workspace".to_owned(), workspace.to_string()),
        ("guildhall_customer".to_owned(), customer.to_string()),
    ]);
    let new = NewCustomer {
        name: name.unwrap_or_else(|| workspace.to_string()),
        email: None,
        metadata,
    };
    // Not of the customer: one whose account was deleted would be given the deleted one.
    let intent = Intent::new(PLATFORM, "customer", row);
    Ok(account.create_customer(&intent, &new).await?.id)
}

/// Has a subscription looked at although no event told of it.
async fn look_again(job: JobContext) -> Result<()> {
    let subscription = SubscriptionId::from_uuid(job.job.group_id);
    let read = job
        .db
        .tenant(job.scope(), move |tx| service::to_look_at(tx, subscription));
    let (connection, wanted) = read.await?;
    inbox::look_at(&job.db, &job.scope(), connection, wanted).await?;
    finish(job).await
}

/// Lets what waited for a price be looked at again.
async fn mapped(job: JobContext) -> Result<()> {
    let (price, ending) = (PriceId::from_uuid(job.job.group_id), job.clone());
    let held = job
        .db
        .tenant(job.scope(), move |tx| service::held_for(tx, price))
        .await?;
    if let Some((connection, mut wanted)) = held {
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(AT_ONCE as usize));
            inbox::look_at(&job.db, &job.scope(), connection, wanted).await?;
            wanted = rest;
        }
    }
    job.db
        .tenant(job.scope(), move |tx| {
            service::unpark_mapped(tx, price)?;
            jobs::finish(tx, &ending.job)
        })
        .await
}

/// Reads what a workspace's licences come to and writes it down. When one of them begins or ends, it is done again.
async fn plan(job: JobContext) -> Result<()> {
    let workspace = WorkspaceId::from_uuid(job.job.group_id);
    let read = job
        .db
        .tenant(job.scope(), move |tx| service::sources(tx, workspace))
        .await?;
    let ends = read.turns_at;
    plans::project(&job.db, &job.scope(), workspace, read.projection, job.job.epoch).await?;
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| match ends {
            Some(at) => jobs::retry(tx, &ending.job, Some(at)),
            None => jobs::finish(tx, &ending.job),
        })
        .await
}

/// How soon a workspace's plan is to be in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::features::store) enum Urgency {
    /// Somebody paid, or is to lose access: nobody else goes first.
    AtOnce,
    /// One of all the workspaces that something changes for.
    Chore,
}

/// The job that keeps a workspace's plan in step.
pub(in crate::features::store) fn plan_job(workspace: Uuid, urgency: Urgency) -> Push {
    Push {
        priority: match urgency {
            Urgency::AtOnce => 9,
            Urgency::Chore => 1,
        },
        ..plans::job(WorkspaceId::from_uuid(workspace))
    }
}
