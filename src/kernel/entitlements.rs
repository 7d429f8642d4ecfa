//! What a workspace's plan allows: the only place where a limit is asked.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, RunQueryDsl};
use serde::{Deserialize, Serialize};

use crate::kernel::{
    db::Tenant,
    error::{Error, PLAN_LIMIT_REACHED, Result},
    id::WorkspaceId,
    schema::{billing_plans, entitlement_counters, workspace_plans},
};

/// What one entitlement says. In JSON: `true`, `5`, or `null` for unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, expecting = "Expected true, false, an integer, or null.")]
pub enum Allowance {
    /// The plan has it, or has not.
    Flag(bool),
    /// At most so many.
    AtMost(i64),
    /// As many as wanted.
    Unlimited,
}

/// How much of a workspace may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Everything.
    Full,
    /// Reads, billing, exports, removal of members, deletion. Data is never hostage.
    ReadOnly,
}

/// What a workspace may do and how much: the projection of its subscriptions, redeemed keys and overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The plan's code: `free`, `pro` …
    pub code: String,
    /// Orders plans: the higher one wins.
    pub rank: i32,
    /// How much of the workspace may be used.
    pub access: AccessLevel,
    /// Since when only reading is allowed.
    pub unpaid_since: Option<DateTime<Utc>>,
    /// Limits and switches by code. One that is not listed is not included.
    pub entitlements: BTreeMap<String, Allowance>,
}

impl Plan {
    /// What a workspace begins with, and falls back to.
    pub fn free() -> Plan {
        let seed = &crate::kernel::plans::SEEDS[0];
        let allowed = seed.entitlements.iter();
        Plan {
            code: seed.code.into(),
            rank: seed.rank,
            access: AccessLevel::Full,
            unpaid_since: None,
            entitlements: allowed
                .map(|(code, allowance)| ((*code).to_owned(), *allowance))
                .collect(),
        }
    }

    /// The operator's own workspace: no limits.
    pub fn unlimited() -> Plan {
        Plan {
            code: "platform".into(),
            rank: i32::MAX,
            access: AccessLevel::Full,
            unpaid_since: None,
            entitlements: BTreeMap::new(),
        }
    }

    /// For whoever acts in a workspace without using up anything of its plan: the customer's software.
    pub fn nothing() -> Plan {
        Plan {
            code: "none".into(),
            rank: i32::MIN,
            access: AccessLevel::Full,
            unpaid_since: None,
            entitlements: BTreeMap::new(),
        }
    }

    /// The plan of a workspace as its projection says. An entitlement that this release cannot read is one that the plan does not have: during
    /// a rolling update a newer process may have written it, and nobody else's work stops for that.
    pub(in crate::kernel) fn read(code: String, rank: i32, access: &str, entitlements: serde_json::Value) -> Plan {
        let access = match access {
            "full" => AccessLevel::Full,
            _ => AccessLevel::ReadOnly,
        };
        let known: BTreeMap<String, serde_json::Value> = serde_json::from_value(entitlements).unwrap_or_default();
        let readable = known
            .into_iter()
            .filter_map(|(code, value)| Some((code, serde_json::from_value(value).ok()?)));
        Plan {
            code,
            rank,
            access,
            unpaid_since: None,
            entitlements: readable.collect(),
        }
    }

    /// True for the operator's own plan.
    pub fn is_unlimited(&self) -> bool {
        self.rank == i32::MAX
    }

    /// What the plan says about it.
    pub fn allowance(&self, code: &str) -> Allowance {
        match self.entitlements.get(code) {
            _ if self.is_unlimited() => Allowance::Unlimited,
            Some(allowance) => *allowance,
            None => Allowance::Flag(false),
        }
    }

    /// The most of it, or `None` for unlimited. What is not in the plan is limited to none.
    pub fn limit(&self, code: &str) -> Option<i64> {
        match self.allowance(code) {
            Allowance::Unlimited | Allowance::Flag(true) => None,
            Allowance::AtMost(most) => Some(most),
            Allowance::Flag(false) => Some(0),
        }
    }
}

/// Takes `n` of an entitlement. What ends in `_per_month` starts anew with each month; everything else is a stock that
/// [`give`] returns.
///
/// # Errors
/// 402 `plan-limit-reached` when the plan allows no more.
pub fn take(tx: &mut Tenant<'_>, code: &str, n: i64) -> Result<()> {
    let limit = tx.scope().plan().limit(code);
    let period = period(tx, code)?;
    let conn = tx.conn();
    if limit.is_none_or(|most| n <= most) && add(conn, code, &period, n, limit)? {
        return Ok(());
    }
    let used = used(conn, code, &period)?;
    Err(reached(tx, code, used)?)
}

/// Refuses growth while there is more of a stock than the plan allows. What is there stays, and is refused to nobody.
///
/// # Errors
/// 402 `plan-limit-reached`.
pub fn within(tx: &mut Tenant<'_>, code: &str) -> Result<()> {
    let Some(most) = tx.scope().plan().limit(code) else {
        return Ok(());
    };
    let used = used(tx.conn(), code, "")?;
    if used > most {
        Err(reached(tx, code, used)?)
    } else {
        Ok(())
    }
}

/// Makes room for one more of what has no counter of its own, where `used` are there. The caller holds a lock that others who add wait for.
///
/// # Errors
/// 402 `plan-limit-reached` when the plan allows no more.
pub fn room(tx: &mut Tenant<'_>, code: &str, used: i64) -> Result<()> {
    match tx.scope().plan().limit(code) {
        Some(most) if used >= most => Err(reached(tx, code, used)?),
        _ => Ok(()),
    }
}

/// The refusal that says how much there is, and which plan allows more.
fn reached(tx: &mut Tenant<'_>, code: &str, used: i64) -> Result<Error> {
    let plan = tx.scope().plan();
    let (name, rank, limit) = (plan.code.clone(), plan.rank, plan.limit(code));
    let detail = match limit {
        Some(0) => format!("The plan {name} does not include {}.", code.replace('_', " ")),
        _ => format!("{used} of {} are in use.", limit.unwrap_or_default()),
    };
    let next = next_plan(tx.conn(), rank, code, limit)?;
    Ok(PLAN_LIMIT_REACHED
        .because(detail)
        .with("entitlement", code)
        .with("limit", limit)
        .with("used", used)
        .with("plan", name)
        .with("next_plan", next)
        .link("upgrade_url", "/api/v1/plans")
        .into())
}

/// The smallest plan above a rank that can be had and allows more of this.
fn next_plan(conn: &mut PgConnection, rank: i32, code: &str, limit: Option<i64>) -> QueryResult<Option<String>> {
    use billing_plans::dsl as p;
    let above: Vec<(String, serde_json::Value)> = p::billing_plans
        .filter(p::public.eq(true))
        .filter(p::archived.eq(false))
        .filter(p::rank.gt(rank))
        .order((p::rank, p::code))
        .select((p::code, p::entitlements))
        .load(conn)?;
    let allows_more = |entitlements: &serde_json::Value| match entitlements.get(code) {
        Some(allowance) => allowance.is_null() || allowance.as_i64() > limit,
        None => false,
    };
    Ok(above
        .into_iter()
        .find(|(_, entitlements)| allows_more(entitlements))
        .map(|(plan, _)| plan))
}

/// Counts `n` of an entitlement whatever the plan says: for what was paid for or promised.
///
/// # Errors
/// 503 if the database fails.
pub fn count(tx: &mut Tenant<'_>, code: &str, n: i64) -> Result<()> {
    let period = period(tx, code)?;
    add(tx.conn(), code, &period, n, None)?;
    Ok(())
}

/// Notes how much there is of a stock, as it was counted.
///
/// # Errors
/// 503 if the database fails.
pub fn recount(tx: &mut Tenant<'_>, code: &str, used: i64) -> Result<()> {
    use entitlement_counters::dsl as c;
    diesel::insert_into(c::entitlement_counters)
        .values((c::code.eq(code), c::period_key.eq(""), c::used.eq(used)))
        .on_conflict((c::workspace_id, c::code, c::period_key))
        .do_update()
        .set(c::used.eq(used))
        .execute(tx.conn())?;
    Ok(())
}

/// Returns `n` of a stock.
///
/// # Errors
/// 500 if more is returned than was taken.
pub fn give(tx: &mut Tenant<'_>, code: &str, n: i64) -> Result<()> {
    use entitlement_counters::dsl as c;
    let same = c::entitlement_counters
        .filter(c::code.eq(code))
        .filter(c::period_key.eq(""));
    diesel::update(same).set(c::used.eq(c::used - n)).execute(tx.conn())?;
    Ok(())
}

fn period(tx: &mut Tenant<'_>, code: &str) -> Result<String> {
    match code.ends_with("_per_month") {
        true => Ok(tx.now()?.format("%Y-%m").to_string()),
        false => Ok(String::new()),
    }
}

/// The one conditional statement: counted if it fits, else nothing.
fn add(conn: &mut PgConnection, code: &str, period: &str, n: i64, limit: Option<i64>) -> QueryResult<bool> {
    use diesel::query_dsl::methods::FilterDsl;
    use entitlement_counters::dsl as c;
    let most = limit.unwrap_or(i64::MAX);
    let row = (c::code.eq(code), c::period_key.eq(period), c::used.eq(n));
    let counted = diesel::insert_into(c::entitlement_counters)
        .values(row)
        .on_conflict((c::workspace_id, c::code, c::period_key))
        .do_update()
        .set(c::used.eq(c::used + n))
        .filter(c::used.le(most - n))
        .execute(conn)?;
    Ok(counted == 1)
}

fn used(conn: &mut PgConnection, code: &str, period: &str) -> QueryResult<i64> {
    use entitlement_counters::dsl as c;
    let same = c::entitlement_counters
        .filter(c::code.eq(code))
        .filter(c::period_key.eq(period));
    Ok(same.select(c::used).first(conn).optional()?.unwrap_or(0))
}

type PlanRow = (String, i32, String, Option<DateTime<Utc>>, serde_json::Value);

/// The plan that a workspace is on, as its projection says. A workspace without one may do nothing that a plan allows. As `app_kernel`.
///
/// # Errors
/// The database's.
pub(in crate::kernel) fn load(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<Plan> {
    if workspace == WorkspaceId::PLATFORM {
        return Ok(Plan::unlimited());
    }
    let row: Option<PlanRow> = workspace_plans::table
        .find(workspace.uuid())
        .select((
            workspace_plans::plan,
            workspace_plans::rank,
            workspace_plans::access,
            workspace_plans::unpaid_since,
            workspace_plans::entitlements,
        ))
        .first(conn)
        .optional()?;
    let Some((code, rank, access, unpaid_since, entitlements)) = row else {
        return Ok(Plan {
            code: "none".into(),
            rank: i32::MIN,
            access: AccessLevel::ReadOnly,
            unpaid_since: None,
            entitlements: BTreeMap::new(),
        });
    };
    Ok(Plan {
        unpaid_since,
        ..Plan::read(code, rank, &access, entitlements)
    })
}
