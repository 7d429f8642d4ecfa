//! What the seller does after a commit: prepares what is sold, publishes plans, opens accounts at Stripe, and keeps the plans of workspaces in
//! step with the licences that they hold.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Looker, account};
use crate::{
    features::store::{
        model::SubscriptionId,
        service::{self, CUSTOMER, OWED, PLAN, PUBLISH, ToOpen},
    },
    kernel::{
        error::{Error, Result},
        id::{CustomerId, WorkspaceId},
        inbox::{self, PLATFORM, PREPARE, Wanted, Worker},
        jobs::{self, JobContext, Lane, Push, Runner},
        outbox::Relay,
        plans,
        stripe::{Account, Intent, NewCustomer, StripeError},
    },
};

/// Lookup keys that Stripe takes in one question.
const KEYS_AT_ONCE: usize = 10;
/// How long a job waits for a Stripe that is away.
const AWAY: Duration = Duration::from_secs(60);

/// Registers everything that the store does outside of requests.
pub fn register(runner: &mut Runner, relay: &mut Relay, looker: &Looker) {
    runner.inbox(Worker::new(looker.db.clone(), looker.clone().look()));
    relay.hand_to("store", service::follow);
    let at = looker.clone();
    runner.on(PREPARE, Lane::System, move |job| prepare(at.clone(), job));
    runner.on(PUBLISH, Lane::System, publish);
    let at = looker.clone();
    runner.on(CUSTOMER, Lane::System, move |job| customer(at.clone(), job));
    runner.on(PLAN, Lane::System, plan);
    runner.on(OWED, Lane::System, owed);
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
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| {
            jobs::push(tx, service::publish_job())?;
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
    let plans = job.db.tenant(job.scope(), service::published).await?;
    plans::publish(&job.db, &job.scope(), plans).await?;
    finish(job).await
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
        account: known,
    }) = found
    else {
        return finish(job).await;
    };
    plans::bind_customer(&job.db, &job.scope(), workspace, customer).await?;
    if known.is_none()
        && let Some(account) = account::platform(&looker)
    {
        match open_account(&account, workspace, customer, name).await {
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
    customer: CustomerId,
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
    let intent = Intent::new(PLATFORM, "customer", customer);
    Ok(account.create_customer(&intent, &new).await?.id)
}

/// Has a subscription looked at on which money is missing.
async fn owed(job: JobContext) -> Result<()> {
    let subscription = SubscriptionId::from_uuid(job.job.group_id);
    let read = job.db.tenant(job.scope(), move |tx| service::owed(tx, subscription));
    let (connection, wanted) = read.await?;
    inbox::look_at(&job.db, &job.scope(), connection, vec![wanted]).await?;
    finish(job).await
}

/// Reads what a workspace's licences come to and writes it down. When one of them ends, it is done again.
async fn plan(job: JobContext) -> Result<()> {
    let workspace = WorkspaceId::from_uuid(job.job.group_id);
    let projection = job
        .db
        .tenant(job.scope(), move |tx| service::sources(tx, workspace))
        .await?;
    let ends = projection.valid_until;
    plans::project(&job.db, &job.scope(), workspace, projection, job.job.epoch).await?;
    let ending = job.clone();
    job.db
        .tenant(job.scope(), move |tx| match ends {
            Some(at) => jobs::retry(tx, &ending.job, Some(at)),
            None => jobs::finish(tx, &ending.job),
        })
        .await
}

/// The job that keeps a workspace's plan in step, as soon as may be.
pub(in crate::features::store) fn plan_job(workspace: Uuid, due: Option<DateTime<Utc>>) -> Push {
    let id = crate::kernel::id::JobId::of(workspace, PLAN);
    Push {
        group_id: workspace,
        due,
        on_exists: jobs::OnExists::Sooner,
        ..Push::now(Lane::System, PLAN, id)
    }
}
