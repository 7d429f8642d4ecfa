-- What a workspace sells, and who may run it: products, policies, customers, licences, machines. A check on a list of words holds the whole
-- vocabulary, also of what no service offers yet.

SELECT make_metadata_table('catalog_metadata', reach => 'open');
SELECT make_metadata_table('customer_metadata', reach => 'own');

-- ── Products and policies ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE products (
  workspace_id   uuid NOT NULL CONSTRAINT products_workspace_id_fkey REFERENCES workspaces (id),
  id             uuid NOT NULL,
  code           text COLLATE "C" NOT NULL CONSTRAINT products_code_check CHECK (code ~ '^[a-z][a-z0-9-]{0,62}$'),
  name           text NOT NULL,
  url            text,
  version_scheme text NOT NULL DEFAULT 'semver'
                 CONSTRAINT products_version_scheme_check CHECK (version_scheme IN ('semver', 'date', 'integer')),
  environments   text[] NOT NULL DEFAULT '{production}' CONSTRAINT products_environments_check CHECK (cardinality(environments) BETWEEN 1 AND 20),
  portal         jsonb NOT NULL DEFAULT '{}',
  metadata       jsonb NOT NULL DEFAULT '{}',
  archived_at    timestamptz,
  version        bigint NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  updated_at     timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT products_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT products_workspace_id_code_key UNIQUE (workspace_id, code)
);
CREATE INDEX products_created_at_idx ON products (workspace_id, created_at, id);
CREATE INDEX products_updated_at_idx ON products (workspace_id, updated_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('products', reseller => 'open', customer => 'open', without => '{DELETE}');
SELECT keep_metadata_of('products', 'catalog_metadata');

-- What version and checksum scopes are judged by.
CREATE TABLE product_versions (
  workspace_id uuid NOT NULL,
  id           uuid NOT NULL,
  product_id   uuid NOT NULL,
  label        text COLLATE "C" NOT NULL,                           -- '2.4.1', as the product's scheme writes it
  released_at  timestamptz NOT NULL,
  checksums    text[] NOT NULL DEFAULT '{}',
  yanked_at    timestamptz,
  metadata     jsonb NOT NULL DEFAULT '{}',
  version      bigint NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT product_versions_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT product_versions_workspace_id_product_id_label_key UNIQUE (workspace_id, product_id, label),
  CONSTRAINT product_versions_product_id_fkey FOREIGN KEY (workspace_id, product_id) REFERENCES products (workspace_id, id)
);
CREATE INDEX product_versions_released_at_idx ON product_versions (workspace_id, product_id, released_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON product_versions FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('product_versions', reseller => 'open', customer => 'open');

-- Words of a list of units, of scopes, of what software may do: checks on arrays cannot hold a subquery, so they are functions.
CREATE FUNCTION all_among(words text[], known text[]) RETURNS boolean IMMUTABLE STRICT PARALLEL SAFE
  RETURN words <@ known AND array_position(words, NULL) IS NULL;
GRANT EXECUTE ON FUNCTION all_among(text[], text[]) TO app_tenant;

-- The template of licences. `null` limits are unlimited.
CREATE TABLE policies (
  workspace_id                  uuid NOT NULL,
  id                            uuid NOT NULL,
  product_id                    uuid NOT NULL,
  code                          text COLLATE "C" NOT NULL CONSTRAINT policies_code_check CHECK (code ~ '^[a-z][a-z0-9-]{0,62}$'),
  name                          text NOT NULL,
  rank                          integer NOT NULL DEFAULT 0 CONSTRAINT policies_rank_check CHECK (rank BETWEEN 0 AND 1000000),
  metadata                      jsonb NOT NULL DEFAULT '{}',
  -- keys
  key_format                    text NOT NULL DEFAULT 'opaque'
                                CONSTRAINT policies_key_format_check CHECK (key_format IN ('opaque', 'grouped', 'signed')),
  key_prefix                    text CONSTRAINT policies_key_prefix_check CHECK (key_prefix ~ '^[A-Z0-9]{2,12}$'),
  key_storage                   text NOT NULL DEFAULT 'hashed' CONSTRAINT policies_key_storage_check CHECK (key_storage IN ('hashed', 'vaulted')),
  -- time
  term_count                    integer CONSTRAINT policies_term_count_check CHECK (term_count BETWEEN 1 AND 876600),
  term_unit                     text CONSTRAINT policies_term_unit_check CHECK (term_unit IN ('hour', 'day', 'week', 'month', 'year')),
  expiration_basis              text NOT NULL DEFAULT 'from_creation' CONSTRAINT policies_expiration_basis_check
                                CHECK (expiration_basis IN ('from_creation', 'from_first_validation', 'from_first_activation',
                                                            'from_first_use', 'from_first_download')),
  expiration_strategy           text NOT NULL DEFAULT 'restrict_access' CONSTRAINT policies_expiration_strategy_check
                                CHECK (expiration_strategy IN ('restrict_access', 'revoke_access', 'maintain_access', 'allow_access')),
  grace_seconds                 integer NOT NULL DEFAULT 0 CONSTRAINT policies_grace_seconds_check CHECK (grace_seconds BETWEEN 0 AND 7776000),
  renewal_basis                 text NOT NULL DEFAULT 'from_expiry' CONSTRAINT policies_renewal_basis_check
                                CHECK (renewal_basis IN ('from_expiry', 'from_now', 'from_now_if_expired')),
  suspended_time                text NOT NULL DEFAULT 'runs'
                                CONSTRAINT policies_suspended_time_check CHECK (suspended_time IN ('runs', 'stops_clock')),
  transferable                  boolean NOT NULL DEFAULT false,
  transfer_strategy             text NOT NULL DEFAULT 'keep_expiry'
                                CONSTRAINT policies_transfer_strategy_check CHECK (transfer_strategy IN ('keep_expiry', 'reset_expiry')),
  maintenance_count             integer CONSTRAINT policies_maintenance_count_check CHECK (maintenance_count BETWEEN 1 AND 36525),
  maintenance_unit              text CONSTRAINT policies_maintenance_unit_check CHECK (maintenance_unit IN ('day', 'week', 'month', 'year')),
  trial                         boolean NOT NULL DEFAULT false,
  trial_guard                   text NOT NULL DEFAULT 'fingerprint'
                                CONSTRAINT policies_trial_guard_check CHECK (trial_guard IN ('none', 'customer', 'fingerprint', 'both')),
  check_in_every                integer CONSTRAINT policies_check_in_every_check CHECK (check_in_every BETWEEN 1 AND 365),
  check_in_unit                 text CONSTRAINT policies_check_in_unit_check CHECK (check_in_unit IN ('day', 'week', 'month', 'year')),
  -- limits
  strict                        boolean NOT NULL DEFAULT false,
  floating                      boolean NOT NULL DEFAULT false,
  protected                     boolean NOT NULL DEFAULT false,
  max_machines                  integer DEFAULT 1 CONSTRAINT policies_max_machines_check CHECK (max_machines >= 1),
  max_cores                     integer CONSTRAINT policies_max_cores_check CHECK (max_cores >= 1),
  max_memory_mb                 integer CONSTRAINT policies_max_memory_mb_check CHECK (max_memory_mb >= 1),
  max_disk_mb                   integer CONSTRAINT policies_max_disk_mb_check CHECK (max_disk_mb >= 1),
  max_processes                 integer CONSTRAINT policies_max_processes_check CHECK (max_processes >= 1),
  max_users                     integer CONSTRAINT policies_max_users_check CHECK (max_users >= 1),
  max_leases                    integer CONSTRAINT policies_max_leases_check CHECK (max_leases >= 1),
  overage_strategy              text NOT NULL DEFAULT 'no_overage' CONSTRAINT policies_overage_strategy_check
                                CHECK (overage_strategy IN ('no_overage', 'allow_1_25x', 'allow_1_5x', 'allow_2x', 'always_allow')),
  machine_leasing               text NOT NULL DEFAULT 'per_license'
                                CONSTRAINT policies_machine_leasing_check CHECK (machine_leasing IN ('per_license', 'per_user')),
  process_leasing               text NOT NULL DEFAULT 'per_machine'
                                CONSTRAINT policies_process_leasing_check CHECK (process_leasing IN ('per_license', 'per_machine', 'per_user')),
  machine_uniqueness            text NOT NULL DEFAULT 'per_license' CONSTRAINT policies_machine_uniqueness_check
                                CHECK (machine_uniqueness IN ('per_workspace', 'per_product', 'per_policy', 'per_license')),
  component_uniqueness          text NOT NULL DEFAULT 'per_license' CONSTRAINT policies_component_uniqueness_check
                                CHECK (component_uniqueness IN ('per_workspace', 'per_product', 'per_policy', 'per_license')),
  machine_matching              text NOT NULL DEFAULT 'match_any' CONSTRAINT policies_machine_matching_check
                                CHECK (machine_matching IN ('match_any', 'match_two', 'match_most', 'match_all')),
  component_matching            text NOT NULL DEFAULT 'match_any' CONSTRAINT policies_component_matching_check
                                CHECK (component_matching IN ('match_any', 'match_two', 'match_most', 'match_all')),
  adopt_drift                   boolean NOT NULL DEFAULT true,
  -- brakes; null activations: max(20, 3 × max_machines)
  max_activations_per_day       integer CONSTRAINT policies_max_activations_per_day_check CHECK (max_activations_per_day >= 1),
  max_deactivations_per_30_days integer CONSTRAINT policies_max_deactivations_per_30_days_check CHECK (max_deactivations_per_30_days >= 0),
  -- signs of life
  heartbeat                     text NOT NULL DEFAULT 'none' CONSTRAINT policies_heartbeat_check CHECK (heartbeat IN ('none', 'optional', 'required')),
  heartbeat_ttl_seconds         integer NOT NULL DEFAULT 600
                                CONSTRAINT policies_heartbeat_ttl_seconds_check CHECK (heartbeat_ttl_seconds BETWEEN 60 AND 86400),
  heartbeat_basis               text NOT NULL DEFAULT 'from_first_ping'
                                CONSTRAINT policies_heartbeat_basis_check CHECK (heartbeat_basis IN ('from_creation', 'from_first_ping')),
  heartbeat_cull                text NOT NULL DEFAULT 'deactivate_dead'
                                CONSTRAINT policies_heartbeat_cull_check CHECK (heartbeat_cull IN ('deactivate_dead', 'keep_dead')),
  heartbeat_resurrection        text NOT NULL DEFAULT 'no_revive' CONSTRAINT policies_heartbeat_resurrection_check
                                CHECK (heartbeat_resurrection IN ('no_revive', 'revive_1m', 'revive_2m', 'revive_5m', 'revive_10m', 'revive_15m', 'always')),
  lease_ttl_seconds             integer NOT NULL DEFAULT 600 CONSTRAINT policies_lease_ttl_seconds_check CHECK (lease_ttl_seconds BETWEEN 5 AND 86400),
  max_borrow_seconds            integer CONSTRAINT policies_max_borrow_seconds_check CHECK (max_borrow_seconds BETWEEN 60 AND 31536000),
  -- validation
  require_scopes                text[] NOT NULL DEFAULT '{}' CONSTRAINT policies_require_scopes_check
                                CHECK (all_among(require_scopes, '{environment,product,policy,user,machine,fingerprint,components,entitlements,checksum,version}')),
  authentication_strategy       text NOT NULL DEFAULT 'license' CONSTRAINT policies_authentication_strategy_check
                                CHECK (authentication_strategy IN ('token', 'license', 'session', 'mixed', 'none')),
  client_may                    text[] NOT NULL DEFAULT '{validate,activate,deactivate,heartbeat,check_in,usage}' CONSTRAINT policies_client_may_check
                                CHECK (all_among(client_may, '{validate,activate,deactivate,heartbeat,check_in,usage,lease,check_out,transfer}')),
  validation_ttl_seconds        integer NOT NULL DEFAULT 86400
                                CONSTRAINT policies_validation_ttl_seconds_check CHECK (validation_ttl_seconds BETWEEN 60 AND 2592000),
  offline_grace_seconds         integer NOT NULL DEFAULT 1209600
                                CONSTRAINT policies_offline_grace_seconds_check CHECK (offline_grace_seconds BETWEEN 0 AND 31536000),
  file_ttl_seconds              integer DEFAULT 2592000 CONSTRAINT policies_file_ttl_seconds_check CHECK (file_ttl_seconds >= 3600),
  usage_lease_max_units         bigint NOT NULL DEFAULT 0
                                CONSTRAINT policies_usage_lease_max_units_check CHECK (usage_lease_max_units BETWEEN 0 AND 9007199254740991),
  usage_lease_max_seconds       integer NOT NULL DEFAULT 0
                                CONSTRAINT policies_usage_lease_max_seconds_check CHECK (usage_lease_max_seconds BETWEEN 0 AND 31536000),
  -- notices and reactions
  notices_days                  integer[] NOT NULL DEFAULT '{30,14,3,1}' CONSTRAINT policies_notices_days_check
                                CHECK (cardinality(notices_days) <= 10 AND 1 <= ALL (notices_days) AND 365 >= ALL (notices_days)),
  expiring_days                 integer NOT NULL DEFAULT 3 CONSTRAINT policies_expiring_days_check CHECK (expiring_days BETWEEN 0 AND 365),
  on_exposure                   text NOT NULL DEFAULT 'rotate' CONSTRAINT policies_on_exposure_check CHECK (on_exposure IN ('notify', 'rotate', 'suspend')),
  on_refund                     text NOT NULL DEFAULT 'revoke' CONSTRAINT policies_on_refund_check CHECK (on_refund IN ('revoke', 'suspend', 'keep')),
  on_dispute                    text NOT NULL DEFAULT 'suspend' CONSTRAINT policies_on_dispute_check CHECK (on_dispute IN ('suspend', 'keep')),
  entitlements_changed_at       timestamptz,                        -- they are rows of their own, and part of this row's version
  archived_at                   timestamptz,
  version                       bigint NOT NULL DEFAULT 1,
  created_at                    timestamptz NOT NULL DEFAULT app_now(),
  updated_at                    timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT policies_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT policies_product_id_fkey FOREIGN KEY (workspace_id, product_id) REFERENCES products (workspace_id, id),
  CONSTRAINT policies_key_prefix_check1 CHECK ((key_format = 'grouped') OR key_prefix IS NULL),
  CONSTRAINT policies_term_check CHECK ((term_count IS NULL) = (term_unit IS NULL)),
  CONSTRAINT policies_maintenance_check CHECK ((maintenance_count IS NULL) = (maintenance_unit IS NULL)),
  CONSTRAINT policies_check_in_check CHECK ((check_in_every IS NULL) = (check_in_unit IS NULL)),
  CONSTRAINT policies_heartbeat_resurrection_check1 CHECK (heartbeat_resurrection = 'no_revive' OR heartbeat_cull = 'keep_dead')
);
-- With a condition, as they change: bump_version says why.
CREATE UNIQUE INDEX policies_workspace_id_product_id_code_key ON policies (workspace_id, product_id, code) WHERE code IS NOT NULL;
CREATE INDEX policies_created_at_idx ON policies (workspace_id, created_at, id);
CREATE INDEX policies_updated_at_idx ON policies (workspace_id, updated_at, id);
CREATE INDEX policies_code_idx ON policies (workspace_id, code);
CREATE INDEX policies_product_id_idx ON policies (workspace_id, product_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON policies FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('policies', reseller => 'open', customer => 'open', without => '{DELETE}');
SELECT keep_metadata_of('policies', 'catalog_metadata');

-- What a licence can entitle to, beside being valid.
CREATE TABLE entitlement_defs (
  workspace_id uuid NOT NULL CONSTRAINT entitlement_defs_workspace_id_fkey REFERENCES workspaces (id),
  id           uuid NOT NULL,
  code         text COLLATE "C" NOT NULL CONSTRAINT entitlement_defs_code_check CHECK (code ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  name         text NOT NULL,
  kind         text NOT NULL CONSTRAINT entitlement_defs_kind_check CHECK (kind IN ('boolean', 'static', 'metered')),
  value_type   text NOT NULL CONSTRAINT entitlement_defs_value_type_check CHECK (value_type IN ('boolean', 'integer', 'string', 'select')),
  options      text[] NOT NULL DEFAULT '{}',
  unit         text,
  aggregation  text CONSTRAINT entitlement_defs_aggregation_check CHECK (aggregation IN ('sum', 'max', 'last')),
  metadata     jsonb NOT NULL DEFAULT '{}',
  archived_at  timestamptz,
  version      bigint NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT entitlement_defs_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT entitlement_defs_workspace_id_code_key UNIQUE (workspace_id, code),
  CONSTRAINT entitlement_defs_kind_check1 CHECK (CASE kind WHEN 'boolean' THEN value_type = 'boolean' WHEN 'metered' THEN value_type = 'integer'
                                                           ELSE value_type <> 'boolean' END),
  CONSTRAINT entitlement_defs_options_check CHECK ((value_type = 'select') = (cardinality(options) > 0)),
  CONSTRAINT entitlement_defs_aggregation_check1 CHECK ((kind = 'metered') = (aggregation IS NOT NULL))
);
CREATE INDEX entitlement_defs_created_at_idx ON entitlement_defs (workspace_id, created_at, id);
CREATE INDEX entitlement_defs_updated_at_idx ON entitlement_defs (workspace_id, updated_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON entitlement_defs FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('entitlement_defs', reseller => 'open', customer => 'open', without => '{DELETE}');
SELECT keep_metadata_of('entitlement_defs', 'catalog_metadata');

CREATE TABLE policy_entitlements (
  workspace_id uuid NOT NULL,
  policy_id    uuid NOT NULL,
  code         text COLLATE "C" NOT NULL,
  value        jsonb,                                               -- of a boolean or static one
  ceiling      bigint CONSTRAINT policy_entitlements_ceiling_check CHECK (ceiling BETWEEN 0 AND 9007199254740991),   -- of a metered one; null: unlimited
  period       text NOT NULL DEFAULT 'none' CONSTRAINT policy_entitlements_period_check
               CHECK (period IN ('none', 'hour', 'day', 'week', 'month', 'year', 'anniversary', 'term')),
  soft         boolean NOT NULL DEFAULT false,
  rollover_min bigint CONSTRAINT policy_entitlements_rollover_min_check CHECK (rollover_min >= 0),
  rollover_max bigint CONSTRAINT policy_entitlements_rollover_max_check CHECK (rollover_max >= coalesce(rollover_min, 0)),
  CONSTRAINT policy_entitlements_pkey PRIMARY KEY (workspace_id, policy_id, code),
  CONSTRAINT policy_entitlements_policy_id_fkey FOREIGN KEY (workspace_id, policy_id) REFERENCES policies (workspace_id, id),
  CONSTRAINT policy_entitlements_code_fkey FOREIGN KEY (workspace_id, code) REFERENCES entitlement_defs (workspace_id, code),
  CONSTRAINT policy_entitlements_value_check CHECK (value IS NULL OR ceiling IS NULL)
);
CREATE INDEX policy_entitlements_code_idx ON policy_entitlements (workspace_id, code);
SELECT make_tenant_table('policy_entitlements', reseller => 'open', customer => 'open');

-- ── Resellers ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE resellers (
  workspace_id    uuid NOT NULL CONSTRAINT resellers_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  code            text COLLATE "C" NOT NULL CONSTRAINT resellers_code_check CHECK (code ~ '^[a-z][a-z0-9-]{0,62}$'),
  name            text NOT NULL,
  state           text NOT NULL DEFAULT 'active' CONSTRAINT resellers_state_check CHECK (state IN ('active', 'suspended', 'closed')),
  suspension_mode text NOT NULL DEFAULT 'freeze_issue_only'
                  CONSTRAINT resellers_suspension_mode_check CHECK (suspension_mode IN ('freeze_issue_only', 'suspend_licenses')),
  parent_id       uuid,
  contact         jsonb NOT NULL DEFAULT '{}',
  branding        jsonb NOT NULL DEFAULT '{}',
  settlement      text NOT NULL DEFAULT 'postpaid' CONSTRAINT resellers_settlement_check CHECK (settlement IN ('prepaid', 'postpaid')),
  max_members     integer NOT NULL DEFAULT 10 CONSTRAINT resellers_max_members_check CHECK (max_members BETWEEN 1 AND 1000),
  metadata        jsonb NOT NULL DEFAULT '{}',
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT resellers_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT resellers_workspace_id_code_key UNIQUE (workspace_id, code),
  CONSTRAINT resellers_parent_id_fkey FOREIGN KEY (workspace_id, parent_id) REFERENCES resellers (workspace_id, id),
  CONSTRAINT resellers_parent_id_check CHECK (parent_id <> id)
);
CREATE INDEX resellers_created_at_idx ON resellers (workspace_id, created_at, id);
CREATE INDEX resellers_parent_id_idx ON resellers (workspace_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE TRIGGER bump_version BEFORE UPDATE ON resellers FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('resellers', reseller => 'id', without => '{DELETE}');

-- How many licences of a policy a reseller may issue. The ledger's lines sum up to these columns.
CREATE TABLE allocations (
  workspace_id       uuid NOT NULL,
  id                 uuid NOT NULL,
  reseller_id        uuid NOT NULL,
  policy_id          uuid NOT NULL,
  granted            bigint NOT NULL DEFAULT 0,
  issued             bigint NOT NULL DEFAULT 0,
  delegated          bigint NOT NULL DEFAULT 0,
  unit_price         jsonb,                                         -- {"amount": 1999, "currency": "usd"}
  valid_until        timestamptz,
  narrowing          jsonb NOT NULL DEFAULT '{}',
  refund_window_days integer NOT NULL DEFAULT 14 CONSTRAINT allocations_refund_window_days_check CHECK (refund_window_days BETWEEN 0 AND 365),
  state              text NOT NULL DEFAULT 'open' CONSTRAINT allocations_state_check CHECK (state IN ('open', 'frozen', 'closed')),
  version            bigint NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL DEFAULT app_now(),
  updated_at         timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT allocations_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT allocations_workspace_id_reseller_id_id_key UNIQUE (workspace_id, reseller_id, id),
  CONSTRAINT allocations_reseller_id_fkey FOREIGN KEY (workspace_id, reseller_id) REFERENCES resellers (workspace_id, id),
  CONSTRAINT allocations_policy_id_fkey FOREIGN KEY (workspace_id, policy_id) REFERENCES policies (workspace_id, id),
  CONSTRAINT allocations_granted_check CHECK (issued >= 0 AND delegated >= 0 AND issued + delegated <= granted)
) WITH (fillfactor = 70);
CREATE INDEX allocations_created_at_idx ON allocations (workspace_id, created_at, id);
CREATE INDEX allocations_policy_id_idx ON allocations (workspace_id, policy_id);
CREATE TRIGGER bump_version BEFORE UPDATE ON allocations FOR EACH ROW EXECUTE FUNCTION bump_version('issued', 'delegated');
SELECT make_tenant_table('allocations', reseller => 'own', without => '{DELETE}');

-- ── Customers ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- One person may be a customer of two resellers and of the vendor, and none of them learns of the others.
CREATE TABLE customers (
  workspace_id uuid NOT NULL CONSTRAINT customers_workspace_id_fkey REFERENCES workspaces (id),
  id           uuid NOT NULL,
  reseller_id  uuid,
  email        text,
  -- As addresses are compared. No citext: its `=` is not leakproof, so that under row-level security no index serves it.
  email_key    text COLLATE "C" GENERATED ALWAYS AS (lower(email COLLATE "C")) STORED,
  name         text,
  company      text,
  external_id  text COLLATE "C",
  locale       text NOT NULL DEFAULT 'en',
  metadata     jsonb NOT NULL DEFAULT '{}',
  banned_at    timestamptz,
  erased_at    timestamptz,
  version      bigint NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT customers_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT customers_reseller_id_fkey FOREIGN KEY (workspace_id, reseller_id) REFERENCES resellers (workspace_id, id)
);
CREATE UNIQUE INDEX customers_workspace_id_reseller_id_email_key ON customers (workspace_id, reseller_id, email_key) NULLS NOT DISTINCT
  WHERE email_key IS NOT NULL;
CREATE UNIQUE INDEX customers_workspace_id_reseller_id_external_id_key ON customers (workspace_id, reseller_id, external_id) NULLS NOT DISTINCT
  WHERE external_id IS NOT NULL;
CREATE INDEX customers_email_key_idx ON customers (workspace_id, email_key) WHERE email_key IS NOT NULL;
CREATE INDEX customers_external_id_idx ON customers (workspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX customers_created_at_idx ON customers (workspace_id, created_at, id);
CREATE INDEX customers_updated_at_idx ON customers (workspace_id, updated_at, id);
-- The generated column is not computed yet when the trigger looks; the address says the same.
CREATE TRIGGER bump_version BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION bump_version('email_key');
SELECT make_tenant_table('customers', reseller => 'own', customer => 'id', without => '{DELETE}');
SELECT keep_metadata_of('customers', 'customer_metadata');

-- ── Licences ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE licenses (
  workspace_id        uuid NOT NULL,
  id                  uuid NOT NULL,
  product_id          uuid NOT NULL,
  policy_id           uuid NOT NULL,
  customer_id         uuid,
  reseller_id         uuid,
  allocation_id       uuid,
  name                text,
  state               text NOT NULL DEFAULT 'active' CONSTRAINT licenses_state_check CHECK (state IN ('pooled', 'active', 'suspended', 'revoked')),
  terms               jsonb NOT NULL,                               -- policy, entitlements and overrides, resolved
  terms_version       bigint NOT NULL,                              -- the policy's version that they were resolved from
  overrides           jsonb NOT NULL DEFAULT '{}',
  starts_at           timestamptz,
  started_at          timestamptz,                                  -- when the term began to run; written once
  term_anchor         timestamptz,                                  -- where its months are counted from, if not from started_at
  term_ends_at        timestamptz,                                  -- what term and renewals by periods give
  expires_at          timestamptz,                                  -- the later of that and the renewals until a date; null: never
  maintenance_ends_at timestamptz,
  check_in_due_at     timestamptz,
  last_validated_at   timestamptz,
  last_check_in_at    timestamptz,
  activated_at        timestamptz,                                  -- the first activation
  suspended_at        timestamptz,
  revoked_at          timestamptz,
  touched_at          timestamptz,                                  -- when its keys or holds last changed, which are rows of their own
  issued_via          text NOT NULL CONSTRAINT licenses_issued_via_check
                      CHECK (issued_via IN ('manual', 'api', 'reseller', 'redemption', 'payment', 'pool', 'import', 'trial')),
  source_ref          text,
  public_metadata     jsonb NOT NULL DEFAULT '{}',
  metadata            jsonb NOT NULL DEFAULT '{}',
  external_id         text COLLATE "C",
  version             bigint NOT NULL DEFAULT 1,
  created_by_type     text NOT NULL DEFAULT current_actor_type(),
  created_by_id       uuid DEFAULT current_actor_id(),
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT licenses_pkey PRIMARY KEY (workspace_id, id),
  -- What child rows carry too cannot differ: their keys point here.
  CONSTRAINT licenses_workspace_id_id_reseller_id_key UNIQUE (workspace_id, id, reseller_id),
  CONSTRAINT licenses_workspace_id_id_customer_id_key UNIQUE (workspace_id, id, customer_id),
  CONSTRAINT licenses_product_id_fkey FOREIGN KEY (workspace_id, product_id) REFERENCES products (workspace_id, id),
  CONSTRAINT licenses_policy_id_fkey FOREIGN KEY (workspace_id, policy_id) REFERENCES policies (workspace_id, id),
  CONSTRAINT licenses_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT licenses_reseller_id_fkey FOREIGN KEY (workspace_id, reseller_id) REFERENCES resellers (workspace_id, id),
  CONSTRAINT licenses_allocation_id_fkey FOREIGN KEY (workspace_id, reseller_id, allocation_id) REFERENCES allocations (workspace_id, reseller_id, id),
  CONSTRAINT licenses_allocation_id_check CHECK (allocation_id IS NULL OR reseller_id IS NOT NULL),
  CONSTRAINT licenses_revoked_at_check CHECK ((state = 'revoked') = (revoked_at IS NOT NULL)),
  CONSTRAINT licenses_suspended_at_check CHECK (state <> 'suspended' OR suspended_at IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX licenses_created_at_idx ON licenses (workspace_id, created_at, id);
CREATE INDEX licenses_updated_at_idx ON licenses (workspace_id, updated_at, id);
CREATE INDEX licenses_product_id_idx ON licenses (workspace_id, product_id, created_at, id);
CREATE INDEX licenses_policy_id_idx ON licenses (workspace_id, policy_id, created_at, id);
CREATE INDEX licenses_customer_id_idx ON licenses (workspace_id, customer_id, created_at, id) WHERE customer_id IS NOT NULL;
CREATE INDEX licenses_reseller_id_idx ON licenses (workspace_id, reseller_id, created_at, id) WHERE reseller_id IS NOT NULL;
CREATE INDEX licenses_expires_at_idx ON licenses (workspace_id, expires_at, id) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX licenses_workspace_id_external_id_key ON licenses (workspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX licenses_source_ref_idx ON licenses (workspace_id, source_ref) WHERE source_ref IS NOT NULL;
CREATE TRIGGER bump_version BEFORE UPDATE ON licenses FOR EACH ROW EXECUTE FUNCTION bump_version('last_validated_at', 'last_check_in_at');
SELECT make_tenant_table('licenses', reseller => 'own', customer => 'own');
SELECT keep_metadata_of('licenses', 'customer_metadata');

-- Keys by their hash. Dead ones stay, so that their holder reads why.
CREATE TABLE license_keys (
  workspace_id uuid NOT NULL,
  id           uuid NOT NULL,
  license_id   uuid NOT NULL,
  product_id   uuid NOT NULL,
  reseller_id  uuid,
  customer_id  uuid,
  key_hash     bytea NOT NULL CONSTRAINT license_keys_key_hash_check CHECK (octet_length(key_hash) = 32),
  start        text COLLATE "C" NOT NULL,
  format       text NOT NULL DEFAULT 'opaque'
               CONSTRAINT license_keys_format_check CHECK (format IN ('opaque', 'grouped', 'signed', 'imported')),
  kid          text,
  vault_sealed bytea,
  state        text NOT NULL DEFAULT 'current' CONSTRAINT license_keys_state_check CHECK (state IN ('current', 'overlapping', 'dead')),
  ends_at      timestamptz,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT license_keys_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT license_keys_workspace_id_key_hash_product_id_key UNIQUE (workspace_id, key_hash, product_id),
  CONSTRAINT license_keys_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT license_keys_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT license_keys_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE,
  CONSTRAINT license_keys_ends_at_check CHECK ((state = 'overlapping') <= (ends_at IS NOT NULL))
);
CREATE UNIQUE INDEX license_keys_workspace_id_license_id_state_key ON license_keys (workspace_id, license_id, state) WHERE state <> 'dead';
CREATE INDEX license_keys_license_id_idx ON license_keys (workspace_id, license_id);
CREATE INDEX license_keys_start_idx ON license_keys (workspace_id, start);
SELECT make_tenant_table('license_keys', reseller => 'own', customer => 'own');

-- Why a licence is suspended: as long as one is left.
CREATE TABLE license_holds (
  workspace_id   uuid NOT NULL,
  license_id     uuid NOT NULL,
  reason         text NOT NULL CONSTRAINT license_holds_reason_check
                 CHECK (reason IN ('manual', 'payment', 'payment_method', 'dispute', 'refund', 'abuse', 'exposure', 'reseller', 'customer_banned')),
  ref            text NOT NULL DEFAULT '',
  reseller_id    uuid,
  customer_id    uuid,
  note           text,
  placed_at      timestamptz NOT NULL DEFAULT app_now(),
  placed_by_type text NOT NULL DEFAULT current_actor_type(),
  placed_by_id   uuid DEFAULT current_actor_id(),
  CONSTRAINT license_holds_pkey PRIMARY KEY (workspace_id, license_id, reason, ref),
  CONSTRAINT license_holds_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT license_holds_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT license_holds_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE
);
SELECT make_tenant_table('license_holds', reseller => 'own', customer => 'own');

-- One row per holder of limits: the licence itself, one of its users, or a machine. Taking is one conditional update of one row; *_max has
-- the overage already in it. No second index, so that updates stay in place.
CREATE TABLE license_counters (
  workspace_id  uuid NOT NULL,
  license_id    uuid NOT NULL,
  holder        uuid NOT NULL,
  reseller_id   uuid,
  customer_id   uuid,
  machines      integer NOT NULL DEFAULT 0,
  machines_max  integer,
  cores         bigint NOT NULL DEFAULT 0,
  cores_max     bigint,
  memory_mb     bigint NOT NULL DEFAULT 0,
  memory_mb_max bigint,
  disk_mb       bigint NOT NULL DEFAULT 0,
  disk_mb_max   bigint,
  processes     integer NOT NULL DEFAULT 0,
  processes_max integer,
  users         integer NOT NULL DEFAULT 0,
  users_max     integer,
  leases        integer NOT NULL DEFAULT 0,
  leases_max    integer,
  over_limit    boolean NOT NULL DEFAULT false,                     -- set by the statement that lowers a limit, never by taking
  CONSTRAINT license_counters_pkey PRIMARY KEY (workspace_id, license_id, holder),
  CONSTRAINT license_counters_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT license_counters_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT license_counters_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE,
  CONSTRAINT license_counters_machines_check CHECK (machines >= 0 AND (machines_max IS NULL OR machines <= machines_max OR over_limit)),
  CONSTRAINT license_counters_cores_check CHECK (cores >= 0 AND (cores_max IS NULL OR cores <= cores_max OR over_limit)),
  CONSTRAINT license_counters_memory_mb_check CHECK (memory_mb >= 0 AND (memory_mb_max IS NULL OR memory_mb <= memory_mb_max OR over_limit)),
  CONSTRAINT license_counters_disk_mb_check CHECK (disk_mb >= 0 AND (disk_mb_max IS NULL OR disk_mb <= disk_mb_max OR over_limit)),
  CONSTRAINT license_counters_processes_check CHECK (processes >= 0 AND (processes_max IS NULL OR processes <= processes_max OR over_limit)),
  CONSTRAINT license_counters_users_check CHECK (users >= 0 AND (users_max IS NULL OR users <= users_max OR over_limit)),
  CONSTRAINT license_counters_leases_check CHECK (leases >= 0 AND (leases_max IS NULL OR leases <= leases_max OR over_limit))
) WITH (fillfactor = 60);
SELECT make_tenant_table('license_counters', reseller => 'own', customer => 'own');

-- Each renewal once, by its ref. Those until a date can be reversed, and the expiry is derived anew from those that stand.
CREATE TABLE license_renewals (
  workspace_id uuid NOT NULL,
  license_id   uuid NOT NULL,
  ref          text NOT NULL,
  kind         text NOT NULL CONSTRAINT license_renewals_kind_check CHECK (kind IN ('until', 'periods')),
  until        timestamptz,
  periods      integer CONSTRAINT license_renewals_periods_check CHECK (periods BETWEEN 1 AND 120),
  reseller_id  uuid,
  customer_id  uuid,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  reversed_at  timestamptz,
  CONSTRAINT license_renewals_pkey PRIMARY KEY (workspace_id, license_id, ref),
  CONSTRAINT license_renewals_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT license_renewals_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT license_renewals_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE,
  CONSTRAINT license_renewals_kind_check1 CHECK (CASE kind WHEN 'until' THEN until IS NOT NULL AND periods IS NULL ELSE periods IS NOT NULL AND until IS NULL END)
);
SELECT make_tenant_table('license_renewals', reseller => 'own', customer => 'own', without => '{DELETE}');

-- ── Machines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Fingerprints are HMACs under the workspace's pepper: enough to compare, useless to profile people.
CREATE TABLE machines (
  workspace_id      uuid NOT NULL,
  id                uuid NOT NULL,
  license_id        uuid NOT NULL,
  reseller_id       uuid,
  customer_id       uuid,
  user_id           uuid,                                           -- of the licence's users
  fingerprint_hash  bytea NOT NULL CONSTRAINT machines_fingerprint_hash_check CHECK (octet_length(fingerprint_hash) = 32),
  fingerprint_start text NOT NULL,                                  -- of the hash
  uniqueness_scope  uuid NOT NULL,                                  -- the licence, policy, product or workspace inside which it is the only one
  external_id       text COLLATE "C",                               -- in `platform`: the workspace that holds the plan
  name              text,
  hostname          text,
  platform          text,
  cores             integer CONSTRAINT machines_cores_check CHECK (cores BETWEEN 1 AND 1048576),
  memory_mb         integer CONSTRAINT machines_memory_mb_check CHECK (memory_mb BETWEEN 1 AND 1073741824),
  disk_mb           integer CONSTRAINT machines_disk_mb_check CHECK (disk_mb BETWEEN 1 AND 1073741824),
  ip_truncated      text,
  public_key        bytea CONSTRAINT machines_public_key_check CHECK (octet_length(public_key) = 32),
  state             text NOT NULL DEFAULT 'active' CONSTRAINT machines_state_check CHECK (state IN ('active', 'dead', 'deactivated')),
  generation        integer NOT NULL DEFAULT 1,
  heartbeat_due_at  timestamptz,
  died_at           timestamptz,
  deactivated_at    timestamptz,
  metadata          jsonb NOT NULL DEFAULT '{}',
  version           bigint NOT NULL DEFAULT 1,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  updated_at        timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT machines_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT machines_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT machines_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT machines_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE,
  CONSTRAINT machines_deactivated_at_check CHECK ((state = 'deactivated') = (deactivated_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX machines_workspace_id_license_id_fingerprint_hash_key ON machines (workspace_id, license_id, fingerprint_hash)
  WHERE state <> 'deactivated';
CREATE UNIQUE INDEX machines_workspace_id_uniqueness_scope_fingerprint_hash_key ON machines (workspace_id, uniqueness_scope, fingerprint_hash)
  WHERE state <> 'deactivated' AND uniqueness_scope <> license_id;
CREATE INDEX machines_created_at_idx ON machines (workspace_id, created_at, id);
CREATE INDEX machines_updated_at_idx ON machines (workspace_id, updated_at, id);
CREATE INDEX machines_license_id_idx ON machines (workspace_id, license_id, created_at, id);
CREATE INDEX machines_external_id_idx ON machines (workspace_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX machines_state_idx ON machines (workspace_id, state, created_at, id);
CREATE INDEX machines_license_id_heartbeat_due_at_idx ON machines (workspace_id, license_id, heartbeat_due_at) WHERE heartbeat_due_at IS NOT NULL;
CREATE INDEX machines_heartbeat_due_at_idx ON machines (workspace_id, heartbeat_due_at) WHERE state = 'active' AND heartbeat_due_at IS NOT NULL;
CREATE TRIGGER bump_version BEFORE UPDATE ON machines FOR EACH ROW EXECUTE FUNCTION bump_version('heartbeat_due_at');
SELECT make_tenant_table('machines', reseller => 'own', customer => 'own', without => '{DELETE}');
SELECT keep_metadata_of('machines', 'customer_metadata');

CREATE TABLE machine_components (
  workspace_id     uuid NOT NULL,
  id               uuid NOT NULL,
  machine_id       uuid NOT NULL,
  license_id       uuid NOT NULL,
  reseller_id      uuid,
  customer_id      uuid,
  name             text NOT NULL,
  fingerprint_hash bytea NOT NULL CONSTRAINT machine_components_fingerprint_hash_check CHECK (octet_length(fingerprint_hash) = 32),
  uniqueness_scope uuid NOT NULL,
  adopted_at       timestamptz,
  created_at       timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT machine_components_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT machine_components_workspace_id_machine_id_name_key UNIQUE (workspace_id, machine_id, name),
  CONSTRAINT machine_components_workspace_id_uniqueness_scope_hash_key UNIQUE (workspace_id, uniqueness_scope, name, fingerprint_hash),
  CONSTRAINT machine_components_machine_id_fkey FOREIGN KEY (workspace_id, machine_id) REFERENCES machines (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT machine_components_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT machine_components_reseller_id_fkey FOREIGN KEY (workspace_id, license_id, reseller_id) REFERENCES licenses (workspace_id, id, reseller_id)
    ON DELETE CASCADE,
  CONSTRAINT machine_components_customer_id_fkey FOREIGN KEY (workspace_id, license_id, customer_id) REFERENCES licenses (workspace_id, id, customer_id)
    ON DELETE CASCADE
);
CREATE INDEX machine_components_license_id_idx ON machine_components (workspace_id, license_id);
SELECT make_tenant_table('machine_components', reseller => 'own', customer => 'own');

-- ── Before a workspace is known ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Which workspace a key belongs to. A row never changes and lives as long as its key's, dead ones too; it says where to ask, never "valid".
CREATE TABLE license_directory (
  workspace_id uuid NOT NULL CONSTRAINT license_directory_workspace_id_fkey REFERENCES workspaces (id),
  key_hash     bytea NOT NULL CONSTRAINT license_directory_key_hash_check CHECK (octet_length(key_hash) = 32),
  kind         text NOT NULL CONSTRAINT license_directory_kind_check CHECK (kind IN ('key', 'activation', 'code', 'imported')),
  license_id   uuid,
  ref_id       uuid NOT NULL,                                       -- the key, machine or code itself
  product_id   uuid NOT NULL,
  CONSTRAINT license_directory_pkey PRIMARY KEY (workspace_id, ref_id),
  CONSTRAINT license_directory_license_id_check CHECK ((kind = 'code') = (license_id IS NULL))
);
CREATE UNIQUE INDEX license_directory_key_hash_key ON license_directory (key_hash) WHERE kind <> 'imported';
-- Others chose these keys: two workspaces may own the same text.
CREATE UNIQUE INDEX license_directory_product_id_key_hash_key ON license_directory (product_id, key_hash) WHERE kind = 'imported';
SELECT make_shared_table('license_directory', reseller => 'open', customer => 'open', tenant => 'SELECT, INSERT, DELETE', kernel => 'SELECT');

-- What makes a workspace's fingerprints its own, sealed; never changed, for everything that was hashed would be lost.
CREATE TABLE workspace_peppers (
  workspace_id  uuid NOT NULL CONSTRAINT workspace_peppers_pkey PRIMARY KEY
                CONSTRAINT workspace_peppers_workspace_id_fkey REFERENCES workspaces (id) ON DELETE CASCADE,
  pepper_sealed bytea NOT NULL,
  kek_id        text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT app_now()
);
SELECT make_kernel_table('workspace_peppers');

-- ── What a verdict stands on ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TYPE license_facts AS (
  license_id        uuid,
  product_id        uuid,
  policy_id         uuid,
  customer_id       uuid,
  reseller_id       uuid,
  state             text,
  terms             jsonb,
  starts_at         timestamptz,
  started_at        timestamptz,
  expires_at        timestamptz,
  last_validated_at timestamptz,
  activated_at      timestamptz,
  created_at        timestamptz,
  public_metadata   jsonb,
  key_state         text,                                           -- null: asked by the licence's id
  key_ends_at       timestamptz,
  holds             text[],
  customer_banned   boolean,
  vendor_barred     boolean,                                        -- suspended for abuse
  machines          integer,
  cores             integer,
  memory_mb         integer,
  disk_mb           integer,
  machine_id        uuid,
  machine_state     text,
  machine_generation integer,
  machine_due_at    timestamptz,
  machine_matches   boolean,                                        -- whether the machine has the fingerprint that was asked
  now               timestamptz
);

-- Everything that a verdict on one licence stands on, in one snapshot: by the hash of a key, or by the licence's id; with the machine that
-- was named, by its own id or by its fingerprint. Null if there is no such licence here. Each look-up is by a unique key under the caller's
-- own policies.
CREATE FUNCTION license_facts(hash bytea, license uuid, machine uuid, fingerprint bytea) RETURNS license_facts
LANGUAGE plpgsql STABLE AS $$
DECLARE
  f license_facts;
  k record;
  m record;
  c license_counters;
  l record;
BEGIN
  IF hash IS NOT NULL THEN
    SELECT license_id, state, ends_at INTO k FROM license_keys WHERE key_hash = hash LIMIT 1;
    IF NOT FOUND THEN
      RETURN NULL;
    END IF;
    license := k.license_id;
    f.key_state := k.state;
    f.key_ends_at := k.ends_at;
  END IF;
  SELECT id, product_id, policy_id, customer_id, reseller_id, state, terms, starts_at, started_at, expires_at, last_validated_at, activated_at,
         created_at, public_metadata
    INTO l FROM licenses WHERE id = license;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  f.license_id := l.id;
  f.product_id := l.product_id;
  f.policy_id := l.policy_id;
  f.customer_id := l.customer_id;
  f.reseller_id := l.reseller_id;
  f.state := l.state;
  f.terms := l.terms;
  f.starts_at := l.starts_at;
  f.started_at := l.started_at;
  f.expires_at := l.expires_at;
  f.last_validated_at := l.last_validated_at;
  f.activated_at := l.activated_at;
  f.created_at := l.created_at;
  f.public_metadata := l.public_metadata;
  IF l.state = 'suspended' THEN
    f.holds := ARRAY(SELECT reason FROM license_holds WHERE license_id = license ORDER BY placed_at, reason, ref);
  END IF;
  f.customer_banned := false;
  IF l.customer_id IS NOT NULL THEN
    f.customer_banned := EXISTS (SELECT FROM customers WHERE id = l.customer_id AND banned_at IS NOT NULL);
  END IF;
  f.vendor_barred := EXISTS (SELECT FROM workspaces WHERE state = 'suspended' AND suspend_reason = 'abuse');
  SELECT * INTO c FROM license_counters WHERE license_id = license AND holder = license;
  f.machines := coalesce(c.machines, 0);
  f.cores := least(coalesce(c.cores, 0), 2147483647);
  f.memory_mb := least(coalesce(c.memory_mb, 0), 2147483647);
  f.disk_mb := least(coalesce(c.disk_mb, 0), 2147483647);
  IF machine IS NOT NULL THEN
    SELECT id, state, generation, heartbeat_due_at, fingerprint_hash INTO m FROM machines
     WHERE id = machine AND license_id = license AND state <> 'deactivated';
  ELSIF fingerprint IS NOT NULL THEN
    SELECT id, state, generation, heartbeat_due_at, fingerprint_hash INTO m FROM machines
     WHERE license_id = license AND fingerprint_hash = fingerprint AND state <> 'deactivated';
  END IF;
  IF machine IS NOT NULL OR fingerprint IS NOT NULL THEN
    f.machine_id := m.id;
    f.machine_state := m.state;
    f.machine_generation := m.generation;
    f.machine_due_at := m.heartbeat_due_at;
    f.machine_matches := m.fingerprint_hash = fingerprint;
  END IF;
  f.now := app_now();
  RETURN f;
END $$;

-- Opens the context of a transaction that is one statement: workspace, actor, reseller, customer, and how far a test's clock is ahead.
-- Statements that begin after it can only read; the one that enters by it is a SELECT. It answers 1, the limit of a statement that reads one
-- row and enters by it. One expression of SQL, which the planner puts in the place of the call: a function that is called costs four times as
-- much.
CREATE FUNCTION enter(context text[]) RETURNS bigint VOLATILE
  RETURN 1 + num_nulls(
    set_config('transaction_read_only', 'on', true),
    set_config('app.workspace', context[1], true), set_config('app.actor', context[2], true),
    set_config('app.reseller', context[3], true), set_config('app.customer', context[4], true),
    CASE WHEN context[5] IS NULL THEN '' ELSE set_config('app.clock_offset', context[5], true) END);

-- The same facts in a single round trip.
CREATE FUNCTION license_glance(context text[], hash bytea, license uuid, machine uuid, fingerprint bytea) RETURNS license_facts
LANGUAGE plpgsql AS $$
DECLARE
  entered CONSTANT bigint := enter(context);
BEGIN
  RETURN license_facts(hash, license, machine, fingerprint);
END $$;

GRANT EXECUTE ON FUNCTION license_facts(bytea, uuid, uuid, bytea), enter(text[]), license_glance(text[], bytea, uuid, uuid, bytea) TO app_tenant;

-- Gives licences of a policy their terms, where they have others, and answers how many. `given` says, for each way in which one may differ from
-- the policy, the terms and the limits that follow from them. What is used already stays, and is marked where it is over: nobody is thrown off.
CREATE FUNCTION policy_follow(policy uuid, version bigint, given jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  changed bigint;
BEGIN
  WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(given)
        AS (overrides jsonb, terms jsonb, machines integer, cores bigint, memory_mb bigint, disk_mb bigint)
  ), moved AS (
    UPDATE licenses l SET terms = w.terms, terms_version = policy_follow.version FROM wanted w
     WHERE l.policy_id = policy AND l.state <> 'revoked' AND l.overrides = w.overrides AND l.terms <> w.terms
    RETURNING l.id, w.machines, w.cores, w.memory_mb, w.disk_mb
  ), limited AS (
    UPDATE license_counters c
       SET machines_max = m.machines, cores_max = m.cores, memory_mb_max = m.memory_mb, disk_mb_max = m.disk_mb,
           -- Without a limit nothing is over it.
           over_limit = coalesce(c.machines > m.machines, false) OR coalesce(c.cores > m.cores, false)
                        OR coalesce(c.memory_mb > m.memory_mb, false) OR coalesce(c.disk_mb > m.disk_mb, false)
      FROM moved m
     WHERE c.license_id = m.id AND c.holder = m.id
  )
  SELECT count(*) INTO changed FROM moved;
  RETURN changed;
END $$;
GRANT EXECUTE ON FUNCTION policy_follow(uuid, bigint, jsonb) TO app_tenant;
