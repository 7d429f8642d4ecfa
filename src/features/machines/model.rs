//! Machines as rows and on the wire.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    features::licenses::judge_fingerprint,
    kernel::{
        check::{Check, Validate, tidy, trimmed_option},
        error::FieldCode,
        http::{Reply, Versioned},
        id::LicenseId,
        page::{Filters, Unfit, id_filter},
    },
};

pub use crate::features::licenses::{
    MACHINE_ACTIVATED, MACHINE_DEACTIVATED, MACHINE_DEAD, MACHINE_RESURRECTED, MACHINE_UPDATED, Machine, MachineId,
    MachineState,
};

crate::problems! {
    /// Every place of the licence is taken, or too little is left of its cores, memory or disk. The extra members say which limit it is, how
    /// much of it is taken, and by which machines.
    /// Cause: machines that were replaced and never deactivated, or a machine that is larger than what is left.
    /// Fix: deactivate a machine that is not needed, or raise the limit.
    pub MACHINE_LIMIT_REACHED = 409, "machine-limit-reached", "A limit of the licence is reached";
    /// The policy wants fingerprints to be unique beyond the licence, and another licence has this one.
    /// Cause: one customer has two licences and uses both on one machine, or a machine was cloned with its fingerprint.
    /// Fix: deactivate it there first.
    pub FINGERPRINT_TAKEN = 409, "fingerprint-taken", "Another licence has this fingerprint";
    /// The policy lets only the vendor's server activate machines.
    /// Cause: the software calls this with its licence key, and the policy wants an API key.
    /// Fix: ask the vendor's server to do it.
    pub ACTIVATION_PROTECTED = 403, "activation-protected", "Only the vendor may activate";
    /// The machine was deactivated, died, or was activated anew meanwhile: this activation of it is over.
    /// Cause: the machine was silent for longer than its policy allows, or somebody deactivated it.
    /// Fix: activate it again.
    pub LEASE_LOST = 409, "lease-lost", "This activation is over";
}

/// A machine to be activated.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"license_id": "lic_01jd8qv4x2fkr9s3m5n7p0t1wz", "fingerprint": "a1b2c3d4", "name": "Ann's laptop", "platform": "linux"}))]
pub struct NewMachine {
    /// The licence. Only the vendor names it: a key names its own.
    pub license_id: Option<LicenseId>,
    /// What tells this machine from every other; at most 4 KiB. Only its hash is kept.
    #[schema(min_length = 1, max_length = 4_096, required)]
    pub fingerprint: String,
    /// What people call it.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 100)]
    pub name: Option<String>,
    /// What it calls itself.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 255)]
    pub hostname: Option<String>,
    /// What it runs.
    #[serde(deserialize_with = "trimmed_option")]
    #[schema(max_length = 100)]
    pub platform: Option<String>,
    /// How many processor cores it has.
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub cores: Option<i32>,
    /// How much memory, in MiB.
    #[schema(minimum = 1, maximum = 1_073_741_824)]
    pub memory_mb: Option<i32>,
    /// How much disk, in MiB.
    #[schema(minimum = 1, maximum = 1_073_741_824)]
    pub disk_mb: Option<i32>,
    /// The vendor's own key for it. Only the vendor says it.
    #[schema(max_length = 255)]
    pub external_id: Option<String>,
}

impl Validate for NewMachine {
    fn validate(&self, check: &mut Check) {
        if tidy(&self.fingerprint).is_empty() {
            check.refuse("/fingerprint", FieldCode::Required, "This field is required.");
        }
        judge_fingerprint(check, "/fingerprint", Some(&self.fingerprint));
        for (pointer, text, longest) in [
            ("/name", &self.name, 100),
            ("/hostname", &self.hostname, 255),
            ("/platform", &self.platform, 100),
        ] {
            if let Some(text) = text {
                check.line(pointer, text, 1..=longest);
            }
        }
        for (pointer, size, most) in [
            ("/cores", self.cores, 1_048_576),
            ("/memory_mb", self.memory_mb, 1_073_741_824),
            ("/disk_mb", self.disk_mb, 1_073_741_824),
        ] {
            if let Some(size) = size {
                check.number(pointer, i64::from(size), 1..=most);
            }
        }
        check.external_id(self.external_id.as_ref());
    }
}

/// An activation: made just now, or before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Activated {
    /// The machine.
    #[serde(flatten)]
    pub machine: Machine,
    /// It had its place already; none was taken.
    pub already_active: bool,
}

impl Reply for Activated {
    type Body = Activated;

    fn status(&self) -> u16 {
        if self.already_active { 200 } else { 201 }
    }
    fn location(&self) -> Option<String> {
        (!self.already_active).then(|| format!("/api/v1/machines/{}", self.machine.id))
    }
    fn tag(&self) -> Option<String> {
        Some(self.machine.tag())
    }
    fn body(&self) -> Option<&Activated> {
        Some(self)
    }
}

/// A machine that takes a place, in the refusal that says there is none left.
#[derive(Serialize)]
pub(super) struct Taker {
    pub(super) id: MachineId,
    pub(super) name: Option<String>,
    pub(super) fingerprint_start: String,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub(super) created_at: DateTime<Utc>,
}

/// A sign of life.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"generation": 1}))]
pub struct Beat {
    /// Which activation of the machine gives it.
    #[schema(minimum = 1)]
    pub generation: i32,
}

impl Validate for Beat {
    fn validate(&self, check: &mut Check) {
        check.number("/generation", i64::from(self.generation), 1..=i64::from(i32::MAX));
    }
}

/// The answer to a sign of life.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"due_at": "2026-11-20T17:40:00.123Z", "generation": 1}))]
pub struct Pulse {
    /// When the next one is due; null: the policy wants none.
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub due_at: Option<DateTime<Utc>>,
    /// Which activation of the machine it is now.
    pub generation: i32,
}

/// A page of machines.
#[derive(Serialize, ToSchema)]
pub struct MachinePage {
    /// Newest first.
    pub data: Vec<Machine>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// Filters of the list of machines.
#[derive(Default)]
pub struct MachineFilters {
    pub licenses: Vec<LicenseId>,
    pub states: Vec<MachineState>,
    pub external_ids: Vec<String>,
}

impl Filters for MachineFilters {
    const RESOURCE: &'static str = "machines";
    const NAMES: &'static [&'static str] = &["license_id", "state", "external_id"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "license_id" => self.licenses.push(id_filter(value)),
            "external_id" => self.external_ids.push(value.to_owned()),
            _ => {
                let state = MachineState::named(value).ok_or_else(|| Unfit::choice(MachineState::WORDS))?;
                self.states.push(state);
            }
        }
        Ok(())
    }
}
