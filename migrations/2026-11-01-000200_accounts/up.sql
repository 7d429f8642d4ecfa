-- Who is calling, and what may they do. Tables of class kernel hold people and their credentials and are `app_kernel`'s alone; shared
-- ones hold what a workspace knows of them. Every hash is of a random token (SHA-256) unless it says otherwise.

-- ── People (class kernel) ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE users (
  id                  uuid NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
  email               citext,                                       -- null only when deleted, or made by an issuer that proves none
  email_verified_at   timestamptz,
  username            text CONSTRAINT users_username_check CHECK (username ~ '^[a-z0-9_]{3,30}$'),
  display_name        text NOT NULL,
  avatar_url          text,
  locale              text NOT NULL DEFAULT 'en',
  time_zone           text NOT NULL DEFAULT 'UTC',
  password_hash       text,                                         -- PHC string: argon2id, or an imported bcrypt
  password_changed_at timestamptz,
  state               text NOT NULL DEFAULT 'active'
                      CONSTRAINT users_state_check CHECK (state IN ('active', 'suspended', 'deleting', 'deleted')),
  suspend_reason      text,
  epoch               bigint NOT NULL DEFAULT 0,                    -- raised when every token of the person must die at once
  terms_version       text,
  last_login_at       timestamptz,
  delete_at           timestamptz,                                  -- when a person in `deleting` is erased
  legal_hold          boolean NOT NULL DEFAULT false,
  version             bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  deleted_at          timestamptz,
  CONSTRAINT users_deleted_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE state <> 'deleted';
CREATE UNIQUE INDEX users_username_key ON users (username) WHERE state <> 'deleted';
CREATE INDEX users_delete_at_idx ON users (delete_at) WHERE state = 'deleting';
CREATE TRIGGER bump_version BEFORE UPDATE ON users FOR EACH ROW
  EXECUTE FUNCTION bump_version('last_login_at', 'epoch', 'password_hash', 'password_changed_at');

CREATE TABLE pending_registrations (
  id                uuid NOT NULL CONSTRAINT pending_registrations_pkey PRIMARY KEY,
  email             citext NOT NULL,
  password_hash     text NOT NULL,
  profile           jsonb NOT NULL DEFAULT '{}',                    -- display_name, username, locale, terms_version
  mail_token_hash   bytea NOT NULL CONSTRAINT pending_registrations_mail_token_hash_key UNIQUE,
  client_token_hash bytea NOT NULL CONSTRAINT pending_registrations_client_token_hash_key UNIQUE,
  invitation_id     uuid,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  expires_at        timestamptz NOT NULL
);
CREATE INDEX pending_registrations_email_idx ON pending_registrations (email);
CREATE INDEX pending_registrations_expires_at_idx ON pending_registrations (expires_at);

CREATE TABLE sessions (
  id                 uuid NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
  user_id            uuid NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  client_id          uuid,                                          -- the OAuth client, where one asked
  aal                smallint NOT NULL DEFAULT 1 CONSTRAINT sessions_aal_check CHECK (aal BETWEEN 1 AND 3),
  amr                text[] NOT NULL DEFAULT '{}',
  auth_time          timestamptz NOT NULL DEFAULT app_now(),
  created_at         timestamptz NOT NULL DEFAULT app_now(),
  last_seen_at       timestamptz NOT NULL DEFAULT app_now(),
  ip                 text,
  user_agent         text,
  device_label       text,
  remember           boolean NOT NULL DEFAULT false,
  not_after          timestamptz NOT NULL,
  idle_after         timestamptz NOT NULL,
  refresh_counter    bigint NOT NULL DEFAULT 0 CONSTRAINT sessions_refresh_counter_check CHECK (refresh_counter BETWEEN 0 AND 4294967295),
  refresh_rotated_at timestamptz NOT NULL DEFAULT app_now(),
  recovered_from     bigint,                                        -- the generation that the present one was given for, if others were lost between
  refresh_key_sealed bytea,                                         -- null: a session that cannot be refreshed (impersonation)
  last_seen_gen      bigint NOT NULL DEFAULT 0,
  impersonator_id    uuid CONSTRAINT sessions_impersonator_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  revoked_at         timestamptz,
  revoke_reason      text,
  CONSTRAINT sessions_revoked_check CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX sessions_user_id_idx ON sessions (user_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_impersonator_id_idx ON sessions (impersonator_id) WHERE impersonator_id IS NOT NULL;
CREATE INDEX sessions_not_after_idx ON sessions (not_after);
CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE one_time_tokens (
  id           uuid NOT NULL CONSTRAINT one_time_tokens_pkey PRIMARY KEY,
  kind         text NOT NULL CONSTRAINT one_time_tokens_kind_check CHECK (kind IN (
                 'email_verification', 'magic_link', 'password_reset', 'email_change', 'email_change_old', 'account_deletion', 'export',
                 'ownership_transfer', 'login_exchange', 'mfa_challenge', 'mfa_recovery', 'admin_bootstrap')),
  user_id      uuid CONSTRAINT one_time_tokens_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  subject_hash bytea NOT NULL,                                      -- of what the token is about: the address, the flow
  token_hash   bytea NOT NULL CONSTRAINT one_time_tokens_token_hash_key UNIQUE,
  code_mac     bytea,                                               -- keyed MAC of the six digits
  attempts     integer NOT NULL DEFAULT 0 CONSTRAINT one_time_tokens_attempts_check CHECK (attempts >= 0),
  meta         jsonb NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  expires_at   timestamptz NOT NULL,
  consumed_at  timestamptz
);
CREATE UNIQUE INDEX one_time_tokens_user_id_kind_key ON one_time_tokens (user_id, kind) WHERE consumed_at IS NULL;
CREATE INDEX one_time_tokens_subject_hash_idx ON one_time_tokens (subject_hash, kind);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);

CREATE TABLE credential_throttles (
  bucket        text NOT NULL,
  key_hash      bytea NOT NULL,
  failures      integer NOT NULL DEFAULT 0 CONSTRAINT credential_throttles_failures_check CHECK (failures >= 0),
  since         timestamptz NOT NULL DEFAULT app_now(),             -- when the counting window began
  last_at       timestamptz NOT NULL DEFAULT app_now(),
  blocked_until timestamptz,
  CONSTRAINT credential_throttles_pkey PRIMARY KEY (bucket, key_hash)
) WITH (fillfactor = 70);
CREATE INDEX credential_throttles_last_at_idx ON credential_throttles (last_at);

-- Devices that a person signed in from: their failures are counted apart, and one may be trusted instead of a second factor.
CREATE TABLE user_devices (
  id            uuid NOT NULL CONSTRAINT user_devices_pkey PRIMARY KEY,
  user_id       uuid NOT NULL CONSTRAINT user_devices_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  token_hash    bytea NOT NULL,
  label         text,
  ip            text,
  user_agent    text,
  trusted_until timestamptz,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  last_seen_at  timestamptz NOT NULL DEFAULT app_now(),
  expires_at    timestamptz NOT NULL,
  -- A browser may be several people's.
  CONSTRAINT user_devices_user_id_token_hash_key UNIQUE (user_id, token_hash)
);
CREATE INDEX user_devices_expires_at_idx ON user_devices (expires_at);

-- ── Keys that we sign with (class kernel) ────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE signing_keys (
  kid            text NOT NULL CONSTRAINT signing_keys_pkey PRIMARY KEY,
  workspace_id   uuid,                                              -- licence keys are a workspace's own
  use            text NOT NULL CONSTRAINT signing_keys_use_check CHECK (use IN ('access', 'audit', 'webhook', 'license')),
  alg            text NOT NULL,
  public_jwk     jsonb NOT NULL,
  private_sealed bytea NOT NULL,                                    -- AAD = kid
  kek_id         text NOT NULL,
  state          text NOT NULL CONSTRAINT signing_keys_state_check
                 CHECK (state IN ('staged', 'published', 'active', 'retiring', 'removed', 'compromised')),
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  publish_at     timestamptz,
  activate_at    timestamptz,
  retire_at      timestamptz,
  remove_at      timestamptz
);
CREATE UNIQUE INDEX signing_keys_active_key ON signing_keys (use, workspace_id, alg) NULLS NOT DISTINCT WHERE state = 'active';
CREATE INDEX signing_keys_use_idx ON signing_keys (use, workspace_id, state);

-- The key-encryption keys under which something may be sealed: a process enters its own before it seals, and none starts that lacks one.
CREATE TABLE keks (
  id    text NOT NULL CONSTRAINT keks_pkey PRIMARY KEY,
  since timestamptz NOT NULL DEFAULT app_now(),
  trial uuid                                                        -- who takes it out unless a process says meanwhile that it seals with it
);

-- ── Signing in through others (class kernel) ─────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE login_providers (
  id                   uuid NOT NULL CONSTRAINT login_providers_pkey PRIMARY KEY,
  slug                 text NOT NULL CONSTRAINT login_providers_slug_key UNIQUE
                       CONSTRAINT login_providers_slug_check CHECK (slug ~ '^[a-z][a-z0-9-]{0,39}$'),
  kind                 text NOT NULL CONSTRAINT login_providers_kind_check CHECK (kind IN ('google', 'github', 'oidc')),
  display_name         text NOT NULL,
  issuer               text NOT NULL,
  client_id            text NOT NULL,
  client_secret_sealed bytea,
  scopes               text[] NOT NULL DEFAULT '{}',
  trusted_for_linking  boolean NOT NULL DEFAULT false,
  trust_amr            boolean NOT NULL DEFAULT false,
  workspace_id         uuid,                                        -- a workspace's own sign-in
  state                text NOT NULL DEFAULT 'active' CONSTRAINT login_providers_state_check CHECK (state IN ('active', 'disabled')),
  version              bigint NOT NULL DEFAULT 1,
  created_at           timestamptz NOT NULL DEFAULT app_now(),
  updated_at           timestamptz NOT NULL DEFAULT app_now()
);
CREATE INDEX login_providers_workspace_id_idx ON login_providers (workspace_id) WHERE workspace_id IS NOT NULL;
CREATE TRIGGER bump_version BEFORE UPDATE ON login_providers FOR EACH ROW EXECUTE FUNCTION bump_version();

-- One attempt to sign in elsewhere, used up by DELETE … RETURNING.
CREATE TABLE oauth_flows (
  id           uuid NOT NULL CONSTRAINT oauth_flows_pkey PRIMARY KEY,
  state_hash   bytea NOT NULL CONSTRAINT oauth_flows_state_hash_key UNIQUE,
  provider_id  uuid NOT NULL CONSTRAINT oauth_flows_provider_id_fkey REFERENCES login_providers (id) ON DELETE CASCADE,
  intent       text NOT NULL CONSTRAINT oauth_flows_intent_check CHECK (intent IN ('login', 'link', 'step_up')),
  user_id      uuid CONSTRAINT oauth_flows_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  pkce_sealed  bytea NOT NULL,
  nonce_hash   bytea NOT NULL,
  browser_hash bytea NOT NULL,
  return_to    text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  expires_at   timestamptz NOT NULL
);
CREATE INDEX oauth_flows_provider_id_idx ON oauth_flows (provider_id);
CREATE INDEX oauth_flows_user_id_idx ON oauth_flows (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX oauth_flows_expires_at_idx ON oauth_flows (expires_at);

CREATE TABLE user_identities (
  id             uuid NOT NULL CONSTRAINT user_identities_pkey PRIMARY KEY,
  user_id        uuid NOT NULL CONSTRAINT user_identities_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  provider_id    uuid NOT NULL CONSTRAINT user_identities_provider_id_fkey REFERENCES login_providers (id),
  issuer         text NOT NULL,
  subject        text NOT NULL,
  email          citext,
  email_verified boolean NOT NULL DEFAULT false,
  profile        jsonb NOT NULL DEFAULT '{}',
  tokens_sealed  bytea,
  scopes         text[] NOT NULL DEFAULT '{}',
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  last_login_at  timestamptz,
  CONSTRAINT user_identities_issuer_subject_key UNIQUE (issuer, subject)
);
CREATE INDEX user_identities_user_id_idx ON user_identities (user_id);
CREATE INDEX user_identities_provider_id_idx ON user_identities (provider_id);

CREATE TABLE external_issuers (
  id                   uuid NOT NULL CONSTRAINT external_issuers_pkey PRIMARY KEY,
  slug                 text NOT NULL CONSTRAINT external_issuers_slug_key UNIQUE,
  issuer               text NOT NULL CONSTRAINT external_issuers_issuer_key UNIQUE,
  jwks_url             text NOT NULL,
  audiences            text[] NOT NULL DEFAULT '{}',
  azp_allowed          text[] NOT NULL DEFAULT '{}',
  claims               jsonb NOT NULL DEFAULT '{}',                 -- claim → JSON pointer
  provisioning         text NOT NULL DEFAULT 'jit' CONSTRAINT external_issuers_provisioning_check CHECK (provisioning IN ('jit', 'events', 'off')),
  events_secret_sealed bytea,
  trusted_for_linking  boolean NOT NULL DEFAULT false,
  state                text NOT NULL DEFAULT 'active' CONSTRAINT external_issuers_state_check CHECK (state IN ('active', 'disabled')),
  version              bigint NOT NULL DEFAULT 1,
  created_at           timestamptz NOT NULL DEFAULT app_now(),
  updated_at           timestamptz NOT NULL DEFAULT app_now()
);
CREATE TRIGGER bump_version BEFORE UPDATE ON external_issuers FOR EACH ROW EXECUTE FUNCTION bump_version();

CREATE TABLE external_subjects (
  issuer_id         uuid NOT NULL CONSTRAINT external_subjects_issuer_id_fkey REFERENCES external_issuers (id) ON DELETE CASCADE,
  subject           text NOT NULL,
  user_id           uuid NOT NULL CONSTRAINT external_subjects_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  source_updated_at timestamptz,
  deleted_at        timestamptz,
  CONSTRAINT external_subjects_pkey PRIMARY KEY (issuer_id, subject)
);
CREATE INDEX external_subjects_user_id_idx ON external_subjects (user_id);

CREATE TABLE external_denied_sids (
  issuer_id uuid NOT NULL CONSTRAINT external_denied_sids_issuer_id_fkey REFERENCES external_issuers (id) ON DELETE CASCADE,
  sid       text NOT NULL,
  until     timestamptz NOT NULL,
  CONSTRAINT external_denied_sids_pkey PRIMARY KEY (issuer_id, sid)
);
CREATE INDEX external_denied_sids_until_idx ON external_denied_sids (until);

-- ── Second factors (class kernel) ────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE mfa_factors (
  id            uuid NOT NULL CONSTRAINT mfa_factors_pkey PRIMARY KEY,
  user_id       uuid NOT NULL CONSTRAINT mfa_factors_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  kind          text NOT NULL CONSTRAINT mfa_factors_kind_check CHECK (kind IN ('totp', 'webauthn')),
  name          text NOT NULL,
  state         text NOT NULL DEFAULT 'pending' CONSTRAINT mfa_factors_state_check CHECK (state IN ('pending', 'active')),
  secret_sealed bytea,
  last_step     bigint NOT NULL DEFAULT 0,                          -- each TOTP step is accepted once
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  last_used_at  timestamptz,
  expires_at    timestamptz,                                        -- of a pending one
  CONSTRAINT mfa_factors_user_id_name_key UNIQUE (user_id, name)
);

CREATE TABLE webauthn_credentials (
  factor_id       uuid NOT NULL CONSTRAINT webauthn_credentials_pkey PRIMARY KEY
                  CONSTRAINT webauthn_credentials_factor_id_fkey REFERENCES mfa_factors (id) ON DELETE CASCADE,
  credential_id   bytea NOT NULL CONSTRAINT webauthn_credentials_credential_id_key UNIQUE,
  public_key      bytea NOT NULL,
  sign_count      bigint NOT NULL DEFAULT 0,
  backup_eligible boolean NOT NULL DEFAULT false,
  backed_up       boolean NOT NULL DEFAULT false,
  transports      text[] NOT NULL DEFAULT '{}',
  aaguid          uuid
);

CREATE TABLE recovery_codes (
  user_id  uuid NOT NULL CONSTRAINT recovery_codes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  selector text NOT NULL,
  hash     text NOT NULL,                                           -- argon2id PHC string
  used_at  timestamptz,
  CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, selector)
);

-- ── What belongs to a person (class kernel) ──────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE security_events (
  id         uuid NOT NULL CONSTRAINT security_events_pkey PRIMARY KEY,
  user_id    uuid NOT NULL CONSTRAINT security_events_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  kind       text NOT NULL,                                         -- session.created, user.password_changed …
  session_id uuid,
  ip         text,
  user_agent text,
  detail     jsonb NOT NULL DEFAULT '{}',
  request_id text,
  created_at timestamptz NOT NULL DEFAULT app_now()
);
CREATE INDEX security_events_user_id_idx ON security_events (user_id, created_at, id);
CREATE INDEX security_events_kind_idx ON security_events (user_id, kind, created_at, id);
CREATE INDEX security_events_created_at_idx ON security_events (created_at);

CREATE TABLE user_preferences (
  user_id              uuid NOT NULL CONSTRAINT user_preferences_pkey PRIMARY KEY
                       CONSTRAINT user_preferences_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  theme                text NOT NULL DEFAULT 'system' CONSTRAINT user_preferences_theme_check CHECK (theme IN ('system', 'light', 'dark')),
  date_format          text NOT NULL DEFAULT 'iso',
  default_workspace_id uuid,
  notifications        jsonb NOT NULL DEFAULT '{}',
  app                  jsonb NOT NULL DEFAULT '{}',                 -- the frontend's own, at most 16 KiB
  version              bigint NOT NULL DEFAULT 1,
  updated_at           timestamptz NOT NULL DEFAULT app_now()
);
CREATE TRIGGER bump_version BEFORE UPDATE ON user_preferences FOR EACH ROW EXECUTE FUNCTION bump_version();

CREATE TABLE notifications (
  id           uuid NOT NULL CONSTRAINT notifications_pkey PRIMARY KEY,
  user_id      uuid NOT NULL CONSTRAINT notifications_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  workspace_id uuid,
  topic        text NOT NULL CONSTRAINT notifications_topic_check
               CHECK (topic IN ('runs', 'approvals', 'billing', 'members', 'integrations', 'product', 'security')),
  kind         text NOT NULL,
  data         jsonb NOT NULL DEFAULT '{}',
  dedupe_key   text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  read_at      timestamptz,
  CONSTRAINT notifications_user_id_dedupe_key_key UNIQUE (user_id, dedupe_key)
);
CREATE INDEX notifications_user_id_idx ON notifications (user_id, id);
CREATE INDEX notifications_created_at_idx ON notifications (created_at);

-- The twin of idempotency_keys for what a person does outside of a workspace.
CREATE TABLE user_idempotency_keys (
  user_id     uuid NOT NULL CONSTRAINT user_idempotency_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
  route       text NOT NULL,
  key_hash    bytea NOT NULL,
  fingerprint bytea NOT NULL,
  state       text NOT NULL CONSTRAINT user_idempotency_keys_state_check CHECK (state IN ('started', 'done')),
  status      integer,
  headers     jsonb,
  body        jsonb,
  body_sealed bytea,
  resource_id uuid,
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  expires_at  timestamptz NOT NULL,
  CONSTRAINT user_idempotency_keys_pkey PRIMARY KEY (user_id, route, key_hash)
);
CREATE INDEX user_idempotency_keys_expires_at_idx ON user_idempotency_keys (expires_at);

SELECT make_kernel_table(t) FROM unnest(ARRAY[
  'users', 'pending_registrations', 'sessions', 'one_time_tokens', 'credential_throttles', 'user_devices', 'signing_keys', 'keks',
  'login_providers',
  'oauth_flows', 'user_identities', 'external_issuers', 'external_subjects', 'external_denied_sids', 'mfa_factors', 'webauthn_credentials',
  'recovery_codes', 'security_events', 'user_preferences', 'notifications', 'user_idempotency_keys']::regclass[]) t;

-- ── Workspaces and who is in them (class shared) ─────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE workspaces (
  id                  uuid NOT NULL CONSTRAINT workspaces_pkey PRIMARY KEY,
  slug                text NOT NULL CONSTRAINT workspaces_slug_check CHECK (slug ~ '^[a-z][a-z0-9-]{2,39}$'),
  name                text NOT NULL,
  kind                text NOT NULL DEFAULT 'standard' CONSTRAINT workspaces_kind_check CHECK (kind IN ('standard', 'platform')),
  state               text NOT NULL DEFAULT 'active'
                      CONSTRAINT workspaces_state_check CHECK (state IN ('active', 'suspended', 'deleting', 'deleted')),
  suspend_reason      text,
  region              text NOT NULL DEFAULT 'default',
  external_ref        text,                                         -- what an external issuer calls it; set by the operator only
  settings            jsonb NOT NULL DEFAULT '{}',
  security            jsonb NOT NULL DEFAULT '{}',
  seats_used          integer NOT NULL DEFAULT 0 CONSTRAINT workspaces_seats_used_check CHECK (seats_used >= 0),
  seats_reserved      integer NOT NULL DEFAULT 0 CONSTRAINT workspaces_seats_reserved_check CHECK (seats_reserved >= 0),
  billing_customer_id uuid,                                         -- a row of `platform`, so no foreign key
  delete_at           timestamptz,
  legal_hold          boolean NOT NULL DEFAULT false,
  version             bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  deleted_at          timestamptz,
  CONSTRAINT workspaces_deleted_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
) WITH (fillfactor = 80);
-- With a condition, as they change: bump_version says why.
CREATE UNIQUE INDEX workspaces_slug_key ON workspaces (slug) WHERE slug IS NOT NULL;
CREATE UNIQUE INDEX workspaces_external_ref_key ON workspaces (external_ref) WHERE external_ref IS NOT NULL;
CREATE UNIQUE INDEX workspaces_platform_key ON workspaces (kind) WHERE kind = 'platform';
CREATE TRIGGER bump_version BEFORE UPDATE ON workspaces FOR EACH ROW
  EXECUTE FUNCTION bump_version('seats_used', 'seats_reserved', 'billing_customer_id');

-- Tenant zero, the operator itself. Its id is fixed: what happens before a workspace is known belongs to it.
INSERT INTO workspaces (id, slug, name, kind) VALUES ('00000000-0000-7000-8000-000000000001', 'platform', 'Platform', 'platform');

SELECT make_shared_table('workspaces', key => 'id', reseller => 'open',
  tenant => 'SELECT, UPDATE',
  kernel => 'SELECT, INSERT, UPDATE (billing_customer_id)');

-- Names of workspaces: the one that each took (until is null), and those that it gave up, which lead to it until then. One name is one
-- workspace's, and the unique index decides, for nobody inside a workspace sees the others. A name is taken before its workspace is made.
CREATE TABLE workspace_slugs (
  workspace_id uuid NOT NULL CONSTRAINT workspace_slugs_workspace_id_fkey REFERENCES workspaces (id) ON DELETE CASCADE
               DEFERRABLE INITIALLY DEFERRED,
  slug         text NOT NULL CONSTRAINT workspace_slugs_slug_key UNIQUE,
  until        timestamptz,
  CONSTRAINT workspace_slugs_pkey PRIMARY KEY (workspace_id, slug)
);
CREATE INDEX workspace_slugs_until_idx ON workspace_slugs (until) WHERE until IS NOT NULL;
SELECT make_shared_table('workspace_slugs', tenant => 'SELECT, INSERT, UPDATE (until), DELETE', kernel => 'SELECT, INSERT, DELETE');

CREATE TABLE roles (
  workspace_id    uuid NOT NULL CONSTRAINT roles_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  key             text NOT NULL CONSTRAINT roles_key_check CHECK (key ~ '^[a-z][a-z0-9_-]{1,39}$'),
  name            text NOT NULL,
  description     text NOT NULL DEFAULT '',
  permissions     text[] NOT NULL DEFAULT '{}',
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT roles_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT roles_workspace_id_key_key UNIQUE (workspace_id, key)
);
CREATE TRIGGER bump_version BEFORE UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_shared_table('roles', tenant => 'SELECT, INSERT, UPDATE, DELETE', kernel => 'SELECT');

-- A person as the workspace knows them. Never deleted: labels of old rows point here.
CREATE TABLE memberships (
  workspace_id   uuid NOT NULL CONSTRAINT memberships_workspace_id_fkey REFERENCES workspaces (id),
  id             uuid NOT NULL,
  user_id        uuid NOT NULL CONSTRAINT memberships_user_id_fkey REFERENCES users (id),
  display_name   text NOT NULL,
  email          citext,
  avatar_url     text,
  role           text NOT NULL CONSTRAINT memberships_role_check
                 CHECK (role IN ('owner', 'admin', 'member', 'viewer', 'billing', 'reseller', 'custom')),
  custom_role_id uuid,
  reseller_id    uuid,
  state          text NOT NULL DEFAULT 'active' CONSTRAINT memberships_state_check CHECK (state IN ('active', 'suspended', 'removed')),
  joined_at      timestamptz NOT NULL DEFAULT app_now(),
  last_active_at timestamptz,
  version        bigint NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  updated_at     timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT memberships_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT memberships_workspace_id_user_id_key UNIQUE (workspace_id, user_id),
  CONSTRAINT memberships_custom_role_id_fkey FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id),
  CONSTRAINT memberships_custom_role_check CHECK ((role = 'custom') = (custom_role_id IS NOT NULL)),
  CONSTRAINT memberships_reseller_check CHECK ((role = 'reseller') = (reseller_id IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX memberships_user_id_idx ON memberships (user_id);
CREATE INDEX memberships_created_at_idx ON memberships (workspace_id, created_at, id) WHERE state <> 'removed';
CREATE INDEX memberships_updated_at_idx ON memberships (workspace_id, updated_at, id);
CREATE INDEX memberships_role_idx ON memberships (workspace_id, role, created_at, id);
CREATE INDEX memberships_state_idx ON memberships (workspace_id, state, created_at, id);
CREATE INDEX memberships_custom_role_id_idx ON memberships (workspace_id, custom_role_id) WHERE custom_role_id IS NOT NULL;
CREATE INDEX memberships_reseller_id_idx ON memberships (workspace_id, reseller_id) WHERE reseller_id IS NOT NULL;
CREATE INDEX memberships_owners_idx ON memberships (workspace_id) WHERE role = 'owner' AND state = 'active';
CREATE TRIGGER bump_version BEFORE UPDATE ON memberships FOR EACH ROW
  EXECUTE FUNCTION bump_version('avatar_url', 'last_active_at');
SELECT make_shared_table('memberships', reseller => 'own',
  tenant => 'SELECT, INSERT, UPDATE',
  kernel => 'SELECT, INSERT, UPDATE (display_name, email, avatar_url, last_active_at)');

CREATE TABLE workspace_domains (
  workspace_id    uuid NOT NULL CONSTRAINT workspace_domains_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  domain          text NOT NULL CONSTRAINT workspace_domains_domain_check CHECK (domain = lower(domain)),
  txt_token       text NOT NULL,
  state           text NOT NULL DEFAULT 'pending' CONSTRAINT workspace_domains_state_check CHECK (state IN ('pending', 'verified', 'lost')),
  auto_join_role  text CONSTRAINT workspace_domains_auto_join_role_check CHECK (auto_join_role IN ('member', 'viewer')),
  verified_at     timestamptz,
  checked_at      timestamptz,
  failing_since   timestamptz,
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT workspace_domains_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT workspace_domains_workspace_id_domain_key UNIQUE (workspace_id, domain)
);
-- One workspace at a time owns a domain, and has proved it by DNS.
CREATE UNIQUE INDEX workspace_domains_verified_key ON workspace_domains (domain) WHERE state = 'verified';
CREATE TRIGGER bump_version BEFORE UPDATE ON workspace_domains FOR EACH ROW EXECUTE FUNCTION bump_version('checked_at', 'failing_since');
SELECT make_shared_table('workspace_domains', tenant => 'SELECT, INSERT, UPDATE, DELETE',
  kernel => 'SELECT (workspace_id, id, domain, state, auto_join_role, checked_at)');

CREATE TABLE invitations (
  workspace_id    uuid NOT NULL CONSTRAINT invitations_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  kind            text NOT NULL DEFAULT 'email' CONSTRAINT invitations_kind_check CHECK (kind IN ('email', 'link')),
  email           citext,
  role            text NOT NULL CONSTRAINT invitations_role_check
                  CHECK (role IN ('owner', 'admin', 'member', 'viewer', 'billing', 'reseller', 'custom')),
  custom_role_id  uuid,
  reseller_id     uuid,
  token_hash      bytea NOT NULL CONSTRAINT invitations_token_hash_key UNIQUE,
  max_uses        integer NOT NULL DEFAULT 1 CONSTRAINT invitations_max_uses_check CHECK (max_uses >= 1),
  uses            integer NOT NULL DEFAULT 0 CONSTRAINT invitations_uses_check CHECK (uses BETWEEN 0 AND max_uses),
  allowed_domains text[] NOT NULL DEFAULT '{}',
  message         text,
  state           text NOT NULL DEFAULT 'pending'
                  CONSTRAINT invitations_state_check CHECK (state IN ('pending', 'accepted', 'declined', 'revoked', 'expired')),
  sent_count      integer NOT NULL DEFAULT 0,
  last_sent_at    timestamptz,
  expires_at      timestamptz NOT NULL,
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT invitations_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT invitations_custom_role_id_fkey FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id),
  CONSTRAINT invitations_email_check CHECK ((kind = 'email') = (email IS NOT NULL)),
  CONSTRAINT invitations_custom_role_check CHECK ((role = 'custom') = (custom_role_id IS NOT NULL)),
  CONSTRAINT invitations_reseller_check CHECK ((role = 'reseller') = (reseller_id IS NOT NULL))
);
CREATE UNIQUE INDEX invitations_pending_key ON invitations (workspace_id, email) WHERE state = 'pending' AND kind = 'email';
CREATE INDEX invitations_custom_role_id_idx ON invitations (workspace_id, custom_role_id) WHERE custom_role_id IS NOT NULL;
CREATE INDEX invitations_reseller_id_idx ON invitations (workspace_id, reseller_id) WHERE reseller_id IS NOT NULL;
CREATE INDEX invitations_email_idx ON invitations (email) WHERE state = 'pending';
CREATE INDEX invitations_expires_at_idx ON invitations (workspace_id, expires_at) WHERE state = 'pending';
CREATE TRIGGER bump_version BEFORE UPDATE ON invitations FOR EACH ROW EXECUTE FUNCTION bump_version('sent_count', 'last_sent_at');
SELECT make_shared_table('invitations', reseller => 'own',
  tenant => 'SELECT (workspace_id, id, kind, email, role, custom_role_id, reseller_id, max_uses, uses, allowed_domains, message, state,
             sent_count, last_sent_at, expires_at, created_by_type, created_by_id, version, created_at, updated_at), INSERT, UPDATE',
  kernel => 'SELECT (workspace_id, id, kind, email, role, token_hash, state, expires_at, created_at)');

CREATE TABLE service_accounts (
  workspace_id    uuid NOT NULL CONSTRAINT service_accounts_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  name            text NOT NULL,
  description     text NOT NULL DEFAULT '',
  role            text NOT NULL CONSTRAINT service_accounts_role_check
                  CHECK (role IN ('admin', 'member', 'viewer', 'billing', 'custom')),
  custom_role_id  uuid,
  state           text NOT NULL DEFAULT 'active' CONSTRAINT service_accounts_state_check CHECK (state IN ('active', 'suspended')),
  created_by_type text NOT NULL DEFAULT current_actor_type(),
  created_by_id   uuid DEFAULT current_actor_id(),
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT service_accounts_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT service_accounts_workspace_id_name_key UNIQUE (workspace_id, name),
  CONSTRAINT service_accounts_custom_role_id_fkey FOREIGN KEY (workspace_id, custom_role_id) REFERENCES roles (workspace_id, id),
  CONSTRAINT service_accounts_custom_role_check CHECK ((role = 'custom') = (custom_role_id IS NOT NULL))
);
CREATE INDEX service_accounts_custom_role_id_idx ON service_accounts (workspace_id, custom_role_id) WHERE custom_role_id IS NOT NULL;
CREATE TRIGGER bump_version BEFORE UPDATE ON service_accounts FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_shared_table('service_accounts', tenant => 'SELECT, INSERT, UPDATE, DELETE', kernel => 'SELECT');

CREATE TABLE api_keys (
  workspace_id       uuid NOT NULL CONSTRAINT api_keys_workspace_id_fkey REFERENCES workspaces (id),
  id                 uuid NOT NULL,
  owner_type         text NOT NULL CONSTRAINT api_keys_owner_type_check CHECK (owner_type IN ('service_account', 'user')),
  owner_id           uuid NOT NULL,
  -- The owner as two keys, so that either is a real reference: a personal key cannot outlive the membership's row.
  service_account_id uuid GENERATED ALWAYS AS (CASE WHEN owner_type = 'service_account' THEN owner_id END) STORED,
  user_id            uuid GENERATED ALWAYS AS (CASE WHEN owner_type = 'user' THEN owner_id END) STORED,
  reseller_id        uuid,
  name               text NOT NULL,
  hash               bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
  start              text NOT NULL,                                 -- what may be shown: gld_live_sk_7fQ2
  permissions        text[],                                        -- null: whatever the owner may do
  ip_allowlist       text[] NOT NULL DEFAULT '{}',
  rate_per_minute    integer CONSTRAINT api_keys_rate_per_minute_check CHECK (rate_per_minute >= 1),
  api_version        text NOT NULL,
  expires_at         timestamptz NOT NULL,
  last_used_at       timestamptz,
  last_used_ip       text,
  rotated_from       uuid,
  grace_until        timestamptz,                                   -- a rerolled key works until then
  created_by_type    text NOT NULL DEFAULT current_actor_type(),
  created_by_id      uuid DEFAULT current_actor_id(),
  version            bigint NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL DEFAULT app_now(),
  updated_at         timestamptz NOT NULL DEFAULT app_now(),
  revoked_at         timestamptz,
  revoke_reason      text,
  CONSTRAINT api_keys_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT api_keys_service_account_id_fkey FOREIGN KEY (workspace_id, service_account_id) REFERENCES service_accounts (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (workspace_id, user_id) REFERENCES memberships (workspace_id, user_id),
  CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (workspace_id, rotated_from) REFERENCES api_keys (workspace_id, id) ON DELETE SET NULL (rotated_from),
  CONSTRAINT api_keys_revoked_check CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX api_keys_created_at_idx ON api_keys (workspace_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_updated_at_idx ON api_keys (workspace_id, updated_at, id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_owner_id_idx ON api_keys (workspace_id, owner_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_service_account_id_idx ON api_keys (workspace_id, service_account_id) WHERE service_account_id IS NOT NULL;
CREATE INDEX api_keys_user_id_idx ON api_keys (workspace_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_person_idx ON api_keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_rotated_from_idx ON api_keys (workspace_id, rotated_from) WHERE rotated_from IS NOT NULL;
CREATE INDEX api_keys_reseller_id_idx ON api_keys (workspace_id, reseller_id) WHERE reseller_id IS NOT NULL;
CREATE INDEX api_keys_expires_at_idx ON api_keys (workspace_id, expires_at) WHERE revoked_at IS NULL;
-- The generated columns are not computed yet when the trigger looks; owner_type and owner_id say the same.
CREATE TRIGGER bump_version BEFORE UPDATE ON api_keys FOR EACH ROW
  EXECUTE FUNCTION bump_version('last_used_at', 'last_used_ip', 'service_account_id', 'user_id');
SELECT make_shared_table('api_keys', reseller => 'own',
  tenant => 'SELECT (workspace_id, id, owner_type, owner_id, service_account_id, user_id, reseller_id, name, start, permissions, ip_allowlist,
             rate_per_minute, api_version, expires_at, last_used_at, last_used_ip, rotated_from, grace_until, created_by_type, created_by_id,
             version, created_at, updated_at, revoked_at, revoke_reason), INSERT, UPDATE, DELETE',
  kernel => 'SELECT, UPDATE (last_used_at, last_used_ip)');
