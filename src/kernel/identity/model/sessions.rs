//! Sessions as rows and on the wire.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::Serialize;
use utoipa::ToSchema;

use super::people::Me;
use crate::kernel::{
    crypto::Sealed,
    id::{SessionId, UserId},
    schema::sessions,
    workspaces::OwnWorkspace,
};

/// A session as it is stored.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, check_for_backend(diesel::pg::Pg))]
pub struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    pub aal: i16,
    pub amr: Vec<String>,
    pub auth_time: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub device_label: Option<String>,
    pub remember: bool,
    pub not_after: DateTime<Utc>,
    pub idle_after: DateTime<Utc>,
    pub refresh_counter: i64,
    pub refresh_rotated_at: DateTime<Utc>,
    pub recovered_from: Option<i64>,
    pub refresh_key_sealed: Option<Sealed>,
    pub last_seen_gen: i64,
    pub impersonator_id: Option<UserId>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoke_reason: Option<String>,
}

impl SessionRow {
    /// When it ends if nobody uses it.
    pub fn ends_at(&self) -> DateTime<Utc> {
        self.not_after.min(self.idle_after)
    }
}

/// Where a person is signed in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "ses_01jd8qv4x2fkr9s3m5n7p0t1wz", "device": "Firefox on Linux", "ip": "192.0.2.7", "amr": ["pwd"], "current": true,
                          "created_at": "2026-11-20T17:30:00.123Z", "last_seen_at": "2026-11-20T17:30:00.123Z",
                          "expires_at": "2026-12-04T17:30:00.123Z"}))]
pub struct Session {
    /// Names the session.
    pub id: SessionId,
    /// What it is used with, as far as it says so.
    pub device: Option<String>,
    /// Where it was signed in from.
    pub ip: Option<String>,
    /// How the person proved who they are (RFC 8176): `pwd`, and later others.
    pub amr: Vec<String>,
    /// Whether this request belongs to it.
    pub current: bool,
    /// When it began.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_seen_at: DateTime<Utc>,
    /// When it ends if nobody uses it any more.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: DateTime<Utc>,
}

impl Session {
    /// What the person is shown of it. `current` is the session of the request.
    pub fn of(row: SessionRow, current: SessionId) -> Session {
        Session {
            current: row.id == current,
            expires_at: row.ends_at(),
            id: row.id,
            device: row.device_label,
            ip: row.ip,
            amr: row.amr,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
        }
    }
}

crate::pages! {
    /// A page of where a person is signed in.
    pub SessionList of Session;
}

crate::no_filters! {
    /// The list of sessions has no filters of its own.
    pub SessionFilters of "sessions";
}

/// How many sessions were ended.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"ended": 3}))]
pub struct EndedSessions {
    /// So many.
    pub ended: i64,
}

crate::words! {
    /// Where signing in stands.
    pub enum SignInStatus {
        /// Done.
        Authenticated "authenticated",
    }
}

crate::words! {
    /// Where registering stands.
    pub enum PendingStatus {
        /// A mail was sent; the account begins when its token comes back.
        Pending "pending",
    }
}

crate::words! {
    /// Where an address stands.
    pub enum VerifiedStatus {
        /// It is proven; the account can be used.
        Verified "verified",
    }
}

/// Somebody who has just signed in, or goes on.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "authenticated", "access_token": "eyJ0eXAiOiJhdCtqd3Qi…", "token_type": "Bearer", "expires_in": 600,
                          "refresh_token": "gld_live_rt_…", "session_id": "ses_01jd8qv4x2fkr9s3m5n7p0t1wz", "user": null, "workspaces": []}))]
pub struct SignIn {
    /// Where signing in stands.
    pub status: SignInStatus,
    /// The access token; null where it travels in a cookie.
    pub access_token: Option<String>,
    /// How the access token is sent.
    pub token_type: &'static str,
    /// How long the access token lives, in seconds.
    pub expires_in: u32,
    /// The refresh token, for the next pair; null where it travels in a cookie.
    pub refresh_token: Option<String>,
    /// Names the session.
    pub session_id: SessionId,
    /// Who signed in; null when a session goes on.
    pub user: Option<Me>,
    /// Their workspaces; empty when a session goes on.
    pub workspaces: Vec<OwnWorkspace>,
}

/// What registering answers, whether or not the address is known.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "pending", "client_token": "gld_live_ot_0123456789ABCDEFGHIJKLMNOPQRST3Q0mO4", "expires_at": "2026-11-21T17:30:00.123Z"}))]
pub struct Pending {
    /// Where it stands.
    pub status: PendingStatus,
    /// Keep it until the mail has come, and send it along with the mailed token.
    pub client_token: String,
    /// Until when the mailed token works.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: DateTime<Utc>,
}

/// A proven address.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "verified", "email": "ann@example.com", "username": "ann"}))]
pub struct Verified {
    /// Where it stands.
    pub status: VerifiedStatus,
    /// The address.
    pub email: String,
    /// The public name that was chosen; null if none was, or if somebody else had it first: then another one can be chosen by `PATCH /me`.
    pub username: Option<String>,
}

/// Proof of who is signed in, renewed.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"auth_time": "2026-11-20T17:30:00.123Z", "fresh_until": "2026-11-20T17:45:00.123Z"}))]
pub struct SteppedUp {
    /// When the person last proved who they are: now.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub auth_time: DateTime<Utc>,
    /// Until when that is recent enough for what needs it.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub fresh_until: DateTime<Utc>,
}

/// Who is signed in, if anybody.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"user": null}))]
pub struct SignedIn {
    /// The person; null for a visitor.
    pub user: Option<Me>,
}
