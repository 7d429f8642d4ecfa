//! The rules of the log: what is written, what is shown, how it is sealed.

mod chain;
mod seal;
mod verify;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use diesel::PgConnection;
use uuid::Uuid;

use super::{
    model::{
        AuditCheckpoint, AuditEntry, AuditFilters, AuditSeal, AuditSubject, CheckpointFilters, Entry, Logged, Personal,
    },
    queries::{self, Whole},
};
use crate::kernel::{
    access::{Actor, Call, Labels, labels},
    crypto,
    db::{Kernel, Tenant},
    error::Result,
    id::{AuditId, SessionId, UserId, WorkspaceId, public},
    page::{Page, PageQuery},
};
pub(super) use seal::{Rest, seal};
pub use verify::verify;

/// Writes an entry that has no event of its own: a sensitive read, a refusal worth keeping.
///
/// # Errors
/// 503 if the database fails.
pub fn note(tx: &mut Tenant<'_>, entry: Entry) -> Result<AuditId> {
    let (workspace, actor, call) = (tx.workspace(), tx.scope().actor(), tx.scope().call().clone());
    let now = tx.now()?;
    write(tx.conn(), workspace, actor, &call, entry, now)
}

/// The same where no workspace has called: the system did it, and the entry belongs to the workspace that is named.
///
/// # Errors
/// 503 if the database fails.
pub(in crate::kernel) fn note_in(
    tx: &mut Kernel<'_>,
    workspace: WorkspaceId,
    call: &Call,
    entry: Entry,
) -> Result<AuditId> {
    let now = tx.now()?;
    write(tx.conn(), workspace, Actor::System, call, entry, now)
}

/// The entry, its personal part, and its place in the line of those that the chain does not hold yet.
pub(in crate::kernel) fn write(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    actor: Actor,
    call: &Call,
    entry: Entry,
    now: DateTime<Utc>,
) -> Result<AuditId> {
    let id = AuditId::new(now);
    let personal = Personal {
        workspace_id: workspace,
        entry_id: id,
        ip: call.ip.map(|ip| ip.to_string()),
        user_agent: call.user_agent.clone(),
        actor_email: None,
        salt: crypto::random::<16>().to_vec(),
    };
    let impersonator = match actor {
        Actor::User { impersonator, .. } => impersonator.map(|id| id.uuid()),
        _ => None,
    };
    let logged = Logged {
        workspace_id: workspace,
        id,
        action: entry.action.to_owned(),
        actor_type: actor.kind().to_owned(),
        actor_id: actor.uuid(),
        impersonator_id: impersonator,
        subject_type: entry.subject.map(|subject| subject.kind.to_owned()),
        subject_prefix: entry.subject.map(|subject| subject.prefix.to_owned()),
        subject_id: entry.subject.map(|subject| subject.id),
        changes: entry.changes,
        outcome: entry.outcome,
        code: entry.code.map(str::to_owned),
        occurrences: entry.occurrences,
        request_id: Some(call.request_id.to_string()),
        session_id: call.session.map(|id| id.uuid()),
        reseller_id: entry.reseller.map(|id| id.uuid()),
        customer_id: entry.customer.map(|id| id.uuid()),
        personal_hash: Some(chain::personal(&personal)?.to_vec()),
        created_at: now,
    };
    queries::insert(conn, &logged, &personal)?;
    Ok(id)
}

/// A page of the log.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<AuditFilters>) -> Result<Page<AuditEntry>> {
    let rows = queries::list(tx.conn(), query)?;
    let page = query.page(rows, |(row, ..)| (row.created_at, row.id.uuid()));
    let actors = page
        .data
        .iter()
        .map(|(row, ..)| (row.actor_type.as_str(), row.actor_id));
    let names = labels(tx, actors)?;
    Ok(page.map(|row| shown(row, &names)))
}

/// An entry as the API shows it.
fn shown((row, personal, seal): Whole, names: &Labels) -> AuditEntry {
    let subject = match (row.subject_type, row.subject_prefix, row.subject_id) {
        (Some(kind), Some(prefix), Some(id)) => Some(AuditSubject {
            kind,
            id: public(&prefix, id),
        }),
        _ => None,
    };
    let (ip, user_agent) = personal.map_or((None, None), |personal| (personal.ip, personal.user_agent));
    AuditEntry {
        id: row.id,
        actor: names.author(&row.actor_type, row.actor_id),
        action: row.action,
        impersonator_id: row.impersonator_id.map(UserId::from_uuid),
        subject,
        changes: row.changes,
        outcome: row.outcome,
        code: row.code,
        occurrences: row.occurrences,
        request_id: row.request_id,
        session_id: row.session_id.map(SessionId::from_uuid),
        ip,
        user_agent,
        seal: seal.map(|seal| AuditSeal {
            seq: seal.seq,
            hash: hex::encode(seal.hash),
        }),
        created_at: row.created_at,
    }
}

/// A page of signed heads.
pub(super) fn checkpoints(tx: &mut Tenant<'_>, query: &PageQuery<CheckpointFilters>) -> Result<Page<AuditCheckpoint>> {
    let rows = queries::checkpoints(tx.conn(), query)?;
    let page = query.page(rows, |row| (row.created_at, Uuid::from_u128(row.seq as u128)));
    Ok(page.map(|row| AuditCheckpoint {
        seq: row.seq,
        hash: hex::encode(row.hash),
        kid: row.kid,
        signature: URL_SAFE_NO_PAD.encode(row.signature),
        created_at: row.created_at,
    }))
}
