//! The next pair of tokens for a refresh token: the case table. A refusal is a value, so that what it found out is committed.

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::{
    Desk,
    letters::{self, Letter},
    sessions::{Presented, idle, key_of, refresh_token},
    throttles::{self, REFRESH_IP, REFRESH_SESSION},
};
use crate::kernel::{
    access::Call,
    db::Kernel,
    error::{
        Problem, REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED, Result, SESSION_EXPIRED, SESSION_REVOKED, contention,
    },
    identity::{
        model::{SessionRow, User},
        queries,
    },
    secret::{Secret, Token},
};

/// The immediate predecessor is good for so long: several tabs, a server beside its browser, parallel steps.
const GRACE: Duration = Duration::seconds(10);
/// So long an answer may have been lost, if nobody has used what it held: the last one, where several were.
const LOST: Duration = Duration::minutes(5);

/// A pair to hand out.
pub struct Next {
    /// The session as it stands now.
    pub session: SessionRow,
    /// The generation of both tokens.
    pub generation: u32,
    /// The refresh token.
    pub token: Token,
}

/// What the case table says of a presented generation `n` and a stored one `c`.
#[derive(Debug, PartialEq, Eq)]
enum Case {
    /// `n = c`: the next generation.
    Rotate,
    /// What the present one was given for, just now: the same successor again.
    Again,
    /// The same, and nobody has used the successor: its answer was lost.
    Recover,
    /// An old one: somebody else has it too.
    Reused,
    /// One that was never given out.
    FromTheFuture,
}

fn case(presented: u32, row: &SessionRow, now: DateTime<Utc>) -> Case {
    let (n, c) = (i64::from(presented), row.refresh_counter);
    let since = now - row.refresh_rotated_at;
    let is_predecessor = n == c - 1 || row.recovered_from == Some(n);
    match n {
        _ if n > c => Case::FromTheFuture,
        _ if n == c => Case::Rotate,
        _ if is_predecessor && since <= GRACE => Case::Again,
        _ if is_predecessor && since <= LOST && row.last_seen_gen < c => Case::Recover,
        _ => Case::Reused,
    }
}

/// Judges a refresh token and moves its session on.
///
/// # Errors
/// The database's alone: 503, never 401.
pub fn renew(tx: &mut Kernel<'_>, desk: &Desk, call: &Call, presented: &Presented) -> Result<Result<Next, Problem>> {
    if let Some(wait) = throttles::take(tx, &REFRESH_IP, &throttles::neighbourhood(call.ip))? {
        return Ok(Err(wait));
    }
    // Who loses a race finds another row on the second look. A third look cannot differ: the generation is behind by then.
    for look in 0..3 {
        let now = tx.now()?;
        let Some((row, user)) = queries::sessions::with_user(tx, presented.session)? else {
            return Ok(Err(REFRESH_TOKEN_INVALID.into()));
        };
        let Some(key) = key_of(&row, &desk.keyring)?.filter(|key| presented.is_genuine(key.expose())) else {
            return Ok(Err(REFRESH_TOKEN_INVALID.into()));
        };
        if row.revoked_at.is_some() || !user.may_sign_in() {
            return Ok(Err(SESSION_REVOKED.into()));
        }
        if row.ends_at() <= now {
            return Ok(Err(SESSION_EXPIRED.into()));
        }
        if look == 0
            && let Some(wait) = throttles::take(tx, &REFRESH_SESSION, &row.id.to_string())?
        {
            return Ok(Err(wait));
        }
        let found = case(presented.generation, &row, now);
        let rotated = match found {
            Case::Again => return Ok(Ok(next(desk, row, &key))),
            Case::Rotate | Case::Recover => {
                let idle_after = now + idle(desk, row.remember);
                let recovers = (found == Case::Recover).then_some(presented.generation.into());
                queries::sessions::rotate(tx, row.id, row.refresh_counter, recovers, now, idle_after)?
            }
            Case::Reused => return reused(tx, desk, call, &row, &user, presented.generation).map(Err),
            Case::FromTheFuture => {
                tracing::error!(session = %row.id, presented = presented.generation, stored = row.refresh_counter,
                                "a refresh token is ahead of its session: was the database restored?");
                return Ok(Err(REFRESH_TOKEN_INVALID.into()));
            }
        };
        if let Some(moved) = rotated {
            if found == Case::Recover {
                let detail = json!({ "generation": moved.refresh_counter });
                queries::people::note(tx, call, user.id, "session.refresh_recovered", Some(moved.id), detail)?;
            }
            return Ok(Ok(next(desk, moved, &key)));
        }
    }
    Err(contention().into())
}

fn next(desk: &Desk, session: SessionRow, key: &Secret<Vec<u8>>) -> Next {
    let generation = u32::try_from(session.refresh_counter).unwrap_or(u32::MAX);
    Next {
        token: refresh_token(key.expose(), session.id, generation, desk.auth.key_mode),
        generation,
        session,
    }
}

/// Two hold the same chain, and nobody can tell which of them is the owner: it ends for both.
fn reused(
    tx: &mut Kernel<'_>,
    desk: &Desk,
    call: &Call,
    row: &SessionRow,
    user: &User,
    presented: u32,
) -> Result<Problem> {
    let now = tx.now()?;
    if queries::sessions::revoke(tx, row.id, "refresh_reused", now)? {
        let detail = json!({ "presented": presented, "stored": row.refresh_counter });
        queries::people::note(tx, call, user.id, "session.reuse_detected", Some(row.id), detail)?;
        if let Some(email) = &user.email {
            letters::send(tx, desk, call, (email, &user.locale), &Letter::SessionReused)?;
        }
    }
    Ok(REFRESH_TOKEN_REUSED.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        clock::Clock,
        id::{SessionId, UserId},
    };

    fn row(now: DateTime<Utc>) -> SessionRow {
        SessionRow {
            id: SessionId::new(now),
            user_id: UserId::new(now),
            aal: 1,
            amr: vec!["pwd".into()],
            auth_time: now,
            created_at: now,
            last_seen_at: now,
            ip: None,
            user_agent: None,
            device_label: None,
            remember: true,
            not_after: now + Duration::days(30),
            idle_after: now + Duration::days(14),
            refresh_counter: 5,
            refresh_rotated_at: now,
            recovered_from: None,
            refresh_key_sealed: None,
            last_seen_gen: 5,
            impersonator_id: None,
            revoked_at: None,
            revoke_reason: None,
        }
    }

    #[test]
    fn the_table_says_what_becomes_of_each_generation() {
        let now = Clock::system().now();
        let at = |seconds, seen, recovered_from| SessionRow {
            recovered_from,
            refresh_rotated_at: now - Duration::seconds(seconds),
            last_seen_gen: seen,
            ..row(now)
        };
        for (presented, seconds, seen, recovered, expected) in [
            (5, 0, 5, None, Case::Rotate),
            (5, 86_400, 4, None, Case::Rotate),
            (4, 0, 5, None, Case::Again),
            (4, 10, 5, None, Case::Again),
            (4, 11, 5, None, Case::Reused),
            (4, 11, 4, None, Case::Recover),
            (4, 300, 4, None, Case::Recover),
            (4, 301, 4, None, Case::Reused),
            (3, 0, 3, None, Case::Reused),
            (3, 10, 5, Some(3), Case::Again),
            (3, 11, 5, Some(3), Case::Reused),
            (3, 11, 3, Some(3), Case::Recover),
            (3, 301, 3, Some(3), Case::Reused),
            (2, 0, 2, Some(3), Case::Reused),
            (0, 0, 0, None, Case::Reused),
            (6, 0, 5, None, Case::FromTheFuture),
            (u32::MAX, 0, 5, None, Case::FromTheFuture),
        ] {
            assert_eq!(
                case(presented, &at(seconds, seen, recovered), now),
                expected,
                "{presented} after {seconds} s, {seen} seen, {recovered:?} recovered"
            );
        }
    }
}
