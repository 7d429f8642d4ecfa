-- Money in, access out: what is for sale, what Stripe says of it (a mirror, verbatim), what we decided (orders, slots), and the inbox
-- through which it all comes. Stripe's own words are kept as text without a CHECK: a word that we do not know yet must not be refused.

-- ── The connection and the inbox (class shared) ──────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE stripe_connections (
  workspace_id           uuid NOT NULL CONSTRAINT stripe_connections_workspace_id_fkey REFERENCES workspaces (id),
  id                     uuid NOT NULL,
  mode                   text NOT NULL CONSTRAINT stripe_connections_mode_check CHECK (mode IN ('test', 'live')),
  account_id             text,                                      -- known once the key was probed
  key_sealed             bytea,                                     -- null for the operator's own: its secrets are configuration
  key_kind               text CONSTRAINT stripe_connections_key_kind_check CHECK (key_kind IN ('restricted', 'secret')),
  key_last4              text,
  webhook_secrets_sealed bytea[] NOT NULL DEFAULT '{}'
                         CONSTRAINT stripe_connections_webhook_secrets_sealed_check CHECK (cardinality(webhook_secrets_sealed) <= 2),
  webhook_endpoint_id    text,
  api_version            text,
  state                  text NOT NULL DEFAULT 'pending'
                         CONSTRAINT stripe_connections_state_check CHECK (state IN ('pending', 'active', 'degraded', 'disconnected')),
  automatic_tax          boolean NOT NULL DEFAULT false,
  receipts               text NOT NULL DEFAULT 'guildhall'
                         CONSTRAINT stripe_connections_receipts_check CHECK (receipts IN ('guildhall', 'stripe')),
  last_event_at          timestamptz,
  last_reconciled_at     timestamptz,
  last_error             text,
  version                bigint NOT NULL DEFAULT 1,
  created_at             timestamptz NOT NULL DEFAULT app_now(),
  updated_at             timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT stripe_connections_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT stripe_connections_account_id_mode_key UNIQUE (account_id, mode)     -- one account has one seller
);
CREATE UNIQUE INDEX stripe_connections_workspace_id_key ON stripe_connections (workspace_id) WHERE state <> 'disconnected';
CREATE INDEX stripe_connections_id_idx ON stripe_connections (id);  -- the door knows the connection only
CREATE TRIGGER bump_version BEFORE UPDATE ON stripe_connections FOR EACH ROW
  WHEN (NOT (is_rewrapped(OLD.key_sealed, NEW.key_sealed)
             OR is_rewrapped(OLD.webhook_secrets_sealed[1], NEW.webhook_secrets_sealed[1])
             OR is_rewrapped(OLD.webhook_secrets_sealed[2], NEW.webhook_secrets_sealed[2])))
  EXECUTE FUNCTION bump_version('last_event_at', 'last_reconciled_at', 'last_error');
SELECT make_shared_table('stripe_connections', tenant => 'SELECT, INSERT, UPDATE, DELETE',
  kernel => 'SELECT (workspace_id, id, mode, state, account_id, webhook_secrets_sealed), INSERT, UPDATE (mode, state, api_version)');

-- Events as they came: raw bytes, because jsonb refuses U+0000 and a payload is evidence, not state.
CREATE TABLE inbox_events (
  workspace_id        uuid NOT NULL,
  id                  uuid NOT NULL,
  connection_id       uuid NOT NULL,
  event_id            text NOT NULL,
  type                text NOT NULL,
  object_kind         text,                                         -- 'subscription', 'invoice' …: what to look at
  object_id           text,
  lane                text NOT NULL,                                -- the Stripe customer, else the object
  provider_created_at timestamptz,                                  -- whole seconds: nothing is ordered by it
  api_version         text,
  payload             bytea,                                        -- null after 30 days
  payload_hash        bytea NOT NULL,
  state               text NOT NULL DEFAULT 'received'
                      CONSTRAINT inbox_events_state_check CHECK (state IN ('received', 'done', 'ignored', 'parked', 'dead')),
  attempts            integer NOT NULL DEFAULT 0 CONSTRAINT inbox_events_attempts_check CHECK (attempts >= 0),
  put_off             integer NOT NULL DEFAULT 0 CONSTRAINT inbox_events_put_off_check CHECK (put_off >= 0),
                                                                    -- looks in a row for which somebody else had what it changes
  looking             boolean NOT NULL DEFAULT false,               -- somebody looks at it, or did and was lost
  available_at        timestamptz NOT NULL DEFAULT app_now(),
  last_error          text,
  parked_on           text,                                         -- what it waits for: 'price:price_…', 'customer:cus_…'
  received_at         timestamptz NOT NULL DEFAULT app_now(),
  done_at             timestamptz,
  CONSTRAINT inbox_events_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT inbox_events_event_id_key UNIQUE (workspace_id, connection_id, event_id),
  CONSTRAINT inbox_events_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id)
) WITH (fillfactor = 70);
CREATE INDEX inbox_events_lane_idx ON inbox_events (workspace_id, connection_id, lane, available_at) WHERE state = 'received';
CREATE INDEX inbox_events_parked_on_idx ON inbox_events (workspace_id, connection_id, parked_on) WHERE state = 'parked';
CREATE INDEX inbox_events_received_at_idx ON inbox_events (workspace_id, received_at, id);
CREATE INDEX inbox_events_payload_idx ON inbox_events (workspace_id, received_at) WHERE payload IS NOT NULL;
SELECT make_shared_table('inbox_events',
  tenant => 'SELECT, UPDATE (lane, payload, state, attempts, put_off, looking, available_at, last_error, parked_on, done_at), DELETE',
  kernel => 'SELECT (workspace_id, id, connection_id, event_id, type, object_kind, object_id, lane, state, attempts, put_off, looking, available_at,'
            ' received_at), INSERT');

-- One row for whatever must be looked at by one worker at a time. The epoch tells a stalled worker that another came after it.
CREATE TABLE inbox_lanes (
  workspace_id  uuid NOT NULL,
  connection_id uuid NOT NULL,
  lane          text NOT NULL,
  available_at  timestamptz,                                        -- of its earliest event that waits; null when none does
  lease_token   uuid,
  lease_until   timestamptz,                                        -- real time, as leases are
  epoch         bigint NOT NULL DEFAULT 0,
  trouble       text,                                               -- what its last look found wrong with the connection
  CONSTRAINT inbox_lanes_pkey PRIMARY KEY (workspace_id, connection_id, lane),
  CONSTRAINT inbox_lanes_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX inbox_lanes_available_at_idx ON inbox_lanes (available_at) WHERE available_at IS NOT NULL;
CREATE INDEX inbox_lanes_trouble_idx ON inbox_lanes (workspace_id, connection_id) WHERE trouble IS NOT NULL;
SELECT make_shared_table('inbox_lanes', tenant => 'SELECT, INSERT, UPDATE (available_at, lease_token, lease_until, trouble), DELETE',
  kernel => 'SELECT, INSERT, UPDATE (available_at, lease_token, lease_until, epoch)');

-- ── What is for sale ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE offers (
  workspace_id uuid NOT NULL CONSTRAINT offers_workspace_id_fkey REFERENCES workspaces (id),
  id           uuid NOT NULL,
  code         text NOT NULL CONSTRAINT offers_code_check CHECK (code ~ '^[a-z][a-z0-9_-]{0,62}$'),
  name         text NOT NULL,
  policy_id    uuid NOT NULL,
  kind         text NOT NULL DEFAULT 'base' CONSTRAINT offers_kind_check CHECK (kind IN ('base', 'addon', 'one_time', 'credits')),
  line         text NOT NULL DEFAULT 'main',                        -- of one line a customer has one subscription
  rank         integer NOT NULL DEFAULT 0,
  public       boolean NOT NULL DEFAULT false,
  trial_days   integer NOT NULL DEFAULT 0 CONSTRAINT offers_trial_days_check CHECK (trial_days BETWEEN 0 AND 730),
  seats        text NOT NULL DEFAULT 'none' CONSTRAINT offers_seats_check CHECK (seats IN ('included', 'per_seat', 'none')),
  features     jsonb NOT NULL DEFAULT '[]',                         -- sentences for a price page
  lookup_keys  text[] NOT NULL DEFAULT '{}',                        -- a price at Stripe with one of these belongs to this offer
  quantity_as  text NOT NULL DEFAULT 'licenses' CONSTRAINT offers_quantity_as_check
               CHECK (quantity_as IN ('licenses', 'max_machines', 'max_users', 'max_leases', 'meter_units')),
  on_cancel    text NOT NULL DEFAULT 'period_end' CONSTRAINT offers_on_cancel_check CHECK (on_cancel IN ('period_end', 'now')),
  archived_at  timestamptz,
  version      bigint NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  updated_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT offers_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT offers_workspace_id_code_key UNIQUE (workspace_id, code),
  CONSTRAINT offers_policy_id_fkey FOREIGN KEY (workspace_id, policy_id) REFERENCES policies (workspace_id, id)
);
CREATE INDEX offers_created_at_idx ON offers (workspace_id, created_at, id);
CREATE INDEX offers_policy_id_idx ON offers (workspace_id, policy_id);
CREATE TRIGGER bump_version BEFORE UPDATE ON offers FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('offers', reseller => 'open', customer => 'open');

CREATE TABLE prices (
  workspace_id      uuid NOT NULL CONSTRAINT prices_workspace_id_fkey REFERENCES workspaces (id),
  id                uuid NOT NULL,
  connection_id     uuid NOT NULL,
  stripe_price_id   text NOT NULL,
  stripe_product_id text,
  product_name      text,
  nickname          text,
  lookup_key        text,
  active            boolean NOT NULL,
  currency          text NOT NULL,
  unit_amount       bigint,                                         -- minor units; null where tiers decide
  billing_scheme    text,
  tiers             jsonb,
  tiers_mode        text,
  interval          text,                                           -- null: once
  interval_count    bigint,
  usage_type        text,
  tax_behavior      text,
  deleted_at        timestamptz,
  version           bigint NOT NULL DEFAULT 1,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  updated_at        timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT prices_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT prices_stripe_price_id_key UNIQUE (workspace_id, connection_id, stripe_price_id),
  CONSTRAINT prices_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id)
);
CREATE INDEX prices_created_at_idx ON prices (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON prices FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('prices', reseller => 'open', customer => 'open');

-- The map from money to access. A price without a row here sells nothing: its orders are held.
CREATE TABLE offer_prices (
  workspace_id uuid NOT NULL,
  price_id     uuid NOT NULL,
  offer_id     uuid NOT NULL,
  quantity_as  text NOT NULL CONSTRAINT offer_prices_quantity_as_check
               CHECK (quantity_as IN ('licenses', 'max_machines', 'max_users', 'max_leases', 'meter_units')),
  on_cancel    text NOT NULL CONSTRAINT offer_prices_on_cancel_check CHECK (on_cancel IN ('period_end', 'now')),
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT offer_prices_pkey PRIMARY KEY (workspace_id, price_id),
  CONSTRAINT offer_prices_price_id_fkey FOREIGN KEY (workspace_id, price_id) REFERENCES prices (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT offer_prices_offer_id_fkey FOREIGN KEY (workspace_id, offer_id) REFERENCES offers (workspace_id, id)
);
CREATE INDEX offer_prices_offer_id_idx ON offer_prices (workspace_id, offer_id);
SELECT make_tenant_table('offer_prices', reseller => 'open', customer => 'open');

-- ── The mirror ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE billing_customers (
  workspace_id       uuid NOT NULL CONSTRAINT billing_customers_workspace_id_fkey REFERENCES workspaces (id),
  id                 uuid NOT NULL,
  connection_id      uuid NOT NULL,
  customer_id        uuid NOT NULL,
  stripe_customer_id text,                                          -- null while it is only meant to be made
  email              text,
  name               text,
  balance            bigint NOT NULL DEFAULT 0,                     -- minor units; negative is credit
  currency           text,
  tax_exempt         text,
  tax_ids            jsonb NOT NULL DEFAULT '[]',
  card_brand         text,
  card_last4         text,
  card_exp_month     integer,
  card_exp_year      integer,
  deleted_at         timestamptz,
  version            bigint NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL DEFAULT app_now(),
  updated_at         timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT billing_customers_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT billing_customers_stripe_customer_id_key UNIQUE (workspace_id, connection_id, stripe_customer_id),
  CONSTRAINT billing_customers_connection_id_fkey FOREIGN KEY (workspace_id, connection_id)
    REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT billing_customers_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id)
);
-- Who was deleted there gets another account; what still comes in about the old one finds them.
CREATE UNIQUE INDEX billing_customers_customer_id_key ON billing_customers (workspace_id, connection_id, customer_id) WHERE deleted_at IS NULL;
CREATE INDEX billing_customers_customer_id_idx ON billing_customers (workspace_id, customer_id);
CREATE INDEX billing_customers_created_at_idx ON billing_customers (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON billing_customers FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('billing_customers', customer => 'own');

CREATE TABLE checkouts (
  workspace_id      uuid NOT NULL CONSTRAINT checkouts_workspace_id_fkey REFERENCES workspaces (id),
  id                uuid NOT NULL,
  connection_id     uuid NOT NULL,
  customer_id       uuid NOT NULL,
  line              text NOT NULL,
  mode              text NOT NULL CONSTRAINT checkouts_mode_check CHECK (mode IN ('payment', 'subscription', 'setup')),
  items             jsonb NOT NULL,
  promotion_code    text,
  success_url       text NOT NULL,
  cancel_url        text NOT NULL,
  stripe_session_id text,
  url_sealed        bytea,                                          -- a bearer credential: null once expired
  state             text NOT NULL DEFAULT 'open' CONSTRAINT checkouts_state_check
                    CHECK (state IN ('open', 'completed', 'awaiting_payment', 'paid', 'failed', 'expired')),
  expires_at        timestamptz NOT NULL,
  version           bigint NOT NULL DEFAULT 1,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  updated_at        timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT checkouts_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT checkouts_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT checkouts_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id)
);
CREATE UNIQUE INDEX checkouts_open_key ON checkouts (workspace_id, connection_id, customer_id, line)
  WHERE state = 'open' AND mode = 'subscription';                   -- decides the race of two clicks
CREATE UNIQUE INDEX checkouts_stripe_session_id_key ON checkouts (workspace_id, connection_id, stripe_session_id);
CREATE INDEX checkouts_customer_id_idx ON checkouts (workspace_id, customer_id);
CREATE INDEX checkouts_created_at_idx ON checkouts (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON checkouts FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('checkouts', customer => 'own');

CREATE TABLE subscriptions (
  workspace_id             uuid NOT NULL CONSTRAINT subscriptions_workspace_id_fkey REFERENCES workspaces (id),
  id                       uuid NOT NULL,
  connection_id            uuid NOT NULL,
  customer_id              uuid NOT NULL,
  stripe_subscription_id   text NOT NULL,
  status                   text NOT NULL,                           -- verbatim
  currency                 text,
  collection_method        text,
  cancel_at_period_end     boolean NOT NULL DEFAULT false,
  cancel_at                timestamptz,
  canceled_at              timestamptz,
  ended_at                 timestamptz,
  trial_start              timestamptz,
  trial_end                timestamptz,
  pause_behavior           text,                                    -- null: collection is not paused
  pause_resumes_at         timestamptz,
  stripe_schedule_id       text,
  discounts                jsonb NOT NULL DEFAULT '[]',
  default_method           text,
  latest_stripe_invoice_id text,
  started_at               timestamptz NOT NULL,
  version                  bigint NOT NULL DEFAULT 1,
  created_at               timestamptz NOT NULL DEFAULT app_now(),
  updated_at               timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT subscriptions_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT subscriptions_stripe_subscription_id_key
    UNIQUE (workspace_id, connection_id, stripe_subscription_id),
  CONSTRAINT subscriptions_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT subscriptions_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id)
);
CREATE INDEX subscriptions_customer_id_idx ON subscriptions (workspace_id, customer_id);
CREATE INDEX subscriptions_created_at_idx ON subscriptions (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('subscriptions', customer => 'own');

CREATE TABLE subscription_items (
  workspace_id         uuid NOT NULL,
  id                   uuid NOT NULL,
  subscription_id      uuid NOT NULL,
  customer_id          uuid NOT NULL,
  stripe_item_id       text NOT NULL,
  stripe_price_id      text NOT NULL,
  quantity             bigint NOT NULL,
  current_period_start timestamptz,
  current_period_end   timestamptz,
  license_id           uuid,                                        -- the licence that it pays for
  removed_at           timestamptz,
  CONSTRAINT subscription_items_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT subscription_items_stripe_item_id_key UNIQUE (workspace_id, subscription_id, stripe_item_id),
  CONSTRAINT subscription_items_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id)
    REFERENCES subscriptions (workspace_id, id) ON DELETE CASCADE,
  CONSTRAINT subscription_items_license_id_fkey FOREIGN KEY (workspace_id, license_id) REFERENCES licenses (workspace_id, id)
);
CREATE INDEX subscription_items_license_id_idx ON subscription_items (workspace_id, license_id);
SELECT make_tenant_table('subscription_items', customer => 'own');

-- Which of a customer's subscriptions drives the licence of a line. The mirror refuses nothing; this is where one is wanted.
CREATE TABLE subscription_slots (
  workspace_id    uuid NOT NULL,
  connection_id   uuid NOT NULL,
  customer_id     uuid NOT NULL,
  line            text NOT NULL,
  subscription_id uuid NOT NULL,
  taken_at        timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT subscription_slots_pkey PRIMARY KEY (workspace_id, connection_id, customer_id, line),
  CONSTRAINT subscription_slots_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id)
    REFERENCES subscriptions (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX subscription_slots_subscription_id_idx ON subscription_slots (workspace_id, subscription_id);
SELECT make_tenant_table('subscription_slots', customer => 'own');

CREATE TABLE invoices (
  workspace_id            uuid NOT NULL CONSTRAINT invoices_workspace_id_fkey REFERENCES workspaces (id),
  id                      uuid NOT NULL,
  connection_id           uuid NOT NULL,
  customer_id             uuid NOT NULL,
  subscription_id         uuid,
  stripe_invoice_id       text NOT NULL,
  number                  text,
  status                  text,                                     -- verbatim
  currency                text NOT NULL,
  amount_due              bigint NOT NULL,
  amount_paid             bigint NOT NULL,
  amount_remaining        bigint NOT NULL,
  subtotal                bigint NOT NULL,
  tax                     bigint NOT NULL DEFAULT 0,
  total                   bigint NOT NULL,
  billing_reason          text,
  collection_method       text,
  attempt_count           bigint NOT NULL DEFAULT 0,
  next_payment_attempt_at timestamptz,
  due_at                  timestamptz,
  paid_at                 timestamptz,
  issued_at               timestamptz NOT NULL,
  version                 bigint NOT NULL DEFAULT 1,
  created_at              timestamptz NOT NULL DEFAULT app_now(),
  updated_at              timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT invoices_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT invoices_stripe_invoice_id_key UNIQUE (workspace_id, connection_id, stripe_invoice_id),
  CONSTRAINT invoices_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT invoices_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT invoices_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id) REFERENCES subscriptions (workspace_id, id)
);
CREATE INDEX invoices_customer_id_idx ON invoices (workspace_id, customer_id);
CREATE INDEX invoices_subscription_id_idx ON invoices (workspace_id, subscription_id, issued_at);
CREATE INDEX invoices_created_at_idx ON invoices (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('invoices', customer => 'own');

CREATE TABLE invoice_lines (
  workspace_id    uuid NOT NULL,
  invoice_id      uuid NOT NULL,
  stripe_line_id  text NOT NULL,
  customer_id     uuid NOT NULL,
  place           integer NOT NULL,                                 -- 0 is the first
  description     text,
  amount          bigint NOT NULL,
  currency        text NOT NULL,
  quantity        bigint,
  stripe_price_id text,
  stripe_item_id  text,
  proration       boolean NOT NULL,
  period_start    timestamptz NOT NULL,
  period_end      timestamptz NOT NULL,
  CONSTRAINT invoice_lines_pkey PRIMARY KEY (workspace_id, invoice_id, stripe_line_id),
  CONSTRAINT invoice_lines_invoice_id_fkey FOREIGN KEY (workspace_id, invoice_id) REFERENCES invoices (workspace_id, id) ON DELETE CASCADE
);
SELECT make_tenant_table('invoice_lines', customer => 'own');

CREATE TABLE payments (
  workspace_id             uuid NOT NULL CONSTRAINT payments_workspace_id_fkey REFERENCES workspaces (id),
  id                       uuid NOT NULL,
  connection_id            uuid NOT NULL,
  customer_id              uuid NOT NULL,
  invoice_id               uuid,
  stripe_payment_intent_id text NOT NULL,
  stripe_charge_id         text,
  status                   text NOT NULL,                           -- verbatim
  amount                   bigint NOT NULL,
  amount_received          bigint NOT NULL,
  amount_refunded          bigint NOT NULL DEFAULT 0,
  currency                 text NOT NULL,
  failure_code             text,
  decline_code             text,
  advice_code              text,
  method_brand             text,
  method_last4             text,
  attempted_at             timestamptz NOT NULL,
  version                  bigint NOT NULL DEFAULT 1,
  created_at               timestamptz NOT NULL DEFAULT app_now(),
  updated_at               timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT payments_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT payments_stripe_payment_intent_id_key
    UNIQUE (workspace_id, connection_id, stripe_payment_intent_id),
  CONSTRAINT payments_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT payments_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT payments_invoice_id_fkey FOREIGN KEY (workspace_id, invoice_id) REFERENCES invoices (workspace_id, id)
);
CREATE INDEX payments_customer_id_idx ON payments (workspace_id, customer_id);
CREATE INDEX payments_invoice_id_idx ON payments (workspace_id, invoice_id);
CREATE INDEX payments_created_at_idx ON payments (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('payments', customer => 'own');

CREATE TABLE refunds (
  workspace_id     uuid NOT NULL CONSTRAINT refunds_workspace_id_fkey REFERENCES workspaces (id),
  id               uuid NOT NULL,
  connection_id    uuid NOT NULL,
  customer_id      uuid NOT NULL,
  payment_id       uuid NOT NULL,
  stripe_refund_id text,
  amount           bigint NOT NULL CONSTRAINT refunds_amount_check CHECK (amount > 0),
  currency         text NOT NULL,
  reason           text,
  licenses         text NOT NULL DEFAULT 'by_policy'
                   CONSTRAINT refunds_licenses_check CHECK (licenses IN ('by_policy', 'keep', 'revoke')),
  status           text NOT NULL,
  version          bigint NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT app_now(),
  updated_at       timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT refunds_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT refunds_stripe_refund_id_key UNIQUE (workspace_id, connection_id, stripe_refund_id),
  CONSTRAINT refunds_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT refunds_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT refunds_payment_id_fkey FOREIGN KEY (workspace_id, payment_id) REFERENCES payments (workspace_id, id)
);
CREATE INDEX refunds_customer_id_idx ON refunds (workspace_id, customer_id);
CREATE INDEX refunds_payment_id_idx ON refunds (workspace_id, payment_id);
CREATE INDEX refunds_created_at_idx ON refunds (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON refunds FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('refunds', customer => 'own');

CREATE TABLE disputes (
  workspace_id      uuid NOT NULL CONSTRAINT disputes_workspace_id_fkey REFERENCES workspaces (id),
  id                uuid NOT NULL,
  connection_id     uuid NOT NULL,
  customer_id       uuid NOT NULL,
  payment_id        uuid NOT NULL,
  stripe_dispute_id text NOT NULL,
  amount            bigint NOT NULL,
  currency          text NOT NULL,
  reason            text,
  status            text NOT NULL,
  evidence_due_at   timestamptz,
  opened_at         timestamptz NOT NULL,
  closed_at         timestamptz,
  version           bigint NOT NULL DEFAULT 1,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  updated_at        timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT disputes_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT disputes_stripe_dispute_id_key UNIQUE (workspace_id, connection_id, stripe_dispute_id),
  CONSTRAINT disputes_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT disputes_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT disputes_payment_id_fkey FOREIGN KEY (workspace_id, payment_id) REFERENCES payments (workspace_id, id)
);
CREATE INDEX disputes_customer_id_idx ON disputes (workspace_id, customer_id);
CREATE INDEX disputes_payment_id_idx ON disputes (workspace_id, payment_id);
CREATE INDEX disputes_created_at_idx ON disputes (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON disputes FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('disputes', customer => 'own');

-- ── What we decided ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- A sale. The same one shows up as session, subscription, invoice and charge, so its key is derived from what was paid for.
CREATE TABLE orders (
  workspace_id    uuid NOT NULL CONSTRAINT orders_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  connection_id   uuid,                                             -- null: made by hand
  customer_id     uuid NOT NULL,
  source          text NOT NULL CONSTRAINT orders_source_check CHECK (source IN ('subscription', 'checkout', 'invoice', 'manual')),
  fulfilment_key  text NOT NULL,
  offer_id        uuid,                                             -- null while the price is not mapped
  subscription_id uuid,
  invoice_id      uuid,
  stripe_price_id text,
  quantity        bigint NOT NULL DEFAULT 1,
  amount          bigint NOT NULL,
  currency        text NOT NULL,
  state           text NOT NULL CONSTRAINT orders_state_check CHECK (state IN (
                    'pending', 'awaiting_payment', 'fulfilled', 'partially_reversed', 'reversed', 'held', 'refunded', 'failed')),
  held_because    text CONSTRAINT orders_held_because_check CHECK (held_because IN ('unknown_price', 'duplicate', 'revoked', 'no_item', 'no_seat', 'fraud')),
  licenses        uuid[] NOT NULL DEFAULT '{}',
  paid_until      timestamptz,                                      -- the end of the period that was paid
  fulfilled_at    timestamptz,
  reversed_at     timestamptz,
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT orders_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT orders_fulfilment_key_key UNIQUE NULLS NOT DISTINCT (workspace_id, connection_id, fulfilment_key),
  CONSTRAINT orders_held_check CHECK ((state = 'held') = (held_because IS NOT NULL)),
  CONSTRAINT orders_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT orders_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT orders_offer_id_fkey FOREIGN KEY (workspace_id, offer_id) REFERENCES offers (workspace_id, id),
  CONSTRAINT orders_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id) REFERENCES subscriptions (workspace_id, id),
  CONSTRAINT orders_invoice_id_fkey FOREIGN KEY (workspace_id, invoice_id) REFERENCES invoices (workspace_id, id)
);
CREATE INDEX orders_customer_id_idx ON orders (workspace_id, customer_id);
CREATE INDEX orders_offer_id_idx ON orders (workspace_id, offer_id);
CREATE INDEX orders_subscription_id_idx ON orders (workspace_id, subscription_id);
CREATE INDEX orders_invoice_id_idx ON orders (workspace_id, invoice_id);
CREATE INDEX orders_held_idx ON orders (workspace_id, connection_id, stripe_price_id) WHERE state = 'held';
CREATE INDEX orders_created_at_idx ON orders (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('orders', customer => 'own');

CREATE TABLE plan_changes (
  workspace_id    uuid NOT NULL CONSTRAINT plan_changes_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  customer_id     uuid NOT NULL,
  subscription_id uuid NOT NULL,
  kind            text NOT NULL,
  step            integer NOT NULL DEFAULT 0,
  wanted          jsonb NOT NULL,                                   -- items, quantities, code, proration date
  state           text NOT NULL CONSTRAINT plan_changes_state_check
                  CHECK (state IN ('started', 'requires_action', 'scheduled', 'done', 'failed', 'cancelled', 'expired')),
  effective_at    timestamptz,
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT plan_changes_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT plan_changes_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT plan_changes_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id) REFERENCES subscriptions (workspace_id, id)
);
CREATE UNIQUE INDEX plan_changes_open_key ON plan_changes (workspace_id, subscription_id)
  WHERE state IN ('started', 'requires_action', 'scheduled');
CREATE INDEX plan_changes_subscription_id_idx ON plan_changes (workspace_id, subscription_id);
CREATE INDEX plan_changes_customer_id_idx ON plan_changes (workspace_id, customer_id);
CREATE INDEX plan_changes_created_at_idx ON plan_changes (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON plan_changes FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('plan_changes', customer => 'own');

-- One case per subscription, on our clock: Stripe does not retry what it holds for hopeless.
CREATE TABLE dunning_cases (
  workspace_id    uuid NOT NULL CONSTRAINT dunning_cases_workspace_id_fkey REFERENCES workspaces (id),
  id              uuid NOT NULL,
  customer_id     uuid NOT NULL,
  subscription_id uuid NOT NULL,
  state           text NOT NULL CONSTRAINT dunning_cases_state_check
                  CHECK (state IN ('retrying', 'action_required', 'restricted', 'recovered', 'lapsed')),
  opened_at       timestamptz NOT NULL,                             -- since when money is missing
  restrict_at     timestamptz NOT NULL,
  lapse_at        timestamptz NOT NULL,
  closed_at       timestamptz,
  version         bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT dunning_cases_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT dunning_cases_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id),
  CONSTRAINT dunning_cases_subscription_id_fkey FOREIGN KEY (workspace_id, subscription_id) REFERENCES subscriptions (workspace_id, id)
);
CREATE UNIQUE INDEX dunning_cases_open_key ON dunning_cases (workspace_id, subscription_id) WHERE closed_at IS NULL;
CREATE INDEX dunning_cases_subscription_id_idx ON dunning_cases (workspace_id, subscription_id);
CREATE INDEX dunning_cases_customer_id_idx ON dunning_cases (workspace_id, customer_id);
CREATE INDEX dunning_cases_created_at_idx ON dunning_cases (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON dunning_cases FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('dunning_cases', customer => 'own');

CREATE TABLE credits (
  workspace_id          uuid NOT NULL CONSTRAINT credits_workspace_id_fkey REFERENCES workspaces (id),
  id                    uuid NOT NULL,
  connection_id         uuid NOT NULL,
  customer_id           uuid NOT NULL,
  amount                bigint NOT NULL CONSTRAINT credits_amount_check CHECK (amount > 0),
  currency              text NOT NULL,
  note                  text NOT NULL,
  state                 text NOT NULL CONSTRAINT credits_state_check CHECK (state IN ('waiting', 'started', 'done', 'refused')),
  stripe_transaction_id text,
  given_by              uuid,
  approved_by           uuid,
  version               bigint NOT NULL DEFAULT 1,
  created_at            timestamptz NOT NULL DEFAULT app_now(),
  updated_at            timestamptz NOT NULL DEFAULT app_now(),
  CONSTRAINT credits_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT credits_connection_id_fkey FOREIGN KEY (workspace_id, connection_id) REFERENCES stripe_connections (workspace_id, id),
  CONSTRAINT credits_customer_id_fkey FOREIGN KEY (workspace_id, customer_id) REFERENCES customers (workspace_id, id)
);
CREATE INDEX credits_customer_id_idx ON credits (workspace_id, customer_id);
CREATE INDEX credits_created_at_idx ON credits (workspace_id, created_at, id);
CREATE TRIGGER bump_version BEFORE UPDATE ON credits FOR EACH ROW EXECUTE FUNCTION bump_version();
SELECT make_tenant_table('credits', customer => 'own');

-- ── The plans of workspaces, published (class reference) ─────────────────────────────────────────────────────────────────────────────

CREATE TABLE billing_plans (
  code         text NOT NULL CONSTRAINT billing_plans_pkey PRIMARY KEY,
  name         text NOT NULL,
  rank         integer NOT NULL,
  public       boolean NOT NULL,
  trial_days   integer NOT NULL,
  seats        text NOT NULL,
  features     jsonb NOT NULL,
  entitlements jsonb NOT NULL,
  prices       jsonb NOT NULL,
  archived     boolean NOT NULL,
  published_at timestamptz NOT NULL DEFAULT app_now()
);
SELECT make_reference_table('billing_plans');
