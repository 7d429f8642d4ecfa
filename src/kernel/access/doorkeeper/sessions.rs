//! Access tokens at the door.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};

use super::{BELIEF, Doorkeeper, Read, Verdict, looking, queries};
use crate::kernel::{
    access::{Actor, Call, Person, Via},
    error::{Result, SESSION_EXPIRED, SESSION_REVOKED, TOKEN_INVALID},
    id::{SessionId, UserId},
    identity::read_token,
};

/// A session as the door needs it.
pub(super) struct KnownSession {
    user: UserId,
    live: bool,
    ends_at: DateTime<Utc>,
    auth_time: DateTime<Utc>,
    impersonator: Option<UserId>,
    seen_generation: i64,
    seen_at: DateTime<Utc>,
}

impl From<queries::SessionRow> for KnownSession {
    fn from(row: queries::SessionRow) -> KnownSession {
        KnownSession {
            user: row.user_id,
            // An account that is about to go may still be brought back.
            live: row.revoked_at.is_none() && matches!(row.user_state.as_str(), "active" | "deleting"),
            ends_at: row.not_after.min(row.idle_after),
            auth_time: row.auth_time,
            impersonator: row.impersonator_id,
            seen_generation: row.last_seen_gen,
            seen_at: row.last_seen_at,
        }
    }
}

impl KnownSession {
    /// Whether it is this person's.
    pub(super) fn is_of(&self, user: UserId) -> bool {
        self.user == user
    }
}

impl Doorkeeper {
    /// The token itself, then its session, then what the person may do.
    pub(super) async fn judge_token(&self, text: &str, header: Option<&str>, call: &Arc<Call>, fresh: bool) -> Verdict {
        let unproven = read_token(text)?;
        let verifier = self.signing.verifier(unproven.kid()).await?.ok_or(TOKEN_INVALID)?;
        let now = self.clock.now();
        let claims = unproven.prove(&verifier, &self.issuer, now.timestamp())?;

        let read = self.session(claims.sid, call, fresh).await?;
        let session = read.value.as_ref().ok_or(SESSION_REVOKED)?;
        if session.user != claims.sub || session.impersonator != claims.act.map(|act| act.sub) {
            return Err(TOKEN_INVALID.into());
        }
        if !session.live {
            return Err(SESSION_REVOKED.into());
        }
        if session.ends_at <= now {
            return Err(SESSION_EXPIRED.into());
        }
        let seen = (session.seen_generation, session.seen_at);
        self.sightings.session(claims.sid, claims.generation.into(), seen, now);

        let call = Arc::new(Call {
            session: Some(claims.sid),
            ..(**call).clone()
        });
        let person = Person {
            user: claims.sub,
            via: Via::Session {
                id: claims.sid,
                auth_time: session.auth_time.timestamp(),
            },
            impersonator: session.impersonator,
            call: call.clone(),
        };
        let actor = Actor::User {
            id: claims.sub,
            impersonator: session.impersonator,
        };
        let known = self.person(claims.sub, &call, fresh).await?;
        let access = self.admit(&known.value, header, &call, actor);
        Ok((Ok(person), access))
    }

    async fn session(&self, id: SessionId, call: &Call, fresh: bool) -> Result<Arc<Read<Option<KnownSession>>>> {
        let believed = |read: &Arc<Read<Option<KnownSession>>>| read.began.elapsed() < BELIEF;
        if let Some(known) = self.sessions.get(&id).filter(|read| !fresh && believed(read)) {
            return Ok(known);
        }
        let (began, revision) = (Instant::now(), self.revision());
        let call = looking(call);
        let asked = self.db.unscoped(&call, move |tx| Ok(queries::session(tx.conn(), id)?));
        // In a box, as every look-up: it is large and rare, and would be a part of every request.
        let row = Box::pin(asked).await?;
        let read = Arc::new(Read {
            value: row.map(KnownSession::from),
            began,
        });
        self.remember(revision, || self.sessions.insert(id, read.clone()));
        Ok(read)
    }
}
