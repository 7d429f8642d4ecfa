//! Versions: drafts that were frozen.

use serde_json::Value;

use super::{
    super::{
        model::{
            AGENT_ARCHIVED, AgentId, AgentVersion, AgentVersionId, AgentVersionSummary, Frozen, NewPublication,
            NewVersion, NewVersionRow, PLAN_INVALID, Row, Source, State, VERSION_IN_USE, VERSION_PUBLISHED,
            VERSION_RETIRED_EVENT, VersionFilters, VersionNumber, VersionRow,
        },
        queries,
    },
    compile::{self, Compiled},
    labels, plans, refused,
};
use crate::{
    features::providers::Providers,
    kernel::{
        access,
        db::Tenant,
        error::{OnConstraint, Result, STATE_CONFLICT, contention},
        http::IfMatch,
        outbox,
        page::{Page, PageQuery},
    },
};

/// As many versions as an agent can have.
const MOST: VersionNumber = 10_000;

/// Freezes the draft or a configuration. The same as the newest version is that version, unless that was retired.
///
/// # Errors
/// 404, 409 `agent-archived`, 412, 422 `plan-invalid`.
pub(in crate::features::agents) fn create(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    agent: AgentId,
    seen: &IfMatch,
    new: &NewVersion,
) -> Result<Frozen> {
    let row = open(tx, agent, seen)?;
    let config = match &new.from {
        Source::Draft(_) => row.config.clone(),
        Source::Config(config) => Value::Object(config.clone()),
    };
    let note = new.note.as_deref();
    frozen(tx, providers, row, &config, note, new.force, &new.labels)
}

/// Freezes the draft and moves a label to it, in one step.
///
/// # Errors
/// As [`create`].
pub(in crate::features::agents) fn publish(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    agent: AgentId,
    seen: &IfMatch,
    new: &NewPublication,
) -> Result<Frozen> {
    let row = open(tx, agent, seen)?;
    let config = row.config.clone();
    frozen(
        tx,
        providers,
        row,
        &config,
        new.note.as_deref(),
        false,
        std::slice::from_ref(&new.label),
    )
}

/// A page of an agent's versions.
///
/// # Errors
/// 404.
pub(in crate::features::agents) fn list(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    query: &PageQuery<VersionFilters>,
) -> Result<Page<AgentVersionSummary>> {
    queries::find(tx.conn(), agent)?;
    let rows = queries::versions(tx.conn(), agent, query)?;
    let page = query.page(rows, |row| (row.created_at, row.id.uuid()));
    let labels = queries::labels_of(tx.conn(), &[agent])?
        .remove(&agent)
        .unwrap_or_default();
    let authors = access::labels(
        tx,
        page.data
            .iter()
            .map(|row| (row.created_by_type.as_str(), row.created_by_id)),
    )?;
    Ok(page.map(|row| row.shown(&labels, &authors)))
}

/// One version.
///
/// # Errors
/// 404.
pub(in crate::features::agents) fn get(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    number: VersionNumber,
) -> Result<AgentVersion> {
    let row = queries::version(tx.conn(), agent, number)?;
    shown(tx, row)
}

/// Stops a version from being run. Asking twice changes nothing.
///
/// # Errors
/// 404, 409 `version-in-use` while a label means it.
pub(in crate::features::agents) fn retire(
    tx: &mut Tenant<'_>,
    agent: AgentId,
    number: VersionNumber,
) -> Result<AgentVersion> {
    queries::lock(tx.conn(), agent)?;
    let before = get(tx, agent, number)?;
    if before.retired_at.is_some() {
        return Ok(before);
    }
    if !before.labels.is_empty() {
        return Err(VERSION_IN_USE.with("labels", &before.labels).into());
    }
    let now = tx.now()?;
    let row = queries::retire(tx.conn(), agent, number, now)?;
    let version = shown(tx, row)?;
    outbox::emit(tx, VERSION_RETIRED_EVENT.of(version.id, &version).after(&before))?;
    Ok(version)
}

/// The agent, locked, if it can get a version.
fn open(tx: &mut Tenant<'_>, agent: AgentId, seen: &IfMatch) -> Result<Row> {
    let row = queries::lock(tx.conn(), agent)?;
    seen.allows(row.version)?;
    match row.state {
        State::Active => Ok(row),
        State::Archived => Err(AGENT_ARCHIVED.into()),
    }
}

fn frozen(
    tx: &mut Tenant<'_>,
    providers: &Providers,
    row: Row,
    config: &Value,
    note: Option<&str>,
    force: bool,
    names: &[String],
) -> Result<Frozen> {
    let agent = row.id;
    let compiled =
        compile::compile(row.framework, config, providers).map_err(|faults| refused(PLAN_INVALID, faults))?;
    let newest = match row.latest {
        Some(number) => Some(queries::version(tx.conn(), agent, number)?),
        None => None,
    };
    let same = newest.filter(|newest| {
        let config = compile::fingerprint(row.framework, config);
        !force && newest.retired_at.is_none() && newest.plan_sha256 == compiled.sha256 && newest.config_sha256 == config
    });
    let (version, is_new) = match same {
        Some(version) => (version, false),
        None => (freeze(tx, row, config, &compiled, note)?.1, true),
    };
    for name in names {
        labels::point(tx, agent, name, version.number)?;
    }
    match is_new {
        true => announce(tx, version).map(Frozen::New),
        false => shown(tx, version).map(Frozen::Same),
    }
}

/// Writes the next version of a locked agent.
pub(super) fn freeze(
    tx: &mut Tenant<'_>,
    mut row: Row,
    config: &Value,
    compiled: &Compiled,
    note: Option<&str>,
) -> Result<(Row, VersionRow)> {
    let number = row.latest.unwrap_or(0) + 1;
    if number > MOST {
        return Err(STATE_CONFLICT
            .because(format!("An agent has at most {MOST} versions."))
            .with("state", "full")
            .into());
    }
    plans::keep(tx, compiled)?;
    let config_sha256 = compile::fingerprint(row.framework, config);
    let id = AgentVersionId::new(tx.now()?);
    let version = queries::insert_version(
        tx.conn(),
        &NewVersionRow {
            id,
            agent_id: row.id,
            number,
            plan_sha256: &compiled.sha256,
            framework: row.framework,
            config,
            config_sha256: &config_sha256,
            input_schema: compiled.plan.input_schema.as_ref(),
            output_schema: compiled.plan.output_schema.as_ref(),
            note,
        },
    )
    .on_foreign_key("agent_versions_plan_sha256_fkey", contention())?;
    row.latest = Some(number);
    row.latest_sha256 = Some(config_sha256.to_vec());
    Ok((queries::update(tx.conn(), &row)?, version))
}

/// Tells that there is a new version.
pub(super) fn announce(tx: &mut Tenant<'_>, row: VersionRow) -> Result<AgentVersion> {
    let version = shown(tx, row)?;
    outbox::emit(tx, VERSION_PUBLISHED.of(version.id, &version))?;
    Ok(version)
}

fn shown(tx: &mut Tenant<'_>, row: VersionRow) -> Result<AgentVersion> {
    let labels = queries::labels_of(tx.conn(), &[row.agent_id])?
        .remove(&row.agent_id)
        .unwrap_or_default();
    let authors = access::labels(tx, [(row.created_by_type.as_str(), row.created_by_id)].into_iter())?;
    Ok(row.shown(&labels, &authors))
}
