//! What holds for one licence: its policy with what differs for it.

use diesel::{deserialize::FromSqlRow, expression::AsExpression};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::Rules;
use crate::{
    features::entitlements::Values,
    kernel::check::{Check, Validate, patched},
};

/// Everything that a licence is judged by, resolved when it was issued or last changed: policy, entitlements, overrides. Every door reads
/// this, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// The rules.
    pub rules: Rules,
    /// What it entitles to, by code.
    pub entitlements: Values,
}

/// What differs for one licence. What is absent is the policy's; null is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema, FromSqlRow, AsExpression)]
#[diesel(sql_type = diesel::sql_types::Jsonb)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"max_machines": 5, "entitlements": {"seats": 50}}))]
pub struct Overrides {
    /// How many machines.
    #[serde(deserialize_with = "patched", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    pub max_machines: Option<Option<i32>>,
    /// How many processor cores in all.
    #[serde(deserialize_with = "patched", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    pub max_cores: Option<Option<i32>>,
    /// How much memory in all, in MiB.
    #[serde(deserialize_with = "patched", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    pub max_memory_mb: Option<Option<i32>>,
    /// How much disk in all, in MiB.
    #[serde(deserialize_with = "patched", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    pub max_disk_mb: Option<Option<i32>>,
    /// Entitlements that it has beside the policy's, or with other values. At most 200, and 16 KiB in all.
    #[serde(skip_serializing_if = "Values::is_empty")]
    #[schema(value_type = Object)]
    pub entitlements: Values,
}

impl Validate for Overrides {
    fn validate(&self, check: &mut Check) {
        for (pointer, limit) in [
            ("/overrides/max_machines", self.max_machines),
            ("/overrides/max_cores", self.max_cores),
            ("/overrides/max_memory_mb", self.max_memory_mb),
            ("/overrides/max_disk_mb", self.max_disk_mb),
        ] {
            if let Some(Some(limit)) = limit {
                check.number(pointer, i64::from(limit), 1..=i64::from(i32::MAX));
            }
        }
        check.count("/overrides/entitlements", self.entitlements.len(), 200);
    }
}

impl Terms {
    /// The terms of a licence by this policy with these differences.
    pub fn of(rules: &Rules, entitlements: &Values, overrides: &Overrides) -> Terms {
        let mut rules = rules.clone();
        let Overrides {
            max_machines,
            max_cores,
            max_memory_mb,
            max_disk_mb,
            entitlements: own,
        } = overrides;
        for (limit, other) in [
            (&mut rules.max_machines, max_machines),
            (&mut rules.max_cores, max_cores),
            (&mut rules.max_memory_mb, max_memory_mb),
            (&mut rules.max_disk_mb, max_disk_mb),
        ] {
            if let Some(other) = other {
                *limit = *other;
            }
        }
        let mut entitlements = entitlements.clone();
        entitlements.extend(own.clone());
        Terms { rules, entitlements }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_is_inherited_and_null_is_unlimited() {
        let rules = Rules {
            max_machines: Some(3),
            max_cores: Some(8),
            ..Rules::default()
        };
        let entitlements = Values::from([("sso".into(), json!(false)), ("seats".into(), json!(5))]);
        let overrides: Overrides =
            serde_json::from_value(json!({ "max_cores": null, "entitlements": { "sso": true } })).expect("overrides");
        let terms = Terms::of(&rules, &entitlements, &overrides);
        assert_eq!((terms.rules.max_machines, terms.rules.max_cores), (Some(3), None));
        assert_eq!(
            serde_json::to_value(&terms.entitlements).expect("plain"),
            json!({ "sso": true, "seats": 5 })
        );
        assert_eq!(
            serde_json::to_value(&overrides).expect("plain"),
            json!({ "max_cores": null, "entitlements": { "sso": true } })
        );
    }
}
