//! What callers send about licences.

use chrono::{DateTime, Utc};
use diesel::AsChangeset;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    HoldReason, Row, Via,
    holder::{CustomerChoice, either},
};
use crate::{
    features::{
        policies::{Overrides, PolicyId},
        schema::licensing::licenses,
    },
    kernel::{
        check::{Check, Metadata, Validate, trimmed_option},
        error::FieldCode,
        id::CustomerId,
        jsonb::Jsonb,
        patch::{Patch, Patchable},
    },
};

/// What a new licence needs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"policy_id": "pol_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer": {"email": "ann@example.com", "name": "Ann"}}))]
pub struct NewLicense {
    /// What it is issued by.
    pub policy_id: PolicyId,
    /// Whose it is: an id, or a person by address.
    #[serde(default, deserialize_with = "either")]
    pub customer: Option<CustomerChoice>,
    /// What differs from the policy.
    #[serde(default)]
    pub overrides: Overrides,
    /// What people call it.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 100)]
    pub name: Option<String>,
    /// Before this it is not valid.
    #[serde(default)]
    pub starts_at: Option<DateTime<Utc>>,
    /// What the software may read; at most 2 KiB.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub public_metadata: Metadata,
    /// Your own tags.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// Your own key for it.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
}

impl Validate for NewLicense {
    fn validate(&self, check: &mut Check) {
        if let Some(CustomerChoice::Person(person)) = &self.customer {
            crate::features::customers::judge_email(check, "/customer/email", &person.email);
            if let Some(name) = &person.name {
                check.line("/customer/name", name, 1..=200);
            }
        }
        check.time("/starts_at", self.starts_at);
        self.overrides.validate(check);
        if let Some(name) = &self.name {
            check.line("/name", name, 1..=100);
        }
        check.metadata(&self.metadata);
        judge_public(check, &self.public_metadata);
        check.external_id(self.external_id.as_ref());
    }
}

/// What may change of a licence without changing what it is worth.
#[derive(Clone, Debug, Default, Serialize, Deserialize, AsChangeset, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = licenses, treat_none_as_null = true)]
#[schema(example = json!({"name": "Ann's licence", "metadata": {"deal": "7"}}))]
pub struct LicenseDetails {
    /// What people call it.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 100)]
    pub name: Option<String>,
    /// What the software may read; at most 2 KiB.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub public_metadata: Jsonb<Metadata>,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
    /// Your own key for it.
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
}

impl Validate for LicenseDetails {
    fn validate(&self, check: &mut Check) {
        if let Some(name) = &self.name {
            check.line("/name", name, 1..=100);
        }
        check.metadata(&self.metadata);
        judge_public(check, &self.public_metadata);
        check.external_id(self.external_id.as_ref());
    }
}

impl Patchable for LicenseDetails {}

/// Changes of a licence.
pub type LicensePatch = Patch<LicenseDetails>;

impl From<&Row> for LicenseDetails {
    fn from(row: &Row) -> LicenseDetails {
        LicenseDetails {
            name: row.name.clone(),
            public_metadata: row.public_metadata.clone(),
            metadata: row.metadata.clone(),
            external_id: row.external_id.clone(),
        }
    }
}

/// How a licence's key is replaced.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"overlap_seconds": 86_400}))]
pub struct KeyRotation {
    /// How long the key before goes on, with the notice `key_rotated`; 0: it ends at once. Default a week, at most 90 days.
    #[schema(minimum = 0, maximum = 7_776_000)]
    pub overlap_seconds: i32,
}

impl Default for KeyRotation {
    fn default() -> KeyRotation {
        KeyRotation {
            overlap_seconds: 604_800,
        }
    }
}

impl Validate for KeyRotation {
    fn validate(&self, check: &mut Check) {
        check.number("/overlap_seconds", i64::from(self.overlap_seconds), 0..=7_776_000);
    }
}

/// Tags that the customer's software may read: as tags are, and 2 KiB in all.
fn judge_public(check: &mut Check, tags: &Metadata) {
    let mut inner = Check::default();
    inner.metadata(tags);
    for error in inner.into_errors() {
        check.refuse(
            format!("/public{}", &error.pointer.replacen('/', "_", 1)),
            error.code,
            error.detail,
        );
    }
    let bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > 2 * 1_024 {
        check.refuse("/public_metadata", FieldCode::TooLarge, "At most 2 KiB in all.");
    }
}

/// A licence to be issued, whoever wants it.
#[derive(Clone, Debug)]
pub struct Issue {
    /// What it is issued by.
    pub policy: PolicyId,
    /// Whose it is.
    pub customer: Option<CustomerId>,
    /// What differs from the policy.
    pub overrides: Overrides,
    /// What people call it.
    pub name: Option<String>,
    /// Before this it is not valid.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it expires, instead of what the policy's term says.
    pub expires_at: Option<DateTime<Utc>>,
    /// What the software may read.
    pub public_metadata: Metadata,
    /// The vendor's tags.
    pub metadata: Metadata,
    /// The vendor's own key.
    pub external_id: Option<String>,
    /// How it comes to be.
    pub via: Via,
    /// By what: an order, an import.
    pub source_ref: Option<String>,
}

impl Issue {
    /// A licence by this policy, and nothing else said.
    pub fn by(policy: PolicyId, via: Via) -> Issue {
        Issue {
            policy,
            customer: None,
            overrides: Overrides::default(),
            name: None,
            starts_at: None,
            expires_at: None,
            public_metadata: Metadata::new(),
            metadata: Metadata::new(),
            external_id: None,
            via,
            source_ref: None,
        }
    }
}

/// How a licence is prolonged.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"periods": 1, "ref": "invoice-2026-117"}))]
pub struct NewRenewal {
    /// By so many terms of its policy …
    #[serde(default)]
    #[schema(minimum = 1, maximum = 120)]
    pub periods: Option<i32>,
    /// … or at least until then.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// What it is for: the same renewal again changes nothing.
    #[serde(default, rename = "ref", deserialize_with = "trimmed_option")]
    #[schema(max_length = 200)]
    pub reference: Option<String>,
}

impl Validate for NewRenewal {
    fn validate(&self, check: &mut Check) {
        match (self.periods, self.until) {
            (None, None) => check.refuse("/periods", FieldCode::Required, "How far: periods, or until."),
            (Some(_), Some(_)) => check.refuse("/until", FieldCode::ConflictsWith, "Either periods or until."),
            _ => {}
        }
        if let Some(periods) = self.periods {
            check.number("/periods", i64::from(periods), 1..=120);
        }
        check.time("/until", self.until);
        if let Some(reference) = &self.reference {
            check.line("/ref", reference, 1..=200);
        }
    }
}

/// How far a renewal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalTerm {
    /// By so many terms of the policy.
    Periods(i32),
    /// At least until then.
    Until(DateTime<Utc>),
}

/// One renewal.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// How far it goes.
    pub term: RenewalTerm,
    /// What it is for; each once a licence.
    pub reference: String,
}

/// Why a licence is to be suspended.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "abuse", "note": "Found on a forum."}))]
pub struct Suspension {
    /// The reason: `manual` (default), `abuse` or `exposure`. A reseller's is always `reseller`.
    #[serde(default)]
    pub reason: Option<HoldReason>,
    /// For people.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 500)]
    pub note: Option<String>,
}

impl Validate for Suspension {
    fn validate(&self, check: &mut Check) {
        let by_hand = [HoldReason::Manual, HoldReason::Abuse, HoldReason::Exposure];
        if self.reason.is_some_and(|reason| !by_hand.contains(&reason)) {
            let detail = "One of manual, abuse, exposure; the others are placed by what happens.";
            check.refuse("/reason", FieldCode::InvalidChoice, detail);
        }
        if let Some(note) = &self.note {
            check.text("/note", note, 1..=500);
        }
    }
}

/// Which hold is to be lifted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "abuse"}))]
pub struct Reinstatement {
    /// Its reason: `manual` (default) or another. A reseller's is always `reseller`.
    #[serde(default)]
    pub reason: Option<HoldReason>,
    /// Its ref, where it has one: two disputes are two holds.
    #[serde(default, rename = "ref")]
    #[schema(max_length = 200)]
    pub reference: Option<String>,
}

impl Validate for Reinstatement {
    fn validate(&self, check: &mut Check) {
        if let Some(reference) = &self.reference {
            check.line("/ref", reference, 1..=200);
        }
    }
}

/// A hold to be placed.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// Why.
    pub reason: HoldReason,
    /// Tells holds of one reason apart; empty where there is only one.
    pub reference: String,
    /// For people.
    pub note: Option<String>,
}

impl NewHold {
    /// A hold for this reason, and nothing else said.
    pub fn new(reason: HoldReason) -> NewHold {
        NewHold {
            reason,
            reference: String::new(),
            note: None,
        }
    }
}

/// Why a licence is to end.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"note": "Refunded."}))]
pub struct Revocation {
    /// For people.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 500)]
    pub note: Option<String>,
}

impl Validate for Revocation {
    fn validate(&self, check: &mut Check) {
        if let Some(note) = &self.note {
            check.text("/note", note, 1..=500);
        }
    }
}
