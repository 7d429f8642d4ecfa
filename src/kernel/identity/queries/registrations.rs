//! Sign-ups that wait for proof of the address.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, select},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::kernel::{
    db::Kernel,
    error::Result,
    schema::{invitations, pending_registrations},
};

/// A sign-up as it is stored.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = pending_registrations, check_for_backend(diesel::pg::Pg))]
pub(in crate::kernel::identity) struct Waiting {
    pub(in crate::kernel::identity) id: Uuid,
    pub(in crate::kernel::identity) email: String,
    pub(in crate::kernel::identity) password_hash: String,
    pub(in crate::kernel::identity) profile: Value,
    pub(in crate::kernel::identity) mail_token_hash: Vec<u8>,
    pub(in crate::kernel::identity) client_token_hash: Vec<u8>,
    pub(in crate::kernel::identity) invitation_id: Option<Uuid>,
    pub(in crate::kernel::identity) expires_at: DateTime<Utc>,
}

/// What else was said when registering.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::kernel::identity) struct Profile {
    pub(in crate::kernel::identity) display_name: String,
    pub(in crate::kernel::identity) username: Option<String>,
    pub(in crate::kernel::identity) locale: String,
    pub(in crate::kernel::identity) terms_version: Option<String>,
}

/// Stores a sign-up.
pub(in crate::kernel::identity) fn insert(tx: &mut Kernel<'_>, waiting: &Waiting) -> Result<()> {
    diesel::insert_into(pending_registrations::table)
        .values(waiting)
        .execute(tx.conn())?;
    Ok(())
}

/// The sign-up that this mailed token belongs to, held until the transaction ends.
pub(in crate::kernel::identity) fn by_mail_token(
    tx: &mut Kernel<'_>,
    token: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Waiting>> {
    Ok(pending_registrations::table
        .filter(pending_registrations::mail_token_hash.eq(token))
        .filter(pending_registrations::expires_at.gt(now))
        .for_update()
        .select(Waiting::as_select())
        .first(tx.conn())
        .optional()?)
}

/// A sign-up of that address: the one with this client token, or the newest.
pub(in crate::kernel::identity) fn of_address(
    tx: &mut Kernel<'_>,
    email: &str,
    client_token: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Result<Option<Waiting>> {
    let mut rows = pending_registrations::table
        .filter(pending_registrations::email.eq(email))
        .filter(pending_registrations::expires_at.gt(now))
        .order(pending_registrations::created_at.desc())
        .select(Waiting::as_select())
        .into_boxed();
    if let Some(token) = client_token {
        rows = rows.filter(pending_registrations::client_token_hash.eq(token.to_vec()));
    }
    Ok(rows.first(tx.conn()).optional()?)
}

/// Gives a sign-up another mailed token, and as long as at first. False: its address has been proved meanwhile.
pub(in crate::kernel::identity) fn renew(
    tx: &mut Kernel<'_>,
    id: Uuid,
    token: &[u8],
    until: DateTime<Utc>,
) -> Result<bool> {
    let renewed = diesel::update(pending_registrations::table.find(id))
        .set((
            pending_registrations::mail_token_hash.eq(token),
            pending_registrations::expires_at.eq(until),
        ))
        .execute(tx.conn())?;
    Ok(renewed == 1)
}

/// The first proof of an address wins: every sign-up of it goes.
pub(in crate::kernel::identity) fn settle(tx: &mut Kernel<'_>, email: &str) -> Result<()> {
    diesel::delete(pending_registrations::table.filter(pending_registrations::email.eq(email))).execute(tx.conn())?;
    Ok(())
}

/// The open invitation that this token belongs to, if it was sent to that address or to nobody in particular.
pub(in crate::kernel::identity) fn invitation(
    tx: &mut Kernel<'_>,
    token: &[u8],
    email: &str,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    Ok(invitations::table
        .filter(invitations::token_hash.eq(token))
        .filter(invitations::state.eq("pending").and(invitations::expires_at.gt(now)))
        .filter(invitations::email.is_null().or(invitations::email.eq(email)))
        .select(invitations::id)
        .first(tx.conn())
        .optional()?)
}

/// Whether somebody has an account with that address.
pub(in crate::kernel::identity) fn has_account(tx: &mut Kernel<'_>, email: &str) -> Result<bool> {
    use crate::kernel::schema::users;
    let same = users::table.filter(users::email.eq(email).and(users::state.ne("deleted")));
    Ok(select(exists(same)).get_result(tx.conn())?)
}
