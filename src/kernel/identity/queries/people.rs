//! People, their devices, and what happened to their accounts.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, select},
    prelude::*,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    any_of, in_order,
    kernel::{
        access::Call,
        db::Kernel,
        error::{OnConstraint, Result, USERNAME_TAKEN},
        id::{Id, SessionId, UserId, WorkspaceId},
        identity::model::{MePatch, SecurityEvent, SecurityEventFilters, User},
        page::PageQuery,
        schema::{memberships, security_events, user_devices, users},
        workspaces::Member,
    },
};

/// The person of that id. Deleted ones are gone.
pub(in crate::kernel::identity) fn get(tx: &mut Kernel<'_>, id: UserId) -> Result<User> {
    Ok(users::table
        .find(id)
        .filter(users::state.ne("deleted"))
        .select(User::as_select())
        .first(tx.conn())?)
}

/// The same, held until the transaction ends.
pub(in crate::kernel::identity) fn lock(tx: &mut Kernel<'_>, id: UserId) -> Result<User> {
    Ok(users::table
        .find(id)
        .filter(users::state.ne("deleted"))
        .for_no_key_update()
        .select(User::as_select())
        .first(tx.conn())?)
}

/// The person with that address, whatever its case.
pub(in crate::kernel::identity) fn by_email(tx: &mut Kernel<'_>, email: &str) -> Result<Option<User>> {
    Ok(users::table
        .filter(users::email.eq(email).and(users::state.ne("deleted")))
        .select(User::as_select())
        .first(tx.conn())
        .optional()?)
}

/// The person with that public name.
pub(in crate::kernel::identity) fn by_username(tx: &mut Kernel<'_>, username: &str) -> Result<Option<User>> {
    Ok(users::table
        .filter(users::username.eq(username).and(users::state.ne("deleted")))
        .select(User::as_select())
        .first(tx.conn())
        .optional()?)
}

/// Whether somebody has that public name.
pub(in crate::kernel::identity) fn username_is_taken(tx: &mut Kernel<'_>, username: &str) -> Result<bool> {
    let same = users::table.filter(users::username.eq(username).and(users::state.ne("deleted")));
    Ok(select(exists(same)).get_result(tx.conn())?)
}

/// A new person.
#[derive(Insertable)]
#[diesel(table_name = users)]
pub(in crate::kernel::identity) struct NewUser<'a> {
    pub(in crate::kernel::identity) id: UserId,
    pub(in crate::kernel::identity) email: &'a str,
    pub(in crate::kernel::identity) email_verified_at: DateTime<Utc>,
    pub(in crate::kernel::identity) username: Option<&'a str>,
    pub(in crate::kernel::identity) display_name: &'a str,
    pub(in crate::kernel::identity) locale: &'a str,
    pub(in crate::kernel::identity) password_hash: Option<&'a str>,
    pub(in crate::kernel::identity) password_changed_at: Option<DateTime<Utc>>,
    pub(in crate::kernel::identity) terms_version: Option<&'a str>,
}

/// Adds a person. `None` if somebody has the address or the name meanwhile.
pub(in crate::kernel::identity) fn insert(tx: &mut Kernel<'_>, new: &NewUser<'_>) -> Result<Option<User>> {
    Ok(diesel::insert_into(users::table)
        .values(new)
        .on_conflict_do_nothing()
        .returning(User::as_returning())
        .get_result(tx.conn())
        .optional()?)
}

#[derive(AsChangeset)]
#[diesel(table_name = users)]
struct Changes<'a> {
    display_name: Option<&'a str>,
    username: Option<Option<&'a str>>,
    avatar_url: Option<Option<&'a str>>,
    locale: Option<&'a str>,
    time_zone: Option<&'a str>,
}

/// Changes what a person may change of themselves. A patch that changes nothing is no statement.
pub(in crate::kernel::identity) fn update(tx: &mut Kernel<'_>, id: UserId, patch: &MePatch) -> Result<()> {
    let changes = Changes {
        display_name: patch.display_name.as_deref(),
        username: patch.username.as_ref().map(Option::as_deref),
        avatar_url: patch.avatar_url.as_ref().map(Option::as_deref),
        locale: patch.locale.as_deref(),
        time_zone: patch.time_zone.as_deref(),
    };
    diesel::update(users::table.find(id))
        .set(changes)
        .execute(tx.conn())
        .optional_empty_changeset()
        .on_unique("users_username_key", USERNAME_TAKEN)?;
    Ok(())
}

/// Tells the person's workspaces what they are called and look like now.
pub(in crate::kernel::identity) fn tell_workspaces(
    tx: &mut Kernel<'_>,
    user: &User,
) -> Result<Vec<(WorkspaceId, Member)>> {
    let told = diesel::update(memberships::table.filter(memberships::user_id.eq(user.id)))
        .set((
            memberships::display_name.eq(&user.display_name),
            memberships::email.eq(&user.email),
            memberships::avatar_url.eq(&user.avatar_url),
        ))
        .returning((memberships::workspace_id, Member::as_returning()))
        .get_results(tx.conn())?;
    Ok(told)
}

/// Stores a new password hash. What was issued before ends with its session, which is the caller's to end.
pub(in crate::kernel::identity) fn set_password(
    tx: &mut Kernel<'_>,
    id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    diesel::update(users::table.find(id))
        .set((users::password_hash.eq(hash), users::password_changed_at.eq(now)))
        .execute(tx.conn())?;
    Ok(())
}

/// Stores the same password in a newer hash, unless it was changed meanwhile.
pub(in crate::kernel::identity) fn rehash(tx: &mut Kernel<'_>, id: UserId, old: &str, new: &str) -> Result<()> {
    diesel::update(users::table.find(id).filter(users::password_hash.eq(old)))
        .set(users::password_hash.eq(new))
        .execute(tx.conn())?;
    Ok(())
}

/// Notes a proof of the address that came by another road.
pub(in crate::kernel::identity) fn set_verified(tx: &mut Kernel<'_>, id: UserId, now: DateTime<Utc>) -> Result<()> {
    diesel::update(users::table.find(id).filter(users::email_verified_at.is_null()))
        .set(users::email_verified_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}

/// Notes that the person signed in.
pub(in crate::kernel::identity) fn signed_in(tx: &mut Kernel<'_>, id: UserId, now: DateTime<Utc>) -> Result<()> {
    diesel::update(users::table.find(id))
        .set(users::last_login_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}

/// The person's role in a workspace, if they are an active member.
pub(in crate::kernel::identity) fn role_in(
    tx: &mut Kernel<'_>,
    user: UserId,
    workspace: WorkspaceId,
) -> Result<Option<String>> {
    Ok(memberships::table
        .filter(
            memberships::workspace_id
                .eq(workspace)
                .and(memberships::user_id.eq(user)),
        )
        .filter(memberships::state.eq("active"))
        .select(memberships::role)
        .first(tx.conn())
        .optional()?)
}

/// Notes what happened to an account, for its owner to read.
pub(in crate::kernel::identity) fn note(
    tx: &mut Kernel<'_>,
    call: &Call,
    user: UserId,
    kind: &'static str,
    session: Option<SessionId>,
    detail: Value,
) -> Result<()> {
    let now = tx.now()?;
    diesel::insert_into(security_events::table)
        .values((
            security_events::id.eq(Id::<SecurityEvent>::new(now)),
            security_events::user_id.eq(user),
            security_events::kind.eq(kind),
            security_events::session_id.eq(session),
            security_events::ip.eq(call.ip.map(|ip| ip.to_string())),
            security_events::user_agent.eq(call.user_agent.as_deref()),
            security_events::detail.eq(detail),
            security_events::request_id.eq(&*call.request_id),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// A page of what happened to an account.
pub(in crate::kernel::identity) fn events(
    tx: &mut Kernel<'_>,
    user: UserId,
    query: &PageQuery<SecurityEventFilters>,
) -> Result<Vec<SecurityEvent>> {
    let mut rows = security_events::table
        .filter(security_events::user_id.eq(user))
        .select(SecurityEvent::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, security_events::kind => query.filters.kinds);
    Ok(in_order!(rows, security_events, query).load(tx.conn())?)
}

/// Whether the person has signed in from the device that holds this token.
pub(in crate::kernel::identity) fn knows_device(
    tx: &mut Kernel<'_>,
    user: UserId,
    token: &[u8],
    now: DateTime<Utc>,
) -> Result<bool> {
    let same = user_devices::table.filter(
        user_devices::user_id
            .eq(user)
            .and(user_devices::token_hash.eq(token))
            .and(user_devices::expires_at.gt(now)),
    );
    Ok(select(exists(same)).get_result(tx.conn())?)
}

/// The tokens of the devices that somebody has signed in from, hashed.
pub(in crate::kernel::identity) fn devices(tx: &mut Kernel<'_>, user: UserId) -> Result<Vec<Vec<u8>>> {
    let own = user_devices::table.filter(user_devices::user_id.eq(user));
    Ok(own.select(user_devices::token_hash).load(tx.conn())?)
}

/// Remembers a device from which the person has signed in, or that they did so again.
pub(in crate::kernel::identity) fn keep_device(
    tx: &mut Kernel<'_>,
    call: &Call,
    user: UserId,
    token: &[u8],
    label: Option<&str>,
    until: DateTime<Utc>,
) -> Result<()> {
    let now = tx.now()?;
    let (ip, program) = (call.ip.map(|ip| ip.to_string()), call.user_agent.as_deref());
    diesel::insert_into(user_devices::table)
        .values((
            user_devices::id.eq(Uuid::new_v4()),
            user_devices::user_id.eq(user),
            user_devices::token_hash.eq(token),
            user_devices::label.eq(label),
            user_devices::ip.eq(&ip),
            user_devices::user_agent.eq(program),
            user_devices::expires_at.eq(until),
        ))
        .on_conflict((user_devices::user_id, user_devices::token_hash))
        .do_update()
        .set((
            user_devices::label.eq(label),
            user_devices::ip.eq(&ip),
            user_devices::user_agent.eq(program),
            user_devices::last_seen_at.eq(now),
            user_devices::expires_at.eq(until),
        ))
        .execute(tx.conn())?;
    Ok(())
}
