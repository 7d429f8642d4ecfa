//! Rows of pumps.

use chrono::{DateTime, Utc};
use diesel::{
    AsChangeset, ExpressionMethods, IntoSql, OptionalExtension, PgConnection, QueryDsl, QueryResult, Queryable,
    RunQueryDsl, Selectable, SelectableHelper, dsl, sql_types::Timestamptz,
};

use crate::{
    features::{
        schema::webhooks::webhook_pumps as p,
        webhooks::{model::EndpointId, service::outcome::Circuit},
    },
    kernel::jobs::Lane,
};

/// What an endpoint's only sender knows.
#[derive(Clone, Copy, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = p, treat_none_as_null = true)]
pub(in crate::features::webhooks) struct Pump {
    pub epoch: i64,
    pub tat: DateTime<Utc>,
    pub slow_until: Option<DateTime<Utc>>,
    pub breaker_until: Option<DateTime<Utc>>,
    pub breaker_step: i32,
    pub window_at: DateTime<Utc>,
    pub window_ok: i32,
    pub window_bad: i32,
    pub failed_in_row: i32,
    pub skip_until: Option<DateTime<Utc>>,
    pub recover_since: Option<DateTime<Utc>>,
}

impl Pump {
    pub fn circuit(&self) -> Circuit {
        Circuit {
            open_until: self.breaker_until,
            step: self.breaker_step,
            window_at: self.window_at,
            ok: self.window_ok,
            bad: self.window_bad,
        }
    }

    pub fn set_circuit(&mut self, circuit: Circuit) {
        self.breaker_until = circuit.open_until;
        self.breaker_step = circuit.step;
        self.window_at = circuit.window_at;
        self.window_ok = circuit.ok;
        self.window_bad = circuit.bad;
    }

    /// Where its job waits. Two failures in a row move it to the slow lane, one success back.
    pub fn lane(&self) -> Lane {
        if self.failed_in_row >= 2 {
            Lane::DeliveriesSlow
        } else {
            Lane::Deliveries
        }
    }

    /// Whether there is something to tidy before anything is sent.
    pub fn is_untidy(&self) -> bool {
        self.skip_until.is_some() || self.recover_since.is_some()
    }
}

pub(in crate::features::webhooks) fn lock_pump(conn: &mut PgConnection, id: EndpointId) -> QueryResult<Option<Pump>> {
    p::table
        .find(id)
        .select(Pump::as_select())
        .for_update()
        .first(conn)
        .optional()
}

pub(in crate::features::webhooks) fn set_pump(
    conn: &mut PgConnection,
    id: EndpointId,
    pump: &Pump,
) -> QueryResult<usize> {
    diesel::update(p::table.find(id)).set(pump).execute(conn)
}

/// Those pumps that nobody is at work on, held as they are until the transaction ends. It waits for nobody.
pub(in crate::features::webhooks) fn idle_pumps(
    conn: &mut PgConnection,
    ids: &[EndpointId],
) -> QueryResult<Vec<(EndpointId, Pump)>> {
    p::table
        .filter(p::endpoint_id.eq_any(ids))
        .select((p::endpoint_id, Pump::as_select()))
        .for_share()
        .skip_locked()
        .load(conn)
}

diesel::define_sql_function! {
    fn clock_timestamp() -> Timestamptz;
}

/// The present instant of a transaction that began at `now`: whatever was committed by others is not newer.
pub(in crate::features::webhooks) fn present(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<DateTime<Utc>> {
    let (present, begun): (DateTime<Utc>, DateTime<Utc>) =
        diesel::select((clock_timestamp(), dsl::now.into_sql::<Timestamptz>())).get_result(conn)?;
    Ok(now + (present - begun))
}
