//! Signing up. A person exists only for a proven address, and nobody learns here whether an address is known.

use chrono::Duration;
use serde_json::json;
use uuid::Uuid;

use super::{
    Desk,
    letters::{self, Letter, VERIFY_MINUTES},
    throttles,
};
use crate::kernel::{
    access::Call,
    config::SignUp,
    crypto,
    db::Kernel,
    error::{ONE_TIME_TOKEN_INVALID, Problem, Result, USERNAME_TAKEN},
    id::UserId,
    identity::{
        model::{
            Address, Pending, PendingStatus, Proof, Registration, Resend, SIGN_UP_CLOSED, Verified, VerifiedStatus,
        },
        queries::{
            self,
            people::NewUser,
            registrations::{Profile, Waiting},
        },
    },
    secret::{Secret, Token, TokenKind},
};

/// A sign-up that may go on.
pub struct Admission {
    invitation: Option<Uuid>,
}

/// Lets a sign-up go on, before its password is hashed.
///
/// # Errors
/// The database's.
pub fn admit(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    new: &Registration,
    address: &Address,
) -> Result<Result<Admission, Problem>> {
    let bucket = throttles::sign_ups(desk.auth.sign_ups_per_hour);
    if let Some(wait) = throttles::take(tx, &bucket, &throttles::neighbourhood(call.ip))? {
        return Ok(Err(wait));
    }
    let now = tx.now()?;
    let invitation = match token(desk, new.invitation_token.as_ref()) {
        Some(token) => queries::registrations::invitation(tx, &token.digest(), address.as_str(), now)?,
        None => None,
    };
    let open = match desk.auth.sign_up {
        SignUp::Open => true,
        SignUp::InviteOnly => invitation.is_some(),
        SignUp::Closed => false,
    };
    if !open {
        return Ok(Err(SIGN_UP_CLOSED.into()));
    }
    // Public by nature, unlike an address.
    if let Some(name) = &new.username
        && queries::people::username_is_taken(tx, name)?
    {
        return Ok(Err(USERNAME_TAKEN.into()));
    }
    Ok(Ok(Admission { invitation }))
}

/// Stores a sign-up and mails its address: what is mailed is all that differs for one that is known.
///
/// # Errors
/// The database's.
pub fn register(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    new: &Registration,
    (address, admission, password_hash): (&Address, &Admission, String),
) -> Result<Pending> {
    let now = tx.now()?;
    let (mail_token, client_token) = (one_time(desk), one_time(desk));
    let local = address.as_str().split('@').next().unwrap_or_default();
    let profile = Profile {
        display_name: new.display_name.clone().unwrap_or_else(|| local.to_owned()),
        username: new.username.clone(),
        locale: new.locale.clone().unwrap_or_else(|| "en".into()),
        terms_version: new.terms_version.clone(),
    };
    let waiting = Waiting {
        id: Uuid::new_v4(),
        email: address.as_str().to_owned(),
        password_hash,
        profile: serde_json::to_value(&profile).map_err(anyhow::Error::from)?,
        mail_token_hash: mail_token.digest().to_vec(),
        client_token_hash: client_token.digest().to_vec(),
        invitation_id: admission.invitation,
        expires_at: now + Duration::minutes(VERIFY_MINUTES),
    };
    queries::registrations::insert(tx, &waiting)?;
    let letter = match queries::registrations::has_account(tx, address.as_str())? {
        true => Letter::AccountExists,
        false => Letter::Verify(&mail_token),
    };
    letters::ask(tx, desk, call, (address.as_str(), &profile.locale), &letter)?;
    Ok(Pending {
        status: PendingStatus::Pending,
        client_token: client_token.expose().to_owned(),
        expires_at: waiting.expires_at,
    })
}

/// Mails a sign-up's address again, with another token. What is unknown is silently nothing.
///
/// # Errors
/// The database's.
pub fn resend(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, wanted: &Resend) -> Result<()> {
    let Some(address) = Address::parse(&wanted.email) else {
        return Ok(());
    };
    let now = tx.now()?;
    let client = wanted.client_token.as_ref().map(|text| {
        let token = token(desk, Some(text));
        token.map_or([0; 32], |token| token.digest())
    });
    let client = client.as_ref().map(|digest| digest.as_slice());
    let Some(waiting) = queries::registrations::of_address(tx, address.as_str(), client, now)? else {
        return Ok(());
    };
    if queries::registrations::has_account(tx, address.as_str())? {
        return letters::ask(tx, desk, call, (address.as_str(), "en"), &Letter::AccountExists);
    }
    // The token that was mailed before goes on working unless this one leaves too.
    if !letters::may_leave(tx, desk, call, address.as_str())? {
        return Ok(());
    }
    let fresh = one_time(desk);
    if !queries::registrations::renew(tx, waiting.id, &fresh.digest(), now + Duration::minutes(VERIFY_MINUTES))? {
        return Ok(());
    }
    let profile: Profile = serde_json::from_value(waiting.profile).unwrap_or_default();
    letters::send(
        tx,
        desk,
        call,
        (address.as_str(), &profile.locale),
        &Letter::Verify(&fresh),
    )
}

/// What a password that is typed with the proof must not be made of: the address and the name.
///
/// # Errors
/// 401 `one-time-token-invalid`.
pub fn context(tx: &mut Kernel<'_>, desk: &Desk, proof: &Proof) -> Result<[String; 2]> {
    let now = tx.now()?;
    let token = token(desk, Some(&proof.token)).ok_or(ONE_TIME_TOKEN_INVALID)?;
    let waiting = queries::registrations::by_mail_token(tx, &token.digest(), now)?.ok_or(ONE_TIME_TOKEN_INVALID)?;
    let profile: Profile = serde_json::from_value(waiting.profile).unwrap_or_default();
    Ok([waiting.email, profile.display_name])
}

/// Proves an address and makes the person. The first proof wins. The password is the one that was chosen when registering only if the
/// caller is who chose it; `typed` is the hash of one that came with the proof.
///
/// # Errors
/// 401 `one-time-token-invalid`.
pub fn verify(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, proof: &Proof, typed: Option<&str>) -> Result<Verified> {
    let now = tx.now()?;
    let mail_token = token(desk, Some(&proof.token)).ok_or(ONE_TIME_TOKEN_INVALID)?;
    let waiting =
        queries::registrations::by_mail_token(tx, &mail_token.digest(), now)?.ok_or(ONE_TIME_TOKEN_INVALID)?;
    let password_hash = match (typed, token(desk, proof.client_token.as_ref())) {
        (Some(typed), _) => typed,
        (None, Some(client)) if crypto::equal(&client.digest(), &waiting.client_token_hash) => &waiting.password_hash,
        _ => return Err(ONE_TIME_TOKEN_INVALID.into()),
    };
    let profile: Profile = serde_json::from_value(waiting.profile).map_err(anyhow::Error::from)?;
    let free_name = match &profile.username {
        Some(name) if !queries::people::username_is_taken(tx, name)? => Some(name.as_str()),
        _ => None,
    };
    let new = NewUser {
        id: UserId::new(now),
        email: &waiting.email,
        email_verified_at: now,
        username: free_name,
        display_name: &profile.display_name,
        locale: &profile.locale,
        password_hash: Some(password_hash),
        password_changed_at: Some(now),
        terms_version: profile.terms_version.as_deref(),
    };
    // Somebody else has proved the address meanwhile: then this proof is worth nothing.
    let user = queries::people::insert(tx, &new)?.ok_or(ONE_TIME_TOKEN_INVALID)?;
    queries::registrations::settle(tx, &waiting.email)?;
    queries::people::note(
        tx,
        call,
        user.id,
        "user.created",
        None,
        json!({ "email_verified": true }),
    )?;
    Ok(Verified {
        status: VerifiedStatus::Verified,
        email: waiting.email,
        username: user.username,
    })
}

fn one_time(desk: &Desk) -> Token {
    Token::mint(TokenKind::OneTime, desk.auth.key_mode)
}

/// A link's token, if it is well-formed.
pub fn token(desk: &Desk, text: Option<&Secret<String>>) -> Option<Token> {
    Token::parse_as(text?.expose(), TokenKind::OneTime, desk.auth.key_mode)
}
