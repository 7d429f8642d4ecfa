//! Who did what, written in the transaction of the change. What is about a person stands apart, so that it can be erased without breaking
//! the chain that seals the entries.

mod queries;

use chrono::{DateTime, Utc};
use diesel::PgConnection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kernel::{
    access::{Actor, Call},
    crypto,
    db::Tenant,
    error::Result,
    id::{AuditId, CustomerId, ResellerId, WorkspaceId},
};

/// What an entry says beside who, when and from where.
pub struct Entry {
    /// What was done: an event's type, or a name of the same form.
    pub action: &'static str,
    /// What it was done to: the resource and its id.
    pub subject: Option<(&'static str, Uuid)>,
    /// `{"role": ["member", "admin"]}`; secrets as `"[changed]"`.
    pub changes: Value,
    /// `done`, `refused` or `failed`.
    pub outcome: &'static str,
    /// The code of a refusal.
    pub code: Option<&'static str>,
    /// Whose the subject is.
    pub reseller: Option<ResellerId>,
    /// Whose the subject is.
    pub customer: Option<CustomerId>,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            action: "",
            subject: None,
            changes: json!({}),
            outcome: "done",
            code: None,
            reseller: None,
            customer: None,
        }
    }
}

/// Writes an entry that has no event of its own: a sensitive read, a refusal worth keeping.
///
/// # Errors
/// 503 if the database fails.
pub fn note(tx: &mut Tenant<'_>, entry: Entry) -> Result<AuditId> {
    let (workspace, actor, call) = (tx.workspace(), tx.scope().actor(), tx.scope().call().clone());
    let now = tx.now()?;
    write(tx.conn(), workspace, actor, &call, entry, now)
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
    let salt: [u8; 16] = crypto::random();
    let ip = call.ip.map(|ip| ip.to_string());
    let personal = json!({ "ip": ip, "user_agent": call.user_agent, "salt": hex::encode(salt) });
    let canonical = serde_json_canonicalizer::to_vec(&personal).map_err(anyhow::Error::from)?;
    let impersonator = match actor {
        Actor::User { impersonator, .. } => impersonator.map(|id| id.uuid()),
        _ => None,
    };
    queries::insert(
        conn,
        &queries::NewEntry {
            workspace_id: workspace,
            id,
            action: entry.action,
            actor_type: actor.kind(),
            actor_id: actor.uuid(),
            impersonator_id: impersonator,
            subject_type: entry.subject.map(|(kind, _)| kind),
            subject_id: entry.subject.map(|(_, id)| id),
            changes: entry.changes,
            outcome: entry.outcome,
            code: entry.code,
            request_id: &call.request_id,
            session_id: call.session.map(|id| id.uuid()),
            reseller_id: entry.reseller.map(|id| id.uuid()),
            customer_id: entry.customer.map(|id| id.uuid()),
            personal_hash: crypto::sha256(&canonical).to_vec(),
            created_at: now,
        },
        &queries::NewPersonal {
            workspace_id: workspace,
            entry_id: id,
            ip,
            user_agent: call.user_agent.as_deref(),
            salt: salt.to_vec(),
        },
    )?;
    Ok(id)
}
