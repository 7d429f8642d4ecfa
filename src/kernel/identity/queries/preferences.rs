//! What people like.

use diesel::prelude::*;
use serde_json::Value;

use crate::kernel::{
    db::Kernel,
    error::Result,
    id::{UserId, WorkspaceId},
    identity::model::{Preferences, Theme},
    schema::user_preferences::dsl,
};

/// The person's preferences, made when they are first asked for, and held until the transaction ends.
pub(in crate::kernel::identity) fn lock(tx: &mut Kernel<'_>, user: UserId) -> Result<Preferences> {
    diesel::insert_into(dsl::user_preferences)
        .values(dsl::user_id.eq(user))
        .on_conflict_do_nothing()
        .execute(tx.conn())?;
    Ok(dsl::user_preferences
        .find(user)
        .for_update()
        .select(Preferences::as_select())
        .first(tx.conn())?)
}

/// The person's preferences, if they ever changed any.
pub(in crate::kernel::identity) fn find(tx: &mut Kernel<'_>, user: UserId) -> Result<Option<Preferences>> {
    Ok(dsl::user_preferences
        .find(user)
        .select(Preferences::as_select())
        .first(tx.conn())
        .optional()?)
}

/// Stores preferences.
pub(in crate::kernel::identity) fn update(
    tx: &mut Kernel<'_>,
    user: UserId,
    (theme, date_format, workspace): (Theme, &str, Option<WorkspaceId>),
    (notifications, app): (Value, Value),
) -> Result<Preferences> {
    Ok(diesel::update(dsl::user_preferences.find(user))
        .set((
            dsl::theme.eq(theme),
            dsl::date_format.eq(date_format),
            dsl::default_workspace_id.eq(workspace),
            dsl::notifications.eq(notifications),
            dsl::app.eq(app),
        ))
        .returning(Preferences::as_returning())
        .get_result(tx.conn())?)
}
