//! What people see and change of themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kernel::{
    access::{Actor, Call},
    check::{Check, tidy},
    db::Kernel,
    error::{FieldCode, Result, missing},
    http::IfMatch,
    id::UserId,
    identity::{
        model::{
            Me, MePatch, Notices, PlatformRole, Preferences, PreferencesPatch, SecurityEvent, SecurityEventFilters,
            Theme, User,
        },
        queries,
    },
    outbox,
    page::{Page, PageQuery},
    patch::merge,
    workspaces::{MEMBER_UPDATED, Member, PLATFORM},
};

/// The frontend's own preferences are at most so large, as JSON, in bytes.
const LARGEST: usize = 16 * 1_024;

/// A person as they see themselves.
///
/// # Errors
/// The database's.
pub fn shown(tx: &mut Kernel<'_>, user: User) -> Result<Me> {
    let role = match queries::people::role_in(tx, user.id, PLATFORM)?.as_deref() {
        Some("owner" | "admin") => PlatformRole::Admin,
        Some("reseller") => PlatformRole::Reseller,
        _ => PlatformRole::User,
    };
    Ok(Me::of(user, role))
}

/// The same, by id.
///
/// # Errors
/// 404 if the account is gone.
pub fn me(tx: &mut Kernel<'_>, user: UserId) -> Result<Me> {
    let user = queries::people::get(tx, user)?;
    shown(tx, user)
}

/// Changes what a person may change of themselves, and tells their workspaces.
///
/// # Errors
/// 409 `username-taken`, 412.
pub fn patch(tx: &mut Kernel<'_>, call: &Call, user: UserId, seen: &IfMatch, mut change: MePatch) -> Result<Me> {
    let before = queries::people::lock(tx, user)?;
    seen.allows_of(before.version, user)?;
    if let Some(Some(name)) = &mut change.username {
        *name = tidy(name);
    }
    queries::people::update(tx, user, &change)?;
    let after = queries::people::get(tx, user)?;
    if after.version != before.version {
        tell_workspaces(tx, call, &before, &after)?;
        let fields = changed_fields(&before, &after);
        queries::people::note(
            tx,
            call,
            user,
            "user.updated",
            call.session,
            json!({ "fields": fields }),
        )?;
    }
    shown(tx, after)
}

/// Shows the workspaces whom they have there by now: as their member, who has another name for all who look.
fn tell_workspaces(tx: &mut Kernel<'_>, call: &Call, before: &User, after: &User) -> Result<()> {
    let known = queries::people::tell_workspaces(tx, after)?;
    if before.display_name == after.display_name {
        return Ok(());
    }
    let actor = Actor::User {
        id: after.id,
        impersonator: None,
    };
    // Where they were when they did so is no business of their workspaces.
    let call = &Call {
        ip: None,
        user_agent: None,
        ..call.clone()
    };
    for (workspace, member) in known.into_iter().filter(|(_, member)| member.state != "removed") {
        let was = Member {
            display_name: before.display_name.clone(),
            ..member.clone()
        };
        outbox::emit_in(
            tx,
            workspace,
            actor,
            call,
            MEMBER_UPDATED.of(member.id, &member).was(&was),
        )?;
    }
    Ok(())
}

fn changed_fields(before: &User, after: &User) -> Vec<&'static str> {
    [
        ("display_name", before.display_name != after.display_name),
        ("username", before.username != after.username),
        ("avatar_url", before.avatar_url != after.avatar_url),
        ("locale", before.locale != after.locale),
        ("time_zone", before.time_zone != after.time_zone),
    ]
    .into_iter()
    .filter_map(|(field, changed)| changed.then_some(field))
    .collect()
}

/// A person's preferences; those of somebody who never changed any are the usual ones.
///
/// # Errors
/// The database's.
pub fn preferences(tx: &mut Kernel<'_>, user: UserId) -> Result<Preferences> {
    if let Some(found) = queries::preferences::find(tx, user)? {
        return Ok(found);
    }
    Ok(Preferences {
        user_id: user,
        theme: Theme::System,
        date_format: "iso".into(),
        default_workspace_id: None,
        notifications: json!({}),
        app: json!({}),
        version: 1,
        updated_at: queries::people::get(tx, user)?.created_at,
    })
}

/// Changes a person's preferences.
///
/// # Errors
/// 412; 422 if the frontend's own part grows too large, or the workspace is not one of theirs.
pub fn change_preferences(
    tx: &mut Kernel<'_>,
    user: UserId,
    seen: &IfMatch,
    change: &PreferencesPatch,
) -> Result<Preferences> {
    let before = queries::preferences::lock(tx, user)?;
    seen.allows_of(before.version, user)?;
    if let Some(Some(workspace)) = change.default_workspace_id
        && queries::people::role_in(tx, user, workspace)?.is_none()
    {
        return Err(missing("/default_workspace_id", "workspace"));
    }
    let notifications = notices(&before, change)?;
    let mut app = before.app.clone();
    match &change.app {
        None => {}
        Some(None) => app = json!({}),
        Some(Some(changed)) => merge(&mut app, &Value::Object(changed.clone())),
    }
    if app.to_string().len() > LARGEST {
        let mut check = Check::default();
        check.refuse("/app", FieldCode::TooLarge, "At most 16 KiB in all.");
        check.done()?;
    }
    let theme = change.theme.unwrap_or(before.theme);
    let date_format = change.date_format.as_ref().unwrap_or(&before.date_format);
    let workspace = change.default_workspace_id.unwrap_or(before.default_workspace_id);
    queries::preferences::update(tx, user, (theme, date_format, workspace), (notifications, app))
}

/// Which notices come how after the change.
fn notices(before: &Preferences, change: &PreferencesPatch) -> Result<Value> {
    let mut groups: BTreeMap<String, Notices> =
        serde_json::from_value(before.notifications.clone()).map_err(anyhow::Error::from)?;
    match &change.notifications {
        None => {}
        Some(None) => groups.clear(),
        Some(Some(changed)) => {
            for (group, notices) in changed {
                let known = groups.remove(group.word());
                if let Some(notices) = notices {
                    groups.insert(group.word().to_owned(), notices.applied(known.unwrap_or_default()));
                }
            }
        }
    }
    Ok(serde_json::to_value(groups).map_err(anyhow::Error::from)?)
}

/// A page of what happened to an account.
///
/// # Errors
/// The database's.
pub fn events(
    tx: &mut Kernel<'_>,
    user: UserId,
    query: &PageQuery<SecurityEventFilters>,
) -> Result<Page<SecurityEvent>> {
    let rows = queries::people::events(tx, user, query)?;
    Ok(query.page(rows, |event| (event.created_at, event.id.uuid())))
}
