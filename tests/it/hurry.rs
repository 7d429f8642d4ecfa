//! Which of a workspace's jobs is next.

use guildhall::kernel::id::WorkspaceId;
use uuid::Uuid;

use crate::world::World;

/// Wants a job of the operator's, so urgent, at that time.
fn want(world: &World, job: Uuid, priority: u8, due: &str) {
    let platform = WorkspaceId::PLATFORM.uuid();
    world.admin(&format!(
        "BEGIN; SELECT set_config('app.workspace', '{platform}', true);
         SELECT job_push('slow', 'test.hurry', '{job}', '{job}', {priority}::smallint, {due}, 'sooner', NULL); COMMIT"
    ));
}

fn next(world: &World, job: Uuid) -> bool {
    let sql = format!(
        "SELECT count(*) FROM (SELECT job_id FROM run_queue WHERE kind = 'test.hurry' ORDER BY sort_at, job_id LIMIT 1) q
          WHERE job_id = '{job}'"
    );
    world.count(&sql) == 1
}

#[actix_web::test]
async fn a_job_that_is_wanted_more_urgently_than_before_goes_first() {
    let world = World::new().await;
    let [many, other, later] = [(); 3].map(|()| Uuid::new_v4());
    want(&world, other, 5, "NULL");
    want(&world, many, 1, "NULL");
    want(&world, later, 1, "app_now() + interval '1 hour'");
    assert!(next(&world, other));
    want(&world, many, 9, "NULL");
    assert!(next(&world, many), "it waited among many, and somebody waits for it");
    want(&world, many, 1, "NULL");
    assert!(next(&world, many), "it loses nothing by being wanted for less");
    want(&world, later, 10, "NULL");
    assert!(next(&world, later), "so does one whose time had not come");
    let platform = WorkspaceId::PLATFORM.uuid();
    let ready = format!(
        "SELECT ready::bigint AS count FROM workspace_slots s WHERE lane = 'slow' AND workspace_id = '{platform}' AND ready = \
         (SELECT count(*) FROM run_queue q WHERE q.lane = s.lane AND q.workspace_id = s.workspace_id)"
    );
    assert!(world.count(&ready) >= 3);
    world.admin(
        "UPDATE workspace_slots s SET ready = ready - (SELECT count(*) FROM run_queue q WHERE q.kind = 'test.hurry' AND q.workspace_id = s.workspace_id)
          WHERE lane = 'slow';
         DELETE FROM run_queue WHERE kind = 'test.hurry'",
    );
}
