//! Rows of pumps.

use chrono::{DateTime, Utc};
use diesel::{
    AsChangeset, ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, Queryable, RunQueryDsl,
    Selectable, SelectableHelper,
};

use crate::features::{
    schema::webhooks::webhook_pumps as p,
    webhooks::{model::EndpointId, service::outcome::Circuit},
};

/// What an endpoint's only sender knows.
#[derive(Clone, Copy, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = p, treat_none_as_null = true)]
pub(in crate::features::webhooks) struct Pump {
    pub pending: i32,
    pub epoch: i64,
    pub tat: DateTime<Utc>,
    pub slow_until: Option<DateTime<Utc>>,
    pub breaker_until: Option<DateTime<Utc>>,
    pub breaker_step: i32,
    pub window_at: DateTime<Utc>,
    pub window_ok: i32,
    pub window_bad: i32,
    pub failed_in_row: i32,
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

    /// Two failures in a row move it to the slow lane, one success back.
    pub fn is_slow(&self) -> bool {
        self.failed_in_row >= 2
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

/// Counts new deliveries.
pub(in crate::features::webhooks) fn add_pending(conn: &mut PgConnection, id: EndpointId, n: i32) -> QueryResult<Pump> {
    diesel::update(p::table.find(id))
        .set(p::pending.eq(p::pending + n))
        .returning(Pump::as_returning())
        .get_result(conn)
}
