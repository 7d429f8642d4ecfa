//! Writes a workspace's projection, and tells the workspace.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    model::{AnnouncedPlan, PLAN_CHANGED, PlanView, Projection, PublishedPlan},
    queries::{self, Row, Written},
};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    db::{Db, Kernel},
    entitlements::{self, AccessLevel, Allowance},
    error::Result,
    id::{CustomerId, WorkspaceId},
    jobs::{self, Lane, Limits},
    outbox,
};

/// What a workspace is still to be told.
struct Untold {
    version: i64,
    before: Value,
    now: AnnouncedPlan,
}

/// Writes what a workspace's sources come to, unless a later reading was written already, and tells the workspace if that changes what it
/// may do. `version` orders readings: the epoch of the lease under which the sources were read.
///
/// # Errors
/// The database's. Repeating it is safe: what was written is not written again, and what was not told is told.
pub async fn project(db: &Db, scope: &Scope, workspace: WorkspaceId, new: Projection, version: i64) -> Result<()> {
    let call = scope.call().clone();
    let untold = db
        .unscoped(&call, move |tx| write(tx, workspace, &new, version))
        .await?;
    let Some(untold) = untold else { return Ok(()) };
    let told = untold.version;
    db.tenant(within(db, &call, workspace).await?, move |tx| {
        outbox::emit(tx, PLAN_CHANGED.of(workspace, &untold.now).was(&untold.before))?;
        Ok(())
    })
    .await?;
    db.unscoped(&call, move |tx| Ok(queries::mark_told(tx.conn(), workspace, told)?))
        .await?;
    Ok(())
}

/// A scope inside the workspace that is told: the plan was decided outside of it, by the operator's licences.
async fn within(db: &Db, call: &Arc<Call>, workspace: WorkspaceId) -> Result<Scope> {
    let plan = db
        .unscoped(call, move |tx| entitlements::load(tx.conn(), workspace))
        .await?;
    Ok(Scope::grant(
        workspace,
        Actor::System,
        Reach::default(),
        Arc::new(plan),
        call.clone(),
    ))
}

fn write(tx: &mut Kernel<'_>, workspace: WorkspaceId, new: &Projection, version: i64) -> Result<Option<Untold>> {
    let Some(row) = queries::lock(tx.conn(), workspace)? else {
        return Ok(None);
    };
    let now = tx.now()?;
    let announced = AnnouncedPlan {
        id: workspace,
        plan: new.plan.clone(),
        rank: new.rank,
        access: new.access,
        entitlements: new.entitlements.clone(),
        seats: new.seats(),
    };
    if row.source_version > version {
        return Ok(None);
    }
    let before = announcement(workspace, &row);
    let differs = before != json!(announced);
    let pending = row.told_version < row.changed_version;
    let told = if pending { row.told.clone() } else { Some(before) };
    let changed_version = if differs { version } else { row.changed_version };
    let written = Written {
        plan: &new.plan,
        rank: new.rank,
        access: word(new.access),
        unpaid_since: match new.access {
            AccessLevel::ReadOnly => row.unpaid_since.or(Some(now)),
            AccessLevel::Full => None,
        },
        entitlements: json!(new.entitlements),
        sources: json!(new.sources),
        seats: new.seats(),
        source_version: version,
        valid_until: new.valid_until,
        updated_at: now,
        changed_version,
        told: told.clone(),
    };
    queries::write(tx.conn(), workspace, &written)?;
    if differs {
        set_lanes(tx, workspace, new)?;
    }
    let untold = row.told_version < changed_version;
    let untold = untold.then(|| Untold {
        version: changed_version,
        before: told.unwrap_or(Value::Null),
        now: announced,
    });
    Ok(untold.filter(|untold| untold.before != json!(untold.now)))
}

fn announcement(workspace: WorkspaceId, row: &Row) -> Value {
    json!({ "id": workspace, "plan": row.plan, "rank": row.rank, "access": row.access, "entitlements": row.entitlements,
            "seats": row.seats })
}

const fn word(access: AccessLevel) -> &'static str {
    match access {
        AccessLevel::Full => "full",
        AccessLevel::ReadOnly => "read_only",
    }
}

/// How much of the workspace runs and waits at once follows from its plan.
fn set_lanes(tx: &mut Kernel<'_>, workspace: WorkspaceId, new: &Projection) -> Result<()> {
    let number = |code: &str, least: i32| match new.entitlements.get(code) {
        Some(Allowance::AtMost(most)) => i32::try_from(*most).unwrap_or(i32::MAX).max(least),
        Some(Allowance::Unlimited | Allowance::Flag(true)) => 1_000_000,
        Some(Allowance::Flag(false)) | None => least,
    };
    let weight = number("scheduler_weight", 1) as f32;
    let steps = Limits {
        max_running: number("concurrent_steps", 1),
        max_ready: number("queued_steps", 1),
        weight,
    };
    jobs::limit(tx, workspace, Lane::Steps, steps)?;
    let deliveries = Limits {
        max_running: number("concurrent_deliveries", 1),
        max_ready: 1_000_000,
        weight,
    };
    jobs::limit(tx, workspace, Lane::Deliveries, deliveries)
}

/// The plan of a workspace, as it is written down.
///
/// # Errors
/// The database's.
pub async fn current(db: &Db, scope: &Scope) -> Result<PlanView> {
    let workspace = scope.workspace();
    let row = db
        .unscoped(scope.call(), move |tx| Ok(queries::row(tx.conn(), workspace)?))
        .await?;
    let row = row.context("a workspace without a plan")?;
    Ok(PlanView {
        plan: row.plan,
        rank: row.rank,
        access: if row.access == "full" {
            AccessLevel::Full
        } else {
            AccessLevel::ReadOnly
        },
        entitlements: serde_json::from_value(row.entitlements).context("a plan's entitlements cannot be read")?,
        seats: row.seats,
        sources: serde_json::from_value(row.sources).context("a plan's sources cannot be read")?,
        valid_until: row.valid_until,
    })
}

/// Publishes the operator's plans: what `GET /plans` shows, and what a new workspace begins with. What is published and was read later stays:
/// two may be publishing at once, and whoever read last knows every change that somebody wanted published. That does not hold of a plan that is
/// withdrawn, for nothing is left of it to compare with; none is, but by deleting the operator's offers by hand: they are archived.
///
/// # Errors
/// The database's.
pub async fn publish(db: &Db, scope: &Scope, plans: Vec<PublishedPlan>, read_at: DateTime<Utc>) -> Result<()> {
    db.unscoped(scope.call(), move |tx| {
        for plan in &plans {
            queries::publish(tx.conn(), plan, json!(plan.entitlements), json!(plan.prices), read_at)?;
        }
        let codes: Vec<&str> = plans.iter().map(|plan| plan.code.as_str()).collect();
        queries::withdraw_all_but(tx.conn(), &codes, read_at)?;
        Ok(())
    })
    .await
}

/// The next workspaces beyond this one that have no licence for a plan and are on the default one; not the operator's own.
///
/// # Errors
/// The database's.
pub async fn without_source(db: &Db, scope: &Scope, after: WorkspaceId, most: i64) -> Result<Vec<WorkspaceId>> {
    db.unscoped(scope.call(), move |tx| {
        Ok(queries::without_source(tx.conn(), after, most)?)
    })
    .await
}

/// The plans that are published, the smallest first.
///
/// # Errors
/// The database's.
pub async fn published(db: &Db, call: &Call) -> Result<Vec<PublishedPlan>> {
    let rows = db.unscoped(call, |tx| Ok(queries::published(tx.conn())?)).await?;
    let read = rows.into_iter().map(|row| {
        Ok(PublishedPlan {
            code: row.code,
            name: row.name,
            rank: row.rank,
            public: row.public,
            trial_days: row.trial_days,
            seats: row.seats,
            features: row.features,
            entitlements: serde_json::from_value(row.entitlements).context("a published plan cannot be read")?,
            prices: serde_json::from_value(row.prices).context("a published price cannot be read")?,
            archived: row.archived,
        })
    });
    read.collect()
}

/// Whom the operator knows the scope's workspace as: a customer of `platform`.
///
/// # Errors
/// The database's.
pub(super) async fn customer_of(db: &Db, scope: &Scope) -> Result<Option<CustomerId>> {
    let workspace = scope.workspace();
    db.unscoped(scope.call(), move |tx| Ok(queries::customer(tx.conn(), workspace)?))
        .await
}

/// Notes whom the operator knows a workspace as. Once noted, it stays.
///
/// # Errors
/// The database's.
pub async fn bind_customer(db: &Db, scope: &Scope, workspace: WorkspaceId, customer: CustomerId) -> Result<()> {
    db.unscoped(scope.call(), move |tx| {
        Ok(queries::set_customer(tx.conn(), workspace, customer)?)
    })
    .await?;
    Ok(())
}
