//! What licences of a policy may and must.

use diesel::{AsChangeset, Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::{
    Authentication, ClientVerb, Cull, ExpirationBasis, ExpirationStrategy, Heartbeat, HeartbeatBasis, Overage,
    RenewalBasis, Resurrection, ScopeName, Span, SuspendedTime, Uniqueness, Unit,
};
use crate::{
    features::schema::licensing::policies,
    kernel::{
        check::{Check, Metadata},
        error::FieldCode,
    },
};

/// Declares the rules once: as they stand in a policy and in a licence's terms ([`Rules`]), and beside the head of a new policy
/// ([`NewPolicy`](super::NewPolicy)), where each has a default.
macro_rules! rules {
    ($($(#[doc = $doc:literal])* $(#[schema($($schema:tt)*)])? $field:ident: $type:ty = $default:expr;)*) => {
        /// What licences of a policy may and must.
        #[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Serialize, Deserialize, ToSchema)]
        // What is null is unlimited, and not the column's default.
        #[diesel(table_name = policies, check_for_backend(diesel::pg::Pg), treat_none_as_null = true, treat_none_as_default_value = false)]
        #[serde(default)]
        pub struct Rules {
            $($(#[doc = $doc])* $(#[schema($($schema)*)])? pub $field: $type,)*
        }

        impl Default for Rules {
            fn default() -> Rules {
                Rules { $($field: $default),* }
            }
        }

        /// What a new policy needs. Whatever is left out has its default.
        #[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schema(example = json!({"product_id": "prd_01jd8qv4x2fkr9s3m5n7p0t1wz", "code": "pro", "name": "Pro", "term_count": 1,
                                  "term_unit": "year", "max_machines": 3, "entitlements": {"sso": true, "seats": 25}}))]
        pub struct NewPolicy {
            /// What its licences are for. It never changes.
            #[schema(required)]
            pub product_id: crate::features::products::ProductId,
            /// What programs call it, unique in the product: lower-case letters, digits and hyphens.
            #[schema(min_length = 1, max_length = 63, required)]
            pub code: String,
            /// What people call it.
            #[serde(deserialize_with = "crate::kernel::check::trimmed")]
            #[schema(min_length = 1, max_length = 100, required)]
            pub name: String,
            /// Orders the product's tiers: the higher one is worth more.
            #[schema(minimum = 0, maximum = 1_000_000)]
            pub rank: i32,
            $($(#[doc = $doc])* $(#[schema($($schema)*)])? pub $field: $type,)*
            /// What its licences entitle to, by code: `true`, a number, `null` for an unlimited number, a text. At most 200, and 16 KiB in all.
            #[schema(value_type = Object)]
            pub entitlements: crate::features::entitlements::Values,
            /// Your own tags.
            #[schema(value_type = std::collections::BTreeMap<String, String>)]
            pub metadata: Metadata,
        }

        impl Default for NewPolicy {
            fn default() -> NewPolicy {
                NewPolicy {
                    product_id: crate::features::products::ProductId::nil(),
                    code: String::new(),
                    name: String::new(),
                    rank: 0,
                    $($field: $default,)*
                    entitlements: Default::default(),
                    metadata: Default::default(),
                }
            }
        }

        impl NewPolicy {
            /// Its rules.
            pub fn rules(&self) -> Rules {
                Rules { $($field: self.$field.clone()),* }
            }

            /// The same policy with these rules.
            pub fn with(self, rules: Rules) -> NewPolicy {
                NewPolicy { $($field: rules.$field,)* ..self }
            }
        }
    };
}

rules! {
    /// How many units the term lasts; null: for ever.
    #[schema(minimum = 1)]
    term_count: Option<i32> = None;
    /// Of which unit.
    term_unit: Option<Unit> = None;
    /// When the term begins to run.
    expiration_basis: ExpirationBasis = ExpirationBasis::FromCreation;
    /// What an expired licence still may.
    expiration_strategy: ExpirationStrategy = ExpirationStrategy::RestrictAccess;
    /// How long after its expiry a licence stays valid, with the notice `in_grace`; at most 90 days.
    #[schema(minimum = 0, maximum = 7_776_000)]
    grace_seconds: i32 = 0;
    /// Where a renewal by periods begins.
    renewal_basis: RenewalBasis = RenewalBasis::FromExpiry;
    /// What a suspension does to the term.
    suspended_time: SuspendedTime = SuspendedTime::Runs;
    /// Whether it is a trial: verdicts say so.
    trial: bool = false;
    /// Whether limits are judged at every validation; else they refuse new machines only.
    strict: bool = false;
    /// Whether machines come and go; else the licence is bound to the machines that were activated.
    floating: bool = false;
    /// Whether only the vendor's server may activate.
    protected: bool = false;
    /// How many machines; null: as many as wanted.
    #[schema(minimum = 1)]
    max_machines: Option<i32> = Some(1);
    /// How many processor cores in all; null: as many as wanted.
    #[schema(minimum = 1)]
    max_cores: Option<i32> = None;
    /// How much memory in all, in MiB; null: as much as wanted.
    #[schema(minimum = 1)]
    max_memory_mb: Option<i32> = None;
    /// How much disk in all, in MiB; null: as much as wanted.
    #[schema(minimum = 1)]
    max_disk_mb: Option<i32> = None;
    /// How far a limit may be exceeded.
    overage_strategy: Overage = Overage::NoOverage;
    /// Inside what a fingerprint is the only one.
    machine_uniqueness: Uniqueness = Uniqueness::PerLicense;
    /// Whether machines give signs of life.
    heartbeat: Heartbeat = Heartbeat::None;
    /// How long after one sign of life the next is due.
    #[schema(minimum = 60, maximum = 86_400)]
    heartbeat_ttl_seconds: i32 = 600;
    /// When the first is due.
    heartbeat_basis: HeartbeatBasis = HeartbeatBasis::FromFirstPing;
    /// What becomes of a machine that gives none.
    heartbeat_cull: Cull = Cull::DeactivateDead;
    /// How long after its death a machine may come back; needs `keep_dead`.
    heartbeat_resurrection: Resurrection = Resurrection::NoRevive;
    /// What every validation must be asked about.
    #[schema(max_items = 10)]
    require_scopes: Vec<ScopeName> = Vec::new();
    /// What the customer's software shows to be let in.
    authentication_strategy: Authentication = Authentication::License;
    /// What the customer's software may do with its key.
    #[schema(max_items = 9)]
    client_may: Vec<ClientVerb> = ClientVerb::ALL[..6].to_vec();
    /// How long a signed verdict is fresh.
    #[schema(minimum = 60, maximum = 2_592_000)]
    validation_ttl_seconds: i32 = 86_400;
    /// How long after that a client that cannot reach us may go on.
    #[schema(minimum = 0, maximum = 31_536_000)]
    offline_grace_seconds: i32 = 1_209_600;
    /// How many days before its expiry a licence's status is `expiring`.
    #[schema(minimum = 0, maximum = 365)]
    expiring_days: i32 = 3;
}

impl Rules {
    /// The term, if it ends.
    pub fn term(&self) -> Option<Span> {
        Some(Span {
            count: self.term_count?,
            unit: self.term_unit?,
        })
    }

    /// Notes what cannot be.
    pub(super) fn judge(&self, check: &mut Check) {
        if self.term_count.is_some() != self.term_unit.is_some() {
            let detail = "A term has a count and a unit, or neither.";
            check.refuse("/term_unit", FieldCode::ConflictsWith, detail);
        }
        if let Some(term) = self.term().filter(|term| !term.is_sound()) {
            let code = if term.count < 1 {
                FieldCode::TooSmall
            } else {
                FieldCode::TooLarge
            };
            check.refuse(
                "/term_count",
                code,
                "A term is an hour at least and a hundred years at most.",
            );
        }
        for (pointer, number, most) in [
            ("/grace_seconds", self.grace_seconds, 7_776_000),
            ("/offline_grace_seconds", self.offline_grace_seconds, 31_536_000),
            ("/expiring_days", self.expiring_days, 365),
        ] {
            check.number(pointer, i64::from(number), 0..=most);
        }
        for (pointer, number, most) in [
            ("/heartbeat_ttl_seconds", self.heartbeat_ttl_seconds, 86_400),
            ("/validation_ttl_seconds", self.validation_ttl_seconds, 2_592_000),
        ] {
            check.number(pointer, i64::from(number), 60..=most);
        }
        for (pointer, limit) in [
            ("/max_machines", self.max_machines),
            ("/max_cores", self.max_cores),
            ("/max_memory_mb", self.max_memory_mb),
            ("/max_disk_mb", self.max_disk_mb),
        ] {
            if let Some(limit) = limit {
                check.number(pointer, i64::from(limit), 1..=i64::from(i32::MAX));
            }
        }
        if self.heartbeat_resurrection != Resurrection::NoRevive && self.heartbeat_cull != Cull::KeepDead {
            let detail = "Only what is kept dead can come back.";
            check.refuse("/heartbeat_resurrection", FieldCode::ConflictsWith, detail);
        }
        check.count("/require_scopes", self.require_scopes.len(), ScopeName::ALL.len());
        check.count("/client_may", self.client_may.len(), ClientVerb::ALL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_an_older_release_read_with_defaults() {
        let rules: Rules =
            serde_json::from_value(serde_json::json!({ "max_machines": null, "gone": 1 })).expect("rules");
        assert_eq!(
            rules,
            Rules {
                max_machines: None,
                ..Rules::default()
            }
        );
    }
}
