//! What a person likes: as a row, on the wire, and how it is changed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::kernel::{
    check::{Check, Validate, given, patched, trimmed_given},
    http::Versioned,
    id::{UserId, WorkspaceId},
    schema::user_preferences,
};

crate::words! {
    /// How a frontend looks.
    pub enum Theme {
        /// As the system does.
        System "system",
        /// Light.
        Light "light",
        /// Dark.
        Dark "dark",
    }
}

/// What a person likes.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = user_preferences, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"theme": "system", "date_format": "iso", "default_workspace_id": null,
                          "notifications": {"runs": {"email": true, "in_app": true, "digest": false}}, "app": {}, "version": 1,
                          "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Preferences {
    /// Whose they are.
    #[serde(skip)]
    pub user_id: UserId,
    /// How a frontend looks.
    pub theme: Theme,
    /// How dates are written: `iso`, `us`, `eu` or a pattern of the frontend's own.
    pub date_format: String,
    /// Which workspace a frontend opens first. A hint: requests still name theirs.
    pub default_workspace_id: Option<WorkspaceId>,
    /// Which notices come how, by group: `runs`, `approvals`, `billing`, `members`, `integrations`, `product`. What is missing is on.
    #[schema(value_type = BTreeMap<String, Notices>)]
    pub notifications: Value,
    /// The frontend's own: anything, at most 16 KiB.
    #[schema(value_type = Object)]
    pub app: Value,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When they last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Preferences {
    fn version(&self) -> i64 {
        self.version
    }

    /// One address shows each caller their own.
    fn tag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.user_id)
    }
}

/// How the notices of one group come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": true, "in_app": true, "digest": false}))]
pub struct Notices {
    /// By mail, each at once.
    pub email: bool,
    /// In the product.
    pub in_app: bool,
    /// By mail, once a day.
    pub digest: bool,
}

impl Default for Notices {
    fn default() -> Notices {
        Notices {
            email: true,
            in_app: true,
            digest: true,
        }
    }
}

crate::words! {
    /// What notices are about. Notices about security cannot be switched off, so they are not listed.
    pub enum NoticeGroup {
        /// Runs that ended.
        Runs "runs",
        /// Runs that wait for somebody.
        Approvals "approvals",
        /// Payments and plans.
        Billing "billing",
        /// Who joined and left.
        Members "members",
        /// Webhooks and connections.
        Integrations "integrations",
        /// What is new.
        Product "product",
    }
}

/// What a person likes from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"theme": "dark", "notifications": {"runs": {"email": false, "in_app": true, "digest": true}}}))]
pub struct PreferencesPatch {
    /// How a frontend looks.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub theme: Option<Theme>,
    /// How dates are written.
    #[serde(default, deserialize_with = "trimmed_given")]
    #[schema(nullable = false, min_length = 1, max_length = 40)]
    pub date_format: Option<String>,
    /// Which workspace a frontend opens first; null for none.
    #[serde(default, deserialize_with = "patched")]
    #[schema(value_type = Option<String>, format = "typeid")]
    pub default_workspace_id: Option<Option<WorkspaceId>>,
    /// Which notices come how, merged (RFC 7396): groups (`runs`, `approvals`, …) and their members (`email`, `in_app`, `digest`) that are not
    /// named stay as they are, and null makes them as usual again.
    #[serde(default, deserialize_with = "patched")]
    #[schema(value_type = Option<Object>)]
    pub notifications: Option<Option<BTreeMap<NoticeGroup, Option<NoticesPatch>>>>,
    /// The frontend's own, merged (RFC 7396): null removes a member, or all of them.
    #[serde(default, deserialize_with = "patched")]
    #[schema(value_type = Option<Object>)]
    pub app: Option<Option<Map<String, Value>>>,
}

/// How the notices of a group come from now on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesPatch {
    /// By mail, each at once.
    #[serde(default, deserialize_with = "patched")]
    pub email: Option<Option<bool>>,
    /// In the product.
    #[serde(default, deserialize_with = "patched")]
    pub in_app: Option<Option<bool>>,
    /// By mail, once a day.
    #[serde(default, deserialize_with = "patched")]
    pub digest: Option<Option<bool>>,
}

impl NoticesPatch {
    /// What becomes of what there was.
    pub fn applied(&self, before: Notices) -> Notices {
        let after = |change: Option<Option<bool>>, before| change.map_or(before, |change| change.unwrap_or(true));
        Notices {
            email: after(self.email, before.email),
            in_app: after(self.in_app, before.in_app),
            digest: after(self.digest, before.digest),
        }
    }
}

impl Validate for PreferencesPatch {
    fn validate(&self, check: &mut Check) {
        if let Some(format) = &self.date_format {
            check.line("/date_format", format, 1..=40);
        }
    }
}
