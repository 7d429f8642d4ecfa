//! The rules of keys.

use chrono::Duration;

use super::{
    model::{
        API_KEY_CREATED, API_KEY_REVOKED, API_KEY_UPDATED, ApiKey, ApiKeyFilters, ApiKeyPatch, CreatedApiKey, NewApiKey,
    },
    queries::{self, NewKey},
};
use crate::kernel::{
    access::{Permission, PermissionSet},
    db::Tenant,
    entitlements,
    error::{CANNOT_GRANT, FORBIDDEN, NOT_FOUND, Result},
    http::IfMatch,
    id::{ApiKeyId, UserId},
    outbox,
    page::{Page, PageQuery},
    secret::Token,
};

/// Whose keys a caller may see, change and revoke.
#[derive(Clone, Copy)]
pub(super) struct Keeper {
    /// The caller.
    pub(super) user: UserId,
    /// Everything that the caller may do.
    pub(super) granted: PermissionSet,
}

impl Keeper {
    /// Who may see service accounts may see everybody's keys; others see their own.
    fn owner(self) -> Option<UserId> {
        if self.granted.has(Permission::ServiceAccountsRead) {
            None
        } else {
            Some(self.user)
        }
    }

    fn may_see(self, key: &ApiKey) -> Result<()> {
        match self.owner() {
            Some(user) if key.owner_id != user => Err(NOT_FOUND.into()),
            _ => Ok(()),
        }
    }

    /// A personal key acts as its owner, who alone says what it may do and from where.
    fn may_change(self, key: &ApiKey) -> Result<()> {
        self.may_see(key)?;
        if key.owner_id == self.user {
            return Ok(());
        }
        let detail = "A personal key is changed by its owner alone. Where it must stop, revoke it.";
        Err(FORBIDDEN.because(detail).into())
    }

    /// Who may change service accounts may end everybody's keys.
    fn may_end(self, key: &ApiKey) -> Result<()> {
        self.may_see(key)?;
        if key.owner_id == self.user || self.granted.has(Permission::ServiceAccountsWrite) {
            return Ok(());
        }
        Err(FORBIDDEN.because("The key is another's.").into())
    }

    /// Nobody gives what they do not hold.
    fn may_grant(self, permissions: Option<&Vec<String>>) -> Result<()> {
        let wanted = PermissionSet::named(permissions.into_iter().flatten().map(String::as_str));
        if self.granted.covers(wanted) {
            Ok(())
        } else {
            Err(CANNOT_GRANT.into())
        }
    }
}

/// Makes a personal key of the caller. `secret` is in the answer and nowhere else.
pub(super) fn create(tx: &mut Tenant<'_>, keeper: Keeper, secret: &Token, new: &NewApiKey) -> Result<CreatedApiKey> {
    keeper.may_grant(new.permissions.as_ref())?;
    let now = tx.now()?;
    let workspace = tx.workspace();
    let living = queries::count_living(tx.conn(), workspace, now)?;
    // Whoever ends a membership holds the workspace as well, and revokes the keys that there are.
    if !queries::is_member(tx.conn(), keeper.user)? {
        return Err(NOT_FOUND.into());
    }
    entitlements::room(tx, "api_keys", living)?;
    let reseller = tx.scope().reach().reseller.map(|id| id.uuid());
    let row = NewKey {
        id: ApiKeyId::new(now),
        owner: keeper.user,
        name: &new.name,
        hash: &secret.digest(),
        start: &secret.start(),
        permissions: new.permissions.as_ref(),
        ip_allowlist: &new.ip_allowlist,
        expires_at: now + Duration::days(new.expires_in_days),
        reseller,
    };
    let key = queries::insert(tx.conn(), &row)?;
    outbox::emit(tx, API_KEY_CREATED.of(key.id, &key))?;
    Ok(CreatedApiKey {
        key,
        secret: secret.expose().to_owned(),
    })
}

/// A page of keys.
pub(super) fn list(tx: &mut Tenant<'_>, keeper: Keeper, query: &PageQuery<ApiKeyFilters>) -> Result<Page<ApiKey>> {
    let rows = queries::list(tx.conn(), keeper.owner(), query)?;
    Ok(query.page_of_changing(rows, |key| (key.created_at, key.updated_at, key.id.uuid())))
}

/// One key.
pub(super) fn get(tx: &mut Tenant<'_>, keeper: Keeper, id: ApiKeyId) -> Result<ApiKey> {
    let key = queries::get(tx.conn(), id)?;
    keeper.may_see(&key)?;
    Ok(key)
}

/// Changes a key.
pub(super) fn patch(
    tx: &mut Tenant<'_>,
    keeper: Keeper,
    id: ApiKeyId,
    seen: &IfMatch,
    change: &ApiKeyPatch,
) -> Result<ApiKey> {
    let before = queries::lock(tx.conn(), id)?;
    keeper.may_change(&before)?;
    seen.allows(before.version)?;
    let permissions = change.permissions.as_ref().unwrap_or(&before.permissions);
    if change.permissions.is_some() {
        keeper.may_grant(permissions.as_ref())?;
    }
    let name = change.name.as_ref().unwrap_or(&before.name);
    let addresses = change.ip_allowlist.as_ref().unwrap_or(&before.ip_allowlist);
    let after = queries::update(tx.conn(), id, name, permissions.as_ref(), addresses)?;
    if after.version != before.version {
        outbox::emit(tx, API_KEY_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}

/// Ends the keys of somebody whose membership ends: were they to come back, no old key does.
pub(in crate::kernel) fn end_with_membership(tx: &mut Tenant<'_>, user: UserId) -> Result<()> {
    let now = tx.now()?;
    for key in queries::revoke_all_of(tx.conn(), user, now, "membership_ended")? {
        outbox::emit(tx, API_KEY_REVOKED.of(key.id, &key))?;
    }
    Ok(())
}

/// Revokes a key. The row stays, so that its holder reads why it stopped.
pub(super) fn revoke(tx: &mut Tenant<'_>, keeper: Keeper, id: ApiKeyId, seen: &IfMatch) -> Result<()> {
    let before = queries::lock(tx.conn(), id)?;
    keeper.may_end(&before)?;
    seen.allows(before.version)?;
    let now = tx.now()?;
    let key = queries::revoke(tx.conn(), id, now, "deleted")?;
    outbox::emit(tx, API_KEY_REVOKED.of(id, &key))?;
    Ok(())
}
