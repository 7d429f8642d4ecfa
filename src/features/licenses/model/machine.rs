//! Machines as rows and on the wire. They are another slice's; but when a licence ends, its machines do, and their receivers are told.

use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable};
use serde::Serialize;
use utoipa::ToSchema;

use super::MachineId;
use crate::{
    features::schema::licensing::machines,
    kernel::{
        http::Versioned,
        id::{CustomerId, LicenseId, ResellerId},
    },
};

crate::events! {
    /// A machine was activated.
    pub MACHINE_ACTIVATED: Machine = "machine.activated", group "machines", at "/machines/{id}", filterable ["id", "license_id", "external_id"], audience [audit, webhook, internal];
    /// A machine was deactivated, by somebody or because it gave no sign of life: its place is free.
    pub MACHINE_DEACTIVATED: Machine = "machine.deactivated", group "machines", at "/machines/{id}", filterable ["id", "license_id", "external_id"], audience [audit, webhook, internal],
        example {"state": "deactivated", "deactivated_at": "2026-11-20T17:30:00.123Z"};
    /// A machine was activated again: by another name, with other sizes or another `external_id`, or anew after it was silent for too long.
    pub MACHINE_UPDATED: Machine = "machine.updated", group "machines", at "/machines/{id}", filterable ["id", "license_id", "external_id"], audience [audit, webhook, internal], personal ["name", "hostname", "external_id"],
        example {"name": "Ann's new laptop", "version": 2};
    /// A machine gave no sign of life in time. It keeps its place.
    pub MACHINE_DEAD: Machine = "machine.dead", group "machines", at "/machines/{id}", filterable ["id", "license_id", "external_id"], audience [audit, webhook, internal],
        example {"state": "dead", "heartbeat_due_at": "2026-11-20T17:30:00.123Z"};
    /// A machine that was dead came back in time.
    pub MACHINE_RESURRECTED: Machine = "machine.resurrected", group "machines", at "/machines/{id}", filterable ["id", "license_id", "external_id"], audience [audit, webhook, internal], personal ["name", "hostname", "external_id"],
        example {"state": "active", "generation": 2, "heartbeat_due_at": "2026-11-20T17:40:00.123Z"};
}

crate::words! {
    /// How a machine stands.
    pub enum MachineState {
        /// It has a place of the licence.
        Active "active",
        /// It gave no sign of life in time, and keeps its place.
        Dead "dead",
        /// Its place is free.
        Deactivated "deactivated",
    }
}

/// A machine that a licence is, or was, activated on.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = machines, check_for_backend(diesel::pg::Pg))]
#[schema(example = json!({"id": "mch_01jd8qv4x2fkr9s3m5n7p0t1wz", "license_id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz", "customer_id": null,
                          "reseller_id": null, "fingerprint_start": "9f86d081", "external_id": null, "name": "Ann's laptop", "hostname": "ann-laptop",
                          "platform": "linux", "cores": 8, "memory_mb": 16384, "disk_mb": null, "state": "active", "generation": 1,
                          "heartbeat_due_at": null, "deactivated_at": null, "version": 1,
                          "created_at": "2026-11-20T17:30:00.123Z", "updated_at": "2026-11-20T17:30:00.123Z"}))]
pub struct Machine {
    /// Names the machine.
    pub id: MachineId,
    /// The licence that runs on it.
    pub license_id: LicenseId,
    /// Whose licence it is.
    pub customer_id: Option<CustomerId>,
    /// Who sold the licence, if a reseller did.
    pub reseller_id: Option<ResellerId>,
    /// How the hash of its fingerprint begins: enough to tell one from another. The fingerprint itself is not kept.
    pub fingerprint_start: String,
    /// The vendor's own key for it. A device that runs several licences is a machine of each, under the same key.
    pub external_id: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// What it calls itself.
    pub hostname: Option<String>,
    /// What it runs, as `linux` or `windows 11`.
    pub platform: Option<String>,
    /// How many processor cores it has.
    pub cores: Option<i32>,
    /// How much memory, in MiB.
    pub memory_mb: Option<i32>,
    /// How much disk, in MiB.
    pub disk_mb: Option<i32>,
    /// How it stands.
    pub state: MachineState,
    /// Which activation of it this is: signs of life name it.
    pub generation: i32,
    /// When its next sign of life is due.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub heartbeat_due_at: Option<DateTime<Utc>>,
    /// When it was deactivated.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub deactivated_at: Option<DateTime<Utc>>,
    /// The version, which is also the `ETag`.
    pub version: i64,
    /// When it was activated.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub updated_at: DateTime<Utc>,
}

impl Versioned for Machine {
    fn version(&self) -> i64 {
        self.version
    }
}
