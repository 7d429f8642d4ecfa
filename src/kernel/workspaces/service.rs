//! The rules of workspaces and memberships.

use anyhow::anyhow;
use chrono::Duration;

use super::{
    model::{
        MEMBER_JOINED, MEMBER_REMOVED, MEMBER_UPDATED, Member, MemberFilters, MemberPatch, NewWorkspace, OWNERS_ONLY,
        OwnWorkspace, OwnWorkspaceFilters, PLATFORM, RESERVED, RoleInfo, TOO_MANY_SLUGS, WORKSPACE_CREATED,
        WORKSPACE_UPDATED, Workspace, WorkspacePatch,
    },
    queries::{self, NewMember},
};
use crate::kernel::{
    access::{Actor, Call, PermissionSet, SystemRole},
    api_keys,
    db::{Kernel, Tenant},
    entitlements::Plan,
    error::{CANNOT_GRANT, LAST_OWNER, NOT_FOUND, OnConstraint, PLAN_LIMIT_REACHED, Result, SLUG_TAKEN},
    http::IfMatch,
    id::{MembershipId, UserId, WorkspaceId},
    outbox,
    page::{Page, PageQuery},
};

/// How long a slug that was given up leads to its workspace; nobody else gets it meanwhile.
const FORMER: Duration = Duration::days(90);
/// So many of them at most: a workspace does not hoard names.
const MOST_FORMER: i64 = 10;

/// Makes a workspace with its first owner, its plan and its event, all at once.
///
/// `most` workspaces on the plan that they begin with belong to one person.
///
/// # Errors
/// 409 `slug-taken`, 402 `plan-limit-reached`.
pub(in crate::kernel) fn create(
    tx: &mut Kernel<'_>,
    call: &Call,
    owner: UserId,
    new: &NewWorkspace,
    most: i64,
) -> Result<Workspace> {
    let now = tx.now()?;
    let id = WorkspaceId::new(now);
    let (display_name, email, avatar_url) = queries::founder(tx.conn(), owner)?;
    let plan = Plan::free();
    let owned = queries::count_owned(tx.conn(), owner, plan.rank)?;
    if owned >= most {
        let detail = format!(
            "You own {owned} workspaces on the plan {}, and may own {most}.",
            plan.code
        );
        let problem = PLAN_LIMIT_REACHED.because(detail).with("entitlement", "workspaces");
        return Err(problem.with("limit", most).with("used", owned).into());
    }
    let wanted = match &new.slug {
        Some(slug) => vec![slug.clone()],
        None => slugs_of(&new.name, id),
    };
    let slug = claim_slug(tx, id, wanted)?;
    queries::insert_workspace(tx.conn(), id, &slug, &new.name).on_unique("workspaces_slug_key", SLUG_TAKEN)?;
    let entitlements = serde_json::to_value(&plan.entitlements).map_err(anyhow::Error::from)?;
    let seats = plan.limit("seats").map(|most| i32::try_from(most).unwrap_or(i32::MAX));
    queries::insert_plan(tx.conn(), id, &plan, entitlements, seats)?;
    let member = NewMember {
        workspace: id,
        id: MembershipId::new(now),
        user: owner,
        display_name: &display_name,
        email: email.as_deref(),
        avatar_url: avatar_url.as_deref(),
        role: SystemRole::Owner.key(),
    };
    queries::insert_member(tx.conn(), &member)?;

    let workspace = queries::workspace(tx.conn(), id)?;
    let actor = Actor::User {
        id: owner,
        impersonator: None,
    };
    outbox::emit_in(tx, PLATFORM, actor, call, WORKSPACE_CREATED.of(id, &workspace))?;
    let joined = member.as_it_begins(now);
    outbox::emit_in(tx, id, actor, call, MEMBER_JOINED.of(joined.id, &joined))?;
    Ok(workspace)
}

/// Makes a person the first owner of the operator's own workspace. Doing it again changes nothing.
///
/// # Errors
/// As [`may_found`].
pub(in crate::kernel) fn found(tx: &mut Tenant<'_>, user: UserId, display_name: &str, email: &str) -> Result<()> {
    let (workspace, now) = (tx.workspace(), tx.now()?);
    // Two who are made owners at once wait for each other here.
    queries::lock_workspace(tx.conn(), workspace)?;
    may_found(tx, email)?;
    if let Some(known) = queries::member_of(tx.conn(), user)? {
        if (known.role.as_str(), known.state.as_str()) == (SystemRole::Owner.key(), "active") {
            return Ok(());
        }
        return Err(anyhow!("{email} is in platform already, as {} ({})", known.role, known.state).into());
    }
    let member = NewMember {
        workspace,
        id: MembershipId::new(now),
        user,
        display_name,
        email: Some(email),
        avatar_url: None,
        role: SystemRole::Owner.key(),
    };
    queries::insert_member(tx.conn(), &member)?;
    queries::take_seat(tx.conn(), workspace)?;
    outbox::emit(tx, MEMBER_JOINED.of(member.id, &member.as_it_begins(now)))?;
    Ok(())
}

/// Whether that person may become the first owner of the operator's own workspace: nobody is one, or they are.
///
/// # Errors
/// Others own it.
pub(in crate::kernel) fn may_found(tx: &mut Tenant<'_>, email: &str) -> Result<()> {
    let owners = queries::owners(tx.conn())?;
    let named = |owner: &Member| owner.email.clone().unwrap_or_else(|| owner.display_name.clone());
    match owners.first() {
        Some(first) if !owners.iter().any(|owner| named(owner).eq_ignore_ascii_case(email)) => Err(anyhow!(
            "platform has an owner already, {}: they alone get a new link here, and they alone make others owners",
            named(first)
        )
        .into()),
        _ => Ok(()),
    }
}

/// Takes the first of these slugs that nobody has.
fn claim_slug(tx: &mut Kernel<'_>, id: WorkspaceId, wanted: Vec<String>) -> Result<String> {
    for slug in wanted {
        if queries::claim_slug(tx.conn(), id, &slug)? {
            return Ok(slug);
        }
    }
    Err(SLUG_TAKEN.into())
}

/// Slugs made from a name, the best first: as it is, unless that would read as ours, and with the end of the id, which makes it unique.
fn slugs_of(name: &str, id: WorkspaceId) -> Vec<String> {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    let base: String = slug.trim_matches('-').chars().take(30).collect();
    let base = if base.starts_with(|c: char| c.is_ascii_lowercase()) {
        base
    } else {
        format!("w-{base}")
    };
    let tail = id.to_string();
    let unique = format!("{}-{}", base.trim_end_matches('-'), &tail[tail.len() - 6..]);
    let plain = base.trim_end_matches('-').to_owned();
    let fits = plain.len() >= 3 && !RESERVED.contains(&plain.as_str());
    fits.then_some(plain).into_iter().chain([unique]).collect()
}

/// All workspaces of a person, the first membership first.
pub(in crate::kernel) fn of_person(tx: &mut Kernel<'_>, user: UserId) -> Result<Vec<OwnWorkspace>> {
    let rows = queries::of_person(tx.conn(), user)?;
    let own = rows
        .into_iter()
        .map(|(workspace, role)| OwnWorkspace { workspace, role });
    Ok(own.collect())
}

/// A page of the workspaces of a person.
pub(in crate::kernel) fn own(
    tx: &mut Kernel<'_>,
    user: UserId,
    query: &PageQuery<OwnWorkspaceFilters>,
) -> Result<Page<OwnWorkspace>> {
    let rows = queries::page_of_person(tx.conn(), user, query)?;
    let page = query.page_of_changing(rows, |(one, _)| (one.created_at, one.updated_at, one.id.uuid()));
    Ok(page.map(|(workspace, role)| OwnWorkspace { workspace, role }))
}

/// The workspace itself.
pub(super) fn get(tx: &mut Tenant<'_>) -> Result<Workspace> {
    let id = tx.workspace();
    Ok(queries::workspace(tx.conn(), id)?)
}

/// Changes name or slug. An old slug goes on leading here for 90 days.
pub(super) fn patch(tx: &mut Tenant<'_>, seen: &IfMatch, change: &WorkspacePatch) -> Result<Workspace> {
    let (id, now) = (tx.workspace(), tx.now()?);
    let before = queries::lock_workspace(tx.conn(), id)?;
    seen.allows_of(before.version, before.id)?;
    let name = change.name.as_ref().unwrap_or(&before.name);
    let slug = change.slug.as_ref().unwrap_or(&before.slug);
    if slug != &before.slug {
        queries::mark_slug(tx.conn(), slug, None).on_unique("workspace_slugs_slug_key", SLUG_TAKEN)?;
        queries::mark_slug(tx.conn(), &before.slug, Some(now + FORMER))
            .on_unique("workspace_slugs_slug_key", SLUG_TAKEN)?;
        if queries::count_former_slugs(tx.conn(), now)? > MOST_FORMER {
            return Err(TOO_MANY_SLUGS.into());
        }
    }
    let after = queries::update_workspace(tx.conn(), id, name, slug).on_unique("workspaces_slug_key", SLUG_TAKEN)?;
    if after.version != before.version {
        outbox::emit(tx, WORKSPACE_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}

/// A page of members.
pub(super) fn members(tx: &mut Tenant<'_>, query: &PageQuery<MemberFilters>) -> Result<Page<Member>> {
    let rows = queries::members(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |member| (member.created_at, member.updated_at, member.id.uuid())))
}

/// One member.
pub(super) fn member(tx: &mut Tenant<'_>, id: MembershipId) -> Result<Member> {
    Ok(queries::member(tx.conn(), id)?)
}

/// Gives a member another role. Nobody gives what they do not hold, and the last owner stays one.
pub(super) fn set_role(
    tx: &mut Tenant<'_>,
    granted: PermissionSet,
    id: MembershipId,
    seen: &IfMatch,
    change: &MemberPatch,
) -> Result<Member> {
    let owners = queries::lock_owners(tx.conn())?;
    let before = queries::lock_member(tx.conn(), id)?;
    if before.state == "removed" {
        return Err(NOT_FOUND.into());
    }
    seen.allows(before.version)?;
    let platform = tx.workspace() == PLATFORM;
    let caller_owns = granted.covers(SystemRole::Owner.permissions(platform));
    if before.role == "owner" && !caller_owns {
        return Err(OWNERS_ONLY.into());
    }
    if !granted.covers(change.role.permissions(platform)) {
        return Err(CANNOT_GRANT.into());
    }
    if owners == [id] && change.role != SystemRole::Owner {
        return Err(LAST_OWNER.into());
    }
    if before.role == change.role.key() {
        return Ok(before);
    }
    let after = queries::set_role(tx.conn(), id, change.role.key())?;
    outbox::emit(tx, MEMBER_UPDATED.of(id, &after).was(&before))?;
    Ok(after)
}

/// Removes a member. The row stays: labels of old rows point to it.
pub(super) fn remove(tx: &mut Tenant<'_>, granted: PermissionSet, id: MembershipId, seen: &IfMatch) -> Result<UserId> {
    let owners = queries::lock_owners(tx.conn())?;
    let before = queries::lock_member(tx.conn(), id)?;
    seen.allows(before.version)?;
    let platform = tx.workspace() == PLATFORM;
    if before.role == "owner" && !granted.covers(SystemRole::Owner.permissions(platform)) {
        return Err(OWNERS_ONLY.into());
    }
    go(tx, &owners, &before)
}

/// The caller's own going.
pub(super) fn leave(tx: &mut Tenant<'_>, user: UserId) -> Result<UserId> {
    let owners = queries::lock_owners(tx.conn())?;
    let own = queries::member_of(tx.conn(), user)?.ok_or(NOT_FOUND)?;
    let before = queries::lock_member(tx.conn(), own.id)?;
    go(tx, &owners, &before)
}

fn go(tx: &mut Tenant<'_>, owners: &[MembershipId], member: &Member) -> Result<UserId> {
    if owners == [member.id] {
        return Err(LAST_OWNER.into());
    }
    let gone = queries::remove_member(tx.conn(), member.id)?;
    if member.state == "active" {
        let workspace = tx.workspace();
        queries::free_seat(tx.conn(), workspace)?;
    }
    outbox::emit(tx, MEMBER_REMOVED.of(gone.id, &gone).was(member))?;
    api_keys::end_with_membership(tx, gone.user_id)?;
    Ok(gone.user_id)
}

/// System roles, then custom ones.
pub(super) fn roles(tx: &mut Tenant<'_>) -> Result<Vec<RoleInfo>> {
    let platform = tx.workspace() == PLATFORM;
    let system = SystemRole::ALL.into_iter().map(|role| RoleInfo {
        key: role.key().to_owned(),
        name: role.key()[..1].to_uppercase() + &role.key()[1..],
        system: true,
        permissions: role.permissions(platform).names(),
    });
    let custom = queries::custom_roles(tx.conn())?;
    let custom = custom.into_iter().map(|(key, name, permissions)| RoleInfo {
        key,
        name,
        system: false,
        permissions,
    });
    Ok(system.chain(custom).collect())
}
