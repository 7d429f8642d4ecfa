//! People whom the operator vouches for: the first owner of a deployment, since there is no default password and nobody else who could
//! let them in, and whoever development needs.

use std::sync::Arc;

use anyhow::anyhow;
use chrono::Duration;
use serde_json::json;
use uuid::Uuid;

use super::{Desk, Identity, recovery};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    check::Check,
    crypto,
    db::Kernel,
    entitlements::Plan,
    error::{FieldCode, NOT_FOUND, Result, invalid},
    id::{RequestId, UserId},
    identity::{
        model::{Address, User},
        queries::{self, people::NewUser},
    },
    secret::{Secret, Token, TokenKind},
    workspaces::{self, PLATFORM},
};

/// How long the first owner's link works, in hours.
pub const LINK_HOURS: i64 = 24;

impl Identity {
    /// Makes a person with a proven address without a mail. One who is there already stays as they are.
    ///
    /// # Errors
    /// Not an address, or a password that the policy refuses.
    pub async fn found(&self, email: &str, display_name: &str, password: Option<Secret<String>>) -> Result<UserId> {
        let address = Address::parse(email).ok_or_else(|| {
            invalid(
                "/email",
                FieldCode::InvalidFormat,
                "An e-mail address, as ann@example.com.",
            )
        })?;
        let mut hash = None;
        if let Some(password) = password {
            let mut check = Check::default();
            self.policy
                .judge(&mut check, "/password", &password, &[address.as_str(), display_name]);
            check.done()?;
            hash = Some(self.passwords.hash(password).await?);
        }
        let name = display_name.to_owned();
        let call = self.by_hand("people.found");
        let user = self
            .db
            .unscoped(&call.clone(), move |tx| {
                person(tx, &call, &address, &name, hash.as_deref())
            })
            .await?;
        Ok(user.id)
    }

    /// Makes somebody the first owner of `platform`, and a person before that if nobody has the address. Answers a one-time token, good for
    /// [`LINK_HOURS`]: whoever holds it sets that person's password. Repeating it for the same person gives a new token, and the old one dies.
    ///
    /// # Errors
    /// An address that is none, or a platform that has an owner already: then owners are made by owners.
    pub async fn bootstrap(&self, email: &str) -> Result<Secret<String>> {
        let address = Address::parse(email).ok_or_else(|| {
            anyhow!("{email:?} is not an e-mail address that could receive mail; one looks like ann@example.com")
        })?;
        let call = self.by_hand("admin.bootstrap");
        let plan = Arc::new(Plan::free());
        let scope = Scope::grant(PLATFORM, Actor::System, Reach::default(), plan, call.clone().into());
        // Asked here too, so that a refusal leaves nobody behind.
        let wanted = address.clone();
        self.db
            .tenant(scope.clone(), move |tx| workspaces::may_found(tx, wanted.as_str()))
            .await?;
        let (made_by, local) = (call.clone(), address.clone());
        let user = self
            .db
            .unscoped(&call, move |tx| {
                let name = local.as_str().split('@').next().unwrap_or_default();
                person(tx, &made_by, &local, name, None)
            })
            .await?;
        let (id, name, held) = (user.id, user.display_name, address.clone());
        self.db
            .tenant(scope, move |tx| workspaces::found(tx, id, &name, held.as_str()))
            .await?;
        let desk = self.desk.clone();
        self.db.unscoped(&call, move |tx| link(tx, &desk, id, &address)).await
    }

    fn by_hand(&self, operation: &'static str) -> Call {
        Call::internal(operation, RequestId::new(self.db.clock().now()).to_string().into())
    }
}

/// The person with that address; a new one has proved it by the operator's word.
fn person(
    tx: &mut Kernel<'_>,
    call: &Call,
    address: &Address,
    display_name: &str,
    password_hash: Option<&str>,
) -> Result<User> {
    if let Some(known) = queries::people::by_email(tx, address.as_str())? {
        return Ok(known);
    }
    let now = tx.now()?;
    let new = NewUser {
        id: UserId::new(now),
        email: address.as_str(),
        email_verified_at: now,
        username: None,
        display_name,
        locale: "en",
        password_hash,
        password_changed_at: password_hash.map(|_| now),
        terms_version: None,
    };
    match queries::people::insert(tx, &new)? {
        Some(user) => {
            let how = json!({ "email_verified": true });
            queries::people::note(tx, call, user.id, "user.created", None, how)?;
            Ok(user)
        }
        // Somebody took the address meanwhile.
        None => Ok(queries::people::by_email(tx, address.as_str())?.ok_or(NOT_FOUND)?),
    }
}

/// A link to a new password that outlives a mailed one: it is handed on by a person.
fn link(tx: &mut Kernel<'_>, desk: &Desk, user: UserId, address: &Address) -> Result<Secret<String>> {
    let token = Token::mint(TokenKind::OneTime, desk.auth.key_mode);
    let subject = crypto::sha256(address.folded().as_bytes());
    let until = tx.now()? + Duration::hours(LINK_HOURS);
    queries::tokens::replace(
        tx,
        (Uuid::new_v4(), recovery::KIND, user),
        &subject,
        &token.digest(),
        until,
    )?;
    Ok(Secret::new(token.expose().to_owned()))
}
