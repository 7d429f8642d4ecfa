//! Signing in with a password. What is done for an unknown account is what is done for a known one.

use chrono::Duration;
use serde_json::json;

use super::{
    Desk, people, sessions,
    throttles::{self, LOGIN_ACCOUNT, LOGIN_DEVICE, LOGIN_IP, STEP_UP},
};
use crate::kernel::{
    access::Call,
    crypto,
    db::Kernel,
    error::{ACCOUNT_SUSPENDED, INVALID_CREDENTIALS, OrElse, Problem, Result},
    id::UserId,
    identity::{
        model::{Address, Me, SessionRow, User},
        queries,
    },
    secret::{Secret, Token},
    workspaces::{self, OwnWorkspace},
};

/// A device is remembered for so long after it was last used.
const REMEMBERED: Duration = Duration::days(365);

/// Somebody who may try a password.
pub struct Candidate {
    /// The account, if there is one.
    pub user: Option<User>,
    bucket: &'static throttles::Bucket,
    key: String,
}

impl Candidate {
    /// What the password is compared with.
    pub fn stored(&self) -> Option<String> {
        self.user.as_ref().and_then(|user| user.password_hash.clone())
    }
}

/// Lets somebody try a password, or says how long to wait. `device` is the token of the device's own cookie.
///
/// # Errors
/// The database's.
pub fn admit(
    tx: &mut Kernel<'_>,
    call: &Call,
    identifier: &str,
    device: Option<&str>,
) -> Result<Result<Candidate, Problem>> {
    if let Some(wait) = throttles::take(tx, &LOGIN_IP, &throttles::neighbourhood(call.ip))? {
        return Ok(Err(wait));
    }
    let now = tx.now()?;
    let address = Address::parse(identifier);
    let user = match &address {
        Some(address) => queries::people::by_email(tx, address.as_str())?,
        None => queries::people::by_username(tx, &identifier.to_lowercase())?,
    };
    // Counted by what was typed, and not by whose it is: a wait that both names of a person share would tell which address is whose.
    let typed = match &address {
        Some(address) => address.folded(),
        None => identifier.to_lowercase(),
    };
    // Asked for unknown accounts too, so that they cost the same.
    let device = crypto::sha256(device.unwrap_or_default().as_bytes());
    let owner = user.as_ref().map_or(UserId::nil(), |user| user.id);
    let (bucket, key) = match queries::people::knows_device(tx, owner, &device, now)? {
        true => (&LOGIN_DEVICE, of_device(owner, &device)),
        false => (&LOGIN_ACCOUNT, typed),
    };
    if let Some(wait) = throttles::take(tx, bucket, &key)? {
        return Ok(Err(wait));
    }
    Ok(Ok(Candidate { user, bucket, key }))
}

/// What is guessed for somebody from a device of theirs counts by the device: whoever else has used one of them, and knows its token, keeps
/// its owner from none of the others.
fn of_device(owner: UserId, token: &[u8]) -> String {
    format!("{owner} {}", hex::encode(token))
}

/// What signing in gives.
pub struct SignedIn {
    /// The session.
    pub session: SessionRow,
    /// Its first refresh token.
    pub token: Token,
    /// Who it is.
    pub me: Me,
    /// Where they are members.
    pub workspaces: Vec<OwnWorkspace>,
}

/// The password was right: begins a session. `rehashed` replaces a hash of another cost; `device` is the token of the device's cookie.
///
/// # Errors
/// 403 `account-suspended`, 401 if the account went meanwhile.
pub fn finish(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    candidate: &Candidate,
    remember: bool,
    rehashed: Option<&str>,
    device: Option<&Secret<String>>,
) -> Result<SignedIn> {
    let known = candidate.user.as_ref().ok_or(INVALID_CREDENTIALS)?;
    let user = queries::people::lock(tx, known.id).or_refuse(INVALID_CREDENTIALS)?;
    if user.password_hash != known.password_hash {
        // Changed while we compared: what was right is no longer.
        return Err(INVALID_CREDENTIALS.into());
    }
    if !user.may_sign_in() {
        return Err(ACCOUNT_SUSPENDED.into());
    }
    let now = tx.now()?;
    throttles::clear(tx, candidate.bucket, &candidate.key)?;
    if let (Some(new), Some(old)) = (rehashed, &user.password_hash) {
        queries::people::rehash(tx, user.id, old, new)?;
    }
    queries::people::signed_in(tx, user.id, now)?;
    let (session, token) = sessions::begin(tx, desk, call, user.id, remember)?;
    if let Some(device) = device {
        let hash = crypto::sha256(device.expose().as_bytes());
        let label = session.device_label.as_deref();
        queries::people::keep_device(tx, call, user.id, &hash, label, now + REMEMBERED)?;
    }
    let own = workspaces::of_person(tx, user.id)?;
    let me = people::shown(tx, user)?;
    Ok(SignedIn {
        session,
        token,
        me,
        workspaces: own,
    })
}

/// Whoever reads the account's mail has set a password that nobody has guessed at yet: what was guessed, at either of its names or from the
/// devices of its owner's, counts no more.
///
/// # Errors
/// The database's.
pub(super) fn forget_guesses(tx: &mut Kernel<'_>, user: &User) -> Result<()> {
    let address = user.email.as_deref().and_then(Address::parse);
    let names = [address.map(|address| address.folded()), user.username.clone()];
    let devices = queries::people::devices(tx, user.id)?;
    let devices = devices.iter().map(|device| of_device(user.id, device));
    throttles::clear_each(tx, &LOGIN_DEVICE, devices)?;
    names
        .into_iter()
        .flatten()
        .try_for_each(|name| throttles::clear(tx, &LOGIN_ACCOUNT, &name))
}

/// Notes a wrong password for the owner of the account to read. After the answer, so that it takes no time that a stranger could measure.
///
/// # Errors
/// The database's.
pub fn failed(tx: &mut Kernel<'_>, call: &Call, user: UserId) -> Result<()> {
    queries::people::note(tx, call, user, "sign_in.failed", None, json!({ "amr": ["pwd"] }))
}

/// Lets somebody who is signed in prove again who they are.
///
/// # Errors
/// 401 if the account went meanwhile.
pub fn admit_again(tx: &mut Kernel<'_>, user: UserId) -> Result<Result<User, Problem>> {
    if let Some(wait) = throttles::take(tx, &STEP_UP, &user.to_string())? {
        return Ok(Err(wait));
    }
    queries::people::get(tx, user).map(Ok)
}

/// They proved it: the count begins anew.
///
/// # Errors
/// The database's.
pub fn proved_again(tx: &mut Kernel<'_>, user: UserId) -> Result<()> {
    throttles::clear(tx, &STEP_UP, &user.to_string())
}
