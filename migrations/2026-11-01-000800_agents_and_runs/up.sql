-- Agents, what they are compiled to, and what became of every run. All of it lives inside a workspace; resellers and customers see
-- none of it. A check on a list of words holds the whole vocabulary, also of what no service offers yet.

-- ── Plans, agents, versions ──────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What is executed, named by the SHA-256 of its canonical text (JCS). Never changed: every process may keep it by its name. It goes with the
-- last version and the last run that have need of it (plans_forget), and their keys let nobody take it away before.
CREATE TABLE run_plans (
  workspace_id uuid NOT NULL CONSTRAINT run_plans_workspace_id_fkey REFERENCES workspaces (id),
  sha256       bytea NOT NULL CONSTRAINT run_plans_sha256_check CHECK (octet_length(sha256) = 32),
  ir           integer NOT NULL,                                    -- version of the plan's language
  body         jsonb NOT NULL,
  size         integer NOT NULL CONSTRAINT run_plans_size_check CHECK (size BETWEEN 1 AND 1048576),
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_plans_pkey PRIMARY KEY (workspace_id, sha256)
);
SELECT make_tenant_table('run_plans', without => '{UPDATE}');

CREATE TABLE agents (
  workspace_id    uuid NOT NULL CONSTRAINT agents_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  name            text NOT NULL,
  slug            text COLLATE "C" NOT NULL CONSTRAINT agents_slug_check CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  description     text,
  framework       text NOT NULL CONSTRAINT agents_framework_check
                  CHECK (framework IN ('openai', 'langchain', 'crewai', 'graph', 'pipeline')),
  config          jsonb NOT NULL,                                   -- the draft
  draft_sha256    bytea NOT NULL,                                   -- of framework and config: tells whether the draft differs
  draft_problems  jsonb NOT NULL DEFAULT '[]',                      -- why the draft cannot be published, as of its last change
  latest          integer,                                          -- the newest version's number
  latest_sha256   bytea,                                            -- its draft_sha256
  state           text NOT NULL DEFAULT 'active' CONSTRAINT agents_state_check CHECK (state IN ('active', 'archived')),
  metadata        jsonb NOT NULL DEFAULT '{}',
  version         bigint NOT NULL DEFAULT 1,
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT agents_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT agents_latest_check CHECK ((latest IS NULL) = (latest_sha256 IS NULL))
);
-- With a condition, as they change: bump_version says why.
CREATE UNIQUE INDEX agents_workspace_id_name_key ON agents (workspace_id, name) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX agents_workspace_id_slug_key ON agents (workspace_id, slug) WHERE slug IS NOT NULL;
CREATE INDEX agents_created_at_idx ON agents (workspace_id, created_at, id);
CREATE INDEX agents_state_idx ON agents (workspace_id, state, created_at, id);
CREATE INDEX agents_framework_idx ON agents (workspace_id, framework, created_at, id);
CREATE INDEX agents_updated_at_idx ON agents (workspace_id, updated_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('agents');
SELECT make_metadata_table('agent_metadata', reach => 'closed');
SELECT keep_metadata_of('agents', 'agent_metadata');

-- A frozen agent. Only its retirement is ever noted; the row goes with an agent that never ran.
CREATE TABLE agent_versions (
  workspace_id    uuid NOT NULL,
  id              uuid NOT NULL,
  agent_id        uuid NOT NULL,
  number          integer NOT NULL CONSTRAINT agent_versions_number_check CHECK (number BETWEEN 1 AND 10000),
  plan_sha256     bytea NOT NULL,
  framework       text NOT NULL CONSTRAINT agent_versions_framework_check
                  CHECK (framework IN ('openai', 'langchain', 'crewai', 'graph', 'pipeline')),
  config          jsonb NOT NULL,
  config_sha256   bytea NOT NULL,
  input_schema    jsonb,
  output_schema   jsonb,
  note            text,
  retired_at      timestamptz,
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT agent_versions_pkey PRIMARY KEY (workspace_id, agent_id, number),
  CONSTRAINT agent_versions_workspace_id_id_key UNIQUE (workspace_id, id),
  CONSTRAINT agent_versions_agent_id_fkey FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT agent_versions_plan_sha256_fkey FOREIGN KEY (workspace_id, plan_sha256) REFERENCES run_plans (workspace_id, sha256)
);
CREATE INDEX agent_versions_plan_sha256_idx ON agent_versions (workspace_id, plan_sha256);
CREATE INDEX agent_versions_created_at_idx ON agent_versions (workspace_id, agent_id, created_at, id);
SELECT make_tenant_table('agent_versions', without => '{UPDATE,DELETE}');
GRANT UPDATE (retired_at) ON agent_versions TO app_tenant;

CREATE TABLE agent_labels (
  workspace_id uuid NOT NULL,
  agent_id     uuid NOT NULL,
  label        text NOT NULL CONSTRAINT agent_labels_label_check CHECK (label ~ '^[a-z0-9-]{1,32}$' AND label <> 'latest'),
  number       integer NOT NULL,
  previous     integer,                                             -- where it stood before: what a rollback goes back to
  protected    boolean NOT NULL DEFAULT false,
  version      bigint NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT agent_labels_pkey PRIMARY KEY (workspace_id, agent_id, label),
  CONSTRAINT agent_labels_number_fkey FOREIGN KEY (workspace_id, agent_id, number)
    REFERENCES agent_versions (workspace_id, agent_id, number) ON DELETE CASCADE
);
CREATE TRIGGER bump_version BEFORE UPDATE ON agent_labels FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('agent_labels');

-- ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE runs (
  workspace_id          uuid NOT NULL,
  id                    uuid NOT NULL,
  kind                  text NOT NULL CONSTRAINT runs_kind_check CHECK (kind IN
                        ('execution', 'trial', 'generation', 'ingestion', 'answer', 'code_analysis', 'asset_sync', 'capture_import')),
  -- what
  plan_sha256           bytea,                                      -- null: it was of a draft, and went with the contents
  agent_id              uuid,
  agent_version         integer,                                    -- null with an agent: its draft
  framework             text,
  label                 text,                                       -- by which the version was chosen
  input                 jsonb NOT NULL,
  output                jsonb,
  error                 jsonb,
  tags                  text[] NOT NULL DEFAULT '{}',
  metadata              jsonb NOT NULL DEFAULT '{}',
  -- why
  trigger               text NOT NULL CONSTRAINT runs_trigger_check CHECK (trigger IN
                        ('api', 'ui', 'schedule', 'webhook', 'mcp', 'openai', 'experiment', 'subrun', 'system')),
  created_by_type       text NOT NULL DEFAULT current_actor_type(),
  created_by_id         uuid DEFAULT current_actor_id(),
  subject               text,
  request_id            text,
  trace_id              text,
  -- kin
  thread_id             uuid,
  parent_run_id         uuid,
  root_run_id           uuid NOT NULL,
  depth                 integer NOT NULL DEFAULT 0 CONSTRAINT runs_depth_check CHECK (depth BETWEEN 0 AND 5),
  forked_from_run_id    uuid,
  forked_from_seq       integer,
  experiment_id         uuid,
  arm_id                uuid,
  project_id            uuid,
  schedule_id           uuid,
  trigger_id            uuid,
  -- where
  status                text NOT NULL DEFAULT 'pending' CONSTRAINT runs_status_check CHECK (status IN
                        ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
  wait_reason           text CONSTRAINT runs_wait_reason_check CHECK (wait_reason IN
                        ('approval', 'input', 'timer', 'event', 'child', 'budget', 'recovery', 'upgrade', 'paused')),
  tick                  integer NOT NULL DEFAULT 0,
  open_steps            integer NOT NULL DEFAULT 0 CONSTRAINT runs_open_steps_check CHECK (open_steps >= 0),
  progress              integer NOT NULL DEFAULT 0 CONSTRAINT runs_progress_check CHECK (progress BETWEEN 0 AND 100),
  priority              integer NOT NULL DEFAULT 5 CONSTRAINT runs_priority_check CHECK (priority BETWEEN 1 AND 10),
  concurrency_key       text,
  event_seq             integer NOT NULL DEFAULT 0,
  step_seq              integer NOT NULL DEFAULT 0,
  checkpoint_seq        integer NOT NULL DEFAULT 0,
  recoveries            integer NOT NULL DEFAULT 0,
  -- money
  max_cost_micros       bigint CONSTRAINT runs_max_cost_micros_check CHECK (max_cost_micros BETWEEN 0 AND 9007199254740991),
  cost_micros           bigint NOT NULL DEFAULT 0 CONSTRAINT runs_cost_micros_check CHECK (cost_micros BETWEEN 0 AND 9007199254740991),
  saved_cost_micros     bigint NOT NULL DEFAULT 0,
  usage                 jsonb NOT NULL DEFAULT '{}',
  -- time
  timeout_seconds       integer NOT NULL DEFAULT 3600 CONSTRAINT runs_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 86400),
  queue_timeout_seconds integer NOT NULL DEFAULT 3600
                        CONSTRAINT runs_queue_timeout_seconds_check CHECK (queue_timeout_seconds BETWEEN 1 AND 86400),
  started_at            timestamptz,
  finished_at           timestamptz,
  active_ms             bigint NOT NULL DEFAULT 0,                  -- spent neither pending nor waiting, up to active_since
  active_since          timestamptz,                                -- set while running
  expires_at            timestamptz NOT NULL,
  cancel_requested_at   timestamptz,
  cancel_mode           text CONSTRAINT runs_cancel_mode_check CHECK (cancel_mode IN ('graceful', 'immediate')),
  payload_until         timestamptz,
  purged_at             timestamptz,
  version               bigint NOT NULL DEFAULT 1,
  created_at            timestamptz NOT NULL DEFAULT app_now(),
  updated_at            timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT runs_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT runs_plan_sha256_fkey FOREIGN KEY (workspace_id, plan_sha256) REFERENCES run_plans (workspace_id, sha256),
  CONSTRAINT runs_agent_id_fkey FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id),
  CONSTRAINT runs_agent_version_fkey FOREIGN KEY (workspace_id, agent_id, agent_version)
    REFERENCES agent_versions (workspace_id, agent_id, number),
  CONSTRAINT runs_plan_check CHECK (plan_sha256 IS NOT NULL OR (purged_at IS NOT NULL AND agent_version IS NULL)),
  CONSTRAINT runs_waiting_check CHECK ((status = 'waiting') = (wait_reason IS NOT NULL)),
  CONSTRAINT runs_active_check CHECK ((status = 'running') = (active_since IS NOT NULL)),
  CONSTRAINT runs_finished_check CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX runs_created_at_idx ON runs (workspace_id, created_at, id);
CREATE INDEX runs_updated_at_idx ON runs (workspace_id, updated_at, id);
CREATE INDEX runs_agent_id_idx ON runs (workspace_id, agent_id, created_at, id);
CREATE INDEX runs_agent_id_status_idx ON runs (workspace_id, agent_id, status, created_at, id);
CREATE INDEX runs_kind_idx ON runs (workspace_id, kind, created_at, id);
-- Of executions nearly all is said by their status alone; the others are few beside them, however many of those failed.
CREATE INDEX runs_kind_status_idx ON runs (workspace_id, kind, status, created_at, id) WHERE kind <> 'execution';
CREATE INDEX runs_status_idx ON runs (workspace_id, status, created_at, id);
CREATE INDEX runs_subject_idx ON runs (workspace_id, subject, created_at, id) WHERE subject IS NOT NULL;
CREATE INDEX runs_parent_run_id_idx ON runs (workspace_id, parent_run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX runs_payload_until_idx ON runs (workspace_id, payload_until) WHERE purged_at IS NULL;
CREATE INDEX runs_plan_sha256_idx ON runs (workspace_id, plan_sha256);
-- Counters that every step moves, and what is learnt of a run's cost after its end, are in no ETag's promise.
CREATE TRIGGER bump_version BEFORE UPDATE ON runs FOR EACH ROW
  EXECUTE FUNCTION bump_version('open_steps', 'step_seq', 'checkpoint_seq');
SELECT make_tenant_table('runs', without => '{DELETE}');
SELECT keep_metadata_of('runs', 'agent_metadata');

-- A run's tags, each by itself: whether arrays overlap is not leakproof, so that under row-level security no index would serve it.
CREATE TABLE run_tags (
  workspace_id uuid NOT NULL,
  run_id       uuid NOT NULL,
  tag          text COLLATE "C" NOT NULL,
  CONSTRAINT run_tags_pkey PRIMARY KEY (workspace_id, run_id, tag),
  CONSTRAINT run_tags_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX run_tags_tag_idx ON run_tags (workspace_id, tag, run_id);
SELECT make_tenant_table('run_tags', without => '{UPDATE,DELETE}');

CREATE TABLE run_steps (
  workspace_id   uuid NOT NULL,
  id             uuid NOT NULL,
  -- what
  run_id         uuid NOT NULL,
  number         integer NOT NULL,
  node_id        text NOT NULL,
  path           text NOT NULL,
  parent_step_id uuid,
  tick           integer NOT NULL,
  iteration      integer NOT NULL DEFAULT 0,
  item           integer NOT NULL DEFAULT -1,                       -- −1: none, for NULLs never collide
  kind           text NOT NULL CONSTRAINT run_steps_kind_check CHECK (kind IN
                 ('llm', 'agent', 'tool', 'prompt', 'transform', 'guardrail', 'retrieve', 'router', 'map', 'join', 'interrupt', 'wait',
                  'subrun', 'stage', 'builtin', 'sandbox')),
  effect         text NOT NULL CONSTRAINT run_steps_effect_check CHECK (effect IN ('pure', 'read', 'idempotent', 'unsafe')),
  -- state
  status         text NOT NULL DEFAULT 'pending' CONSTRAINT run_steps_status_check CHECK (status IN
                 ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'skipped')),
  epoch          bigint NOT NULL DEFAULT 0,                         -- of the lease that owns it: an older one commits nothing
  attempt        integer NOT NULL DEFAULT 0,
  max_attempts   integer NOT NULL DEFAULT 3 CONSTRAINT run_steps_max_attempts_check CHECK (max_attempts BETWEEN 1 AND 10),
  prior_attempts jsonb NOT NULL DEFAULT '[]',
  commit_token   uuid,                                              -- of the attempt that committed: settles a lost reply to COMMIT
  behaviour      integer NOT NULL DEFAULT 1,                        -- version of what the node kind does
  progress       integer NOT NULL DEFAULT 0 CONSTRAINT run_steps_progress_check CHECK (progress BETWEEN 0 AND 100),
  -- data
  input          jsonb,
  output         jsonb,
  error          jsonb,
  intent         jsonb,                                             -- written before an effect: {tool, args_sha256, idem_key}
  idem_key       bytea,
  model          text,
  usage          jsonb NOT NULL DEFAULT '{}',
  cost_micros    bigint NOT NULL DEFAULT 0,
  held_micros    bigint NOT NULL DEFAULT 0,                         -- the worst that the attempt at work can cost
  held_usage     jsonb,
  reused_from    uuid,
  started_at     timestamptz,
  heartbeat_at   timestamptz,
  finished_at    timestamptz,
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_steps_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT run_steps_place_key UNIQUE (workspace_id, run_id, path, tick, iteration, item),
  CONSTRAINT run_steps_number_key UNIQUE (workspace_id, run_id, number),
  CONSTRAINT run_steps_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);
SELECT make_tenant_table('run_steps', without => '{DELETE}');

-- What was said, appended and never changed, until the contents of the run are removed: a step refers to it by scope and length.
CREATE TABLE run_messages (
  workspace_id uuid NOT NULL,
  run_id       uuid NOT NULL,
  scope        text NOT NULL,
  seq          integer NOT NULL,
  role         text NOT NULL CONSTRAINT run_messages_role_check CHECK (role IN ('system', 'developer', 'user', 'assistant', 'tool')),
  content      jsonb NOT NULL,
  tool_calls   jsonb,
  step_id      uuid,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_messages_pkey PRIMARY KEY (workspace_id, run_id, scope, seq),
  CONSTRAINT run_messages_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('run_messages', without => '{UPDATE}');

-- What happened, in the order of the commits, without gaps.
CREATE TABLE run_events (
  workspace_id uuid NOT NULL,
  run_id       uuid NOT NULL,
  seq          integer NOT NULL,
  type         text NOT NULL CONSTRAINT run_events_type_check CHECK (type ~ '^[a-z_]+\.[a-z_]+$'),
  step_number  integer,
  data         jsonb NOT NULL DEFAULT '{}',
  hash         bytea,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_events_pkey PRIMARY KEY (workspace_id, run_id, seq),
  CONSTRAINT run_events_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('run_events', without => '{UPDATE}');

-- The state after a tick: whole, or what changed since the one before (RFC 6902).
CREATE TABLE run_checkpoints (
  workspace_id uuid NOT NULL,
  run_id       uuid NOT NULL,
  seq          integer NOT NULL,
  tick         integer NOT NULL,
  parent_seq   integer,
  kind         text NOT NULL CONSTRAINT run_checkpoints_kind_check CHECK (kind IN ('full', 'delta')),
  body         jsonb NOT NULL,
  next         text[] NOT NULL DEFAULT '{}',
  reason       text NOT NULL CONSTRAINT run_checkpoints_reason_check CHECK (reason IN ('tick', 'interrupt', 'final', 'fork')),
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_checkpoints_pkey PRIMARY KEY (workspace_id, run_id, seq),
  CONSTRAINT run_checkpoints_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('run_checkpoints', without => '{UPDATE}');

CREATE TABLE run_logs (
  workspace_id uuid NOT NULL,
  run_id       uuid NOT NULL,
  seq          integer NOT NULL,
  step_id      uuid,
  level        text NOT NULL CONSTRAINT run_logs_level_check CHECK (level IN ('debug', 'info', 'warning', 'error')),
  message      text NOT NULL CONSTRAINT run_logs_message_check CHECK (octet_length(message) <= 8192),
  details      jsonb,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT run_logs_pkey PRIMARY KEY (workspace_id, run_id, seq),
  CONSTRAINT run_logs_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('run_logs', without => '{UPDATE}');

-- What a run asks people, or asks to be told before it goes on.
CREATE TABLE interrupts (
  workspace_id  uuid NOT NULL,
  id            uuid NOT NULL,
  run_id        uuid NOT NULL,
  step_id       uuid,
  kind          text NOT NULL CONSTRAINT interrupts_kind_check CHECK (kind IN ('approval', 'input', 'budget', 'recovery')),
  prompt        text NOT NULL,
  schema        jsonb,
  choices       jsonb,
  assignees     jsonb NOT NULL DEFAULT '[]',
  quorum        integer NOT NULL DEFAULT 1 CONSTRAINT interrupts_quorum_check CHECK (quorum BETWEEN 1 AND 10),
  forbid_self   boolean NOT NULL DEFAULT false,
  expires_at    timestamptz,
  on_expire     text NOT NULL DEFAULT 'fail'
                CONSTRAINT interrupts_on_expire_check CHECK (on_expire IN ('fail', 'reject', 'approve', 'default')),
  default_value jsonb,
  status        text NOT NULL DEFAULT 'open'
                CONSTRAINT interrupts_status_check CHECK (status IN ('open', 'resolved', 'expired', 'cancelled')),
  decision      text CONSTRAINT interrupts_decision_check CHECK (decision IN
                ('approve', 'reject', 'edit', 'answer', 'select', 'raise', 'stop', 'rerun', 'done', 'fail')),
  value         jsonb,
  decided_by    uuid,
  comment       text,
  link_epoch    integer NOT NULL DEFAULT 0,
  version       bigint NOT NULL DEFAULT 1,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  updated_at    timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT interrupts_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT interrupts_run_id_fkey FOREIGN KEY (workspace_id, run_id) REFERENCES runs (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX interrupts_created_at_idx ON interrupts (workspace_id, status, created_at, id);
CREATE INDEX interrupts_run_id_idx ON interrupts (workspace_id, run_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON interrupts FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('interrupts', without => '{DELETE}');

-- ── The ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What models and tools cost. Appended only: a correction is a signed row. It outlives the runs, so nothing refers to them.
CREATE TABLE usage_events (
  workspace_id  uuid NOT NULL,
  id            uuid NOT NULL,
  run_id        uuid,
  step_id       uuid,
  epoch         bigint NOT NULL DEFAULT 0,
  call_no       integer NOT NULL DEFAULT 0,
  kind          text NOT NULL CONSTRAINT usage_events_kind_check CHECK (kind IN ('call', 'estimate', 'correction')),
  provider      text NOT NULL,
  model         text NOT NULL,                                      -- resolved, never an alias
  credential_id uuid,
  agent_id      uuid,
  agent_version integer,
  framework     text,
  experiment_id uuid,
  arm_id        uuid,
  api_key_id    uuid,
  user_id       uuid,
  project_id    uuid,
  usage_details jsonb NOT NULL,
  input_tokens  bigint NOT NULL,
  output_tokens bigint NOT NULL,
  cost_micros   bigint NOT NULL,
  price_ids     uuid[] NOT NULL DEFAULT '{}',
  unpriced      boolean NOT NULL DEFAULT false,
  estimated     boolean NOT NULL DEFAULT false,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT usage_events_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT usage_events_call_key UNIQUE (workspace_id, step_id, epoch, call_no, kind),
  CONSTRAINT usage_events_sign_check CHECK (kind = 'correction' OR (input_tokens >= 0 AND output_tokens >= 0 AND cost_micros >= 0))
);
CREATE INDEX usage_events_created_at_idx ON usage_events (workspace_id, created_at, id);
CREATE INDEX usage_events_run_id_idx ON usage_events (workspace_id, run_id, created_at, id);
SELECT make_tenant_table('usage_events', without => '{UPDATE,DELETE}');

-- Removes those of these plans that no version is a name for and no run has need of, and answers how many those were. One transaction of a
-- workspace at a time, so that of two that go with the last two of its users the second sees that the first is gone. The first in order of
-- those that have the name is looked for, which an index finds however many runs have one plan; no further than to the name itself, or each
-- would walk over all that this transaction has deleted.
CREATE FUNCTION plans_forget(names bytea[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  workspace uuid := current_workspace();
  name bytea;
  gone bigint := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('plans ' || workspace::text, 0));
  FOREACH name IN ARRAY names LOOP
    CONTINUE WHEN name = (SELECT v.plan_sha256 FROM agent_versions v WHERE v.workspace_id = workspace AND v.plan_sha256 >= name
                              AND v.plan_sha256 <= name ORDER BY v.plan_sha256 LIMIT 1)
               OR name = (SELECT r.plan_sha256 FROM runs r WHERE r.workspace_id = workspace AND r.plan_sha256 >= name
                              AND r.plan_sha256 <= name ORDER BY r.plan_sha256 LIMIT 1);
    DELETE FROM run_plans WHERE workspace_id = workspace AND sha256 = name;
    IF FOUND THEN
      gone := gone + 1;
    END IF;
  END LOOP;
  RETURN gone;
END $$;
GRANT EXECUTE ON FUNCTION plans_forget(bytea[]) TO app_tenant;
