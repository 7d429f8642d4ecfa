//! The licences that workspaces hold in `platform`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    features::schema::licensing::{customers, licenses, machines, policy_entitlements},
    kernel::id::CustomerId,
};

/// Who is a machine of one of these licences, or was.
pub(in crate::features::store) fn holders_of_licenses(
    conn: &mut PgConnection,
    licenses: impl IntoIterator<Item = Uuid>,
) -> QueryResult<Vec<Option<String>>> {
    machines::table
        .filter(machines::license_id.eq_any(licenses))
        .filter(machines::external_id.is_not_null())
        .select(machines::external_id)
        .load(conn)
}

/// Whom a machine stands for.
pub(in crate::features::store) fn holder_of_machine(
    conn: &mut PgConnection,
    machine: Uuid,
) -> QueryResult<Vec<Option<String>>> {
    machines::table
        .filter(machines::id.eq(machine))
        .select(machines::external_id)
        .load(conn)
}

/// The next licences by a policy beyond this one, oldest first, and when each was made.
pub(in crate::features::store) fn licenses_of_policy(
    conn: &mut PgConnection,
    policy: Uuid,
    after: Option<(DateTime<Utc>, Uuid)>,
    most: i64,
) -> QueryResult<Vec<(DateTime<Utc>, Uuid)>> {
    let mut rows = licenses::table
        .filter(licenses::policy_id.eq(policy))
        .order((licenses::created_at, licenses::id))
        .limit(most)
        .select((licenses::created_at, licenses::id))
        .into_boxed();
    if let Some((at, id)) = after {
        let later = licenses::created_at.gt(at).or(licenses::id.gt(id));
        rows = rows.filter(licenses::created_at.ge(at)).filter(later);
    }
    rows.load(conn)
}

/// What a policy entitles to.
pub(in crate::features::store) fn policy_values(
    conn: &mut PgConnection,
    policy: Uuid,
) -> QueryResult<Vec<(String, Option<Value>)>> {
    policy_entitlements::table
        .filter(policy_entitlements::policy_id.eq(policy))
        .order(policy_entitlements::code)
        .select((policy_entitlements::code, policy_entitlements::value))
        .load(conn)
}

/// Our keys for these customers.
pub(in crate::features::store) fn names(conn: &mut PgConnection, of: &[CustomerId]) -> QueryResult<Vec<String>> {
    customers::table
        .filter(customers::id.eq_any(of))
        .filter(customers::external_id.is_not_null())
        .select(customers::external_id.assume_not_null())
        .load(conn)
}

/// The customer with this key of ours, and what they are called.
pub(in crate::features::store) fn customer_named(
    conn: &mut PgConnection,
    external_id: &str,
) -> QueryResult<Option<(CustomerId, Option<String>)>> {
    customers::table
        .filter(customers::external_id.eq(external_id))
        .filter(customers::reseller_id.is_null())
        .select((customers::id, customers::name))
        .first(conn)
        .optional()
}
