//! People as rows and on the wire.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::inputs::judge_username;
use crate::kernel::{
    check::{Check, Validate, patched, trimmed_given},
    crypto::sha256,
    error::FieldCode,
    http::Versioned,
    id::{Id, Resource, SessionId, UserId, WorkspaceId},
    page::{Filters, Unfit},
    schema::{security_events, users},
};

crate::words! {
    /// Whether an account can be used.
    pub enum UserState {
        /// It can.
        Active "active",
        /// The operator stopped it.
        Suspended "suspended",
        /// Its owner deleted it; it can still be brought back.
        Deleting "deleting",
        /// It is gone.
        Deleted "deleted",
    }
}

/// A person as they are stored.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
pub struct User {
    pub id: UserId,
    pub email: Option<String>,
    pub email_verified_at: Option<DateTime<Utc>>,
    pub username: Option<String>,
    pub display_name: String,
    pub avatar_url: Option<String>,
    pub locale: String,
    pub time_zone: String,
    pub password_hash: Option<String>,
    pub state: UserState,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl User {
    /// Whether they may be signed in: an account that is about to go may still be brought back.
    pub fn may_sign_in(&self) -> bool {
        matches!(self.state, UserState::Active | UserState::Deleting)
    }
}

crate::words! {
    /// What a credential stands for.
    pub enum MeType {
        /// A person.
        User "user",
    }
}

crate::words! {
    /// What somebody is to the operator of this deployment.
    pub enum PlatformRole {
        /// Leads the operator's own workspace.
        Admin "admin",
        /// Sells the operator's plans.
        Reseller "reseller",
        /// Anybody else.
        User "user",
    }
}

/// The caller.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"type": "user", "id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz", "email": "ann@example.com",
                          "email_verified_at": "2026-11-20T17:30:00.123Z", "username": "ann", "display_name": "Ann", "avatar_url": null,
                          "locale": "en", "time_zone": "UTC", "has_password": true, "workspace": null, "platform_role": "user",
                          "impersonated_by": null, "version": 1, "created_at": "2026-11-20T17:30:00.123Z",
                          "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Me {
    /// What the credential stands for.
    #[serde(rename = "type")]
    pub kind: MeType,
    /// Names the person.
    pub id: UserId,
    /// Their address.
    pub email: Option<String>,
    /// When they proved that it is theirs.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Their public name.
    pub username: Option<String>,
    /// What people call them.
    pub display_name: String,
    /// A picture of them.
    pub avatar_url: Option<String>,
    /// The language of their mails.
    pub locale: String,
    /// Where their clock is, as `Europe/Berlin`.
    pub time_zone: String,
    /// Whether they can sign in with a password.
    pub has_password: bool,
    /// The workspace that this request is about, a suspended one too; null if it names none and they have none or several, and for a key of one
    /// that is suspended.
    pub workspace: Option<WorkspaceId>,
    /// What they are to the operator.
    pub platform_role: PlatformRole,
    /// Who really acts, if a member of the operator's staff does.
    pub impersonated_by: Option<UserId>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When the account was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Me {
    /// What a person is shown of themselves.
    pub fn of(user: User, platform_role: PlatformRole) -> Me {
        Me {
            kind: MeType::User,
            id: user.id,
            email: user.email,
            email_verified_at: user.email_verified_at,
            username: user.username,
            display_name: user.display_name,
            avatar_url: user.avatar_url,
            locale: user.locale,
            time_zone: user.time_zone,
            has_password: user.password_hash.is_some(),
            workspace: None,
            platform_role,
            impersonated_by: None,
            version: user.version,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

impl Versioned for Me {
    fn version(&self) -> i64 {
        self.version
    }

    /// One address shows each caller themselves, with the workspace that they name and what they are there: more than their own row says.
    fn tag(&self) -> String {
        let shown = serde_json::to_vec(self).expect("answers are plain values");
        format!("\"{}-{}-{}\"", self.version, self.id, hex::encode(&sha256(&shown)[..8]))
    }
}

/// What a person may change of themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"display_name": "Ann Lee", "time_zone": "Europe/Berlin"}))]
pub struct MePatch {
    /// What people call them.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub display_name: Option<String>,
    /// Their public name; null gives it up.
    #[serde(default, deserialize_with = "patched")]
    #[schema(value_type = Option<String>, min_length = 3, max_length = 30)]
    pub username: Option<Option<String>>,
    /// A picture of them, by https; null removes it.
    #[serde(default, deserialize_with = "patched")]
    #[schema(value_type = Option<String>, max_length = 500, format = "uri")]
    pub avatar_url: Option<Option<String>>,
    /// The language of their mails, as `en` or `pt-BR`.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, max_length = 35)]
    pub locale: Option<String>,
    /// Where their clock is, as `Europe/Berlin`.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, max_length = 64)]
    pub time_zone: Option<String>,
}

impl Validate for MePatch {
    fn validate(&self, check: &mut Check) {
        if let Some(name) = &self.display_name {
            check.line("/display_name", name, 1..=100);
        }
        if let Some(Some(name)) = &self.username {
            judge_username(check, name);
        }
        if let Some(Some(address)) = &self.avatar_url {
            check.line("/avatar_url", address, 1..=500);
            if url::Url::parse(address).map_or(true, |url| {
                url.scheme() != "https"
                    || url.host().is_none()
                    || !url.username().is_empty()
                    || url.password().is_some()
            }) {
                check.refuse(
                    "/avatar_url",
                    FieldCode::InvalidFormat,
                    "An https address, without a name and a password in it.",
                );
            }
        }
        if let Some(locale) = &self.locale {
            check.locale("/locale", locale);
        }
        if let Some(zone) = &self.time_zone {
            judge_time_zone(check, zone);
        }
    }
}

/// The names of the IANA time zone database, in order. It grows by about one a year.
const ZONES: &str = include_str!("zones.txt");

/// Notes what is no name of a time zone.
fn judge_time_zone(check: &mut Check, zone: &str) {
    if !ZONES.lines().any(|known| known == zone) {
        check.refuse(
            "/time_zone",
            FieldCode::InvalidFormat,
            "A time zone, as Europe/Berlin or UTC.",
        );
    }
}

/// `sev_…`
pub type SecurityEventId = Id<SecurityEvent>;

/// Something that happened to an account.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = security_events, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"id": "sev_01jd8qv4x2fkr9s3m5n7p0t1wz", "kind": "session.created", "session_id": "ses_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "ip": "192.0.2.7", "user_agent": "curl/8.5", "detail": {}, "created_at": "2026-11-20T17:30:00.123Z"}))]
pub struct SecurityEvent {
    /// Names the event.
    pub id: SecurityEventId,
    /// What happened, as `session.created` or `user.password_changed`. New values may come.
    pub kind: String,
    /// The session that did it, or that it happened to.
    pub session_id: Option<SessionId>,
    /// Where it came from.
    pub ip: Option<String>,
    /// What the caller's program says it is.
    pub user_agent: Option<String>,
    /// More, by kind.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// When.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

impl Resource for SecurityEvent {
    const PREFIX: &'static str = "sev";
}

/// A page of security events.
#[derive(Serialize, ToSchema)]
pub struct SecurityEventPage {
    /// Newest first.
    pub data: Vec<SecurityEvent>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of that list.
#[derive(Default)]
pub struct SecurityEventFilters {
    pub kinds: Vec<String>,
}

impl Filters for SecurityEventFilters {
    const RESOURCE: &'static str = "security_events";
    const NAMES: &'static [&'static str] = &["kind"];

    fn add(&mut self, _name: &str, value: &str) -> Result<(), Unfit> {
        self.kinds.push(value.to_owned());
        Ok(())
    }
}

/// What the caller may do in a workspace.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"workspace_id": "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz", "permissions": ["agents:read", "runs:read"]}))]
pub struct WorkspacePermissions {
    /// The workspace that the request is about.
    pub workspace_id: WorkspaceId,
    /// What the caller may do there.
    pub permissions: Vec<String>,
}
