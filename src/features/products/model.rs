//! Products as rows and on the wire.

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    features::schema::licensing::products,
    kernel::{
        check::{Check, Metadata, Validate, trimmed, trimmed_option},
        error::FieldCode,
        http::{Located, Versioned},
        id::{Id, Resource},
        jsonb::Jsonb,
        page::{Filters, Unfit},
        patch::{Patch, Patchable},
    },
};

crate::events! {
    /// A product was made.
    pub PRODUCT_CREATED: Product = "product.created", group "products", at "/products/{id}", filterable ["id"], audience [audit, webhook];
    /// A product was changed.
    pub PRODUCT_UPDATED: Product = "product.updated", group "products", at "/products/{id}", filterable ["id"], audience [audit, webhook];
    /// A product was archived: it issues no more licences, and those that there are validate on.
    pub PRODUCT_ARCHIVED: Product = "product.archived", group "products", at "/products/{id}", filterable ["id"], audience [audit, webhook],
        example {"archived_at": "2026-11-20T17:30:00.123Z"};
}

crate::words! {
    /// How a product counts its versions.
    pub enum VersionScheme {
        /// `2.4.1`, as <https://semver.org> says.
        Semver "semver",
        /// `2026-11-20`.
        Date "date",
        /// `2041`.
        Integer "integer",
    }
}

/// Names a product.
pub type ProductId = Id<Product>;

impl Resource for Product {
    const PREFIX: &'static str = "prd";
}

/// Something that is sold.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = products, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"id": "prd_01jd8qv4x2fkr9s3m5n7p0t1wz", "code": "scribe", "name": "Scribe", "url": "https://scribe.example",
                          "version_scheme": "semver", "environments": ["production"], "metadata": {}, "archived_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Product {
    /// Names the product.
    pub id: ProductId,
    /// What programs call it. It never changes.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Where to read about it.
    pub url: Option<String>,
    /// How it counts its versions.
    pub version_scheme: VersionScheme,
    /// Where it runs: what an `environment` scope may be.
    pub environments: Vec<String>,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
    /// Since when it issues no more licences.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub archived_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was made.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Product {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Located for Product {
    fn path(&self) -> String {
        format!("/api/v1/products/{}", self.id)
    }
}

/// What a new product needs.
#[derive(Clone, Debug, Serialize, Deserialize, Insertable, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = products)]
#[schema(example = json!({"code": "scribe", "name": "Scribe", "url": "https://scribe.example"}))]
pub struct NewProduct {
    /// What programs call it: lower-case letters, digits and hyphens. It never changes.
    #[schema(min_length = 1, max_length = 63, required)]
    pub code: String,
    /// What people call it.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100, required)]
    pub name: String,
    /// Where to read about it.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 2_000)]
    pub url: Option<String>,
    /// How it counts its versions.
    pub version_scheme: VersionScheme,
    /// Where it runs.
    #[schema(min_items = 1, max_items = 20)]
    pub environments: Vec<String>,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
}

impl Default for NewProduct {
    fn default() -> NewProduct {
        NewProduct {
            code: String::new(),
            name: String::new(),
            url: None,
            version_scheme: VersionScheme::Semver,
            environments: vec!["production".into()],
            metadata: Jsonb::default(),
        }
    }
}

impl Validate for NewProduct {
    fn validate(&self, check: &mut Check) {
        check.slug("/code", &self.code, 1..=63);
        check.line("/name", &self.name, 1..=100);
        if let Some(url) = &self.url {
            check.text("/url", url, 1..=2_000);
            let web = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !web {
                check.refuse("/url", FieldCode::InvalidFormat, "An http or https address.");
            }
        }
        if self.environments.is_empty() {
            check.refuse("/environments", FieldCode::Required, "At least one.");
        }
        check.count("/environments", self.environments.len(), 20);
        for (place, environment) in self.environments.iter().enumerate() {
            check.slug(&format!("/environments/{place}"), environment, 1..=40);
        }
        check.metadata(&self.metadata);
    }
}

impl Patchable for NewProduct {
    const FIXED: &'static [&'static str] = &["code"];
}

/// What may change of a product.
pub type ProductPatch = Patch<NewProduct>;

impl From<&Product> for NewProduct {
    fn from(product: &Product) -> NewProduct {
        NewProduct {
            code: product.code.clone(),
            name: product.name.clone(),
            url: product.url.clone(),
            version_scheme: product.version_scheme,
            environments: product.environments.clone(),
            metadata: product.metadata.clone(),
        }
    }
}

/// A page of products.
#[derive(Serialize, ToSchema)]
pub struct ProductPage {
    /// Newest first.
    pub data: Vec<Product>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of products.
#[derive(Default)]
pub struct ProductFilters {
    pub codes: Vec<String>,
}

impl Filters for ProductFilters {
    const RESOURCE: &'static str = "products";
    const NAMES: &'static [&'static str] = &["code"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        self.codes.push(value.to_owned());
        Ok(())
    }
}
