//! New passwords: by a mailed link, or by the present one.

use chrono::Duration;
use serde_json::json;
use uuid::Uuid;

use super::{
    Desk,
    letters::{self, Letter, RESET_MINUTES},
    registration::token,
    sessions, sign_in,
};
use crate::kernel::{
    access::Call,
    crypto,
    db::Kernel,
    error::{INVALID_CREDENTIALS, ONE_TIME_TOKEN_INVALID, OrElse, Result},
    id::{SessionId, UserId},
    identity::{
        model::{Address, User},
        queries,
    },
    secret::{Secret, Token, TokenKind},
};

/// What such a link is called.
pub(super) const KIND: &str = "password_reset";

/// Mails a link to a new password. What is unknown is silently nothing.
///
/// # Errors
/// The database's.
pub fn forgot(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, address: &Address) -> Result<()> {
    let found = queries::people::by_email(tx, address.as_str())?.filter(User::may_sign_in);
    let Some(user) = found else {
        return Ok(());
    };
    // The link that was mailed before goes on working unless this one leaves too.
    if !letters::may_leave(tx, desk, call, address.as_str())? {
        return Ok(());
    }
    let now = tx.now()?;
    let link = Token::mint(TokenKind::OneTime, desk.auth.key_mode);
    let subject = crypto::sha256(address.folded().as_bytes());
    let until = now + Duration::minutes(RESET_MINUTES);
    queries::tokens::replace(tx, (Uuid::new_v4(), KIND, user.id), &subject, &link.digest(), until)?;
    letters::send(tx, desk, call, (address.as_str(), &user.locale), &Letter::Reset(&link))
}

/// Whose link it is, so that the new password can be judged before it is hashed.
///
/// # Errors
/// 401 `one-time-token-invalid`.
pub fn owner_of(tx: &mut Kernel<'_>, desk: &Desk, text: &Secret<String>) -> Result<User> {
    let now = tx.now()?;
    let link = token(desk, Some(text)).ok_or(ONE_TIME_TOKEN_INVALID)?;
    let found = queries::tokens::find(tx, KIND, &link.digest(), now)?.ok_or(ONE_TIME_TOKEN_INVALID)?;
    let user = queries::people::get(tx, found.user).or_refuse(ONE_TIME_TOKEN_INVALID)?;
    Ok(Some(user).filter(User::may_sign_in).ok_or(ONE_TIME_TOKEN_INVALID)?)
}

/// Sets the password by a link, which is used up. Every session ends, and nobody is signed in. Answers whose it was.
///
/// # Errors
/// 401 `one-time-token-invalid`.
pub fn reset(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, text: &Secret<String>, hash: &str) -> Result<UserId> {
    let now = tx.now()?;
    let link = token(desk, Some(text)).ok_or(ONE_TIME_TOKEN_INVALID)?;
    let found = queries::tokens::find(tx, KIND, &link.digest(), now)?.ok_or(ONE_TIME_TOKEN_INVALID)?;
    if !queries::tokens::consume(tx, found.id, now)? {
        return Err(ONE_TIME_TOKEN_INVALID.into());
    }
    let user = queries::people::lock(tx, found.user)?;
    // Whoever reads the mailbox has proved that it is theirs.
    queries::people::set_verified(tx, user.id, now)?;
    sign_in::forget_guesses(tx, &user)?;
    changed(tx, desk, call, &user, hash, None, "password_reset")?;
    Ok(user.id)
}

/// Sets the password of somebody who is signed in and gave the present one. Their other sessions end.
///
/// # Errors
/// 401 `invalid-credentials` if it was changed meanwhile.
pub fn change(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, known: &User, hash: &str, kept: SessionId) -> Result<()> {
    let user = queries::people::lock(tx, known.id)?;
    if user.password_hash != known.password_hash {
        return Err(INVALID_CREDENTIALS.into());
    }
    changed(tx, desk, call, &user, hash, Some(kept), "password_changed")
}

fn changed(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    user: &User,
    hash: &str,
    kept: Option<SessionId>,
    reason: &'static str,
) -> Result<()> {
    let now = tx.now()?;
    queries::people::set_password(tx, user.id, hash, now)?;
    queries::tokens::end_all(tx, user.id)?;
    sessions::end_others(tx, call, user.id, kept, reason)?;
    queries::people::note(
        tx,
        call,
        user.id,
        "user.password_changed",
        kept,
        json!({ "by": reason }),
    )?;
    match &user.email {
        Some(email) => letters::send(tx, desk, call, (email, &user.locale), &Letter::PasswordChanged),
        None => Ok(()),
    }
}
