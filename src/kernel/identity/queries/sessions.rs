//! Sessions.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::{
    in_order,
    kernel::{
        db::Kernel,
        error::Result,
        id::{SessionId, UserId},
        identity::model::{SessionFilters, SessionRow, User},
        page::PageQuery,
        schema::{sessions, users},
    },
};

/// Begins a session.
pub(in crate::kernel::identity) fn insert(tx: &mut Kernel<'_>, row: &SessionRow) -> Result<()> {
    diesel::insert_into(sessions::table).values(row).execute(tx.conn())?;
    Ok(())
}

/// A session and whose it is, however it stands.
pub(in crate::kernel::identity) fn with_user(tx: &mut Kernel<'_>, id: SessionId) -> Result<Option<(SessionRow, User)>> {
    Ok(sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(id))
        .select((SessionRow::as_select(), User::as_select()))
        .first(tx.conn())
        .optional()?)
}

/// The live sessions of a person, most recently used first.
pub(in crate::kernel::identity) fn live(
    tx: &mut Kernel<'_>,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionRow>> {
    Ok(sessions::table
        .filter(sessions::user_id.eq(user).and(sessions::revoked_at.is_null()))
        .filter(sessions::not_after.gt(now).and(sessions::idle_after.gt(now)))
        .filter(sessions::impersonator_id.is_null())
        .order((sessions::last_seen_at.desc(), sessions::id.desc()))
        .select(SessionRow::as_select())
        .load(tx.conn())?)
}

/// A page of the live sessions of a person.
pub(in crate::kernel::identity) fn page(
    tx: &mut Kernel<'_>,
    user: UserId,
    now: DateTime<Utc>,
    query: &PageQuery<SessionFilters>,
) -> Result<Vec<SessionRow>> {
    let rows = sessions::table
        .filter(sessions::user_id.eq(user).and(sessions::revoked_at.is_null()))
        .filter(sessions::not_after.gt(now).and(sessions::idle_after.gt(now)))
        .filter(sessions::impersonator_id.is_null())
        .select(SessionRow::as_select())
        .limit(query.fetch())
        .into_boxed();
    Ok(in_order!(rows, sessions, query).load(tx.conn())?)
}

/// Moves on to the next generation. One caller wins; the others get `None` and must look again. One that recovers names the generation that
/// it has, and wins only if nobody has used the present one.
pub(in crate::kernel::identity) fn rotate(
    tx: &mut Kernel<'_>,
    id: SessionId,
    from: i64,
    recovers: Option<i64>,
    now: DateTime<Utc>,
    idle_after: DateTime<Utc>,
) -> Result<Option<SessionRow>> {
    let live = sessions::table
        .find(id)
        .filter(sessions::refresh_counter.eq(from).and(sessions::revoked_at.is_null()))
        .filter(sessions::not_after.gt(now).and(sessions::idle_after.gt(now)));
    let next = (
        sessions::refresh_counter.eq(sessions::refresh_counter + 1),
        sessions::refresh_rotated_at.eq(now),
        sessions::recovered_from.eq(recovers),
        sessions::last_seen_at.eq(now),
        sessions::idle_after.eq(idle_after),
    );
    let returning = SessionRow::as_returning();
    let row = if recovers.is_some() {
        diesel::update(live.filter(sessions::last_seen_gen.lt(from)))
            .set(next)
            .returning(returning)
            .get_result(tx.conn())
    } else {
        diesel::update(live)
            .set(next)
            .returning(returning)
            .get_result(tx.conn())
    };
    Ok(row.optional()?)
}

/// Ends a session. True if it was live.
pub(in crate::kernel::identity) fn revoke(
    tx: &mut Kernel<'_>,
    id: SessionId,
    reason: &'static str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let live = sessions::table.find(id).filter(sessions::revoked_at.is_null());
    let ended = diesel::update(live)
        .set((sessions::revoked_at.eq(now), sessions::revoke_reason.eq(reason)))
        .execute(tx.conn())?;
    Ok(ended == 1)
}

/// Ends a person's sessions but one, and answers which.
pub(in crate::kernel::identity) fn revoke_others(
    tx: &mut Kernel<'_>,
    user: UserId,
    kept: Option<SessionId>,
    reason: &'static str,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>> {
    let kept = kept.unwrap_or(SessionId::nil());
    let live = sessions::table
        .filter(sessions::user_id.eq(user).and(sessions::revoked_at.is_null()))
        .filter(sessions::id.ne(kept));
    Ok(diesel::update(live)
        .set((sessions::revoked_at.eq(now), sessions::revoke_reason.eq(reason)))
        .returning(sessions::id)
        .get_results(tx.conn())?)
}

/// Notes that the person proved again who they are.
pub(in crate::kernel::identity) fn stepped_up(tx: &mut Kernel<'_>, id: SessionId, now: DateTime<Utc>) -> Result<()> {
    diesel::update(sessions::table.find(id))
        .set(sessions::auth_time.eq(now))
        .execute(tx.conn())?;
    Ok(())
}
