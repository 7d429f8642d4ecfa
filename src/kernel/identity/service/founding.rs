//! The first owner of a deployment: there is no default password, and nobody else who could let them in.

use anyhow::anyhow;
use chrono::Duration;
use serde_json::json;
use uuid::Uuid;

use super::{Desk, Identity};
use crate::kernel::{
    access::Call,
    crypto,
    db::Kernel,
    error::Result,
    id::{RequestId, UserId},
    identity::{
        model::{Address, User},
        queries::{self, people::NewUser},
    },
    secret::{Secret, Token, TokenKind},
    workspaces,
};

/// How long the first link works, in hours.
pub const LINK_HOURS: i64 = 24;

impl Identity {
    /// Makes somebody an owner of `platform`, and a person first if nobody has the address. Answers a one-time token: whoever holds it
    /// sets that person's password. Safe to repeat; only the newest token works.
    ///
    /// # Errors
    /// An address that is none, or a person who is in `platform` already in another role.
    pub async fn found(&self, email: &str) -> Result<Secret<String>> {
        let address = Address::parse(email).ok_or_else(|| anyhow!("{email} is not an e-mail address"))?;
        let call = Call::internal("admin.bootstrap", RequestId::new(self.db.clock().now()).to_string().into());
        let (desk, made_by) = (self.desk.clone(), call.clone());
        self.db.unscoped(&call, move |tx| found(tx, &desk, &made_by, &address)).await
    }
}

fn found(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, address: &Address) -> Result<Secret<String>> {
    let user = match queries::people::by_email(tx, address.as_str())? {
        Some(user) => user,
        None => person(tx, call, address)?,
    };
    workspaces::found(tx, call, user.id)?;
    let link = Token::mint(TokenKind::OneTime, desk.auth.key_mode);
    let subject = crypto::sha256(address.folded().as_bytes());
    let until = tx.now()? + Duration::hours(LINK_HOURS);
    queries::tokens::replace(tx, (Uuid::new_v4(), super::recovery::KIND, user.id), &subject, &link.digest(), until)?;
    Ok(Secret::new(link.expose().to_owned()))
}

/// The operator vouches for the address.
fn person(tx: &mut Kernel<'_>, call: &Call, address: &Address) -> Result<User> {
    let now = tx.now()?;
    let local = address.as_str().split('@').next().unwrap_or_default();
    let new = NewUser {
        id: UserId::new(now),
        email: address.as_str(),
        email_verified_at: now,
        username: None,
        display_name: local,
        locale: "en",
        password_hash: None,
        password_changed_at: None,
        terms_version: None,
    };
    let user = queries::people::insert(tx, &new)?.ok_or_else(|| anyhow!("somebody took the address meanwhile"))?;
    queries::people::note(tx, call, user.id, "user.created", None, json!({ "email_verified": true }))?;
    Ok(user)
}
