//! Customers as rows and on the wire.

use chrono::{DateTime, Utc};
use diesel::{AsChangeset, Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    features::schema::licensing::customers,
    kernel::{
        check::{Check, Metadata, Validate, trimmed_option},
        error::FieldCode,
        http::{Located, Versioned},
        id::{CustomerId, ResellerId},
        jsonb::Jsonb,
        page::{Filters, Unfit},
        patch::{Patch, Patchable},
    },
};

crate::events! {
    /// A customer was added.
    pub CUSTOMER_CREATED: Customer = "customer.created", group "customers", at "/customers/{id}", filterable ["id", "reseller_id"], audience [audit, webhook];
    /// A customer was changed.
    pub CUSTOMER_UPDATED: Customer = "customer.updated", group "customers", at "/customers/{id}", filterable ["id", "reseller_id"], audience [audit, webhook], personal ["email", "name", "company", "external_id", "metadata"];
}

/// Somebody who buys.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = customers, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"id": "cst_01jd8qv4x2fkr9s3m5n7p0t1wz", "email": "ann@example.com", "name": "Ann", "company": "Example Ltd",
                          "external_id": null, "reseller_id": null, "locale": "en", "metadata": {}, "banned_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Customer {
    /// Names the customer.
    pub id: CustomerId,
    /// Where to write to.
    pub email: Option<String>,
    /// What they are called.
    pub name: Option<String>,
    /// Whom they buy for.
    pub company: Option<String>,
    /// Your own key for them.
    pub external_id: Option<String>,
    /// Whose customer it is, if a reseller's.
    pub reseller_id: Option<ResellerId>,
    /// The language of mails, as `en` or `pt-BR`.
    pub locale: String,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
    /// Since when they are banned: none of their licences is valid.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub banned_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When they were added.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When they last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Customer {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Located for Customer {
    fn path(&self) -> String {
        format!("/api/v1/customers/{}", self.id)
    }
}

/// What is known of a new customer.
#[derive(Clone, Debug, Serialize, Deserialize, Insertable, AsChangeset, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = customers, treat_none_as_null = true)]
#[schema(example = json!({"email": "ann@example.com", "name": "Ann", "company": "Example Ltd"}))]
pub struct NewCustomer {
    /// Where to write to. Unique among the vendor's, and among each reseller's customers.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// What they are called.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Whom they buy for.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 200)]
    pub company: Option<String>,
    /// Your own key for them, unique as the address is.
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
    /// The language of mails, as `en` or `pt-BR`.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: String,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
}

impl Default for NewCustomer {
    fn default() -> NewCustomer {
        NewCustomer {
            email: None,
            name: None,
            company: None,
            external_id: None,
            locale: "en".into(),
            metadata: Jsonb::default(),
        }
    }
}

impl Validate for NewCustomer {
    fn validate(&self, check: &mut Check) {
        if let Some(email) = &self.email {
            judge_email(check, "/email", email);
        }
        for (pointer, text) in [("/name", &self.name), ("/company", &self.company)] {
            if let Some(text) = text {
                check.line(pointer, text, 1..=200);
            }
        }
        check.external_id(self.external_id.as_ref());
        check.locale("/locale", &self.locale);
        check.metadata(&self.metadata);
    }
}

/// Notes what cannot be an e-mail address. Whether mail arrives there, only mail tells.
pub fn judge_email(check: &mut Check, pointer: &str, email: &str) {
    let shaped = email.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
    });
    let clean = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if email.len() > 254 || !shaped || !clean {
        check.refuse(pointer, FieldCode::InvalidFormat, "An e-mail address.");
    }
}

impl Patchable for NewCustomer {}

/// What may change of a customer.
pub type CustomerPatch = Patch<NewCustomer>;

impl From<&Customer> for NewCustomer {
    fn from(customer: &Customer) -> NewCustomer {
        NewCustomer {
            email: customer.email.clone(),
            name: customer.name.clone(),
            company: customer.company.clone(),
            external_id: customer.external_id.clone(),
            locale: customer.locale.clone(),
            metadata: customer.metadata.clone(),
        }
    }
}

/// A page of customers.
#[derive(Serialize, ToSchema)]
pub struct CustomerPage {
    /// Newest first.
    pub data: Vec<Customer>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of customers.
#[derive(Default)]
pub struct CustomerFilters {
    pub emails: Vec<String>,
    pub external_ids: Vec<String>,
}

impl Filters for CustomerFilters {
    const RESOURCE: &'static str = "customers";
    const NAMES: &'static [&'static str] = &["email", "external_id"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "email" => self.emails.push(value.to_owned()),
            _ => self.external_ids.push(value.to_owned()),
        }
        Ok(())
    }
}
