//! Licences as rows and on the wire.

mod facts;
mod holder;
mod input;
mod machine;
mod verdict;
mod words;

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use utoipa::ToSchema;

pub use facts::{Facts, FactsSql, KeyFacts, MachineFacts, Question};
pub use holder::CustomerChoice;
pub use input::*;
pub use machine::{
    EVENTS as MACHINE_EVENTS, MACHINE_ACTIVATED, MACHINE_DEACTIVATED, MACHINE_DEAD, MACHINE_RESURRECTED,
    MACHINE_UPDATED, Machine, MachineState,
};
pub use verdict::*;
pub use words::*;

use crate::{
    features::{
        policies::{Overrides, PolicyId, Terms},
        products::ProductId,
        schema::licensing::licenses,
    },
    kernel::{
        check::Metadata,
        http::{Located, Versioned},
        id::{CustomerId, Id, LicenseId, ResellerId, Resource},
        jsonb::Jsonb,
        page::{Filters, Unfit, bound, id_filter},
    },
};

crate::events! {
    /// A licence was issued. Its key is in no event.
    pub LICENSE_ISSUED: License = "license.issued", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "active", "holds": []};
    /// What a licence is called, or what is noted with it, was changed.
    pub LICENSE_UPDATED: License = "license.updated", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal], personal ["name", "external_id", "metadata", "public_metadata"],
        example {"status": "active", "holds": []};
    /// A licence has a new key, which is in no event. The one before ends with its overlap.
    pub LICENSE_KEY_ROTATED: License = "license_key.rotated", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "active", "holds": [], "key_start": "gld_live_lk_7fQ2"};
    /// A licence's term was prolonged.
    pub LICENSE_RENEWED: License = "license.renewed", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "active", "holds": [], "started_at": "2026-11-20T17:30:00.123Z", "expires_at": "2027-11-20T17:30:00.123Z"};
    /// A hold was placed: the licence is suspended.
    pub LICENSE_SUSPENDED: License = "license.suspended", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "suspended"};
    /// A hold was lifted. The licence lives again if it was the last.
    pub LICENSE_REINSTATED: License = "license.reinstated", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "active", "holds": []};
    /// A licence was revoked, with its keys and machines.
    pub LICENSE_REVOKED: License = "license.revoked", group "licenses", at "/licenses/{id}", filterable ["id", "product_id", "policy_id", "customer_id"], audience [audit, webhook, internal],
        example {"status": "revoked", "holds": [], "revoked_at": "2026-11-20T17:30:00.123Z"};
}

crate::problems! {
    /// The licence's policy does not let the customer's software do this.
    /// Cause: the software calls what the policy leaves to the vendor.
    /// Fix: let the vendor's server do it, or name it in the policy's `client_may`.
    pub CLIENT_NOT_ALLOWED = 403, "client-not-allowed", "The software may not do this";
    /// The licence has expired, and its policy makes an expired key no credential.
    /// Cause: the term has ended, and nobody renewed.
    /// Fix: renew the licence.
    pub LICENSE_EXPIRED = 401, "license-expired", "The licence has expired";
    /// The licence is suspended, expired or otherwise not usable; the extra member `reason` says which.
    /// Cause: the licence is suspended because of a payment, or its term has ended.
    /// Fix: validate the licence and do what its verdict says.
    pub LICENSE_NOT_USABLE = 409, "license-not-usable", "The licence is not usable";
    /// A reseller issues licences out of an allocation, and has none of this policy.
    /// Cause: the vendor gave out other policies, or none yet.
    /// Fix: ask the vendor for an allocation.
    pub POLICY_NOT_ALLOCATED = 403, "policy-not-allocated", "The policy is not allocated to you";
}

/// A machine, whose rows are another slice's.
pub enum MachineMark {}

impl Resource for MachineMark {
    const PREFIX: &'static str = "mch";
}

/// Names a machine.
pub type MachineId = Id<MachineMark>;

/// A key, whose rows nobody but this slice sees.
pub(in crate::features::licenses) enum KeyMark {}

impl Resource for KeyMark {
    const PREFIX: &'static str = "lik";
}

/// A licence, without its key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct License {
    /// Names the licence.
    pub id: LicenseId,
    /// What it is for.
    pub product_id: ProductId,
    /// What it was issued by.
    pub policy_id: PolicyId,
    /// Whose it is.
    pub customer_id: Option<CustomerId>,
    /// Who sold it, if a reseller did.
    pub reseller_id: Option<ResellerId>,
    /// What people call it.
    pub name: Option<String>,
    /// How it stands.
    pub status: Status,
    /// Why it is suspended, the oldest first: each of these has to be lifted.
    pub holds: Vec<Hold>,
    /// How its key begins: enough to recognise it.
    pub key_start: Option<String>,
    /// What it is judged by: rules and entitlements, resolved from policy and overrides.
    #[schema(value_type = Object, example = json!({"rules": {"max_machines": 3}, "entitlements": {"sso": true}}))]
    pub terms: Terms,
    /// The version of the policy that the terms were resolved from.
    pub terms_version: i64,
    /// What differs from the policy.
    pub overrides: Overrides,
    /// Before this it is not valid.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When its term began to run.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it expires; null: never, or its term has not begun.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last validated, to the quarter of an hour.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_validated_at: Option<DateTime<Utc>>,
    /// When its first machine was activated.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub activated_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// How it came to be.
    pub issued_via: Via,
    /// By what: an order, an import.
    pub source_ref: Option<String>,
    /// What the software may read.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub public_metadata: Metadata,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// Your own key for it.
    pub external_id: Option<String>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was issued.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl License {
    /// The reasons of its holds.
    pub fn reasons(&self) -> impl Iterator<Item = HoldReason> {
        self.holds.iter().map(|hold| hold.reason)
    }
}

/// One reason why a licence is suspended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LicenseHold, example = json!({"reason": "abuse", "ref": null, "note": "Found on a forum.", "placed_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Hold {
    /// The reason.
    pub reason: HoldReason,
    /// Tells holds of one reason apart: the payment, the dispute. Lifting the hold names it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// What was noted for people.
    pub note: Option<String>,
    /// Since when it stands.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub placed_at: DateTime<Utc>,
}

impl Versioned for License {
    fn version(&self) -> i64 {
        self.version
    }

    fn tag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.status)
    }
}

/// A licence that was just issued: the only time that its key is shown.
#[derive(Serialize, ToSchema)]
pub struct IssuedLicense {
    /// The licence.
    #[serde(flatten)]
    pub license: License,
    /// The key, for the customer's software. It is never shown again.
    #[schema(example = "gld_live_lk_…")]
    pub key: String,
}

impl Versioned for IssuedLicense {
    const SECRET: bool = true;

    fn version(&self) -> i64 {
        self.license.version
    }

    fn tag(&self) -> String {
        self.license.tag()
    }
}

impl Located for IssuedLicense {
    fn path(&self) -> String {
        format!("/api/v1/licenses/{}", self.license.id)
    }
}

/// A licence's term, as far as it is its own: what renewals until a date give stands beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Where its months are counted from, so that a month's end that was cut short comes back.
    pub anchor: Option<DateTime<Utc>>,
    pub ends_at: Option<DateTime<Utc>>,
}

impl From<&Row> for Term {
    fn from(row: &Row) -> Term {
        Term {
            anchor: row.term_anchor.or(row.started_at),
            ends_at: row.term_ends_at,
        }
    }
}

/// A licence as the database holds it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = licenses, check_for_backend(diesel::pg::Pg))]
pub struct Row {
    pub id: LicenseId,
    pub product_id: ProductId,
    pub policy_id: PolicyId,
    pub customer_id: Option<CustomerId>,
    pub reseller_id: Option<ResellerId>,
    pub name: Option<String>,
    pub state: State,
    pub terms: Jsonb<Terms>,
    pub terms_version: i64,
    pub overrides: Jsonb<Overrides>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub starts_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub term_anchor: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub term_ends_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub check_in_due_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub last_validated_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub activated_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub suspended_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub revoked_at: Option<DateTime<Utc>>,
    pub issued_via: Via,
    pub source_ref: Option<String>,
    pub public_metadata: Jsonb<Metadata>,
    pub metadata: Jsonb<Metadata>,
    pub external_id: Option<String>,
    pub version: i64,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

/// A page of licences.
#[derive(Serialize, ToSchema)]
pub struct LicensePage {
    /// Newest first.
    pub data: Vec<License>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of licences.
#[derive(Default)]
pub struct LicenseFilters {
    pub products: Vec<ProductId>,
    pub policies: Vec<PolicyId>,
    pub customers: Vec<CustomerId>,
    pub external_ids: Vec<String>,
    pub key_starts: Vec<String>,
    pub expires_before: Option<DateTime<Utc>>,
}

impl Filters for LicenseFilters {
    const RESOURCE: &'static str = "licenses";
    const NAMES: &'static [&'static str] = &[
        "product_id",
        "policy_id",
        "customer_id",
        "external_id",
        "key_start",
        "expires_before",
    ];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "product_id" => self.products.push(id_filter(value)),
            "policy_id" => self.policies.push(id_filter(value)),
            "customer_id" => self.customers.push(id_filter(value)),
            "external_id" => self.external_ids.push(value.to_owned()),
            "key_start" => self.key_starts.push(value.to_owned()),
            _ => bound(&mut self.expires_before, value)?,
        }
        Ok(())
    }
}
