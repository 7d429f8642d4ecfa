-- What is to be done after a commit. A job is in exactly one of `run_queue` (ready), `run_timers` (later) and `run_leases` (a worker has
-- it), and holds ids only: what it is about stays in its subject's own row. `app_kernel` alone has grants here. Tenants go through the
-- five definer functions, which take the workspace from the transaction and never as an argument.

CREATE TABLE run_queue (
  lane         text NOT NULL CONSTRAINT run_queue_lane_check
               CHECK (lane IN ('steps', 'deliveries', 'deliveries_slow', 'mail', 'system', 'slow')),
  workspace_id uuid NOT NULL,
  sort_at      timestamptz NOT NULL,                                -- the time of arrival, less 30 s for each step of priority
  job_id       uuid NOT NULL CONSTRAINT run_queue_job_id_key UNIQUE,
  kind         text NOT NULL,
  group_id     uuid NOT NULL,                                       -- what is cancelled together: the run, the endpoint
  priority     smallint NOT NULL CONSTRAINT run_queue_priority_check CHECK (priority BETWEEN 1 AND 10),
  epoch        bigint NOT NULL,                                     -- of the last lease; every claim raises it
  recoveries   integer NOT NULL,                                    -- leases lost in a row
  CONSTRAINT run_queue_pkey PRIMARY KEY (lane, workspace_id, sort_at, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX run_queue_group_id_idx ON run_queue (group_id);

CREATE TABLE run_leases (
  job_id       uuid NOT NULL CONSTRAINT run_leases_pkey PRIMARY KEY,
  lane         text NOT NULL,
  workspace_id uuid NOT NULL,
  kind         text NOT NULL,
  group_id     uuid NOT NULL,
  priority     smallint NOT NULL,
  epoch        bigint NOT NULL,
  recoveries   integer NOT NULL,
  worker_id    uuid NOT NULL,
  expires_at   timestamptz NOT NULL,                                -- real time, as is the next
  started_at   timestamptz NOT NULL,
  cancel       boolean NOT NULL DEFAULT false,                      -- the worker is asked to stop
  again_at     timestamptz                                          -- pushed meanwhile: when to do it again
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX run_leases_worker_id_idx ON run_leases (worker_id);
CREATE INDEX run_leases_expires_at_idx ON run_leases (expires_at);
CREATE INDEX run_leases_group_id_idx ON run_leases (group_id);

CREATE TABLE run_timers (
  job_id       uuid NOT NULL CONSTRAINT run_timers_pkey PRIMARY KEY,
  lane         text NOT NULL,
  workspace_id uuid NOT NULL,
  kind         text NOT NULL,
  group_id     uuid NOT NULL,
  priority     smallint NOT NULL,
  epoch        bigint NOT NULL,
  recoveries   integer NOT NULL,
  due_at       timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX run_timers_due_at_idx ON run_timers (due_at);
CREATE INDEX run_timers_group_id_idx ON run_timers (group_id);

-- One row per lane and workspace: how much waits and runs, how much may, and whose turn it is (the lowest virtual time).
CREATE TABLE workspace_slots (
  lane         text NOT NULL CONSTRAINT workspace_slots_lane_check
               CHECK (lane IN ('steps', 'deliveries', 'deliveries_slow', 'mail', 'system', 'slow')),
  workspace_id uuid NOT NULL,
  ready        integer NOT NULL DEFAULT 0,                          -- in run_queue; timers are not counted
  running      integer NOT NULL DEFAULT 0,                          -- in run_leases
  max_running  integer NOT NULL CONSTRAINT workspace_slots_max_running_check CHECK (max_running >= 0),
  max_ready    integer NOT NULL CONSTRAINT workspace_slots_max_ready_check CHECK (max_ready >= 0),
  weight       real NOT NULL DEFAULT 1 CONSTRAINT workspace_slots_weight_check CHECK (weight > 0),
  vtime        double precision NOT NULL DEFAULT 0,
  CONSTRAINT workspace_slots_pkey PRIMARY KEY (lane, workspace_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX workspace_slots_eligible_idx ON workspace_slots (lane, vtime) WHERE ready > 0 AND running < max_running;
CREATE INDEX workspace_slots_lane_vtime_idx ON workspace_slots (lane, vtime);

SELECT make_kernel_table(t) FROM unnest(ARRAY['run_queue', 'run_leases', 'run_timers', 'workspace_slots']::regclass[]) t;

-- ── Helpers of the functions below; nobody else may call them ────────────────────────────────────────────────────────────────────────

-- Locks a slot row, made with the numbers of the smallest plan where it is missing. Whoever moves a job holds its slot.
CREATE FUNCTION slot_lock(at text, workspace uuid) RETURNS workspace_slots LANGUAGE plpgsql AS $$
DECLARE
  slot workspace_slots;
BEGIN
  LOOP
    SELECT * INTO slot FROM workspace_slots WHERE lane = at AND workspace_id = workspace FOR UPDATE;
    IF FOUND THEN
      RETURN slot;
    END IF;
    INSERT INTO workspace_slots (lane, workspace_id, max_running, max_ready)
    VALUES (at, workspace, CASE WHEN at IN ('mail', 'system', 'slow') THEN 4 ELSE 2 END, CASE at WHEN 'steps' THEN 1000 ELSE 1000000 END)
    ON CONFLICT DO NOTHING;
  END LOOP;
END $$;

-- The lanes between which a job of this one may move. Whoever wants, moves or cancels such jobs holds the slots of all of them, locked in
-- the order of their names: nobody reads a lane that is about to change, and nobody meets anybody crosswise.
CREATE FUNCTION lanes_beside(at text) RETURNS text[] IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE WHEN at IN ('deliveries', 'deliveries_slow') THEN ARRAY['deliveries', 'deliveries_slow'] ELSE ARRAY[at] END
$$;

-- Where a workspace starts that becomes eligible: level with the most patient of those that wait, or, where nobody waits, with the last
-- one served. It is not starved, and it has no credit from when it had nothing to do.
CREATE FUNCTION fair_start(at text, own double precision) RETURNS double precision STABLE LANGUAGE sql AS $$
  SELECT greatest(own, coalesce(
    (SELECT min(vtime) FROM workspace_slots WHERE lane = at AND ready > 0 AND running < max_running),
    (SELECT max(vtime) FROM workspace_slots WHERE lane = at)))
$$;
-- The kernel's own statements (promote, reap) move jobs too.
GRANT EXECUTE ON FUNCTION fair_start(text, double precision) TO app_kernel;

CREATE FUNCTION slot_count(at text, workspace uuid, more_ready integer, more_running integer) RETURNS void LANGUAGE sql AS $$
  UPDATE workspace_slots
     SET ready = ready + more_ready, running = running + more_running,
         vtime = CASE WHEN ready > 0 AND running < max_running THEN vtime ELSE fair_start(lane, vtime) END
   WHERE lane = at AND workspace_id = workspace
$$;

-- ── The five ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Makes sure that the job is done: at once, or at `due_at`. If it exists already it stays in its lane; waiting, its due time is kept, or
-- becomes the sooner one, or is replaced, and of the priorities the higher one holds; leased, it will be done again. `floor_epoch` is the highest epoch that the subject has stored;
-- null for subjects without one. Raises GH001 when the workspace's queue is full. Comes last in a transaction, for it locks a hot row.
CREATE FUNCTION job_push(lane text, kind text, job_id uuid, group_id uuid, priority smallint, due_at timestamptz, on_exists text,
                         floor_epoch bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
#variable_conflict use_column
DECLARE
  ws CONSTANT uuid := current_workspace();
  due timestamptz := CASE WHEN job_push.due_at > app_now() THEN job_push.due_at END;
  lanes CONSTANT text[] := lanes_beside(job_push.lane);
  at text;
  slot workspace_slots;
  waiting timestamptz;
BEGIN
  IF on_exists NOT IN ('keep', 'sooner', 'replace') OR on_exists IS NULL THEN
    RAISE EXCEPTION 'on_exists => % is none of keep, sooner, replace', on_exists;
  END IF;
  FOREACH at IN ARRAY lanes LOOP
    PERFORM slot_lock(at, ws);
  END LOOP;
  -- Asked only now: while we waited for the slots, the job may have moved or ended.
  at := coalesce((SELECT l.lane FROM run_leases l WHERE l.job_id = job_push.job_id AND l.workspace_id = ws),
                 (SELECT t.lane FROM run_timers t WHERE t.job_id = job_push.job_id AND t.workspace_id = ws),
                 (SELECT q.lane FROM run_queue q WHERE q.job_id = job_push.job_id AND q.workspace_id = ws),
                 job_push.lane);
  IF at <> ALL (lanes) THEN
    RAISE EXCEPTION 'job % waits in lane %, and is wanted in %', job_push.job_id, at, job_push.lane;
  END IF;
  slot := slot_lock(at, ws);

  UPDATE run_leases l
     SET again_at = CASE on_exists
           WHEN 'keep' THEN coalesce(l.again_at, due, app_now())
           WHEN 'sooner' THEN least(l.again_at, coalesce(due, app_now()))
           ELSE coalesce(due, app_now()) END
   WHERE l.job_id = job_push.job_id AND l.workspace_id = ws;
  IF FOUND THEN
    RETURN;
  END IF;

  SELECT t.due_at INTO waiting FROM run_timers t WHERE t.job_id = job_push.job_id AND t.workspace_id = ws;
  IF FOUND THEN
    IF on_exists = 'keep' OR (on_exists = 'sooner' AND waiting <= due) THEN
      RETURN;
    ELSIF due IS NOT NULL THEN
      UPDATE run_timers t SET due_at = due, priority = greatest(t.priority, job_push.priority) WHERE t.job_id = job_push.job_id;
      RETURN;
    END IF;
    WITH gone AS (DELETE FROM run_timers t WHERE t.job_id = job_push.job_id RETURNING t.*)
    INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
    SELECT g.lane, g.workspace_id, app_now() - greatest(g.priority, job_push.priority) * interval '30 s', g.job_id, g.kind, g.group_id,
           greatest(g.priority, job_push.priority), g.epoch, g.recoveries
      FROM gone g;
    PERFORM slot_count(at, ws, 1, 0);
    RETURN;
  END IF;

  IF EXISTS (SELECT FROM run_queue q WHERE q.job_id = job_push.job_id AND q.workspace_id = ws) THEN
    IF on_exists = 'replace' AND due IS NOT NULL THEN
      WITH gone AS (DELETE FROM run_queue q WHERE q.job_id = job_push.job_id RETURNING q.*)
      INSERT INTO run_timers (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, due_at)
      SELECT g.job_id, g.lane, g.workspace_id, g.kind, g.group_id, g.priority, g.epoch, g.recoveries, due FROM gone g;
      PERFORM slot_count(at, ws, -1, 0);
    ELSE
      -- The claim orders by `sort_at`, and holds the slot that we hold.
      UPDATE run_queue q SET priority = job_push.priority, sort_at = least(q.sort_at, app_now() - job_push.priority * interval '30 s')
       WHERE q.job_id = job_push.job_id AND q.priority < job_push.priority;
    END IF;
    RETURN;
  END IF;

  IF due IS NOT NULL THEN
    INSERT INTO run_timers (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, due_at)
    VALUES (job_push.job_id, at, ws, job_push.kind, job_push.group_id, job_push.priority,
            coalesce(floor_epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 0, due);
    RETURN;
  END IF;
  IF slot.ready >= slot.max_ready THEN
    RAISE EXCEPTION 'GH001: the queue is full: % of %', slot.ready, slot.max_ready USING ERRCODE = 'GH001';
  END IF;
  INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
  VALUES (at, ws, app_now() - job_push.priority * interval '30 s', job_push.job_id, job_push.kind, job_push.group_id, job_push.priority,
          coalesce(floor_epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 0);
  PERFORM slot_count(at, ws, 1, 0);
END $$;

-- Gives a lease up: back to the queue or the timers at `due`, or away where that is null. False: the lease is somebody else's by now,
-- and the caller must roll back.
CREATE FUNCTION lease_end(job uuid, held bigint, due timestamptz, target text) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ws CONSTANT uuid := current_workspace();
  at text;
  goal text;
  gone run_leases;
BEGIN
  SELECT l.lane INTO at FROM run_leases l WHERE l.job_id = job AND l.workspace_id = ws;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  goal := coalesce(target, at);
  IF goal <> ALL (lanes_beside(at)) THEN
    RAISE EXCEPTION 'no job moves from lane % to %', at, goal;
  END IF;
  PERFORM slot_lock(least(at, goal), ws);
  IF at <> goal THEN
    PERFORM slot_lock(greatest(at, goal), ws);
  END IF;
  DELETE FROM run_leases l WHERE l.job_id = job AND l.workspace_id = ws AND l.epoch = held RETURNING l.* INTO gone;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  -- A cancelled job comes back only if somebody pushed it after that.
  due := CASE WHEN gone.cancel THEN gone.again_at ELSE least(due, gone.again_at) END;
  IF due IS NULL THEN
    PERFORM slot_count(at, ws, 0, -1);
  ELSIF due > app_now() THEN
    INSERT INTO run_timers (job_id, lane, workspace_id, kind, group_id, priority, epoch, recoveries, due_at)
    VALUES (job, goal, ws, gone.kind, gone.group_id, gone.priority, gone.epoch, 0, due);
    PERFORM slot_count(at, ws, 0, -1);
  ELSE
    INSERT INTO run_queue (lane, workspace_id, sort_at, job_id, kind, group_id, priority, epoch, recoveries)
    VALUES (goal, ws, app_now() - gone.priority * interval '30 s', job, gone.kind, gone.group_id, gone.priority, gone.epoch, 0);
    IF at = goal THEN
      PERFORM slot_count(at, ws, 1, -1);
    ELSE
      PERFORM slot_count(at, ws, 0, -1), slot_count(goal, ws, 1, 0);
    END IF;
  END IF;
  RETURN true;
END $$;

-- The job is done. Pushed meanwhile, it is queued again. False: stale epoch.
CREATE FUNCTION job_finish(job_id uuid, epoch bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
  SELECT lease_end($1, $2, NULL, NULL)
$$;

-- The job is to be done again at `due_at` (null: at once), in another lane if one is named. False: stale epoch.
CREATE FUNCTION job_retry(job_id uuid, epoch bigint, due_at timestamptz, lane text DEFAULT NULL) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
  SELECT lease_end($1, $2, coalesce($3, app_now()), $4)
$$;

-- Drops what waits and asks the workers to stop what they have.
CREATE FUNCTION job_cancel(group_id uuid, OUT dropped integer, OUT flagged integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
#variable_conflict use_column
DECLARE
  ws CONSTANT uuid := current_workspace();
  at text;
  ready integer;
  later integer;
BEGIN
  dropped := 0;
  FOR at IN
    SELECT DISTINCT unnest(lanes_beside(lane)) FROM (
      SELECT lane FROM run_queue q WHERE q.group_id = $1 AND q.workspace_id = ws
       UNION SELECT lane FROM run_timers t WHERE t.group_id = $1 AND t.workspace_id = ws
       UNION SELECT lane FROM run_leases l WHERE l.group_id = $1 AND l.workspace_id = ws) own
     ORDER BY 1
  LOOP
    PERFORM slot_lock(at, ws);
    DELETE FROM run_queue q WHERE q.group_id = $1 AND q.workspace_id = ws AND q.lane = at;
    GET DIAGNOSTICS ready = ROW_COUNT;
    DELETE FROM run_timers t WHERE t.group_id = $1 AND t.workspace_id = ws AND t.lane = at;
    GET DIAGNOSTICS later = ROW_COUNT;
    PERFORM slot_count(at, ws, -ready, 0);
    dropped := dropped + ready + later;
  END LOOP;
  UPDATE run_leases l SET cancel = true, again_at = NULL WHERE l.group_id = $1 AND l.workspace_id = ws;
  GET DIAGNOSTICS flagged = ROW_COUNT;
END $$;

-- How much of the workspace waits and runs in a lane, and how much may.
CREATE FUNCTION job_depth(lane text, OUT ready integer, OUT running integer, OUT max_ready integer, OUT max_running integer)
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
  SELECT s.ready, s.running, s.max_ready, s.max_running
    FROM workspace_slots s WHERE s.lane = $1 AND s.workspace_id = current_workspace()
$$;

GRANT EXECUTE ON FUNCTION
  job_push(text, text, uuid, uuid, smallint, timestamptz, text, bigint), job_finish(uuid, bigint),
  job_retry(uuid, bigint, timestamptz, text), job_cancel(uuid), job_depth(text)
  TO app_tenant, app_kernel;
