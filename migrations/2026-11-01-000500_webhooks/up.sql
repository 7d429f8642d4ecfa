-- Outgoing webhooks: who wants which events, what was sent, and one pump per endpoint that sends it. The payload stays in the outbox.

CREATE TABLE webhook_endpoints (
  workspace_id     uuid NOT NULL CONSTRAINT webhook_endpoints_workspace_id_fkey REFERENCES workspaces (id),
  id               uuid NOT NULL,
  reseller_id      uuid,
  external_id      text,
  url              text NOT NULL CONSTRAINT webhook_endpoints_url_check CHECK (length(url) BETWEEN 1 AND 2048),
  description      text NOT NULL DEFAULT '',
  events           text[] NOT NULL DEFAULT '{}',                     -- names of the catalogue, 'run.*', '*'; none: a draft
  filter           jsonb NOT NULL DEFAULT '{}',                      -- {"agent_id": ["agt_…"]}
  payload          text NOT NULL DEFAULT 'full' CONSTRAINT webhook_endpoints_payload_check CHECK (payload IN ('full', 'thin')),
  enabled          boolean NOT NULL DEFAULT true,
  disabled_reason  text,
  disabled_at      timestamptz,
  ordering         text NOT NULL DEFAULT 'none' CONSTRAINT webhook_endpoints_ordering_check CHECK (ordering IN ('none', 'head_of_line')),
  max_hold_seconds integer NOT NULL DEFAULT 60 CONSTRAINT webhook_endpoints_max_hold_seconds_check CHECK (max_hold_seconds >= 0),
  rate_per_s       integer NOT NULL DEFAULT 10 CONSTRAINT webhook_endpoints_rate_per_s_check CHECK (rate_per_s BETWEEN 1 AND 1000),
  max_in_flight    integer NOT NULL DEFAULT 10 CONSTRAINT webhook_endpoints_max_in_flight_check CHECK (max_in_flight BETWEEN 1 AND 50),
  headers_sealed   bytea,
  header_names     text[] NOT NULL DEFAULT '{}',
  source           text NOT NULL DEFAULT 'api' CONSTRAINT webhook_endpoints_source_check CHECK (source IN ('app', 'api', 'zapier', 'n8n')),
  source_ref       text,                                             -- the key or grant whose own the subscription is
  events_hash      bytea NOT NULL,
  filter_hash      bytea NOT NULL,
  once             boolean NOT NULL DEFAULT false,
  expires_at       timestamptz,
  api_version      text NOT NULL,
  first_failure_at timestamptz,                                      -- since the last success
  last_failure_at  timestamptz,
  last_success_at  timestamptz,
  exhausted_in_row integer NOT NULL DEFAULT 0,
  refused_in_row   integer NOT NULL DEFAULT 0,                       -- attempts whose target was not allowed
  created_by_type  text NOT NULL DEFAULT current_actor_type(),
  created_by_id    uuid DEFAULT current_actor_id(),
  version          bigint NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT app_now(),
  updated_at       timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT webhook_endpoints_disabled_check CHECK (enabled = (disabled_at IS NULL))
);
CREATE UNIQUE INDEX webhook_endpoints_external_id_key ON webhook_endpoints (workspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX webhook_endpoints_subscription_key ON webhook_endpoints (workspace_id, source, source_ref, url, events_hash, filter_hash)
  WHERE source_ref IS NOT NULL;
CREATE INDEX webhook_endpoints_created_at_idx ON webhook_endpoints (workspace_id, created_at, id);
CREATE INDEX webhook_endpoints_updated_at_idx ON webhook_endpoints (workspace_id, updated_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON webhook_endpoints FOR EACH ROW
  WHEN (NOT is_rewrapped(OLD.headers_sealed, NEW.headers_sealed)) EXECUTE FUNCTION
  bump_version('first_failure_at', 'last_failure_at', 'last_success_at', 'exhausted_in_row', 'refused_in_row');
SELECT make_tenant_table('webhook_endpoints', reseller => 'own');

-- HMAC secrets. All that have not expired sign.
CREATE TABLE webhook_secrets (
  workspace_id  uuid NOT NULL,
  endpoint_id   uuid NOT NULL,
  kid           uuid NOT NULL,
  reseller_id   uuid,
  secret_sealed bytea NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  expires_at    timestamptz,
  CONSTRAINT webhook_secrets_pkey PRIMARY KEY (workspace_id, endpoint_id, kid),
  CONSTRAINT webhook_secrets_endpoint_id_fkey FOREIGN KEY (workspace_id, endpoint_id)
    REFERENCES webhook_endpoints (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('webhook_secrets', reseller => 'own');

-- One event for one endpoint. The id is made of both, so that the same pair cannot be inserted twice. What it was for may be gone: a log
-- outlives its endpoint.
CREATE TABLE webhook_deliveries (
  workspace_id     uuid NOT NULL,
  id               uuid NOT NULL,
  endpoint_id      uuid NOT NULL,
  reseller_id      uuid,
  event_id         uuid NOT NULL,
  event_type       text NOT NULL,
  subject_id       uuid,
  state            text NOT NULL DEFAULT 'pending' CONSTRAINT webhook_deliveries_state_check
                   CHECK (state IN ('pending', 'in_flight', 'delivered', 'exhausted', 'skipped', 'cancelled')),
  test             boolean NOT NULL DEFAULT false,
  epoch            bigint NOT NULL DEFAULT 0,
  attempts         integer NOT NULL DEFAULT 0,                       -- since the last manual retry
  attempts_total   integer NOT NULL DEFAULT 0,
  priority         smallint NOT NULL DEFAULT 5,
  next_attempt_at  timestamptz,
  first_attempt_at timestamptz,
  last_status      integer,
  last_error       text,
  created_at       timestamptz NOT NULL DEFAULT app_now(),
  finished_at      timestamptz,
  CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT webhook_deliveries_final_check CHECK ((state IN ('pending', 'in_flight')) = (finished_at IS NULL)),
  CONSTRAINT webhook_deliveries_next_check CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
) PARTITION BY RANGE (id);
-- What a pump asks costs what it answers, however much waits. The conditions say what a state means in columns that are null or not, for a
-- plan that is made before the parameters are known cannot tell that a state is one of the index.
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (workspace_id, endpoint_id, priority, next_attempt_at, id)
  WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_retry_idx ON webhook_deliveries (workspace_id, endpoint_id, next_attempt_at, id)
  WHERE next_attempt_at IS NOT NULL AND first_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_in_flight_idx ON webhook_deliveries (workspace_id, endpoint_id, id)
  WHERE next_attempt_at IS NULL AND finished_at IS NULL;
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (workspace_id, endpoint_id, id) WHERE finished_at IS NULL;
CREATE INDEX webhook_deliveries_created_at_idx ON webhook_deliveries (workspace_id, created_at, id);
CREATE INDEX webhook_deliveries_endpoint_id_idx ON webhook_deliveries (workspace_id, endpoint_id, created_at, id);
CREATE INDEX webhook_deliveries_event_type_idx ON webhook_deliveries (workspace_id, event_type, created_at, id);
CREATE INDEX webhook_deliveries_last_status_idx ON webhook_deliveries (workspace_id, last_status, created_at, id);
-- What arrived is nearly all of it, and found by walking.
CREATE INDEX webhook_deliveries_state_idx ON webhook_deliveries (workspace_id, state, created_at, id) WHERE state <> 'delivered';
-- What went wrong at one endpoint, however much went wrong at others. What goes well is in none of the two, and costs nothing here.
CREATE INDEX webhook_deliveries_endpoint_id_state_idx ON webhook_deliveries (workspace_id, endpoint_id, state, created_at, id)
  WHERE state IN ('exhausted', 'skipped', 'cancelled');
CREATE INDEX webhook_deliveries_endpoint_id_last_status_idx ON webhook_deliveries (workspace_id, endpoint_id, last_status, created_at, id)
  WHERE last_status >= 300;
CREATE INDEX webhook_deliveries_event_id_idx ON webhook_deliveries (workspace_id, event_id);
CREATE INDEX webhook_deliveries_subject_id_idx ON webhook_deliveries (workspace_id, subject_id, created_at, id);
SELECT make_tenant_table('webhook_deliveries', reseller => 'own');
CREATE TABLE webhook_deliveries_default PARTITION OF webhook_deliveries DEFAULT;
SELECT guard_partition('webhook_deliveries_default', 'webhook_deliveries');

CREATE TABLE webhook_attempts (
  workspace_id     uuid NOT NULL,
  id               uuid NOT NULL,
  delivery_id      uuid NOT NULL,
  reseller_id      uuid,
  n                integer NOT NULL,
  started_at       timestamptz NOT NULL,
  duration_ms      integer NOT NULL,
  http_status      integer,
  error            text,
  request_headers  jsonb NOT NULL DEFAULT '[]',
  response_headers jsonb NOT NULL DEFAULT '[]',
  response_body    text,
  ip               text,
  CONSTRAINT webhook_attempts_pkey PRIMARY KEY (workspace_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX webhook_attempts_delivery_id_idx ON webhook_attempts (workspace_id, delivery_id, id);
SELECT make_tenant_table('webhook_attempts', reseller => 'own', without => ARRAY['UPDATE', 'DELETE']);
CREATE TABLE webhook_attempts_default PARTITION OF webhook_attempts DEFAULT;
SELECT guard_partition('webhook_attempts_default', 'webhook_attempts');

-- What an endpoint's only sender knows: whose lease it is, its throttle, its breaker, and what is to be tidied. How much waits is not counted:
-- whoever adds to it would wait for whoever sends.
CREATE TABLE webhook_pumps (
  workspace_id  uuid NOT NULL,
  endpoint_id   uuid NOT NULL,
  reseller_id   uuid,
  epoch         bigint NOT NULL DEFAULT 0,
  tat           timestamptz NOT NULL DEFAULT '1970-01-01Z',           -- theoretical arrival time of the next attempt
  slow_until    timestamptz,                                         -- until when the rate is halved
  breaker_until timestamptz,                                         -- null: closed
  breaker_step  integer NOT NULL DEFAULT 0,
  window_at     timestamptz NOT NULL DEFAULT app_now(),
  window_ok     integer NOT NULL DEFAULT 0,
  window_bad    integer NOT NULL DEFAULT 0,
  failed_in_row integer NOT NULL DEFAULT 0,                          -- two move the pump to the slow lane, one success back
  skip_until    timestamptz,                                         -- what was matched by then is to be skipped, batch by batch
  recover_since timestamptz,                                         -- what ended since then without arriving is to be opened again
  CONSTRAINT webhook_pumps_pkey PRIMARY KEY (workspace_id, endpoint_id),
  CONSTRAINT webhook_pumps_endpoint_id_fkey FOREIGN KEY (workspace_id, endpoint_id)
    REFERENCES webhook_endpoints (workspace_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT make_tenant_table('webhook_pumps', reseller => 'own');

INSERT INTO partitioned_tables (name, keep) VALUES ('webhook_deliveries', '90 days'), ('webhook_attempts', '90 days');
