//! Rows of events.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, Insertable, PgConnection, QueryResult, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use crate::kernel::{
    id::{EventId, WorkspaceId},
    schema::{outbox, outbox_queue},
};

#[derive(Insertable)]
#[diesel(table_name = outbox)]
pub(super) struct NewEvent<'a> {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: EventId,
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) actor_type: &'static str,
    pub(super) actor_id: Option<Uuid>,
    pub(super) subject_id: Uuid,
    pub(super) request_id: &'a str,
    pub(super) traceparent: String,
    pub(super) data: Value,
    pub(super) previous: Option<Value>,
    pub(super) thin: bool,
    pub(super) reseller_id: Option<Uuid>,
    pub(super) customer_id: Option<Uuid>,
    pub(super) created_at: DateTime<Utc>,
}

/// The event and its place in the queue.
pub(super) fn insert(conn: &mut PgConnection, event: &NewEvent<'_>) -> QueryResult<()> {
    diesel::insert_into(outbox::table).values(event).execute(conn)?;
    let place = (
        outbox_queue::workspace_id.eq(event.workspace_id),
        outbox_queue::event_id.eq(event.id),
    );
    diesel::insert_into(outbox_queue::table).values(place).execute(conn)?;
    Ok(())
}
