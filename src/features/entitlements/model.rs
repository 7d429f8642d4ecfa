//! Definitions of entitlements as rows and on the wire.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    features::schema::licensing::entitlement_defs,
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
    /// An entitlement was defined.
    pub ENTITLEMENT_CREATED: Entitlement = "entitlement.created", group "entitlements", at "/entitlements/{id}", filterable ["id"], audience [audit, webhook];
    /// An entitlement's definition was changed.
    pub ENTITLEMENT_UPDATED: Entitlement = "entitlement.updated", group "entitlements", at "/entitlements/{id}", filterable ["id"], audience [audit, webhook];
    /// An entitlement was archived: no policy gains it any more, and those that have it keep it.
    pub ENTITLEMENT_ARCHIVED: Entitlement = "entitlement.archived", group "entitlements", at "/entitlements/{id}", filterable ["id"], audience [audit, webhook],
        example {"archived_at": "2026-11-20T17:30:00.123Z"};
}

crate::words! {
    /// What kind of entitlement it is.
    pub enum Kind {
        /// Had or not had.
        Boolean "boolean",
        /// A value that does not change by use: a number, a text, a choice.
        Static "static",
    }
}

crate::words! {
    /// What its values are.
    pub enum ValueType {
        /// `true` or `false`.
        Boolean "boolean",
        /// A whole number from 0, or `null` for unlimited.
        Integer "integer",
        /// A text of at most 500 characters.
        String "string",
        /// One of the options.
        Select "select",
    }
}

/// Values of entitlements by code.
pub type Values = BTreeMap<String, Value>;

/// Names a definition.
pub type EntitlementId = Id<Entitlement>;

impl Resource for Entitlement {
    const PREFIX: &'static str = "ent";
}

/// Something that a licence can entitle to.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = entitlement_defs, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"id": "ent_01jd8qv4x2fkr9s3m5n7p0t1wz", "code": "sso", "name": "Single sign-on", "kind": "boolean",
                          "value_type": "boolean", "options": [], "unit": null, "metadata": {}, "archived_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Entitlement {
    /// Names the definition.
    pub id: EntitlementId,
    /// What programs call it. It never changes.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// What kind it is.
    pub kind: Kind,
    /// What its values are.
    pub value_type: ValueType,
    /// What may be chosen from.
    pub options: Vec<String>,
    /// What a number counts.
    pub unit: Option<String>,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
    /// Since when no policy gains it any more.
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

impl Versioned for Entitlement {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Located for Entitlement {
    fn path(&self) -> String {
        format!("/api/v1/entitlements/{}", self.id)
    }
}

/// What a new definition needs.
#[derive(Clone, Debug, Serialize, Deserialize, Insertable, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[diesel(table_name = entitlement_defs)]
#[schema(example = json!({"code": "seats", "name": "Seats", "kind": "static", "value_type": "integer", "unit": "seat"}))]
pub struct NewEntitlement {
    /// What programs call it: lower-case letters, digits, `_`, `.`, `-`. It never changes.
    #[schema(min_length = 1, max_length = 63, required)]
    pub code: String,
    /// What people call it.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100, required)]
    pub name: String,
    /// What kind it is.
    pub kind: Kind,
    /// What its values are: `boolean` of a boolean one, and nothing else of it.
    pub value_type: ValueType,
    /// What may be chosen from, for `select`.
    #[schema(max_items = 50)]
    pub options: Vec<String>,
    /// What a number counts.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 40)]
    pub unit: Option<String>,
    /// Your own tags.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Jsonb<Metadata>,
}

impl Default for NewEntitlement {
    fn default() -> NewEntitlement {
        NewEntitlement {
            code: String::new(),
            name: String::new(),
            kind: Kind::Boolean,
            value_type: ValueType::Boolean,
            options: Vec::new(),
            unit: None,
            metadata: Jsonb::default(),
        }
    }
}

impl Validate for NewEntitlement {
    fn validate(&self, check: &mut Check) {
        check.text("/code", &self.code, 1..=63);
        let shaped = self.code.starts_with(|c: char| c.is_ascii_lowercase())
            && self
                .code
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
        if !self.code.is_empty() && !shaped {
            check.refuse(
                "/code",
                FieldCode::InvalidFormat,
                "Lower-case letters, digits, '_', '.', '-', beginning with a letter.",
            );
        }
        check.line("/name", &self.name, 1..=100);
        if (self.kind == Kind::Boolean) != (self.value_type == ValueType::Boolean) {
            let detail = "A boolean entitlement has boolean values, and no other has.";
            check.refuse("/value_type", FieldCode::ConflictsWith, detail);
        }
        if (self.value_type == ValueType::Select) == self.options.is_empty() {
            let detail = "A choice has options, and nothing else has.";
            check.refuse("/options", FieldCode::ConflictsWith, detail);
        }
        check.count("/options", self.options.len(), 50);
        for (place, option) in self.options.iter().enumerate() {
            check.line(&format!("/options/{place}"), option, 1..=100);
        }
        if let Some(unit) = &self.unit {
            check.line("/unit", unit, 1..=40);
        }
        check.metadata(&self.metadata);
    }
}

impl Patchable for NewEntitlement {
    const FIXED: &'static [&'static str] = &["code", "kind", "value_type"];
}

/// What may change of a definition.
pub type EntitlementPatch = Patch<NewEntitlement>;

impl From<&Entitlement> for NewEntitlement {
    fn from(entitlement: &Entitlement) -> NewEntitlement {
        NewEntitlement {
            code: entitlement.code.clone(),
            name: entitlement.name.clone(),
            kind: entitlement.kind,
            value_type: entitlement.value_type,
            options: entitlement.options.clone(),
            unit: entitlement.unit.clone(),
            metadata: entitlement.metadata.clone(),
        }
    }
}

/// A page of definitions.
#[derive(Serialize, ToSchema)]
pub struct EntitlementPage {
    /// Newest first.
    pub data: Vec<Entitlement>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of definitions.
#[derive(Default)]
pub struct EntitlementFilters {
    pub codes: Vec<String>,
}

impl Filters for EntitlementFilters {
    const RESOURCE: &'static str = "entitlements";
    const NAMES: &'static [&'static str] = &["code"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        self.codes.push(value.to_owned());
        Ok(())
    }
}
