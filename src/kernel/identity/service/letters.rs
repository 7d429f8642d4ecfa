//! What is mailed to people about their accounts. It leaves by the outbox, after the answer.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Desk,
    throttles::{self, MAIL_HOUR, MAIL_MINUTE},
};
use crate::kernel::{
    access::Call,
    db::Kernel,
    error::Result,
    mail::{self, NewMail, Template},
    secret::Token,
    workspaces::PLATFORM,
};

/// A mail about an account.
pub enum Letter<'a> {
    /// Proves an address.
    Verify(&'a Token),
    /// Somebody registered with an address that has an account.
    AccountExists,
    /// Sets a new password.
    Reset(&'a Token),
    /// The password was changed.
    PasswordChanged,
    /// An old refresh token was used, and the session was ended.
    SessionReused,
}

/// How long a mailed proof of an address works, in minutes.
pub const VERIFY_MINUTES: i64 = 24 * 60;
/// How long a link to a new password works, in minutes.
pub const RESET_MINUTES: i64 = 30;

/// Sends a mail that somebody asked for, unless too many were asked for: then silently nothing, for the caller must not learn of it.
///
/// # Errors
/// The database's.
pub fn ask(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, to: (&str, &str), letter: &Letter<'_>) -> Result<()> {
    match may_leave(tx, desk, call, to.0)? {
        true => send(tx, desk, call, to, letter),
        false => Ok(()),
    }
}

/// Counts a mail that somebody asked for. False: it must not leave, and what it would have replaced must stay as it is.
///
/// The mailbox is asked first, and a mail that does not leave is counted nowhere: who presses "send again" for one mailbox takes nothing from
/// others who ask from the same address.
///
/// # Errors
/// The database's.
pub fn may_leave(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, to: &str) -> Result<bool> {
    let mailbox = to.to_lowercase();
    let from_there = throttles::mails_asked_for(desk.auth.mails_per_hour);
    let from = throttles::neighbourhood(call.ip);
    let wanted = [
        (&MAIL_MINUTE, mailbox.as_str()),
        (&MAIL_HOUR, &mailbox),
        (&from_there, &from),
    ];
    let Some(refused) = throttles::take_each(tx, &wanted)? else {
        return Ok(true);
    };
    let (limit, seconds) = (refused.bucket.name, refused.wait.num_seconds());
    let request_id = &*call.request_id;
    match limit == from_there.name {
        // Everybody behind that address waits.
        true => tracing::warn!(
            limit,
            from,
            seconds,
            request_id,
            most = desk.auth.mails_per_hour,
            "a mail that was asked for does not leave: too many were from that address; auth.mails_per_hour says how many may"
        ),
        false => tracing::info!(
            limit,
            seconds,
            request_id,
            "a mail that was asked for does not leave: too many were for that mailbox"
        ),
    }
    Ok(false)
}

/// Sends a mail. `to` is the address and the locale.
///
/// # Errors
/// The database's.
pub fn send(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    (to, locale): (&str, &str),
    letter: &Letter<'_>,
) -> Result<()> {
    let Ok(to) = to.parse() else {
        tracing::warn!("an account has an address that no mail can be sent to");
        return Ok(());
    };
    let now = tx.now()?;
    let page = |page: &str| format!("{}/auth/{page}", desk.public_url);
    // In the fragment, which browsers keep to themselves: in no log, and no mail scanner that fetches the link uses it up.
    let with_token = |name: &str, token: &Token| format!("{}#{}", page(name), token.expose());
    let about = || json!({ "at": written(now), "ip": call.ip.map_or("an unknown address".into(), |ip| ip.to_string()), "link": page("reset") });
    let (template, data) = match letter {
        Letter::Verify(token) => (
            Template::VERIFY_EMAIL,
            json!({ "link": with_token("verify", token), "within": "a day" }),
        ),
        Letter::Reset(token) => (
            Template::PASSWORD_RESET,
            json!({ "link": with_token("reset", token), "within": format!("{RESET_MINUTES} minutes") }),
        ),
        Letter::AccountExists => (Template::ACCOUNT_EXISTS, json!({ "link": page("reset") })),
        Letter::PasswordChanged => (Template::PASSWORD_CHANGED, about()),
        Letter::SessionReused => (Template::SESSION_REUSED, about()),
    };
    let dedupe_key = uuid::Uuid::new_v4().to_string();
    let mail = NewMail {
        template,
        to: &to,
        locale,
        dedupe_key: &dedupe_key,
        data,
    };
    mail::send_for(tx, PLATFORM, &desk.keyring, &mail)
}

/// As people read it.
fn written(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}
