//! Labels: names for versions that can move.

use super::super::{
    model::{AgentId, LABEL_MOVED, Label, LabelMove, NewLabel, VERSION_RETIRED, judge_label},
    queries,
};
use crate::kernel::{
    check::Check,
    db::Tenant,
    error::{Error, FieldCode, NOT_FOUND, OrElse, Problem, Result, VALIDATION_FAILED, missing},
    http::{IfMatch, Put},
    outbox,
};

/// As many labels as an agent can have.
const MOST: usize = 20;

/// The labels of an agent, by name.
///
/// # Errors
/// 404.
pub(in crate::features::agents) fn list(tx: &mut Tenant<'_>, agent: AgentId) -> Result<Vec<Label>> {
    queries::find(tx.conn(), agent)?;
    Ok(queries::labels(tx.conn(), agent)?)
}

/// A label of an agent.
///
/// # Errors
/// 404.
pub(in crate::features::agents) fn get(tx: &mut Tenant<'_>, agent: AgentId, name: &str) -> Result<Label> {
    Ok(queries::label(tx.conn(), agent, name)?.ok_or(NOT_FOUND)?)
}

/// Makes a label mean a version.
///
/// # Errors
/// 404, 409 `version-retired`, 412, 422 for a name that cannot be, or a version that is not there.
pub(in crate::features::agents) fn put(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    name: &str,
    seen: &IfMatch,
    new: &NewLabel,
) -> Result<Put<Label>> {
    let mut check = Check::default();
    judge_label("path/label", name, &mut check);
    check.done()?;
    queries::lock(tx.conn(), agent)?;
    let known = queries::label(tx.conn(), agent, name)?;
    match &known {
        Some(label) => seen.allows_this(label)?,
        None => seen.allows_nothing()?,
    }
    let thing = point(tx, agent, name, new.number)?;
    Ok(Put {
        made: known.is_none(),
        thing,
    })
}

/// Takes a label away.
///
/// # Errors
/// 404, 412.
pub(in crate::features::agents) fn delete(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    name: &str,
    seen: &IfMatch,
) -> Result<()> {
    queries::lock(tx.conn(), agent)?;
    let label = queries::label(tx.conn(), agent, name)?.ok_or(NOT_FOUND)?;
    seen.allows_this(&label)?;
    queries::delete_label(tx.conn(), agent, name)?;
    let moved = LabelMove {
        agent_id: agent,
        label: label.label,
        number: None,
        previous: Some(label.number),
    };
    tell(tx, &moved)
}

/// Tells of a label that means another version, or none any more. The entry names it: its subject is the agent.
fn tell(tx: &mut Tenant<'_>, moved: &LabelMove) -> Result<()> {
    let event = LABEL_MOVED.of(moved.agent_id, moved);
    let name = format!("labels.{}", moved.label);
    outbox::emit(tx, event.moving(&name, moved.previous, moved.number))?;
    Ok(())
}

/// Points a label of a locked agent at a version, and tells so. One that was retired starts no run, so no label means it.
pub(super) fn point(tx: &mut Tenant<'_>, agent: AgentId, name: &str, number: i32) -> Result<Label> {
    let before = queries::labels(tx.conn(), agent)?;
    let known = before.iter().find(|label| label.label == name);
    if known.is_none() && before.len() >= MOST {
        let problem = Problem::from(VALIDATION_FAILED);
        return Err(problem
            .field(
                "/label",
                FieldCode::TooMany,
                format!("An agent has at most {MOST} labels."),
            )
            .into());
    }
    if let Some(label) = known.filter(|label| label.number == number) {
        return Ok(label.clone());
    }
    let version = queries::version(tx.conn(), agent, number).map_err(Error::from);
    let version = version.or_refuse(missing("/number", "version"))?;
    if version.retired_at.is_some() {
        return Err(VERSION_RETIRED.into());
    }
    let label = queries::move_label(tx.conn(), agent, name, number)?;
    let moved = LabelMove {
        agent_id: agent,
        label: label.label.clone(),
        number: Some(number),
        previous: label.previous,
    };
    tell(tx, &moved)?;
    Ok(label)
}
