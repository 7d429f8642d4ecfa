//! Rows of the audit log and its chain.

use chrono::{DateTime, Duration, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, JoinOnDsl, NullableExpressionMethods, OptionalExtension,
    PgConnection, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    sql_types::{Integer, Timestamptz, Uuid as UuidSql},
};
use uuid::Uuid;

use super::{
    kept::Kept,
    model::{AuditFilters, CheckpointFilters, Logged, Personal, Seal},
};
use serde::Serialize;

use crate::{
    any_of,
    kernel::{
        id::{AuditId, WorkspaceId},
        page::PageQuery,
        schema::{
            audit_checkpoints, audit_log, audit_pending, audit_personal, audit_seals, workspace_plans, workspaces,
        },
    },
    within,
};

/// An entry in its three parts.
pub(super) fn insert(conn: &mut PgConnection, entry: &Logged, personal: &Personal) -> QueryResult<()> {
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

/// An entry, what it says of a person, and its place in the chain.
pub(super) type Whole = (Logged, Option<Personal>, Option<Seal>);

/// A page of the log.
pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<AuditFilters>) -> QueryResult<Vec<Whole>> {
    let filters = &query.filters;
    let mut rows = audit_log::table
        .left_join(audit_personal::table.on(audit_personal::entry_id.eq(audit_log::id)))
        .left_join(audit_seals::table.on(audit_seals::entry_id.eq(audit_log::id)))
        .select((
            Logged::as_select(),
            Option::<Personal>::as_select(),
            Option::<Seal>::as_select(),
        ))
        .offset(query.skip())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows,
        audit_log::actor_type => filters.actor_types,
        audit_log::actor_id => filters.actors,
        audit_log::action => filters.actions,
        audit_log::subject_type => filters.subject_types,
        audit_log::subject_id => filters.subjects,
        audit_log::outcome => filters.outcomes,
        audit_personal::ip.nullable() => filters.ips,
        audit_log::request_id => filters.requests);
    // The bounds of the ids leave whole partitions out.
    if let Some(after) = query.shared.created.after {
        rows = rows
            .filter(audit_log::created_at.gt(after))
            .filter(audit_log::id.ge(first_of(after)));
    }
    if let Some(before) = query.shared.created.before {
        rows = rows
            .filter(audit_log::created_at.lt(before))
            .filter(audit_log::id.lt(first_of(before + Duration::milliseconds(1))));
    }
    // Id order is time order.
    let last = query.after().map(|(_, id)| AuditId::from_uuid(id));
    match (query.is_descending(), last) {
        (true, None) => rows.order(audit_log::id.desc()),
        (true, Some(last)) => rows.filter(audit_log::id.lt(last)).order(audit_log::id.desc()),
        (false, None) => rows.order(audit_log::id.asc()),
        (false, Some(last)) => rows.filter(audit_log::id.gt(last)).order(audit_log::id.asc()),
    }
    .load(conn)
}

/// No id of that millisecond is lower.
fn first_of(at: DateTime<Utc>) -> AuditId {
    let millis = at.timestamp_millis().clamp(0, (1 << 48) - 1) as u128;
    AuditId::from_uuid(Uuid::from_u128(millis << 80))
}

/// Workspaces beyond this one with entries that wait for their seal.
pub(super) fn waiting(conn: &mut PgConnection, after: WorkspaceId, most: i64) -> QueryResult<Vec<WorkspaceId>> {
    audit_pending::table
        .filter(audit_pending::workspace_id.gt(after))
        .select(audit_pending::workspace_id)
        .distinct()
        .order(audit_pending::workspace_id)
        .limit(most)
        .load(conn)
}

diesel::define_sql_function! {
    /// Removes the oldest entries made before an instant, about so many of them, up to a signed head. Answers how many.
    fn audit_prune(workspace: UuidSql, before: Timestamptz, batch: Integer) -> Integer;
}

/// Removes the oldest entries of a workspace that were made before an instant, and answers how many.
pub(super) fn prune(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: DateTime<Utc>,
    batch: i32,
) -> QueryResult<i32> {
    diesel::select(audit_prune(workspace.uuid(), before, batch)).get_result(conn)
}

/// How many days of a log a plan keeps, if it is paid; inside, `None`: all of it, or it does not say.
pub(super) type Promised = Option<Option<i64>>;

/// The next workspaces beyond this one: what each one's plan promises of its log, and how much is kept.
pub(super) fn kept(
    conn: &mut PgConnection,
    after: WorkspaceId,
    most: i64,
) -> QueryResult<Vec<(WorkspaceId, Promised, Kept)>> {
    let rows: Vec<(Uuid, String, serde_json::Value, Kept)> = workspace_plans::table
        .filter(workspace_plans::workspace_id.gt(after.uuid()))
        .order(workspace_plans::workspace_id)
        .limit(most)
        .select((
            workspace_plans::workspace_id,
            workspace_plans::access,
            workspace_plans::entitlements,
            Kept::as_select(),
        ))
        .load(conn)?;
    let days = |access: &str, plan: &serde_json::Value| (access == "full").then(|| plan["audit_days"].as_i64());
    Ok(rows
        .into_iter()
        .map(|(id, access, plan, kept)| (WorkspaceId::from_uuid(id), days(&access, &plan), kept))
        .collect())
}

/// Notes how many days of a workspace's log are kept.
pub(super) fn keep(conn: &mut PgConnection, workspace: WorkspaceId, kept: &Kept) -> QueryResult<usize> {
    diesel::update(workspace_plans::table.find(workspace.uuid()))
        .set(kept)
        .execute(conn)
}

/// Whether there is such a workspace.
pub(super) fn is_known(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(workspaces::table.find(workspace))).get_result(conn)
}

/// The next entries that wait, oldest first.
pub(super) fn pending(conn: &mut PgConnection, most: i64) -> QueryResult<Vec<AuditId>> {
    audit_pending::table
        .order(audit_pending::entry_id)
        .limit(most)
        .select(audit_pending::entry_id)
        .load(conn)
}

/// These entries, oldest first.
pub(super) fn entries(conn: &mut PgConnection, ids: &[AuditId]) -> QueryResult<Vec<Logged>> {
    audit_log::table
        .filter(audit_log::id.eq_any(ids))
        .order(audit_log::id)
        .select(Logged::as_select())
        .load(conn)
}

/// The last place of the chain.
pub(super) fn head(conn: &mut PgConnection) -> QueryResult<Option<Seal>> {
    audit_seals::table
        .order(audit_seals::seq.desc())
        .select(Seal::as_select())
        .first(conn)
        .optional()
}

/// Adds to the chain. A place that is taken refuses all of them.
pub(super) fn append(conn: &mut PgConnection, seals: &[Seal]) -> QueryResult<()> {
    diesel::insert_into(audit_seals::table).values(seals).execute(conn)?;
    Ok(())
}

/// These wait no more.
pub(super) fn forget(conn: &mut PgConnection, ids: &[AuditId]) -> QueryResult<()> {
    diesel::delete(audit_pending::table.filter(audit_pending::entry_id.eq_any(ids))).execute(conn)?;
    Ok(())
}

/// A signed head as it is stored.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = audit_checkpoints, check_for_backend(diesel::pg::Pg))]
pub(super) struct Checkpoint {
    pub(super) workspace_id: WorkspaceId,
    pub(super) seq: i64,
    pub(super) hash: Vec<u8>,
    pub(super) kid: String,
    pub(super) signature: Vec<u8>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub(super) created_at: DateTime<Utc>,
}

/// The newest signed head.
pub(super) fn last_checkpoint(conn: &mut PgConnection) -> QueryResult<Option<Checkpoint>> {
    audit_checkpoints::table
        .order(audit_checkpoints::seq.desc())
        .select(Checkpoint::as_select())
        .first(conn)
        .optional()
}

pub(super) fn sign_off(conn: &mut PgConnection, checkpoint: &Checkpoint) -> QueryResult<()> {
    diesel::insert_into(audit_checkpoints::table)
        .values(checkpoint)
        .execute(conn)?;
    Ok(())
}

/// A page of signed heads. The place in the chain stands for the id.
pub(super) fn checkpoints(
    conn: &mut PgConnection,
    query: &PageQuery<CheckpointFilters>,
) -> QueryResult<Vec<Checkpoint>> {
    let mut rows = audit_checkpoints::table
        .select(Checkpoint::as_select())
        .limit(query.fetch())
        .into_boxed();
    within!(rows, audit_checkpoints::created_at, query.shared.created);
    let last = query.after().map(|(time, place)| (time, place.as_u128() as i64));
    let (time, seq) = (audit_checkpoints::created_at, audit_checkpoints::seq);
    if let Some((at, place)) = last {
        rows = match query.is_descending() {
            true => rows.filter(time.le(at)).filter(time.lt(at).or(seq.lt(place))),
            false => rows.filter(time.ge(at)).filter(time.gt(at).or(seq.gt(place))),
        };
    }
    match query.is_descending() {
        true => rows.order((time.desc(), seq.desc())),
        false => rows.order((time.asc(), seq.asc())),
    }
    .load(conn)
}

/// The signed heads from one place to another.
pub(super) fn checkpoints_between(conn: &mut PgConnection, from: i64, to: i64) -> QueryResult<Vec<Checkpoint>> {
    audit_checkpoints::table
        .filter(audit_checkpoints::seq.between(from, to))
        .order(audit_checkpoints::seq)
        .select(Checkpoint::as_select())
        .load(conn)
}

/// A place of the chain with what it seals, as far as that is still there.
pub(super) type Place = (Seal, Option<Logged>, Option<Personal>);

/// The places after one, in order.
pub(super) fn places(conn: &mut PgConnection, after: i64, most: i64) -> QueryResult<Vec<Place>> {
    audit_seals::table
        .left_join(audit_log::table.on(audit_log::id.eq(audit_seals::entry_id)))
        .left_join(audit_personal::table.on(audit_personal::entry_id.eq(audit_seals::entry_id)))
        .filter(audit_seals::seq.gt(after))
        .order(audit_seals::seq)
        .limit(most)
        .select((
            Seal::as_select(),
            Option::<Logged>::as_select(),
            Option::<Personal>::as_select(),
        ))
        .load(conn)
}

/// The first place that is left.
pub(super) fn first_place(conn: &mut PgConnection) -> QueryResult<Option<i64>> {
    audit_seals::table
        .select(audit_seals::seq)
        .order(audit_seals::seq)
        .first(conn)
        .optional()
}

/// An entry that is neither sealed nor waits for it.
pub(super) fn unsealed(conn: &mut PgConnection) -> QueryResult<Option<AuditId>> {
    audit_log::table
        .left_join(audit_seals::table.on(audit_seals::entry_id.eq(audit_log::id)))
        .left_join(audit_pending::table.on(audit_pending::entry_id.eq(audit_log::id)))
        .filter(audit_seals::seq.nullable().is_null())
        .filter(audit_pending::entry_id.nullable().is_null())
        .order(audit_log::id)
        .select(audit_log::id)
        .first(conn)
        .optional()
}
