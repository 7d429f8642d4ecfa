//! Rows of mails.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable,
    SelectableHelper,
};

use super::NewMail;
use crate::kernel::{
    crypto::Sealed,
    id::{MailId, WorkspaceId},
    schema::mails,
};

/// A mail on its way.
#[derive(Queryable, Selectable)]
#[diesel(table_name = mails)]
pub(super) struct Row {
    pub(super) id: MailId,
    pub(super) template: String,
    pub(super) locale: String,
    pub(super) recipient: String,
    pub(super) data_sealed: Option<Sealed>,
    pub(super) tries: i32,
    pub(super) created_at: DateTime<Utc>,
}

/// False if a mail with this key was there already.
pub(super) fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: MailId,
    mail: &NewMail<'_>,
    sealed: &Sealed,
) -> QueryResult<bool> {
    let row = (
        mails::workspace_id.eq(workspace),
        mails::id.eq(id),
        mails::template.eq(mail.template.name()),
        mails::locale.eq(mail.locale),
        mails::recipient.eq(mail.to.to_string()),
        mails::data_sealed.eq(sealed),
        mails::dedupe_key.eq(mail.dedupe_key),
    );
    let inserted = diesel::insert_into(mails::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(inserted == 1)
}

/// A mail, with one more try counted before anything is sent; unless it has ended.
pub(super) fn take(conn: &mut PgConnection, id: MailId) -> QueryResult<Option<Row>> {
    diesel::update(mails::table.filter(mails::id.eq(id)).filter(mails::state.eq("queued")))
        .set(mails::tries.eq(mails::tries + 1))
        .returning(Row::as_returning())
        .get_result(conn)
        .optional()
}

/// How and when a mail ended, and with which try, though somebody without a lease may have taken it since; what it said is forgotten.
/// Answers its template, unless it had ended before.
pub(super) fn end(
    conn: &mut PgConnection,
    id: MailId,
    tries: i32,
    (state, at): (&str, Option<DateTime<Utc>>),
) -> QueryResult<Option<String>> {
    diesel::update(mails::table.filter(mails::id.eq(id)).filter(mails::state.eq("queued")))
        .set((
            mails::state.eq(state),
            mails::tries.eq(tries),
            mails::sent_at.eq(at),
            mails::data_sealed.eq(None::<Sealed>),
        ))
        .returning(mails::template)
        .get_result(conn)
        .optional()
}

/// The template of a mail that has ended, if it was this try that ended it.
pub(super) fn ended_by(conn: &mut PgConnection, id: MailId, tries: i32) -> QueryResult<Option<String>> {
    mails::table
        .find(id)
        .filter(mails::tries.eq(tries))
        .select(mails::template)
        .get_result(conn)
        .optional()
}

/// Forgets what old mails said. As `app_kernel`.
pub(super) fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> QueryResult<usize> {
    let waiting = mails::table
        .filter(mails::state.eq("queued"))
        .filter(mails::created_at.lt(before));
    diesel::update(waiting)
        .set(mails::data_sealed.eq(None::<Sealed>))
        .execute(conn)
}
