//! Statements about runs.

pub(super) mod steps;
pub(super) mod trail;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgArrayExpressionMethods, PgConnection, QueryDsl, QueryResult,
    RunQueryDsl, SelectableHelper,
};

use super::model::{
    RunFilters, RunId, Status,
    rows::{NewRow, Row},
};
use crate::{features::schema::runs::runs, kernel::page::PageQuery};

pub(super) fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> QueryResult<Row> {
    diesel::insert_into(runs::table)
        .values(new)
        .returning(Row::as_returning())
        .get_result(conn)
}

pub(super) fn find(conn: &mut PgConnection, id: RunId) -> QueryResult<Row> {
    runs::table.find(id.uuid()).select(Row::as_select()).first(conn)
}

/// The run, locked until the commit: first of all locks.
pub(super) fn lock(conn: &mut PgConnection, id: RunId) -> QueryResult<Row> {
    runs::table
        .find(id.uuid())
        .select(Row::as_select())
        .for_no_key_update()
        .first(conn)
}

/// Writes what the engine changed of a run that had not ended; the one statement that moves it.
pub(super) fn save(conn: &mut PgConnection, row: &Row) -> QueryResult<Row> {
    diesel::update(runs::table.find(row.id.uuid()))
        .filter(runs::status.eq_any([Status::Pending, Status::Running, Status::Waiting]))
        .set((
            (
                runs::status.eq(row.status),
                runs::wait_reason.eq(&row.wait_reason),
                runs::output.eq(&row.output),
                runs::error.eq(&row.error),
                runs::tick.eq(row.tick),
                runs::open_steps.eq(row.open_steps),
                runs::progress.eq(row.progress),
                runs::event_seq.eq(row.event_seq),
                runs::step_seq.eq(row.step_seq),
                runs::checkpoint_seq.eq(row.checkpoint_seq),
                runs::recoveries.eq(row.recoveries),
            ),
            (
                runs::cost_micros.eq(row.cost_micros),
                runs::usage.eq(&row.usage),
                runs::started_at.eq(row.started_at),
                runs::finished_at.eq(row.finished_at),
                runs::active_ms.eq(row.active_ms),
                runs::active_since.eq(row.active_since),
                runs::cancel_requested_at.eq(row.cancel_requested_at),
                runs::cancel_mode.eq(&row.cancel_mode),
                runs::payload_until.eq(row.payload_until),
            ),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
}

/// Writes what is learnt of the cost of a run after its end. Its state stays.
pub(super) fn save_money(conn: &mut PgConnection, row: &Row) -> QueryResult<usize> {
    diesel::update(runs::table.find(row.id.uuid()))
        .set((runs::cost_micros.eq(row.cost_micros), runs::usage.eq(&row.usage)))
        .execute(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<RunFilters>) -> QueryResult<Vec<Row>> {
    let mut rows = runs::table.select(Row::as_select()).limit(query.fetch()).into_boxed();
    let filters = &query.filters;
    if !filters.kinds.is_empty() {
        rows = rows.filter(runs::kind.eq_any(&filters.kinds));
    }
    if !filters.statuses.is_empty() {
        rows = rows.filter(runs::status.eq_any(&filters.statuses));
    }
    if !filters.agents.is_empty() {
        rows = rows.filter(runs::agent_id.eq_any(&filters.agents));
    }
    if !filters.subjects.is_empty() {
        rows = rows.filter(runs::subject.eq_any(&filters.subjects));
    }
    if !filters.tags.is_empty() {
        rows = rows.filter(runs::tags.overlaps_with(&filters.tags));
    }
    if let Some(time) = filters.created_after {
        rows = rows.filter(runs::created_at.gt(time));
    }
    if let Some(time) = filters.created_before {
        rows = rows.filter(runs::created_at.lt(time));
    }
    rows = match (query.is_descending(), query.after()) {
        (true, Some((time, id))) => rows
            .filter(runs::created_at.le(time))
            .filter(runs::created_at.lt(time).or(runs::id.lt(id))),
        (false, Some((time, id))) => rows
            .filter(runs::created_at.ge(time))
            .filter(runs::created_at.gt(time).or(runs::id.gt(id))),
        (_, None) => rows,
    };
    match query.is_descending() {
        true => rows.order((runs::created_at.desc(), runs::id.desc())),
        false => rows.order((runs::created_at.asc(), runs::id.asc())),
    }
    .load(conn)
}
