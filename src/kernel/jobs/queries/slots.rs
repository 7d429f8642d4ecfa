//! The counters of a lane and workspace: their limits, and whether they say what the tables hold.

use diesel::{
    OptionalExtension, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Float, Integer, Text, Uuid as SqlUuid},
};

use super::statement;
use crate::kernel::{
    id::WorkspaceId,
    jobs::model::{Lane, Limits},
};

/// A slot whose counters do not say what the tables hold.
#[derive(QueryableByName)]
pub(in crate::kernel::jobs) struct Drift {
    #[diesel(sql_type = Text)]
    pub lane: String,
    #[diesel(sql_type = SqlUuid)]
    pub workspace_id: WorkspaceId,
}

/// Compares all counters with the tables, in one snapshot: whoever moves a job changes both in one transaction, so a difference is real.
pub(in crate::kernel::jobs) fn drift(conn: &mut PgConnection) -> QueryResult<Vec<Drift>> {
    statement(
        "SELECT lane, workspace_id FROM workspace_slots s
           FULL JOIN (SELECT lane, workspace_id, count(*) AS n FROM run_queue GROUP BY 1, 2) q USING (lane, workspace_id)
           FULL JOIN (SELECT lane, workspace_id, count(*) AS n FROM run_leases GROUP BY 1, 2) l USING (lane, workspace_id)
          WHERE coalesce(s.ready, 0) <> coalesce(q.n, 0) OR coalesce(s.running, 0) <> coalesce(l.n, 0)
          ORDER BY lane, workspace_id LIMIT 500",
    )
    .load(conn)
}

#[derive(QueryableByName)]
struct Repaired {
    #[diesel(sql_type = Integer)]
    ready: i32,
    #[diesel(sql_type = Integer)]
    running: i32,
}

/// Counts one slot again under its lock. Answers by how much `ready` and `running` were wrong.
pub(in crate::kernel::jobs) fn recount(conn: &mut PgConnection, slot: &Drift) -> QueryResult<(i32, i32)> {
    let locked: Option<Repaired> =
        statement("SELECT ready, running FROM workspace_slots WHERE lane = $1 AND workspace_id = $2 FOR UPDATE")
            .bind::<Text, _>(slot.lane.clone())
            .bind::<SqlUuid, _>(slot.workspace_id)
            .get_result(conn)
            .optional()?;
    let Some(was) = locked else { return Ok((0, 0)) };
    // A statement of its own, so that it sees what was committed before the lock was had.
    let now: Repaired = statement(
        "UPDATE workspace_slots s
            SET ready = (SELECT count(*) FROM run_queue q WHERE q.lane = s.lane AND q.workspace_id = s.workspace_id),
                running = (SELECT count(*) FROM run_leases l WHERE l.lane = s.lane AND l.workspace_id = s.workspace_id),
                vtime = fair_start(s.lane, s.vtime)
          WHERE s.lane = $1 AND s.workspace_id = $2 RETURNING ready, running",
    )
    .bind::<Text, _>(slot.lane.clone())
    .bind::<SqlUuid, _>(slot.workspace_id)
    .get_result(conn)?;
    Ok((was.ready - now.ready, was.running - now.running))
}

/// Sets how much of a workspace may run and wait in a lane, and its share.
pub(in crate::kernel::jobs) fn limit(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lane: Lane,
    limits: Limits,
) -> QueryResult<()> {
    statement(
        "INSERT INTO workspace_slots (lane, workspace_id, max_running, max_ready, weight) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (lane, workspace_id) DO UPDATE
            SET max_running = excluded.max_running, max_ready = excluded.max_ready, weight = excluded.weight,
                vtime = fair_start(workspace_slots.lane, workspace_slots.vtime)",
    )
    .bind::<Text, _>(lane.name())
    .bind::<SqlUuid, _>(workspace)
    .bind::<Integer, _>(limits.max_running)
    .bind::<Integer, _>(limits.max_ready)
    .bind::<Float, _>(limits.weight)
    .execute(conn)
    .map(drop)
}
