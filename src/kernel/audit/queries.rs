//! Rows of the audit log.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, Insertable, PgConnection, QueryResult, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use crate::kernel::{
    id::{AuditId, WorkspaceId},
    schema::{audit_log, audit_pending, audit_personal},
};

#[derive(Insertable)]
#[diesel(table_name = audit_log)]
pub(super) struct NewEntry<'a> {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: AuditId,
    pub(super) action: &'static str,
    pub(super) actor_type: &'static str,
    pub(super) actor_id: Option<Uuid>,
    pub(super) impersonator_id: Option<Uuid>,
    pub(super) subject_type: Option<&'static str>,
    pub(super) subject_id: Option<Uuid>,
    pub(super) changes: Value,
    pub(super) outcome: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) request_id: &'a str,
    pub(super) session_id: Option<Uuid>,
    pub(super) reseller_id: Option<Uuid>,
    pub(super) customer_id: Option<Uuid>,
    pub(super) personal_hash: Vec<u8>,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = audit_personal)]
pub(super) struct NewPersonal<'a> {
    pub(super) workspace_id: WorkspaceId,
    pub(super) entry_id: AuditId,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) salt: Vec<u8>,
}

/// An entry in its three parts.
pub(super) fn insert(conn: &mut PgConnection, entry: &NewEntry<'_>, personal: &NewPersonal<'_>) -> QueryResult<()> {
    diesel::insert_into(audit_log::table).values(entry).execute(conn)?;
    diesel::insert_into(audit_personal::table)
        .values(personal)
        .execute(conn)?;
    let pending = (
        audit_pending::workspace_id.eq(entry.workspace_id),
        audit_pending::entry_id.eq(entry.id),
    );
    diesel::insert_into(audit_pending::table)
        .values(pending)
        .execute(conn)?;
    Ok(())
}
