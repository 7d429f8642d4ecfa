//! Keys as rows and on the wire.

use std::{collections::HashSet, net::IpAddr};

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::kernel::{
    access::Permission,
    check::{Check, Validate, trimmed},
    error::FieldCode,
    http::{Located, Versioned},
    id::{ApiKeyId, UserId},
    page::{Filters, Unfit, id_filter},
    schema::api_keys,
};

crate::problems! {
    /// A key revokes itself and no other.
    /// Cause: a program tries to revoke another key than the one that it works with.
    /// Fix: sign in, and revoke it with the access token.
    pub KEY_NOT_FROM_KEY = 403, "key-not-from-key", "A key cannot revoke other keys";
}

crate::events! {
    /// An API key was made.
    pub API_KEY_CREATED: ApiKey = "api_key.created", group "keys", at "/api-keys/{id}", filterable ["owner_id"], audience [audit, webhook];
    /// An API key's name, scopes or addresses changed.
    pub API_KEY_UPDATED: ApiKey = "api_key.updated", group "keys", at "/api-keys/{id}", filterable ["owner_id"], audience [audit, webhook];
    /// An API key was revoked.
    pub API_KEY_REVOKED: ApiKey = "api_key.revoked", group "keys", at "/api-keys/{id}", filterable ["owner_id"], audience [audit, webhook, mail];
}

/// A key, without its secret.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, Deserialize, ToSchema)]
#[diesel(table_name = api_keys)]
#[schema(example = json!({"id": "key_01jd8qv4x2fkr9s3m5n7p0t1wz", "owner_type": "user", "owner_id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz", "name": "CI",
                          "start": "gld_live_pk_7fQ2", "permissions": ["agents:read"], "ip_allowlist": [], "rate_per_minute": null,
                          "api_version": "2026-11-01", "expires_at": "2027-02-18T17:30:00.123Z", "last_used_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct ApiKey {
    /// Names the key.
    pub id: ApiKeyId,
    /// `user`: a personal key, which ends with its owner's membership.
    pub owner_type: String,
    /// Whose it is.
    pub owner_id: UserId,
    /// What people call it.
    pub name: String,
    /// How its secret begins: enough to recognise it.
    pub start: String,
    /// What it may do; null: whatever its owner may. Never more than its owner may now.
    pub permissions: Option<Vec<String>>,
    /// The networks that it may be used from; empty: any.
    pub ip_allowlist: Vec<String>,
    /// A rate limit of its own, in requests a minute.
    pub rate_per_minute: Option<i32>,
    /// The API version that it was made for.
    pub api_version: String,
    /// When it stops.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for ApiKey {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A key that was just made: the only time that its secret is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedApiKey {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// Send it as `Authorization: Bearer` or `X-Api-Key`. It is never shown again.
    #[schema(example = "gld_live_pk_…")]
    pub secret: String,
}

impl Versioned for CreatedApiKey {
    const SECRET: bool = true;

    fn version(&self) -> i64 {
        self.key.version
    }
}

impl Located for CreatedApiKey {
    fn path(&self) -> String {
        format!("/api/v1/api-keys/{}", self.key.id)
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyPage {
    /// Newest first.
    pub data: Vec<ApiKey>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// What a new key needs. Its owner and workspace are the caller's.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "CI", "permissions": ["agents:read", "runs:execute"], "expires_in_days": 90}))]
pub struct NewApiKey {
    /// What people call it.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do; absent or null: whatever its owner may.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub permissions: Option<Vec<String>>,
    /// The addresses or networks that it may be used from; empty: any.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub ip_allowlist: Vec<String>,
    /// How long it works, in days.
    #[serde(default = "ninety")]
    #[schema(minimum = 1, maximum = 365)]
    pub expires_in_days: i64,
}

fn ninety() -> i64 {
    90
}

impl Validate for NewApiKey {
    fn validate(&self, check: &mut Check) {
        check.line("/name", &self.name, 1..=100);
        check.number("/expires_in_days", self.expires_in_days, 1..=365);
        judge(check, self.permissions.as_deref(), &self.ip_allowlist);
    }
}

/// What may change of a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "CI (staging)"}))]
pub struct ApiKeyPatch {
    /// What people call it.
    #[serde(default, deserialize_with = "crate::kernel::check::trimmed_given")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// What it may do; null: whatever its owner may.
    #[serde(default, deserialize_with = "crate::kernel::check::patched")]
    #[schema(value_type = Option<Vec<String>>, max_items = 200)]
    pub permissions: Option<Option<Vec<String>>>,
    /// Where it may be used from.
    #[serde(default, deserialize_with = "crate::kernel::check::given")]
    #[schema(nullable = false, max_items = 50)]
    pub ip_allowlist: Option<Vec<String>>,
}

impl Validate for ApiKeyPatch {
    fn validate(&self, check: &mut Check) {
        if let Some(name) = &self.name {
            check.line("/name", name, 1..=100);
        }
        judge(
            check,
            self.permissions.as_ref().and_then(Option::as_deref),
            self.ip_allowlist.as_deref().unwrap_or_default(),
        );
    }
}

fn judge(check: &mut Check, permissions: Option<&[String]>, addresses: &[String]) {
    let permissions = permissions.unwrap_or_default();
    check.count("/permissions", permissions.len(), 200);
    let mut seen = HashSet::new();
    for (place, name) in permissions.iter().enumerate() {
        if !seen.insert(name) {
            check.refuse(
                format!("/permissions/{place}"),
                FieldCode::NotUnique,
                "It is listed already.",
            );
        }
        if Permission::named(name).is_none() {
            check.refuse(
                format!("/permissions/{place}"),
                FieldCode::InvalidChoice,
                "There is no such permission.",
            );
        }
    }
    check.count("/ip_allowlist", addresses.len(), 50);
    let mut seen = HashSet::new();
    for (place, address) in addresses.iter().enumerate() {
        if !seen.insert(address) {
            check.refuse(
                format!("/ip_allowlist/{place}"),
                FieldCode::NotUnique,
                "It is listed already.",
            );
        }
        let network = address.parse::<IpNet>().map(|network| network.addr());
        let detail = match network.or_else(|_| address.parse()) {
            // Callers are known by the address that is in it.
            Ok(IpAddr::V6(mapped)) if mapped.to_ipv4_mapped().is_some() => "An IPv4 address as such, as 192.0.2.7.",
            Ok(_) => continue,
            Err(_) => "An address or a network, as 192.0.2.0/24.",
        };
        check.refuse(format!("/ip_allowlist/{place}"), FieldCode::InvalidFormat, detail);
    }
}

/// Filters of the list of keys.
#[derive(Default)]
pub struct ApiKeyFilters {
    pub owners: Vec<UserId>,
}

impl Filters for ApiKeyFilters {
    const RESOURCE: &'static str = "api_keys";
    const NAMES: &'static [&'static str] = &["owner_id"];
    const CHANGES: bool = true;

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        self.owners.push(id_filter(value));
        Ok(())
    }
}
