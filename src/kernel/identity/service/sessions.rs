//! Sessions: how they begin, what their refresh tokens say, and how they end.

use chrono::Duration;
use serde_json::json;

use super::Desk;
use crate::kernel::{
    access::Call,
    config::KeyMode,
    crypto::{self, Aad, Keyring},
    db::Kernel,
    error::{NOT_FOUND, Result},
    id::{Id, SessionId, UserId},
    identity::{
        model::{Session, SessionFilters, SessionRow, SteppedUp, User},
        queries,
    },
    page::{Page, PageQuery},
    secret::{Secret, Token, TokenKind},
};

/// The layout of a refresh token.
const VERSION: u8 = 1;
/// How long a proof of who is signed in counts as recent.
const FRESH: Duration = Duration::minutes(15);
/// Why a session ended whose person began more than they may have.
const EVICTED: &str = "evicted";

/// What a refresh token says: whose it is, and how often it was renewed. There is no row per token: the same generation is always the same
/// text, so the grace for a lost answer can hand it out again.
pub struct Presented {
    /// The session.
    pub session: SessionId,
    /// The generation.
    pub generation: u32,
    mac: [u8; 16],
}

impl Presented {
    /// Reads a refresh token. `None` if it is malformed or its checksum is wrong; nobody asks the database about such a one.
    pub fn read(text: &str, mode: KeyMode) -> Option<Presented> {
        let bytes: [u8; 37] = Token::parse_as(text, TokenKind::Refresh, mode)?.bytes()?;
        if bytes[0] != VERSION {
            return None;
        }
        let part = |range: std::ops::Range<usize>| &bytes[range];
        Some(Presented {
            session: Id::from_uuid(uuid::Uuid::from_slice(part(1..17)).ok()?),
            generation: u32::from_be_bytes(part(17..21).try_into().ok()?),
            mac: part(21..37).try_into().ok()?,
        })
    }

    /// Whether the session's own key made it.
    pub fn is_genuine(&self, key: &[u8]) -> bool {
        crypto::equal(&self.mac, &mac(key, self.session, self.generation))
    }
}

/// The refresh token of a generation.
pub fn refresh_token(key: &[u8], session: SessionId, generation: u32, mode: KeyMode) -> Token {
    let mut bytes = said(session, generation);
    bytes.extend(mac(key, session, generation));
    Token::of_bytes(TokenKind::Refresh, mode, &bytes)
}

fn said(session: SessionId, generation: u32) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(session.uuid().as_bytes());
    bytes.extend(generation.to_be_bytes());
    bytes
}

fn mac(key: &[u8], session: SessionId, generation: u32) -> [u8; 16] {
    let whole = crypto::hmac(key, &said(session, generation));
    std::array::from_fn(|place| whole[place])
}

/// The key that makes a session's refresh tokens; `None` for a session that has none.
///
/// # Errors
/// It cannot be opened.
pub fn key_of(row: &SessionRow, keyring: &Keyring) -> Result<Option<Secret<Vec<u8>>>> {
    let sealed = row.refresh_key_sealed.as_ref();
    Ok(sealed.map(|sealed| keyring.open(&place(row.id), sealed)).transpose()?)
}

/// Where the key stands that makes the refresh tokens of a session.
pub fn place(session: SessionId) -> Aad {
    Aad::new(None, "sessions", "refresh_key_sealed", session.uuid())
}

/// How long a session may lie idle.
pub fn idle(desk: &Desk, remember: bool) -> Duration {
    let seconds = match remember {
        true => desk.auth.session_idle_seconds,
        false => desk.auth.session_short_seconds,
    };
    Duration::seconds(seconds.into())
}

/// Begins a session. A person who has too many loses the one that was not used for longest.
///
/// # Errors
/// The database's.
pub fn begin(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    user: UserId,
    remember: bool,
) -> Result<(SessionRow, Token)> {
    let now = tx.now()?;
    let id = SessionId::new(now);
    let key = Secret::new(crypto::random::<32>());
    let length = match remember {
        true => desk.auth.session_seconds,
        false => desk.auth.session_short_seconds,
    };
    let row = SessionRow {
        id,
        user_id: user,
        aal: 1,
        amr: vec!["pwd".into()],
        auth_time: now,
        created_at: now,
        last_seen_at: now,
        ip: call.ip.map(|ip| ip.to_string()),
        device_label: call.user_agent.as_deref().map(device),
        user_agent: call.user_agent.clone(),
        remember,
        not_after: now + Duration::seconds(length.into()),
        idle_after: now + idle(desk, remember),
        refresh_counter: 0,
        refresh_rotated_at: now,
        recovered_from: None,
        refresh_key_sealed: Some(desk.keyring.seal(&place(id), key.expose())),
        last_seen_gen: 0,
        impersonator_id: None,
        revoked_at: None,
        revoke_reason: None,
    };
    queries::sessions::insert(tx, &row)?;
    let most = desk.auth.sessions_per_user.max(1) as usize;
    for one_too_many in queries::sessions::live(tx, user, now)?
        .into_iter()
        .filter(|one| one.id != id)
        .skip(most - 1)
    {
        queries::sessions::revoke(tx, one_too_many.id, EVICTED, now)?;
        let ended = Some(one_too_many.id);
        queries::people::note(tx, call, user, "session.ended", ended, json!({ "reason": EVICTED }))?;
    }
    queries::people::note(
        tx,
        call,
        user,
        "session.created",
        Some(id),
        json!({ "device": row.device_label }),
    )?;
    let token = refresh_token(key.expose(), id, 0, desk.auth.key_mode);
    Ok((row, token))
}

/// Where a person is signed in.
///
/// # Errors
/// The database's.
pub fn list(
    tx: &mut Kernel<'_>,
    user: UserId,
    current: SessionId,
    query: &PageQuery<SessionFilters>,
) -> Result<Page<Session>> {
    let now = tx.now()?;
    let rows = queries::sessions::page(tx, user, now, query)?;
    let page = query.page_of_small(rows, |row| (row.created_at, row.id.uuid()));
    Ok(page.map(|row| Session::of(row, current)))
}

/// Ends one of a person's sessions.
///
/// # Errors
/// 404 if it is not theirs, or over already.
pub fn end(tx: &mut Kernel<'_>, call: &Call, user: UserId, id: SessionId, reason: &'static str) -> Result<()> {
    let now = tx.now()?;
    let own = queries::sessions::with_user(tx, id)?.filter(|(row, _)| row.user_id == user && row.ends_at() > now);
    if own.is_none() || !queries::sessions::revoke(tx, id, reason, now)? {
        return Err(NOT_FOUND.into());
    }
    queries::people::note(tx, call, user, "session.ended", Some(id), json!({ "reason": reason }))
}

/// Ends all of a person's sessions but this one, and answers which.
///
/// # Errors
/// The database's.
pub fn end_others(
    tx: &mut Kernel<'_>,
    call: &Call,
    user: UserId,
    kept: Option<SessionId>,
    reason: &'static str,
) -> Result<Vec<SessionId>> {
    let now = tx.now()?;
    let ended = queries::sessions::revoke_others(tx, user, kept, reason, now)?;
    if !ended.is_empty() {
        let detail = json!({ "reason": reason, "ended": ended.len() });
        queries::people::note(tx, call, user, "session.others_ended", kept, detail)?;
    }
    Ok(ended)
}

/// Notes that the person proved again who they are.
///
/// # Errors
/// The database's.
pub fn step_up(tx: &mut Kernel<'_>, call: &Call, user: &User, session: SessionId) -> Result<SteppedUp> {
    let now = tx.now()?;
    queries::sessions::stepped_up(tx, session, now)?;
    queries::people::note(
        tx,
        call,
        user.id,
        "session.stepped_up",
        Some(session),
        json!({ "amr": ["pwd"] }),
    )?;
    Ok(SteppedUp {
        auth_time: now,
        fresh_until: now + FRESH,
    })
}

/// The session of the refresh token that a sign-out brought, if it is genuine.
///
/// # Errors
/// The database's.
pub fn named_by(tx: &mut Kernel<'_>, desk: &Desk, presented: &Presented) -> Result<Option<(SessionId, UserId)>> {
    let Some((row, _)) = queries::sessions::with_user(tx, presented.session)? else {
        return Ok(None);
    };
    let key = key_of(&row, &desk.keyring)?;
    Ok(key
        .filter(|key| presented.is_genuine(key.expose()))
        .map(|_| (row.id, row.user_id)))
}

/// What a session is used with, as far as the program says so: `Firefox on Linux`.
fn device(agent: &str) -> String {
    let first = |names: &[(&'static str, &'static str)]| {
        names
            .iter()
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    let browser = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => {
            let product = agent.split(['/', ' ', '(']).next().unwrap_or_default();
            product.chars().filter(|c| !c.is_control()).take(40).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Clock;

    #[test]
    fn a_generation_is_always_the_same_text_and_only_its_own_key_makes_it() {
        let session = SessionId::new(Clock::system().now());
        let (key, other) = ([1; 32], [2; 32]);
        let token = refresh_token(&key, session, 7, KeyMode::Live);
        assert_eq!(token.expose(), refresh_token(&key, session, 7, KeyMode::Live).expose());
        assert!(token.expose().starts_with("gld_live_rt_") && token.expose().len() == 68);

        let presented = Presented::read(token.expose(), KeyMode::Live).expect("well-formed");
        assert_eq!((presented.session, presented.generation), (session, 7));
        assert!(presented.is_genuine(&key) && !presented.is_genuine(&other));
        assert!(Presented::read(token.expose(), KeyMode::Test).is_none());
        assert_ne!(token.expose(), refresh_token(&key, session, 8, KeyMode::Live).expose());
    }

    #[test]
    fn a_token_that_says_more_than_its_key_is_not_genuine() {
        let session = SessionId::new(Clock::system().now());
        let mut bytes = said(session, 8);
        bytes.extend(mac(&[1; 32], session, 7));
        let forged = Token::of_bytes(TokenKind::Refresh, KeyMode::Live, &bytes);
        let presented = Presented::read(forged.expose(), KeyMode::Live).expect("well-formed");
        assert!(!presented.is_genuine(&[1; 32]));
        bytes[0] = 2;
        let later = Token::of_bytes(TokenKind::Refresh, KeyMode::Live, &bytes);
        assert!(Presented::read(later.expose(), KeyMode::Live).is_none());
    }

    #[test]
    fn a_device_is_called_what_people_call_it() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl"),
            ("acme-sync/2.1 (build 7)", "acme-sync"),
            ("", ""),
        ] {
            assert_eq!(device(agent), name);
        }
    }
}
