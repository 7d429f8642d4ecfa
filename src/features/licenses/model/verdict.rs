//! Verdicts: what is asked, and what is answered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Code, MachineId, Next, NoticeCode, Status};
use crate::{
    features::{entitlements::Values, policies::PolicyId, products::ProductId},
    kernel::{
        check::{Check, Metadata, Validate},
        error::FieldCode,
        id::LicenseId,
    },
};

/// The longest fingerprint, in bytes.
pub const FINGERPRINT: usize = 4 * 1_024;

/// A question about a licence.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"nonce": "f3c1b2a4d5e6", "scope": {"product": "prd_01jd8qv4x2fkr9s3m5n7p0t1wz", "fingerprint": "a1b2c3"}}))]
pub struct Validation {
    /// The licence, by its key. Only the vendor names it: the customer's software shows its key.
    #[schema(max_length = 500)]
    pub key: Option<String>,
    /// The licence, by its id. Only the vendor names it.
    pub license_id: Option<LicenseId>,
    /// Comes back in the answer and under its signature, so that an old answer cannot stand for a new one.
    #[schema(min_length = 8, max_length = 128)]
    pub nonce: Option<String>,
    /// What the licence is asked about.
    pub scope: Scope,
}

/// What a licence is asked about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"product": "prd_01jd8qv4x2fkr9s3m5n7p0t1wz", "fingerprint": "a1b2c3", "entitlements": ["sso"]}))]
pub struct Scope {
    /// Whether it is for this product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// Whether it follows this policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// Whether this machine is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// Whether the machine with this fingerprint is one of its own; at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4_096)]
    pub fingerprint: Option<String>,
    /// Whether it entitles to all of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub entitlements: Option<Vec<String>>,
}

impl Validate for Validation {
    fn validate(&self, check: &mut Check) {
        if let Some(key) = &self.key {
            check.line("/key", key, 1..=500);
        }
        if let Some(nonce) = &self.nonce {
            check.line("/nonce", nonce, 8..=128);
        }
        judge_fingerprint(check, "/scope/fingerprint", self.scope.fingerprint.as_deref());
        let entitlements = self.scope.entitlements.as_deref().unwrap_or_default();
        check.count("/scope/entitlements", entitlements.len(), 100);
        for (place, code) in entitlements.iter().enumerate() {
            check.line(&format!("/scope/entitlements/{place}"), code, 1..=63);
        }
    }
}

/// Notes a fingerprint that is too long. It may hold any characters.
pub fn judge_fingerprint(check: &mut Check, pointer: &str, fingerprint: Option<&str>) {
    if fingerprint.is_some_and(|text| text.len() > FINGERPRINT) {
        check.refuse(pointer, FieldCode::TooLong, format!("At most {FINGERPRINT} bytes."));
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"code": "expired", "detail": "It expired on 2026-11-20.", "limit": null, "used": null, "max": null, "next": "renew", "retry_at": null}))]
pub struct Reason {
    /// What.
    pub code: Code,
    /// The same for people.
    pub detail: String,
    /// Which limit, if it is one: `machines`, `cores`, `memory_mb`, `disk_mb`.
    pub limit: Option<&'static str>,
    /// How much of it is used.
    pub used: Option<i32>,
    /// How much of it there is.
    pub max: Option<i32>,
    /// What can be done.
    pub next: Next,
    /// When asking again may help.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub retry_at: Option<DateTime<Utc>>,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"code": "expiring", "at": "2026-11-23T00:00:00.000Z", "next": "renew"}))]
pub struct Notice {
    /// What.
    pub code: NoticeCode,
    /// When it happens, or happened.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub at: Option<DateTime<Utc>>,
    /// What can be done.
    pub next: Next,
}

/// The licence, as its own software may see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz", "status": "active", "product": "prd_01jd8qv4x2fkr9s3m5n7p0t1wz",
                          "policy": "pol_01jd8qv4x2fkr9s3m5n7p0t1wz", "expires_at": "2027-11-20T17:30:00.123Z", "public_metadata": {}}))]
pub struct LicenseView {
    /// Names the licence.
    pub id: LicenseId,
    /// How it stands.
    pub status: Status,
    /// What it is for.
    pub product: ProductId,
    /// What it was issued by.
    pub policy: PolicyId,
    /// When it expires; null: never, or its term has not begun.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What the vendor put there for the software.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub public_metadata: Metadata,
}

/// The machine that was asked about.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"id": "mch_01jd8qv4x2fkr9s3m5n7p0t1wz", "generation": 1, "heartbeat_due_at": null}))]
pub struct MachineView {
    /// Names the machine.
    pub id: MachineId,
    /// Which activation of it: signs of life name it.
    pub generation: i32,
    /// When its next sign of life is due.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub heartbeat_due_at: Option<DateTime<Utc>>,
}

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"used": 2, "max": 3}))]
pub struct Usage {
    /// How much is used.
    pub used: i32,
    /// How much there is; null: as much as wanted.
    pub max: Option<i32>,
}

/// What is used of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"machines": {"used": 2, "max": 3}, "cores": {"used": 8, "max": null}, "memory_mb": {"used": 0, "max": null}, "disk_mb": {"used": 0, "max": null}}))]
pub struct Limits {
    /// Machines.
    pub machines: Usage,
    /// Processor cores.
    pub cores: Usage,
    /// Memory, in MiB.
    pub memory_mb: Usage,
    /// Disk, in MiB.
    pub disk_mb: Usage,
}

/// Whether a licence is valid, and why not. `valid` says the same as `code` being `valid`, and as `reasons` being empty.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = LicenseVerdict,
         example = json!({"valid": true, "code": "valid", "reasons": [], "notices": [], "license": null, "machine": null, "limits": null,
                          "entitlements": {"sso": true}, "nonce": "f3c1b2a4d5e6", "scope": {}, "checked_at": "2026-11-20T17:30:00.123Z",
                          "fresh_until": "2026-11-21T17:30:00.123Z", "grace_until": "2026-12-05T17:30:00.123Z", "signed": null}))]
pub struct Verdict {
    /// Whether it is valid.
    pub valid: bool,
    /// The first reason's code, or `valid`.
    pub code: Code,
    /// Everything that is wrong.
    pub reasons: Vec<Reason>,
    /// What to know beside.
    pub notices: Vec<Notice>,
    /// The licence, if there is one.
    pub license: Option<LicenseView>,
    /// The machine that was asked about, if it is one of the licence's.
    pub machine: Option<MachineView>,
    /// What is used of its limits.
    pub limits: Option<Limits>,
    /// What it entitles to, by code.
    #[schema(value_type = Object)]
    pub entitlements: Values,
    /// As it was sent.
    pub nonce: Option<String>,
    /// As it was sent.
    pub scope: Scope,
    /// When this was found.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub checked_at: DateTime<Utc>,
    /// How long a client may rely on it.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub fresh_until: DateTime<Utc>,
    /// How long a client may go on with it after that, if it cannot reach us.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub grace_until: DateTime<Utc>,
    /// The same under the workspace's signature, `gldv1.…`: what a client should read. Null where no workspace is known.
    pub signed: Option<String>,
}

/// What a signed verdict says.
#[derive(Serialize)]
pub struct SignedVerdict<'a> {
    /// The workspace.
    pub ws: String,
    /// The licence.
    pub lic: Option<LicenseId>,
    /// The product.
    pub prd: Option<ProductId>,
    /// The policy.
    pub pol: Option<PolicyId>,
    /// SHA-256 of the key that was shown, in hexadecimal.
    pub key: Option<String>,
    pub valid: bool,
    pub code: Code,
    pub reasons: Vec<Code>,
    pub notices: Vec<NoticeCode>,
    pub machine: Option<MachineId>,
    pub limits: Option<Limits>,
    pub entitlements: &'a Values,
    pub nonce: Option<&'a str>,
    pub scope: &'a Scope,
    /// Unix seconds: made, fresh until, tolerated until, and when the licence expires.
    pub iat: i64,
    pub fresh: i64,
    pub grace: i64,
    pub exp: Option<i64>,
}

impl Verdict {
    /// What is signed of it.
    pub fn to_sign<'a>(&'a self, workspace: String, key: Option<[u8; 32]>) -> SignedVerdict<'a> {
        let license = self.license.as_ref();
        SignedVerdict {
            ws: workspace,
            lic: license.map(|license| license.id),
            prd: license.map(|license| license.product),
            pol: license.map(|license| license.policy),
            key: key.map(hex::encode),
            valid: self.valid,
            code: self.code,
            reasons: self.reasons.iter().map(|reason| reason.code).collect(),
            notices: self.notices.iter().map(|notice| notice.code).collect(),
            machine: self.machine.as_ref().map(|machine| machine.id),
            limits: self.limits,
            entitlements: &self.entitlements,
            nonce: self.nonce.as_deref(),
            scope: &self.scope,
            iat: self.checked_at.timestamp(),
            fresh: self.fresh_until.timestamp(),
            grace: self.grace_until.timestamp(),
            exp: license.and_then(|license| Some(license.expires_at?.timestamp())),
        }
    }
}

/// Whether an entitlement's value grants anything.
pub fn grants(value: &Value) -> bool {
    match value {
        Value::Bool(has) => *has,
        Value::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
        // Unlimited.
        Value::Null => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
