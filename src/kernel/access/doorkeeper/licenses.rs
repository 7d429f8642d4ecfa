//! Licence keys at the door: the customer's software.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{ABSENCE, Doorkeeper, Verdict, looking, queries, told};
use crate::kernel::{
    access::{Access, Actor, Call, PermissionSet, Reach, Scope},
    directory::{self, Place},
    entitlements::Plan,
    error::{Problem, Result, UNAUTHENTICATED, WORKSPACE_MISMATCH},
    id::WorkspaceId,
    secret::{Token, TokenKind},
};

crate::problems! {
    /// No licence has that key: it is mistyped, or was never given to anybody.
    /// Cause: a character was lost while the key was copied, or it is a key of another vendor.
    /// Fix: check the key, or ask whoever sold the licence.
    pub LICENSE_UNKNOWN = 401, "license-unknown", "The licence key is not known";
}

/// Where licence keys lead, as far as it is known here. A mapping never changes, so it is kept; that there is none is believed for five
/// seconds.
pub(super) struct Directory {
    known: Cache<[u8; 32], Place>,
    absent: Cache<[u8; 32], ()>,
    plan: Arc<Plan>,
}

impl Directory {
    pub(super) fn new() -> Directory {
        Directory {
            known: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(Duration::from_secs(86_400))
                .build(),
            absent: Cache::builder().max_capacity(10_000).time_to_live(ABSENCE).build(),
            plan: Arc::new(Plan::nothing()),
        }
    }
}

impl Doorkeeper {
    /// Checksum, then the directory: it says whose licence it is, and nothing of whether the key is valid. The holder has no permission of the
    /// workspace, and nothing that its plan allows; the operations of licences know what the licence itself may do.
    pub(super) async fn judge_license(&self, hash: Option<[u8; 32]>, call: &Arc<Call>) -> Verdict {
        let hash = hash.ok_or(LICENSE_UNKNOWN)?;
        let place = self.place(hash, call).await?.ok_or(LICENSE_UNKNOWN)?;
        let plan = self.directory.plan.clone();
        let scope = Scope::grant(
            place.workspace,
            Actor::License(place.license),
            Reach::default(),
            plan,
            call.clone(),
        );
        Ok((
            Err(UNAUTHENTICATED.into()),
            Ok(Access::new(scope, PermissionSet::EMPTY)),
        ))
    }

    /// A workspace that is named beside a licence has to be its own. Asked when the request is counted: it may cost a query.
    ///
    /// # Errors
    /// 400 `workspace-mismatch`; the database's.
    pub(in crate::kernel) async fn expect_own(&self, access: &Access, named: Option<&str>) -> Result<(), Problem> {
        let (scope, Some(named)) = (access.scope(), named) else {
            return Ok(());
        };
        let is_license = matches!(scope.actor(), Actor::License(_));
        if !is_license
            || self
                .is_called(scope.workspace(), named, scope.call())
                .await
                .map_err(told)?
        {
            return Ok(());
        }
        Err(WORKSPACE_MISMATCH.into())
    }

    /// The hash of a well-formed licence key of this deployment.
    pub(super) fn license_hash(&self, text: &str) -> Option<[u8; 32]> {
        Token::parse_as(text, TokenKind::LicenseKey, self.mode).map(|token| token.digest())
    }

    /// Whether the workspace is meant by this id or slug. Slugs move, so they are looked up each time: hardly any software says one.
    async fn is_called(&self, workspace: WorkspaceId, named: &str, call: &Call) -> Result<bool> {
        if let Ok(id) = named.parse::<WorkspaceId>() {
            return Ok(id == workspace);
        }
        let (call, slug) = (looking(call), named.to_owned());
        let asked = self.db.unscoped(&call, move |tx| {
            let now = tx.now()?;
            Ok(queries::leads_to(tx.conn(), &slug, workspace, now)?)
        });
        Box::pin(asked).await
    }

    async fn place(&self, hash: [u8; 32], call: &Call) -> Result<Option<Place>> {
        if let Some(known) = self.directory.known.get(&hash) {
            return Ok(Some(known));
        }
        if self.directory.absent.contains_key(&hash) {
            return Ok(None);
        }
        let call = looking(call);
        let asked = self
            .db
            .unscoped(&call, move |tx| Ok(directory::find(tx.conn(), &hash)?));
        let found = Box::pin(asked).await?;
        match found {
            Some(place) => self.directory.known.insert(hash, place),
            None => self.directory.absent.insert(hash, ()),
        }
        Ok(found)
    }
}
