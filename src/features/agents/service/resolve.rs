//! Which plan a run executes.

use std::sync::Arc;

use super::{
    super::{
        model::{
            AGENT_ARCHIVED, AgentId, Framework, PLAN_INVALID, PRODUCTION, State, VERSION_RETIRED, VersionNumber,
            plan::Plan,
        },
        queries,
    },
    compile,
    plans::{self, PlanName},
    refused,
};
use crate::{
    features::providers::Providers,
    kernel::{
        db::Tenant,
        error::{Error, NOT_FOUND, Result, STATE_CONFLICT, missing},
    },
};

/// Which version of an agent is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// What the label `production` means.
    #[default]
    Production,
    /// What this label means; `latest` is the newest version.
    Label(String),
    /// This version.
    Number(VersionNumber),
    /// The draft, as it is now.
    Draft,
}

/// A plan, and by which way it was found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The agent.
    pub agent: AgentId,
    /// What its configuration is written for.
    pub framework: Framework,
    /// The version; `None`: its draft.
    pub number: Option<VersionNumber>,
    /// The label that was followed.
    pub label: Option<String>,
    /// The plan's name.
    pub name: PlanName,
    /// The plan.
    pub plan: Arc<Plan>,
}

/// Finds the plan that is meant.
///
/// # Errors
/// 404, 409 `agent-archived`, `version-retired`, or `state-conflict` where nothing is published; 422 for a label or version that is not
/// there, and `plan-invalid` for a draft that cannot be executed.
pub fn resolve(tx: &mut Tenant<'_>, providers: &Providers, agent: AgentId, choice: &Choice) -> Result<Resolved> {
    let row = queries::find(tx.conn(), agent)?;
    if row.state == State::Archived {
        return Err(AGENT_ARCHIVED.into());
    }
    let (number, label) = match choice {
        Choice::Draft => {
            let compiled = compile::compile(row.framework, &row.config, providers)
                .map_err(|faults| refused(PLAN_INVALID, faults))?;
            plans::keep(tx, &compiled)?;
            let (name, plan) = (compiled.sha256, Arc::new(compiled.plan));
            return Ok(Resolved {
                agent,
                framework: row.framework,
                number: None,
                label: None,
                name,
                plan,
            });
        }
        Choice::Number(number) => (*number, None),
        Choice::Label(label) if label == "latest" => (row.latest.ok_or_else(unpublished)?, Some(label.clone())),
        Choice::Label(label) => {
            let found = queries::label(tx.conn(), agent, label)?.ok_or_else(|| missing("/label", "label"))?;
            (found.number, Some(label.clone()))
        }
        Choice::Production => {
            let found = queries::label(tx.conn(), agent, PRODUCTION)?.ok_or_else(unpublished)?;
            (found.number, Some(PRODUCTION.to_owned()))
        }
    };
    let version = queries::version(tx.conn(), agent, number).map_err(|error| match Error::from(error) {
        error if error.is(NOT_FOUND) => missing("/version", "version"),
        error => error,
    })?;
    if version.retired_at.is_some() {
        return Err(VERSION_RETIRED.into());
    }
    let name: PlanName = version
        .plan_sha256
        .try_into()
        .map_err(|_| anyhow::anyhow!("a plan's name has 32 bytes"))?;
    let plan = plans::load(tx, &name)?.map_err(|_| anyhow::anyhow!("the plan was made by a newer server"))?;
    Ok(Resolved {
        agent,
        framework: row.framework,
        number: Some(number),
        label,
        name,
        plan,
    })
}

fn unpublished() -> Error {
    STATE_CONFLICT
        .because("Nothing of it is published yet.")
        .with("state", "unpublished")
        .into()
}
