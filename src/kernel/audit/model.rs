//! Entries as they are written, as they lie in the log, and as the API shows them.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kernel::{
    access::Author,
    error::FieldCode,
    id::{AuditId, CustomerId, Id, ResellerId, Resource, SessionId, UserId, WorkspaceId, parts},
    page::{Filters, Unfit},
    schema::{audit_log, audit_personal, audit_seals},
};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub(in crate::kernel) kind: &'static str,
    pub(in crate::kernel) prefix: &'static str,
    pub(in crate::kernel) id: Uuid,
}

impl Subject {
    /// The resource of that name and its id.
    pub fn of<R: Resource>(kind: &'static str, id: Id<R>) -> Subject {
        Subject {
            kind,
            prefix: R::PREFIX,
            id: id.uuid(),
        }
    }
}

/// What an entry says beside who, when and from where.
pub struct Entry {
    /// What was done: an event's type, or a name of the same form.
    pub action: &'static str,
    /// What it was done to.
    pub subject: Option<Subject>,
    /// `{"role": ["member", "admin"]}`; secrets, and what is about a person, as `"[changed]"`.
    pub changes: Value,
    /// `done`, `refused` or `failed`.
    pub outcome: AuditOutcome,
    /// The code of a refusal.
    pub code: Option<&'static str>,
    /// How often it happened.
    pub occurrences: i32,
    /// Whose the subject is.
    pub reseller: Option<ResellerId>,
    /// Whose the subject is.
    pub customer: Option<CustomerId>,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            action: "",
            subject: None,
            changes: json!({}),
            outcome: AuditOutcome::Done,
            code: None,
            occurrences: 1,
            reseller: None,
            customer: None,
        }
    }
}

crate::words! {
    /// How what an entry tells of ended.
    pub enum AuditOutcome {
        /// It was done.
        Done "done",
        /// It was not allowed.
        Refused "refused",
        /// It was tried and did not work.
        Failed "failed",
    }
}

/// An entry as it lies in the log: what the chain seals.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = audit_log, treat_none_as_default_value = false, check_for_backend(diesel::pg::Pg))]
pub(super) struct Logged {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: AuditId,
    pub(super) action: String,
    pub(super) actor_type: String,
    pub(super) actor_id: Option<Uuid>,
    pub(super) impersonator_id: Option<Uuid>,
    pub(super) subject_type: Option<String>,
    pub(super) subject_prefix: Option<String>,
    pub(super) subject_id: Option<Uuid>,
    pub(super) changes: Value,
    pub(super) outcome: AuditOutcome,
    pub(super) code: Option<String>,
    pub(super) occurrences: i32,
    pub(super) request_id: Option<String>,
    pub(super) session_id: Option<Uuid>,
    pub(super) reseller_id: Option<Uuid>,
    pub(super) customer_id: Option<Uuid>,
    #[serde(skip)]
    pub(super) personal_hash: Option<Vec<u8>>,
    #[serde(with = "exact")]
    pub(super) created_at: DateTime<Utc>,
}

/// A time to the microsecond, as the database keeps it.
mod exact {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::Serializer;

    pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// What of an entry is about a person.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = audit_personal, check_for_backend(diesel::pg::Pg))]
pub(super) struct Personal {
    pub(super) workspace_id: WorkspaceId,
    pub(super) entry_id: AuditId,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) actor_email: Option<String>,
    pub(super) salt: Vec<u8>,
}

/// A link of the chain.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = audit_seals, check_for_backend(diesel::pg::Pg))]
pub(super) struct Seal {
    pub(super) workspace_id: WorkspaceId,
    pub(super) seq: i64,
    pub(super) entry_id: AuditId,
    pub(super) hash: Vec<u8>,
}

/// One thing that somebody did, or tried.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "aud_01jd8qv4x2fkr9s3m5n7p0t1wz", "action": "member.updated",
                          "actor": {"type": "user", "id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz", "label": "Ada"}, "impersonator_id": null,
                          "subject": {"type": "member", "id": "mem_01jd8qv4x2fkr9s3m5n7p0t1wz"},
                          "changes": {"role": ["member", "admin"]}, "outcome": "done", "code": null, "occurrences": 1,
                          "request_id": "req_01jd8qv4x2fkr9s3m5n7p0t1wz", "session_id": "ses_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "seal": null, "created_at": "2026-11-20T17:30:00.123Z"}))]
pub struct AuditEntry {
    /// Names the entry.
    pub id: AuditId,
    /// What was done: an event's type, or a name of the same form. Of what was refused, the operation: `members_update`.
    pub action: String,
    /// Who did it.
    pub actor: Author,
    /// The member of the operator's staff who acted for them.
    #[schema(required)]
    pub impersonator_id: Option<UserId>,
    /// What it was done to.
    #[schema(required)]
    pub subject: Option<AuditSubject>,
    /// What changed: the old and the new value of each field; of an export, null and what it was narrowed by. A secret, and what is about a
    /// person, reads `"[changed]"`; a value of more than 4 KiB reads `{"bytes": …, "sha256": …}`, of its JSON.
    #[schema(value_type = Object)]
    pub changes: Value,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// The code of a refusal.
    #[schema(required)]
    pub code: Option<String>,
    /// How often it happened within the minute. Address, request and session are the first one's.
    pub occurrences: i32,
    /// The request that caused it.
    #[schema(required)]
    pub request_id: Option<String>,
    /// The session that it was done in.
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// Where it came from; null once the person was erased.
    #[schema(required)]
    pub ip: Option<String>,
    /// What the caller's program said it was; null once the person was erased.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// Its place in the chain; null for the few seconds until it has one.
    #[schema(required)]
    pub seal: Option<AuditSeal>,
    /// When it happened.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

/// What an entry is about.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"type": "member", "id": "mem_01jd8qv4x2fkr9s3m5n7p0t1wz"}))]
pub struct AuditSubject {
    /// The resource: `member`, `agent`; more may come.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    #[schema(format = "typeid")]
    pub id: String,
}

/// An entry's place in the chain. Its hash covers the entry and, through the hash before it, everything older.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"seq": 42, "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}))]
pub struct AuditSeal {
    /// Counts the workspace's entries, without a gap.
    pub seq: i64,
    /// SHA-256, in hexadecimal.
    pub hash: String,
}

/// A signed head of the chain. Whoever keeps one can tell later whether anything up to it was altered or cut off.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"seq": 42, "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                          "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                          "signature": "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv1jZW7_jRlUUE40J7qAQ",
                          "created_at": "2026-11-20T17:30:00.123Z"}))]
pub struct AuditCheckpoint {
    /// Up to which entry.
    pub seq: i64,
    /// The hash of that entry's seal, in hexadecimal.
    pub hash: String,
    /// The key that signed, one of `/.well-known/audit-keys.json`; one that is not there was withdrawn, and its signature vouches for nothing.
    pub kid: String,
    /// Ed25519, base64url, over `guildhall-audit-checkpoint-v1`, the workspace's id, `seq` and `hash`, joined by newlines.
    pub signature: String,
    /// When it was signed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
}

crate::pages! {
    /// A page of the audit log.
    pub AuditEntryPage of AuditEntry;
    /// A page of checkpoints.
    pub AuditCheckpointPage of AuditCheckpoint;
}

/// Filters of the log.
#[derive(Clone, Default)]
pub struct AuditFilters {
    pub actor_types: Vec<String>,
    pub actors: Vec<Uuid>,
    pub actions: Vec<String>,
    pub subject_types: Vec<String>,
    pub subjects: Vec<Uuid>,
    pub outcomes: Vec<AuditOutcome>,
    pub ips: Vec<String>,
    pub requests: Vec<String>,
}

impl Filters for AuditFilters {
    const RESOURCE: &'static str = "audit_entries";
    const NAMES: &'static [&'static str] = &[
        "actor_type",
        "actor_id",
        "action",
        "subject_type",
        "subject_id",
        "outcome",
        "ip",
        "request_id",
    ];
    const EXPORTED: bool = true;
    const PERSONAL: &'static [&'static str] = &["ip"];

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        // An id that cannot exist matches nothing.
        let id = || parts(value).map_or_else(|| value.parse().unwrap_or_default(), |(_, id)| id);
        match name {
            "actor_type" => self.actor_types.push(value.into()),
            "actor_id" => self.actors.push(id()),
            "action" => self.actions.push(value.into()),
            "subject_type" => self.subject_types.push(value.into()),
            "subject_id" => self.subjects.push(id()),
            "outcome" => {
                let outcome = AuditOutcome::named(value).ok_or_else(|| Unfit::choice(AuditOutcome::WORDS))?;
                self.outcomes.push(outcome);
            }
            "ip" => {
                let ip: IpAddr = value
                    .parse()
                    .map_err(|_| Unfit(FieldCode::InvalidFormat, "An address, such as 192.0.2.7.".to_owned()))?;
                self.ips.push(ip.to_canonical().to_string());
            }
            _ => self.requests.push(value.into()),
        }
        Ok(())
    }
}

crate::no_filters! {
    /// The list of checkpoints has no filters of its own.
    pub CheckpointFilters of "audit_checkpoints";
}

crate::words! {
    /// What is wrong with a chain.
    pub enum Fault {
        /// A sealed entry is gone.
        Missing "missing",
        /// An entry is not what was sealed at this place: altered, swapped with another, or put in.
        Altered "altered",
        /// What is said of the person is not what was sealed.
        PersonalAltered "personal_altered",
        /// A place of the chain is gone.
        Gap "gap",
        /// A signed head says something else than the chain, or its signature is not ours.
        CheckpointWrong "checkpoint_wrong",
        /// The chain ends before a head that was signed.
        Truncated "truncated",
        /// Retention cut below a head whose key was withdrawn since, and no later head vouches for what is left. The next one will.
        Unvouched "unvouched",
        /// An entry lies in the log that neither is sealed nor waits for it.
        Unsealed "unsealed",
    }
}

/// Where a chain is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The place.
    pub seq: i64,
    /// What is wrong there.
    pub fault: Fault,
    /// The entry, where one is there.
    pub entry: Option<AuditId>,
}

/// What a look at a whole chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many places were looked at.
    pub places: i64,
    /// Signed heads that agree with the chain.
    pub checkpoints: i64,
    /// Those that agree too, but whose keys were withdrawn since: they vouch for nothing.
    pub withdrawn: i64,
    /// The first thing that is wrong; `None`: the chain holds.
    pub broken: Option<Broken>,
}
