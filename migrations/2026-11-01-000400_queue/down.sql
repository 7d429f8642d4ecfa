DROP FUNCTION job_depth(text), job_cancel(uuid), job_retry(uuid, bigint, timestamptz, text), job_finish(uuid, bigint),
  lease_end(uuid, bigint, timestamptz, text), job_push(text, text, uuid, uuid, smallint, timestamptz, text, bigint),
  slot_count(text, uuid, integer, integer), fair_start(text, double precision), lanes_beside(text), slot_lock(text, uuid);
DROP TABLE workspace_slots, run_timers, run_leases, run_queue;
