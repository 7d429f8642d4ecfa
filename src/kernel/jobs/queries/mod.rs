//! The queue's statements. Tenants call the five definer functions; the kernel's own (claim, promote, reap, heartbeat, recount …) move rows
//! under the lock of their slot and never wait for one: constant texts, with binds only.

mod slots;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, define_sql_function,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

pub(super) use slots::{drift, limit, recount};

use super::model::{Depth, Job, Lane, Push};
use crate::kernel::id::{JobId, WorkspaceId};

define_sql_function! {
    fn job_push(lane: Text, kind: Text, job_id: SqlUuid, group_id: SqlUuid, priority: SmallInt, due_at: Nullable<Timestamptz>,
                on_exists: Text, floor_epoch: Nullable<BigInt>) -> Bool;
}
define_sql_function! {
    fn job_finish(job_id: SqlUuid, epoch: BigInt) -> Bool;
}
define_sql_function! {
    fn job_retry(job_id: SqlUuid, epoch: BigInt, due_at: Nullable<Timestamptz>, lane: Text) -> Bool;
}
define_sql_function! {
    fn job_cancel(group_id: SqlUuid) -> Record<(Integer, Integer)>;
}
define_sql_function! {
    fn job_depth(lane: Text) -> Record<(Nullable<Integer>, Nullable<Integer>, Nullable<Integer>, Nullable<Integer>)>;
}
define_sql_function! {
    fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
}

pub(super) fn push(conn: &mut PgConnection, push: &Push) -> QueryResult<()> {
    diesel::select(job_push(
        push.lane.name(),
        push.kind,
        push.job_id.0,
        push.group_id,
        push.priority,
        push.due,
        push.on_exists.name(),
        push.floor_epoch,
    ))
    .execute(conn)
    .map(drop)
}

pub(super) fn finish(conn: &mut PgConnection, job: &Job) -> QueryResult<bool> {
    diesel::select(job_finish(job.id, job.epoch)).get_result(conn)
}

pub(super) fn retry(conn: &mut PgConnection, job: &Job, due: Option<DateTime<Utc>>, lane: Lane) -> QueryResult<bool> {
    diesel::select(job_retry(job.id, job.epoch, due, lane.name())).get_result(conn)
}

pub(super) fn cancel(conn: &mut PgConnection, group_id: Uuid) -> QueryResult<(i32, i32)> {
    diesel::select(job_cancel(group_id)).get_result(conn)
}

pub(super) fn depth(conn: &mut PgConnection, lane: Lane) -> QueryResult<Depth> {
    type Row = (Option<i32>, Option<i32>, Option<i32>, Option<i32>);
    let (ready, running, max_ready, max_running): Row = diesel::select(job_depth(lane.name())).get_result(conn)?;
    Ok(Depth {
        ready: ready.unwrap_or(0),
        running: running.unwrap_or(0),
        max_ready: max_ready.unwrap_or(0),
        max_running: max_running.unwrap_or(0),
    })
}

/// Names the workspace on a kernel connection, for the definer functions that follow.
pub(super) fn enter(conn: &mut PgConnection, workspace: WorkspaceId) -> QueryResult<()> {
    diesel::select(set_config("app.workspace", workspace.uuid().to_string(), true))
        .execute(conn)
        .map(drop)
}

/// The one door to SQL as text. Every caller passes a constant.
#[expect(
    clippy::disallowed_methods,
    reason = "SKIP LOCKED inside data-modifying CTEs is beyond the typed queries"
)]
fn statement(text: &'static str) -> BoxedSqlQuery<'static, diesel::pg::Pg, SqlQuery> {
    diesel::sql_query(text).into_boxed()
}

/// A job that was just leased.
#[derive(QueryableByName)]
pub(super) struct Claimed {
    #[diesel(sql_type = SqlUuid)]
    pub job_id: JobId,
    #[diesel(sql_type = SqlUuid)]
    pub workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = SqlUuid)]
    pub group_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    #[diesel(sql_type = Integer)]
    pub recoveries: i32,
}

/// Leases at most `batch` jobs of a lane, those of the workspace first that had the least so far. Rows are deleted by their place
/// (`ctid`): joined back by key, the planner would read the whole queue.
pub(super) fn claim(conn: &mut PgConnection, lane: Lane, batch: i32, worker: Uuid) -> QueryResult<Vec<Claimed>> {
    statement(
        "WITH pick AS MATERIALIZED (
           SELECT workspace_id, max_running - running AS room FROM workspace_slots
            WHERE lane = $1 AND ready > 0 AND running < max_running ORDER BY vtime LIMIT $2 FOR UPDATE SKIP LOCKED),
         share AS (SELECT greatest(1, $2 / greatest(1, count(*)))::int AS n FROM pick),
         job AS MATERIALIZED (
           SELECT q.tid FROM pick, share, LATERAL (
             SELECT ctid AS tid FROM run_queue WHERE lane = $1 AND workspace_id = pick.workspace_id
              ORDER BY sort_at, job_id LIMIT least(share.n, pick.room) FOR UPDATE SKIP LOCKED) q
            LIMIT $2),
         gone AS (DELETE FROM run_queue WHERE ctid = ANY (ARRAY(SELECT tid FROM job)) RETURNING *),
         slot AS (
           UPDATE workspace_slots s
              SET ready = s.ready - c.n, running = s.running + c.n, vtime = s.vtime + c.n::float8 / s.weight
             FROM (SELECT workspace_id, count(*)::int AS n FROM gone GROUP BY workspace_id) c
            WHERE s.lane = $1 AND s.workspace_id = c.workspace_id)
         INSERT INTO run_leases (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, worker_id, expires_at, started_at)
         SELECT job_id, lane, workspace_id, kind, group_id, priority, epoch + 1, recoveries, $3, now() + interval '30 s', now() FROM gone
         RETURNING job_id, workspace_id, kind, group_id, epoch, recoveries",
    )
    .bind::<Text, _>(lane.name())
    .bind::<Integer, _>(batch)
    .bind::<SqlUuid, _>(worker)
    .load(conn)
}

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// What was moved, by lane.
fn by_lane(moved: Vec<Moved>) -> Vec<(Lane, i64)> {
    moved
        .into_iter()
        .filter_map(|moved| Some((Lane::named(&moved.lane)?, moved.n)))
        .collect()
}

/// Makes at most 500 timers that are due into ready jobs. Slots that somebody holds wait for the next time.
pub(super) fn promote(conn: &mut PgConnection) -> QueryResult<Vec<(Lane, i64)>> {
    statement(
        "WITH due AS MATERIALIZED (
           SELECT job_id, lane, workspace_id FROM run_timers WHERE due_at <= app_now() ORDER BY due_at LIMIT 500),
         slot AS MATERIALIZED (
           SELECT s.lane, s.workspace_id FROM workspace_slots s
            WHERE (s.lane, s.workspace_id) IN (SELECT lane, workspace_id FROM due)
            ORDER BY s.lane, s.workspace_id FOR UPDATE SKIP LOCKED),
         gone AS (
           DELETE FROM run_timers t USING due d, slot s
            WHERE t.job_id = d.job_id AND t.due_at <= app_now() AND s.lane = t.lane AND s.workspace_id = t.workspace_id
           RETURNING t.*),
         queued AS (
           INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
           SELECT lane, workspace_id, due_at - priority * interval '30 s', job_id, kind, group_id, priority, epoch, recoveries FROM gone),
         counted AS (
           UPDATE workspace_slots s
              SET ready = s.ready + c.n,
                  vtime = CASE WHEN s.ready > 0 AND s.running < s.max_running THEN s.vtime ELSE fair_start(s.lane, s.vtime) END
             FROM (SELECT lane, workspace_id, count(*)::int AS n FROM gone GROUP BY 1, 2) c
            WHERE s.lane = c.lane AND s.workspace_id = c.workspace_id)
         SELECT lane, count(*) AS n FROM gone GROUP BY lane",
    )
    .load(conn)
    .map(by_lane)
}

/// Puts at most 500 jobs whose lease ran out back into the queue, with the epoch they had and one more recovery. It touches no tenant's
/// row: what the lost attempt meant is decided by the next owner.
pub(super) fn reap(conn: &mut PgConnection) -> QueryResult<Vec<(Lane, i64)>> {
    statement(
        "WITH lost AS MATERIALIZED (
           SELECT job_id, lane, workspace_id FROM run_leases WHERE expires_at < now()
            ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED),
         slot AS MATERIALIZED (
           SELECT s.lane, s.workspace_id FROM workspace_slots s
            WHERE (s.lane, s.workspace_id) IN (SELECT lane, workspace_id FROM lost)
            ORDER BY s.lane, s.workspace_id FOR UPDATE SKIP LOCKED),
         gone AS (
           DELETE FROM run_leases l USING lost o, slot s
            WHERE l.job_id = o.job_id AND s.lane = l.lane AND s.workspace_id = l.workspace_id RETURNING l.*),
         queued AS (
           INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
           SELECT lane, workspace_id, app_now() - priority * interval '30 s', job_id, kind, group_id, priority, epoch, recoveries + 1
             FROM gone),
         counted AS (
           UPDATE workspace_slots s
              SET ready = s.ready + c.n, running = s.running - c.n,
                  vtime = CASE WHEN s.ready > 0 AND s.running < s.max_running THEN s.vtime ELSE fair_start(s.lane, s.vtime) END
             FROM (SELECT lane, workspace_id, count(*)::int AS n FROM gone GROUP BY 1, 2) c
            WHERE s.lane = c.lane AND s.workspace_id = c.workspace_id)
         SELECT lane, count(*) AS n FROM gone GROUP BY lane",
    )
    .load(conn)
    .map(by_lane)
}

/// Puts the leases of a worker that stops back into the queue: no recovery is counted, and the next claim raises the epoch. Slots that
/// somebody holds are left; the caller repeats until nothing is.
pub(super) fn give_back(conn: &mut PgConnection, worker: Uuid) -> QueryResult<Vec<(Lane, i64)>> {
    statement(
        "WITH slot AS MATERIALIZED (
           SELECT s.lane, s.workspace_id FROM workspace_slots s
            WHERE (s.lane, s.workspace_id) IN (SELECT lane, workspace_id FROM run_leases WHERE worker_id = $1)
            ORDER BY s.lane, s.workspace_id FOR UPDATE SKIP LOCKED),
         gone AS (
           DELETE FROM run_leases l USING slot s
            WHERE l.worker_id = $1 AND s.lane = l.lane AND s.workspace_id = l.workspace_id RETURNING l.*),
         queued AS (
           INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
           SELECT lane, workspace_id, app_now() - priority * interval '30 s', job_id, kind, group_id, priority, epoch, recoveries FROM gone),
         counted AS (
           UPDATE workspace_slots s
              SET ready = s.ready + c.n, running = s.running - c.n,
                  vtime = CASE WHEN s.ready > 0 AND s.running < s.max_running THEN s.vtime ELSE fair_start(s.lane, s.vtime) END
             FROM (SELECT lane, workspace_id, count(*)::int AS n FROM gone GROUP BY 1, 2) c
            WHERE s.lane = c.lane AND s.workspace_id = c.workspace_id)
         SELECT lane, count(*) AS n FROM gone GROUP BY lane",
    )
    .bind::<SqlUuid, _>(worker)
    .load(conn)
    .map(by_lane)
}

/// Ends a lease whose job was not done: it comes again after `delay`, with so many more recoveries. True if the lease was still ours.
pub(super) fn lapse(conn: &mut PgConnection, job: &Job, delay: Duration, recoveries: i32) -> QueryResult<bool> {
    let ended = statement(
        "WITH slot AS MATERIALIZED (
           SELECT lane, workspace_id FROM workspace_slots WHERE lane = $3 AND workspace_id = $4 FOR UPDATE),
         gone AS (
           DELETE FROM run_leases l USING slot s
            WHERE l.job_id = $1 AND l.epoch = $2 AND s.lane = l.lane AND s.workspace_id = l.workspace_id RETURNING l.*),
         later AS (
           INSERT INTO run_timers (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, due_at)
           SELECT job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries + $6,
                  app_now() + $5 * interval '1 s' FROM gone),
         counted AS (
           UPDATE workspace_slots s
              SET running = s.running - 1,
                  vtime = CASE WHEN s.ready > 0 AND s.running < s.max_running THEN s.vtime ELSE fair_start(s.lane, s.vtime) END
             FROM gone WHERE s.lane = gone.lane AND s.workspace_id = gone.workspace_id)
         SELECT lane, count(*) AS n FROM gone GROUP BY lane",
    )
    .bind::<SqlUuid, _>(job.id)
    .bind::<BigInt, _>(job.epoch)
    .bind::<Text, _>(job.lane.name())
    .bind::<SqlUuid, _>(job.workspace)
    .bind::<Double, _>(delay.as_secs_f64())
    .bind::<Integer, _>(recoveries)
    .load::<Moved>(conn)?;
    Ok(!ended.is_empty())
}

/// A lease that a worker still has.
#[derive(QueryableByName)]
pub(super) struct Beat {
    #[diesel(sql_type = SqlUuid)]
    pub job_id: JobId,
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    #[diesel(sql_type = Bool)]
    pub cancel: bool,
    /// Whether it was renewed just now.
    #[diesel(sql_type = Bool)]
    pub renewed: bool,
}

/// Renews the leases of these jobs that a worker has for 30 s, and answers which those are, with whether each was renewed. What nobody works on
/// runs out. A row that a transaction holds at this moment is left for the next beat: a heartbeat never waits.
pub(super) fn heartbeat(conn: &mut PgConnection, worker: Uuid, jobs: &[JobId]) -> QueryResult<Vec<Beat>> {
    statement(
        "WITH mine AS MATERIALIZED (
           SELECT job_id FROM run_leases WHERE worker_id = $1 AND job_id = ANY ($2) FOR UPDATE SKIP LOCKED),
         fresh AS (
           UPDATE run_leases l SET expires_at = now() + interval '30 s' FROM mine WHERE l.job_id = mine.job_id RETURNING l.job_id)
         SELECT l.job_id, l.epoch, l.cancel, fresh.job_id IS NOT NULL AS renewed
           FROM run_leases l LEFT JOIN fresh USING (job_id) WHERE l.worker_id = $1 AND l.job_id = ANY ($2)",
    )
    .bind::<SqlUuid, _>(worker)
    .bind::<Array<SqlUuid>, _>(jobs)
    .load(conn)
}

/// The leases of a worker that it is asked to stop.
pub(super) fn cancelled(conn: &mut PgConnection, worker: Uuid) -> QueryResult<Vec<Beat>> {
    statement("SELECT job_id, epoch, cancel, false AS renewed FROM run_leases WHERE worker_id = $1 AND cancel")
        .bind::<SqlUuid, _>(worker)
        .load(conn)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// How many leases a worker has.
pub(super) fn leases(conn: &mut PgConnection, worker: Uuid) -> QueryResult<i64> {
    statement("SELECT count(*) AS n FROM run_leases WHERE worker_id = $1")
        .bind::<SqlUuid, _>(worker)
        .get_result::<Count>(conn)
        .map(|count| count.n)
}

/// Makes every lease one that ran out.
#[cfg(feature = "lab")]
pub(super) fn expire(conn: &mut PgConnection) -> QueryResult<usize> {
    statement("UPDATE run_leases SET expires_at = now() - interval '1 s'").execute(conn)
}

/// How much waits, of one kind.
#[derive(QueryableByName)]
pub(super) struct Waiting {
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = BigInt)]
    pub ready: i64,
    #[diesel(sql_type = Double)]
    pub oldest_seconds: f64,
}

pub(super) fn waiting(conn: &mut PgConnection) -> QueryResult<Vec<Waiting>> {
    statement(
        "SELECT kind, count(*) AS ready,
                greatest(0, extract(epoch FROM app_now() - min(sort_at + priority * interval '30 s')))::float8 AS oldest_seconds
           FROM run_queue GROUP BY kind",
    )
    .load(conn)
}
