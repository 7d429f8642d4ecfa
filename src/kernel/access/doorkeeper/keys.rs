//! API keys at the door.

use std::{net::IpAddr, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::{ABSENCE, BELIEF, Doorkeeper, Read, Verdict, looking, memberships::Membership, queries};
use crate::kernel::{
    access::{Access, Actor, Call, PermissionSet, Person, Via},
    error::{API_KEY_EXPIRED, API_KEY_REVOKED, INVALID_API_KEY, IP_NOT_ALLOWED, Problem, Result, WORKSPACE_MISMATCH},
    id::{ApiKeyId, UserId, WorkspaceId},
    secret::{Token, TokenKind},
};

/// A key as the door needs it.
pub(super) struct KnownKey {
    id: ApiKeyId,
    workspace: WorkspaceId,
    user: Option<UserId>,
    permissions: Option<PermissionSet>,
    addresses: Vec<String>,
    expires_at: DateTime<Utc>,
    grace_until: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked: bool,
}

impl From<queries::KeyRow> for KnownKey {
    fn from(row: queries::KeyRow) -> KnownKey {
        KnownKey {
            id: row.id,
            workspace: row.workspace_id,
            user: row.user_id,
            permissions: row
                .permissions
                .map(|names| PermissionSet::named(names.iter().map(String::as_str))),
            addresses: row.ip_allowlist,
            expires_at: row.expires_at,
            grace_until: row.grace_until,
            last_used_at: row.last_used_at,
            revoked: row.revoked_at.is_some(),
        }
    }
}

impl Doorkeeper {
    /// Checksum, then hash, then state, then address, then what its owner may do: in this order, and the database is asked last.
    pub(super) async fn judge_key(&self, text: &str, header: Option<&str>, call: &Arc<Call>, fresh: bool) -> Verdict {
        let token = Token::parse(text)
            .filter(|token| token.mode() == self.mode)
            .ok_or(INVALID_API_KEY)?;
        if !matches!(token.kind(), TokenKind::PersonalKey | TokenKind::ServiceKey) {
            return Err(INVALID_API_KEY.into());
        }
        let read = self.key(token.digest(), call, fresh).await?;
        let key = read.value.as_ref().ok_or(INVALID_API_KEY)?;
        let now = self.clock.now();
        key.judge(now, call.ip)?;

        let owner = key.user.ok_or(INVALID_API_KEY)?;
        let known = self.person(owner, call, fresh).await?;
        let own = |membership: &&Membership| membership.workspace == key.workspace;
        // Without its owner's membership it is nobody's key: not even for what is the person's alone.
        let membership = known.value.memberships.iter().find(own).ok_or(API_KEY_REVOKED)?;
        let person = Person {
            user: owner,
            via: Via::Key(key.id),
            impersonator: None,
            call: call.clone(),
        };
        let access = self.admit_key(key, membership, header, call);
        if access.is_ok() {
            self.sightings
                .key((key.workspace, key.id), key.last_used_at, call.ip, now);
        }
        Ok((Ok(person), access))
    }

    /// The key's own permissions, and never more than its owner has now.
    fn admit_key(
        &self,
        key: &KnownKey,
        membership: &Membership,
        header: Option<&str>,
        call: &Arc<Call>,
    ) -> Result<Access, Problem> {
        if !header.is_none_or(|named| membership.is_called(named) || named.parse() == Ok(key.workspace)) {
            if let (true, Some(Ok(other))) = (crate::leak!("key-of-any-workspace"), header.map(str::parse)) {
                return Ok(membership.leak_into(other, Actor::ApiKey(key.id), call));
            }
            return Err(WORKSPACE_MISMATCH.into());
        }
        let access = self.enter(membership, Actor::ApiKey(key.id), call)?;
        Ok(match key.permissions {
            Some(permissions) => access.narrowed(permissions),
            None => access,
        })
    }

    async fn key(&self, hash: [u8; 32], call: &Call, fresh: bool) -> Result<Arc<Read<Option<KnownKey>>>> {
        let believed = |read: &Arc<Read<Option<KnownKey>>>| {
            read.began.elapsed() < if read.value.is_some() { BELIEF } else { ABSENCE }
        };
        if let Some(known) = self.keys.get(&hash).filter(|read| !fresh && believed(read)) {
            return Ok(known);
        }
        let (began, revision) = (Instant::now(), self.revision());
        let call = looking(call);
        let asked = self.db.unscoped(&call, move |tx| Ok(queries::key(tx.conn(), &hash)?));
        // In a box, as every look-up: it is large and rare, and would be a part of every request.
        let row = Box::pin(asked).await?;
        let read = Arc::new(Read {
            value: row.map(KnownKey::from),
            began,
        });
        self.remember(revision, || self.keys.insert(hash, read.clone()));
        Ok(read)
    }
}

impl KnownKey {
    /// Whether it is this one.
    pub(super) fn is(&self, id: ApiKeyId) -> bool {
        self.id == id
    }

    /// Whether it is this person's own.
    pub(super) fn is_of(&self, user: UserId) -> bool {
        self.user == Some(user)
    }

    /// Only the holder of a real key learns what is wrong with it.
    fn judge(&self, now: DateTime<Utc>, ip: Option<IpAddr>) -> Result<()> {
        if (self.revoked && !crate::leak!("key-outlives-revocation"))
            || self.grace_until.is_some_and(|until| until <= now)
        {
            return Err(API_KEY_REVOKED.into());
        }
        if self.expires_at <= now && !crate::leak!("key-outlives-expiry") {
            return Err(API_KEY_EXPIRED.into());
        }
        let listed = |ip: IpAddr| {
            self.addresses
                .iter()
                .any(|one| one.parse::<IpNet>().is_ok_and(|net| net.contains(&ip)) || one.parse() == Ok(ip))
        };
        if !self.addresses.is_empty() && !ip.is_some_and(listed) {
            return Err(IP_NOT_ALLOWED.into());
        }
        Ok(())
    }
}
