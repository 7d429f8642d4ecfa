//! The rules of agents.

mod compile;
pub(super) mod labels;
pub mod plans;
pub mod resolve;
pub mod schemas;
pub(super) mod versions;

use std::collections::BTreeMap;

use serde_json::Value;

use self::compile::Compiled;
use super::{
    model::{
        AGENT_ARCHIVED_EVENT, AGENT_CREATED, AGENT_DELETED, AGENT_UPDATED, Agent, AgentFilters, AgentId, AgentPatch,
        AgentSummary, Draft, Estimate, Framework, NOT_AVAILABLE, NewAgent, NewRow, PLAN_INVALID, PRODUCTION, PlanShape,
        Row, State, Verdict,
    },
    queries,
};
use crate::{
    features::providers::Providers,
    kernel::{
        access::{self, Permission, PermissionSet},
        check::{Check, Metadata},
        db::Tenant,
        entitlements,
        error::{
            FORBIDDEN, FieldCode, FieldError, Kind, NAME_TAKEN, OnConstraint, Problem, Result, SLUG_TAKEN,
            STATE_CONFLICT, invalid,
        },
        http::IfMatch,
        outbox,
        page::{Page, PageQuery},
        patch,
    },
};

/// The largest draft, in bytes of its JSON.
const LARGEST_DRAFT: usize = 256 << 10;

/// Makes an agent, and its first version if that is wanted.
///
/// # Errors
/// 402 `plan-limit-reached`, 403 `forbidden` for who may not publish, 409 `name-taken`, `slug-taken`, 422 `plan-invalid`.
pub(super) fn create(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    new: &NewAgent,
    granted: PermissionSet,
) -> Result<Agent> {
    if new.publish && !granted.has(Permission::AgentsPublish) {
        let needed = Permission::AgentsPublish.name();
        return Err(FORBIDDEN
            .because(format!("Publishing needs the permission {needed}."))
            .with("required_permission", needed)
            .into());
    }
    compile::available(new.framework).map_err(|fault| refused(NOT_AVAILABLE, vec![fault]))?;
    let (compiled, faults) = judged(new.framework, &new.config, providers);
    if new.publish && !faults.is_empty() {
        return Err(refused(PLAN_INVALID, faults).into());
    }
    entitlements::take(tx, "agents", 1)?;
    let id = AgentId::new(tx.now()?);
    let slug = match &new.slug {
        Some(slug) => slug.clone(),
        None => free_slug(tx, &new.name, id)?,
    };
    let row = NewRow {
        id,
        name: &new.name,
        slug: &slug,
        description: new.description.as_deref(),
        framework: new.framework,
        config: &new.config,
        draft_sha256: &compile::fingerprint(new.framework, &new.config),
        draft_problems: serde_json::to_value(&faults).map_err(anyhow::Error::from)?,
        metadata: serde_json::to_value(&new.metadata).map_err(anyhow::Error::from)?,
    };
    let row = unique(queries::insert(tx.conn(), &row))?;
    let row = match compiled.filter(|_| new.publish) {
        Some(compiled) => {
            let config = row.config.clone();
            let (row, version) = versions::freeze(tx, row, &config, &compiled, None)?;
            labels::point(tx, id, PRODUCTION, version.number)?;
            versions::announce(tx, version)?;
            row
        }
        None => row,
    };
    let agent = shown(tx, row)?;
    outbox::emit(tx, AGENT_CREATED.of(agent.id, &agent))?;
    Ok(agent)
}

/// One agent.
///
/// # Errors
/// 404.
pub(super) fn get(tx: &mut Tenant<'_>, id: AgentId) -> Result<Agent> {
    let row = queries::find(tx.conn(), id)?;
    shown(tx, row)
}

/// Whether there is such an agent.
///
/// # Errors
/// 404.
pub fn known(tx: &mut Tenant<'_>, id: AgentId) -> Result<()> {
    queries::find(tx.conn(), id)?;
    Ok(())
}

/// A page of agents.
///
/// # Errors
/// 503 if the database fails.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<AgentFilters>) -> Result<Page<AgentSummary>> {
    let rows = queries::list(tx.conn(), query)?;
    let page = query.page_of_changing(rows, |row| (row.created_at, row.updated_at, row.id.uuid()));
    let ids: Vec<AgentId> = page.data.iter().map(|row| row.id).collect();
    let mut labels = queries::labels_of(tx.conn(), &ids)?;
    let authors = access::labels(
        tx,
        page.data
            .iter()
            .map(|row| (row.created_by_type.as_str(), row.created_by_id)),
    )?;
    Ok(page.map(|row| {
        let labels = labels.remove(&row.id).unwrap_or_default();
        row.shown(labels, &authors)
    }))
}

/// Changes the draft and what describes the agent.
///
/// # Errors
/// 404, 409 `name-taken`, `slug-taken`, 412, 428, 422 for a framework that cannot change any more, or a draft that becomes too large.
pub(super) fn update(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    id: AgentId,
    seen: &IfMatch,
    change: &AgentPatch,
) -> Result<Agent> {
    let mut row = queries::lock(tx.conn(), id)?;
    seen.required(row.version)?;
    let before = shown(tx, row.clone())?;
    if let Some(framework) = change.framework.filter(|framework| *framework != row.framework) {
        if row.latest.is_some() {
            return Err(invalid(
                "/framework",
                FieldCode::Immutable,
                "An agent with a version keeps its framework.",
            ));
        }
        compile::available(framework).map_err(|fault| refused(NOT_AVAILABLE, vec![fault]))?;
        row.framework = framework;
    }
    if let Some(name) = &change.name {
        row.name.clone_from(name);
    }
    if let Some(slug) = &change.slug {
        row.slug.clone_from(slug);
    }
    if let Some(description) = &change.description {
        row.description.clone_from(description);
    }
    if let Some(change) = &change.config {
        patch::merge(&mut row.config, change);
        bounded(&row.config)?;
    }
    if let Some(change) = &change.metadata {
        let mut metadata: Metadata = serde_json::from_value(row.metadata).unwrap_or_default();
        patch::merge_metadata(&mut metadata, change.as_ref());
        let mut check = Check::default();
        check.metadata(&metadata);
        check.done()?;
        row.metadata = serde_json::to_value(metadata).map_err(anyhow::Error::from)?;
    }
    let (_, faults) = judged(row.framework, &row.config, providers);
    row.draft_problems = serde_json::to_value(faults).map_err(anyhow::Error::from)?;
    row.draft_sha256 = compile::fingerprint(row.framework, &row.config).to_vec();
    let row = unique(queries::update(tx.conn(), &row))?;
    let agent = shown(tx, row)?;
    if agent.version != before.version {
        outbox::emit(tx, AGENT_UPDATED.of(id, &agent).was(&before))?;
    }
    Ok(agent)
}

/// Removes an agent that never ran.
///
/// # Errors
/// 404, 409 `state-conflict` for one with runs, 412.
pub(super) fn delete(tx: &mut Tenant<'_>, id: AgentId, seen: &IfMatch) -> Result<()> {
    let row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    let agent = shown(tx, row)?;
    let ran = || {
        STATE_CONFLICT
            .because("It has runs: archive it instead.")
            .with("state", "used")
    };
    let names = queries::plans_of(tx.conn(), id)?;
    queries::delete(tx.conn(), id)
        .on_foreign_key("runs_agent_id_fkey", ran())
        .on_foreign_key("runs_agent_version_fkey", ran())?;
    if agent.state == State::Active {
        entitlements::give(tx, "agents", 1)?;
    }
    // After what is counted, as where an agent is made.
    plans::forget(tx, &names)?;
    outbox::emit(tx, AGENT_DELETED.of(id, &agent))?;
    Ok(())
}

/// Stops an agent from being used, or lets it be used again. Asking twice changes nothing. An archived one takes no place of the plan.
///
/// # Errors
/// 404, 412, 402 `plan-limit-reached` for one that is to be used again.
pub(super) fn set_state(tx: &mut Tenant<'_>, id: AgentId, seen: &IfMatch, state: State) -> Result<Agent> {
    let mut row = queries::lock(tx.conn(), id)?;
    seen.allows(row.version)?;
    if row.state == state {
        return shown(tx, row);
    }
    match state {
        State::Archived => entitlements::give(tx, "agents", 1)?,
        State::Active => entitlements::take(tx, "agents", 1)?,
    }
    let before = shown(tx, row.clone())?;
    row.state = state;
    let row = queries::update(tx.conn(), &row)?;
    let agent = shown(tx, row)?;
    let event = match state {
        State::Archived => AGENT_ARCHIVED_EVENT.of(id, &agent).after(&before),
        State::Active => AGENT_UPDATED.of(id, &agent).was(&before),
    };
    outbox::emit(tx, event)?;
    Ok(agent)
}

/// What a configuration would become. Writes nothing.
pub(super) fn validate(providers: &Providers, draft: &Draft) -> Verdict {
    let (compiled, problems) = judged(draft.framework, &draft.config, providers);
    Verdict {
        valid: problems.is_empty(),
        problems,
        estimate: Estimate {
            cost_micros_max: compiled
                .as_ref()
                .and_then(|compiled| compile::dearest(&compiled.plan, providers)),
        },
        plan: compiled.map(|compiled| PlanShape {
            nodes: compiled.body["nodes"].clone(),
            edges: compiled.body["edges"].clone(),
        }),
    }
}

/// The same of an agent's draft.
///
/// # Errors
/// 404.
pub(super) fn validate_draft(tx: &mut Tenant<'_>, providers: &Providers, id: AgentId) -> Result<Verdict> {
    let row = queries::find(tx.conn(), id)?;
    Ok(validate(
        providers,
        &Draft {
            framework: row.framework,
            config: row.config,
        },
    ))
}

/// A draft is no larger than what one request can bring: it could not be written whole any more.
fn bounded(config: &Value) -> Result<()> {
    match config.to_string().len() {
        0..=LARGEST_DRAFT => Ok(()),
        length => Err(invalid(
            "/config",
            FieldCode::TooLarge,
            format!("The draft would have {length} bytes; {LARGEST_DRAFT} are the most."),
        )),
    }
}

fn judged(framework: Framework, config: &Value, providers: &Providers) -> (Option<Compiled>, Vec<FieldError>) {
    match compile::compile(framework, config, providers) {
        Ok(compiled) => (Some(compiled), Vec::new()),
        Err(faults) => (None, faults),
    }
}

/// A refusal with everything that is wrong.
fn refused(kind: Kind, faults: Vec<FieldError>) -> Problem {
    faults.into_iter().fold(kind.into(), |problem, fault| {
        problem.field(fault.pointer, fault.code, fault.detail)
    })
}

fn unique(row: diesel::QueryResult<Row>) -> Result<Row> {
    row.on_unique("agents_workspace_id_name_key", NAME_TAKEN)
        .on_unique("agents_workspace_id_slug_key", SLUG_TAKEN)
}

fn shown(tx: &mut Tenant<'_>, row: Row) -> Result<Agent> {
    let labels = match row.latest {
        Some(_) => queries::labels_of(tx.conn(), &[row.id])?
            .remove(&row.id)
            .unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let authors = access::labels(tx, [(row.created_by_type.as_str(), row.created_by_id)].into_iter())?;
    Ok(row.shown(labels, &authors))
}

/// A slug that nobody has, made of a name.
fn free_slug(tx: &mut Tenant<'_>, name: &str, id: AgentId) -> Result<String> {
    let slug = slug_of(name);
    if !queries::slug_is_taken(tx.conn(), &slug)? {
        return Ok(slug);
    }
    let id = id.to_string();
    Ok(format!("{slug}-{}", &id[id.len() - 8..]))
}

/// Lower-case letters and digits, a hyphen for everything else; at most 50 characters, beginning with a letter.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    if !slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        slug = format!("agent-{slug}");
    }
    slug.truncate(50);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_what_a_name_has() {
        for (name, slug) in [
            ("Scout", "scout"),
            ("  Größe & Gewicht!", "gr-e-gewicht"),
            ("007", "agent-007"),
            ("日本語", "agent"),
            ("a--b", "a-b"),
        ] {
            assert_eq!(slug_of(name), slug);
        }
        assert_eq!(slug_of(&"x".repeat(99)).len(), 50);
    }
}
