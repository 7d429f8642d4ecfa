-- What every change leaves behind: the audit log and its chain, events and their queue, mails, answers kept for retries, and the plan
-- that says how much is left.

-- ── Partitions by time of id ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Tables whose partitions `partitions_keep` makes and drops.
CREATE TABLE partitioned_tables (
  name text NOT NULL CONSTRAINT partitioned_tables_pkey PRIMARY KEY,
  keep interval                                                     -- null: never dropped by age
);

-- Puts a partition behind the same wall as its parent, for it can be named directly. It gets no grants: the parent has them.
CREATE FUNCTION guard_partition(child regclass, parent regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  policy record;
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', child);
  FOR policy IN
    SELECT p.polname, p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS condition,
           (SELECT string_agg(quote_ident(r.rolname), ', ') FROM pg_roles r WHERE r.oid = ANY (p.polroles)) AS roles
      FROM pg_policy p WHERE p.polrelid = parent
  LOOP
    EXECUTE format('CREATE POLICY %I ON %s AS %s FOR ALL TO %s USING (%s) WITH CHECK (%s)', policy.polname, child,
                   CASE WHEN policy.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, policy.roles, policy.condition, policy.condition);
  END LOOP;
END $$;

-- Makes the partitions of this month and the next three, and drops those older than the table's age. Rows of a new month that the
-- default partition caught before are moved, else one such row would block the month for ever. Returns how many it made.
CREATE FUNCTION partitions_keep(parent text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
DECLARE
  known partitioned_tables;
  fallback CONSTANT text := parent || '_default';
  this_month CONSTANT timestamp := date_trunc('month', app_now() AT TIME ZONE 'UTC');
  month timestamp;
  child text;
  low uuid;
  high uuid;
  caught boolean;
  left_over boolean;
  made integer := 0;
BEGIN
  SELECT * INTO known FROM partitioned_tables WHERE name = parent;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% is not a partitioned table', parent;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('partitions_keep', 0));

  FOR i IN 0..3 LOOP
    month := this_month + make_interval(months => i);
    child := parent || to_char(month, '_YYYYMM');
    CONTINUE WHEN to_regclass(child) IS NOT NULL;
    low := uuid_at(month AT TIME ZONE 'UTC');
    high := uuid_at((month + interval '1 month') AT TIME ZONE 'UTC');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', child, parent);
    caught := pg_relation_size(fallback::regclass) > 0;
    IF caught THEN
      -- Forced row-level security would hide the rows from us. Detaching has locked everybody out until we commit.
      EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, fallback);
      EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', fallback);
      EXECUTE format('WITH moved AS (DELETE FROM %I WHERE id >= %L AND id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
                     fallback, low, high, child);
      EXECUTE format('SELECT EXISTS (SELECT FROM %I)', fallback) INTO left_over;
      IF NOT left_over THEN
        EXECUTE format('TRUNCATE %I', fallback);
      END IF;
      EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', fallback);
    END IF;
    PERFORM guard_partition(child::regclass, parent::regclass);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, low, high);
    IF caught THEN
      EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', parent, fallback);
    END IF;
    made := made + 1;
  END LOOP;

  FOR child IN
    SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
     WHERE h.inhparent = parent::regclass AND c.relname ~ '_[0-9]{6}$'
       AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= app_now() AT TIME ZONE 'UTC' - known.keep
  LOOP
    EXECUTE format('DROP TABLE %I', child);
  END LOOP;
  RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION partitions_keep(text) TO app_kernel;

-- How many rows lie in a table's default partition, for which there was no other: row-level security hides them from whoever would count, so
-- it is what PostgreSQL's statistics say, and 1 where they say nothing of a partition that is not empty.
CREATE FUNCTION stray_rows(parent text) RETURNS bigint STABLE
  RETURN (SELECT CASE WHEN pg_relation_size(c.oid) = 0 THEN 0
                      WHEN pg_stat_get_live_tuples(c.oid) > 0 THEN pg_stat_get_live_tuples(c.oid)
                      WHEN pg_stat_get_dead_tuples(c.oid) > 0 THEN 0
                      ELSE 1 END
            FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
           WHERE h.inhparent = parent::regclass AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT');
GRANT EXECUTE ON FUNCTION stray_rows(text) TO app_kernel;

-- ── The audit log ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE audit_log (
  workspace_id    uuid NOT NULL,
  id              uuid NOT NULL,
  action          text NOT NULL,
  actor_type      text NOT NULL DEFAULT current_actor_type(),
  actor_id        uuid DEFAULT current_actor_id(),
  impersonator_id uuid,
  subject_type    text,
  subject_prefix  text,                                             -- what the subject's public id begins with
  subject_id      uuid,
  changes         jsonb NOT NULL DEFAULT '{}',                      -- {"role": ["member", "admin"]}; secrets as "[changed]"
  outcome         text NOT NULL DEFAULT 'done' CONSTRAINT audit_log_outcome_check CHECK (outcome IN ('done', 'refused', 'failed')),
  code            text,                                             -- of a refusal
  occurrences     integer NOT NULL DEFAULT 1 CONSTRAINT audit_log_occurrences_check CHECK (occurrences >= 1),
  request_id      text,
  session_id      uuid,
  reseller_id     uuid,                                             -- whose the subject is
  customer_id     uuid,
  personal_hash   bytea,                                            -- of the entry's audit_personal: erasing that breaks no chain
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT audit_log_pkey PRIMARY KEY (workspace_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX audit_log_action_idx ON audit_log (workspace_id, action, id);
CREATE INDEX audit_log_actor_id_idx ON audit_log (workspace_id, actor_id, id);
CREATE INDEX audit_log_subject_id_idx ON audit_log (workspace_id, subject_id, id);
CREATE INDEX audit_log_request_id_idx ON audit_log (workspace_id, request_id);
CREATE INDEX audit_log_actor_type_idx ON audit_log (workspace_id, actor_type, id);
CREATE INDEX audit_log_subject_type_idx ON audit_log (workspace_id, subject_type, id);
-- What was done is nearly all of it, and found by walking.
CREATE INDEX audit_log_outcome_idx ON audit_log (workspace_id, outcome, id) WHERE outcome <> 'done';
SELECT make_shared_table('audit_log', reseller => 'own', customer => 'own', tenant => 'SELECT, INSERT', kernel => 'INSERT');
SELECT let_keeper('audit_log', 'SELECT, DELETE');
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
SELECT guard_partition('audit_log_default', 'audit_log');

-- What of an entry is about a person, apart, so that it can be erased.
CREATE TABLE audit_personal (
  workspace_id uuid NOT NULL,
  entry_id     uuid NOT NULL,
  ip           text,
  user_agent   text,
  actor_email  text,
  salt         bytea NOT NULL,
  CONSTRAINT audit_personal_pkey PRIMARY KEY (workspace_id, entry_id)
);
CREATE INDEX audit_personal_ip_idx ON audit_personal (workspace_id, ip, entry_id);
CREATE INDEX audit_personal_entry_id_idx ON audit_personal (entry_id);
SELECT make_shared_table('audit_personal', reseller => 'open', customer => 'open',
  tenant => 'SELECT, INSERT', kernel => 'SELECT (workspace_id, entry_id), INSERT, DELETE');
SELECT let_keeper('audit_personal', 'SELECT, DELETE');

-- Entries that the chain does not hold yet.
CREATE TABLE audit_pending (
  workspace_id uuid NOT NULL,
  entry_id     uuid NOT NULL,
  CONSTRAINT audit_pending_pkey PRIMARY KEY (workspace_id, entry_id)
);
SELECT make_shared_table('audit_pending', reseller => 'open', customer => 'open',
  tenant => 'SELECT, INSERT, DELETE', kernel => 'SELECT (workspace_id), INSERT');

CREATE TABLE audit_seals (
  workspace_id uuid NOT NULL,
  seq          bigint NOT NULL,
  entry_id     uuid NOT NULL,
  hash         bytea NOT NULL,
  CONSTRAINT audit_seals_pkey PRIMARY KEY (workspace_id, seq),      -- refuses a second sealer
  CONSTRAINT audit_seals_workspace_id_entry_id_key UNIQUE (workspace_id, entry_id)
);
SELECT make_shared_table('audit_seals', tenant => 'SELECT, INSERT', kernel => NULL);
SELECT let_keeper('audit_seals', 'SELECT, DELETE');

CREATE TABLE audit_checkpoints (
  workspace_id uuid NOT NULL,
  seq          bigint NOT NULL,
  hash         bytea NOT NULL,
  kid          text NOT NULL,
  signature    bytea NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (workspace_id, seq)
);
CREATE INDEX audit_checkpoints_created_at_idx ON audit_checkpoints (workspace_id, created_at, seq);
SELECT make_shared_table('audit_checkpoints', tenant => 'SELECT, INSERT', kernel => NULL);
SELECT let_keeper('audit_checkpoints', 'SELECT');

-- Removes the oldest entries that were made before an instant, about `batch` of them, and answers how many. It goes from one signed
-- checkpoint to another, whose own seal stays: the chain verifies from there on.
CREATE FUNCTION audit_prune(workspace uuid, before timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = guildhall, pg_temp AS $$
DECLARE
  oldest bigint;
  oldest_kept bigint;
  anchor bigint;
  doomed uuid[];
  gone integer;
BEGIN
  PERFORM set_config('app.workspace', workspace::text, true);
  SELECT s.seq INTO oldest FROM audit_seals s
   WHERE EXISTS (SELECT FROM audit_log l WHERE l.workspace_id = s.workspace_id AND l.id = s.entry_id) ORDER BY s.seq LIMIT 1;
  SELECT coalesce(min(seq), 9223372036854775807) INTO oldest_kept FROM audit_seals WHERE entry_id >= uuid_at(before);
  IF oldest IS NULL OR oldest >= oldest_kept THEN
    RETURN 0;
  END IF;
  SELECT max(seq) INTO anchor FROM audit_checkpoints WHERE seq >= oldest AND seq < least(oldest_kept, oldest + batch);
  IF anchor IS NULL THEN
    SELECT min(seq) INTO anchor FROM audit_checkpoints WHERE seq >= oldest AND seq < oldest_kept;
  END IF;
  IF anchor IS NULL THEN
    IF NOT EXISTS (SELECT FROM audit_checkpoints WHERE seq < oldest_kept) THEN
      RAISE EXCEPTION 'no signed checkpoint below which entries could be removed' USING ERRCODE = 'GH010';
    END IF;
    RETURN 0;
  END IF;
  doomed := ARRAY(SELECT entry_id FROM audit_seals WHERE seq BETWEEN oldest AND anchor);
  DELETE FROM audit_personal WHERE entry_id = ANY (doomed);
  DELETE FROM audit_seals WHERE seq < anchor;
  DELETE FROM audit_log WHERE id = ANY (doomed);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;
GRANT EXECUTE ON FUNCTION audit_prune(uuid, timestamptz, integer) TO app_kernel;
SELECT hand_to_keeper('audit_prune(uuid, timestamptz, integer)');

-- ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE outbox (
  workspace_id uuid NOT NULL,
  id           uuid NOT NULL,
  type         text NOT NULL CONSTRAINT outbox_type_check CHECK (type ~ '^[a-z0-9_]+\.[a-z0-9_]+$'),
  api_version  text NOT NULL,
  actor_type   text NOT NULL DEFAULT current_actor_type(),
  actor_id     uuid DEFAULT current_actor_id(),
  subject_id   uuid,
  request_id   text,
  traceparent  text,
  data         jsonb NOT NULL,
  previous     jsonb,
  thin         boolean NOT NULL DEFAULT false,
  reseller_id  uuid,                                                -- whose the subject is
  customer_id  uuid,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT outbox_pkey PRIMARY KEY (workspace_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX outbox_subject_id_idx ON outbox (workspace_id, subject_id, id);
SELECT make_shared_table('outbox', reseller => 'own', customer => 'own', tenant => 'SELECT, INSERT', kernel => 'INSERT');
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;
SELECT guard_partition('outbox_default', 'outbox');

CREATE TABLE outbox_queue (
  workspace_id uuid NOT NULL,
  event_id     uuid NOT NULL,
  tries        integer NOT NULL DEFAULT 0,
  busy         integer NOT NULL DEFAULT 0,                          -- tries that failed for want of a database that had time
  due_at       timestamptz NOT NULL DEFAULT now(),                  -- real time, as leases are
  lease_token  uuid,
  lease_until  timestamptz,
  CONSTRAINT outbox_queue_pkey PRIMARY KEY (workspace_id, event_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_queue_due_at_idx ON outbox_queue (due_at, event_id);
CREATE INDEX outbox_queue_lease_token_idx ON outbox_queue (workspace_id, lease_token) WHERE lease_token IS NOT NULL;
SELECT make_shared_table('outbox_queue', reseller => 'open', customer => 'open', tenant => 'SELECT, INSERT, DELETE',
  kernel => 'SELECT, INSERT, UPDATE (tries, busy, due_at, lease_token, lease_until)');

CREATE TABLE outbox_dead (
  workspace_id uuid NOT NULL,
  event_id     uuid NOT NULL,
  consumer     text NOT NULL,
  error        text NOT NULL,
  tries        integer NOT NULL,
  died_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT outbox_dead_pkey PRIMARY KEY (workspace_id, event_id, consumer)
);
CREATE INDEX outbox_dead_died_at_idx ON outbox_dead (workspace_id, died_at, event_id);
SELECT make_shared_table('outbox_dead', tenant => 'SELECT, INSERT, DELETE',
  kernel => 'SELECT (workspace_id, event_id, consumer, died_at), INSERT, DELETE');

-- ── Mails ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE mails (
  workspace_id uuid NOT NULL CONSTRAINT mails_workspace_id_fkey REFERENCES workspaces (id),
  id           uuid NOT NULL,
  template     text NOT NULL,
  locale       text NOT NULL DEFAULT 'en',
  recipient    text NOT NULL,
  data_sealed  bytea,                                               -- null once sent, or after 72 hours
  state        text NOT NULL DEFAULT 'queued' CONSTRAINT mails_state_check CHECK (state IN ('queued', 'sent', 'dead')),
  dedupe_key   text NOT NULL,
  tries        integer NOT NULL DEFAULT 0,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  sent_at      timestamptz,
  CONSTRAINT mails_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT mails_workspace_id_dedupe_key_key UNIQUE (workspace_id, dedupe_key)
);
CREATE INDEX mails_waiting_idx ON mails (created_at) WHERE data_sealed IS NOT NULL;
CREATE INDEX mails_created_at_idx ON mails (created_at);
SELECT make_shared_table('mails', reseller => 'open', customer => 'open', tenant => 'SELECT, INSERT, UPDATE',
  kernel => 'SELECT (workspace_id, id, state, created_at), INSERT, UPDATE (data_sealed), DELETE');

-- ── Answers kept for retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE idempotency_keys (
  workspace_id uuid NOT NULL,
  principal    text NOT NULL,
  route        text NOT NULL,
  key_hash     bytea NOT NULL,
  fingerprint  bytea NOT NULL,
  state        text NOT NULL CONSTRAINT idempotency_keys_state_check CHECK (state IN ('started', 'done')),
  status       integer,
  headers      jsonb,
  body         jsonb,
  body_sealed  bytea,
  resource_id  uuid,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  expires_at   timestamptz NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (workspace_id, principal, route, key_hash)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
SELECT make_shared_table('idempotency_keys', reseller => 'open', customer => 'open', tenant => 'SELECT, INSERT, UPDATE, DELETE',
  kernel => 'SELECT (workspace_id, expires_at), DELETE');

-- ── Plans ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The projection that says what a workspace may do. One row per workspace, made with it (class kernel).
CREATE TABLE workspace_plans (
  workspace_id   uuid NOT NULL CONSTRAINT workspace_plans_pkey PRIMARY KEY
                 CONSTRAINT workspace_plans_workspace_id_fkey REFERENCES workspaces (id) ON DELETE CASCADE,
  plan           text NOT NULL,
  rank           integer NOT NULL DEFAULT 0,
  access         text NOT NULL DEFAULT 'full' CONSTRAINT workspace_plans_access_check CHECK (access IN ('full', 'read_only')),
  unpaid_since   timestamptz,                                       -- since when access is read_only
  entitlements   jsonb NOT NULL DEFAULT '{}',
  sources        jsonb NOT NULL DEFAULT '[]',
  seats          integer,                                           -- null: unlimited
  source_version bigint NOT NULL DEFAULT 0,                         -- the lease epoch that computed it: a later lease read later
  valid_until    timestamptz,
  changed_version bigint NOT NULL DEFAULT 0,                        -- the source version that last changed what the workspace may do
  told_version   bigint NOT NULL DEFAULT 0,                         -- the one that the workspace was told of
  told           jsonb,                                             -- what it was told last: what an untold change is told against
  audit_days     bigint,                                            -- days of its audit log that are kept; null: all of it
  audit_days_next bigint,                                           -- as many will be, because the plan keeps fewer
  audit_days_turn_at timestamptz,                                   -- from then on
  updated_at     timestamptz NOT NULL DEFAULT app_now()
);
SELECT make_kernel_table('workspace_plans');
-- Tenant zero has no limits: the highest rank there is.
INSERT INTO workspace_plans (workspace_id, plan, rank) VALUES ('00000000-0000-7000-8000-000000000001', 'platform', 2147483647);

CREATE TABLE entitlement_counters (
  workspace_id uuid NOT NULL,
  code         text NOT NULL,
  period_key   text NOT NULL DEFAULT '',                            -- '' for stocks, '2026-11' for rates
  used         bigint NOT NULL CONSTRAINT entitlement_counters_used_check CHECK (used BETWEEN 0 AND 9007199254740991),
  CONSTRAINT entitlement_counters_pkey PRIMARY KEY (workspace_id, code, period_key)
) WITH (fillfactor = 50);
SELECT make_shared_table('entitlement_counters', reseller => 'open', customer => 'open', tenant => 'SELECT, INSERT, UPDATE',
  kernel => 'SELECT (workspace_id, code, period_key), DELETE');

INSERT INTO partitioned_tables (name, keep) VALUES ('audit_log', NULL), ('outbox', '90 days');
