//! Statements about runs.

pub(super) mod purge;
pub(super) mod steps;
pub(super) mod trail;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};

use super::model::{
    RunFilters, RunId, Status, SummaryRow,
    rows::{NewRow, Row},
};
use crate::{
    any_of,
    features::schema::runs::{agent_metadata, run_tags, runs},
    in_order_of_change,
    kernel::page::PageQuery,
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> QueryResult<Row> {
    let row: Row = diesel::insert_into(runs::table)
        .values(new)
        .returning(Row::as_returning())
        .get_result(conn)?;
    if !row.tags.is_empty() {
        let tags: Vec<_> = row
            .tags
            .iter()
            .map(|tag| (run_tags::run_id.eq(row.id.uuid()), run_tags::tag.eq(tag)))
            .collect();
        // The same tag twice is one.
        diesel::insert_into(run_tags::table)
            .values(tags)
            .on_conflict_do_nothing()
            .execute(conn)?;
    }
    Ok(row)
}

pub(super) fn find(conn: &mut PgConnection, id: RunId) -> QueryResult<Row> {
    runs::table.find(id.uuid()).select(Row::as_select()).first(conn)
}

/// The run without its contents.
pub(super) fn summary(conn: &mut PgConnection, id: RunId) -> QueryResult<SummaryRow> {
    runs::table.find(id.uuid()).select(SummaryRow::as_select()).first(conn)
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

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<RunFilters>) -> QueryResult<Vec<SummaryRow>> {
    let mut rows = runs::table
        .select(SummaryRow::as_select())
        .limit(query.fetch())
        .into_boxed();
    let filters = &query.filters;
    any_of!(rows,
        runs::kind => filters.kinds,
        runs::status => filters.statuses,
        runs::agent_id => filters.agents,
        runs::subject => filters.subjects);
    if !filters.tags.is_empty() {
        let tagged = run_tags::table.filter(run_tags::tag.eq_any(&filters.tags));
        rows = rows.filter(runs::id.eq_any(tagged.select(run_tags::run_id)));
    }
    tagged!(rows, runs, agent_metadata, query);
    in_order_of_change!(rows, runs, query).load(conn)
}
