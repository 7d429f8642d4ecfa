-- What every table with tenants in it stands on: the transaction's context, its instant, versions, and the helpers that put a table
-- under row-level security. Roles, database, schema and extensions are not made here but by `guildhall migrate bootstrap`.

-- The context. Strict on purpose: unset is 42704, empty is 22P02. Silence must never mean "everything".

CREATE FUNCTION current_workspace() RETURNS uuid STABLE PARALLEL SAFE
  RETURN current_setting('app.workspace')::uuid;

-- 'none' must be said: a transaction that forgot to say how far it reaches reads nothing.
CREATE FUNCTION current_reseller() RETURNS uuid STABLE PARALLEL SAFE
  RETURN nullif(current_setting('app.reseller'), 'none')::uuid;

CREATE FUNCTION current_customer() RETURNS uuid STABLE PARALLEL SAFE
  RETURN nullif(current_setting('app.customer'), 'none')::uuid;

-- `app.actor` is 'type:uuid', or 'type:' for the actors without an id (visitor, system).
CREATE FUNCTION current_actor_type() RETURNS text STABLE PARALLEL SAFE
  RETURN split_part(current_setting('app.actor'), ':', 1);

CREATE FUNCTION current_actor_id() RETURNS uuid STABLE PARALLEL SAFE
  RETURN nullif(split_part(current_setting('app.actor'), ':', 2), '')::uuid;

-- Stands wherever SQL would say now(), but for leases and heartbeats. In milliseconds, the precision that the API shows: a cursor made
-- of a shown time finds its row again. The offset is set by a fake clock only.
CREATE FUNCTION app_now() RETURNS timestamptz STABLE PARALLEL SAFE
  RETURN date_trunc('milliseconds', transaction_timestamp()
                    + coalesce(nullif(current_setting('app.clock_offset', true), ''), '0')::interval);

-- The smallest UUIDv7 of an instant: ids are time, so a range of ids is a range of time.
CREATE FUNCTION uuid_at(instant timestamptz) RETURNS uuid IMMUTABLE STRICT PARALLEL SAFE
  RETURN (lpad(to_hex((extract(epoch FROM instant) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;

-- Raises `version` (the ETag) on every change that is not only of the bookkeeping columns it is given, and sets `updated_at` where the
-- table has it: CREATE TRIGGER bump_version BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bump_version('last_used_at', …).
-- Such a trigger locks the row before it runs, by the columns that the UPDATE names: with one that a foreign key could refer to, changed or
-- not, it shuts out all who refer to the row. So what is unique and does change is unique by an index with a condition, to which none can.
CREATE FUNCTION bump_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  bookkeeping CONSTANT text[] := coalesce(TG_ARGV, '{}') || ARRAY['version', 'updated_at'];
BEGIN
  IF to_jsonb(NEW) - bookkeeping IS DISTINCT FROM to_jsonb(OLD) - bookkeeping THEN
    RETURN jsonb_populate_record(NEW, jsonb_build_object('version', OLD.version + 1, 'updated_at', app_now()));
  END IF;
  NEW.version := OLD.version;
  RETURN NEW;
END $$;

-- The name of the key-encryption key (KEK) that wraps a sealed record: version, length of the name, name, 60 bytes of wrapped key, the
-- record itself. Empty for what is no such thing.
CREATE FUNCTION kek_of(sealed bytea) RETURNS text IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN octet_length(sealed) < 2 THEN '' ELSE encode(substr(sealed, 3, get_byte(sealed, 1)), 'escape') END;

-- Whether the second is the first under another wrapping: the same record, moved to another KEK. A row in which nothing else happens is not
-- changed for those who read it, so its version stays.
CREATE FUNCTION is_rewrapped(before bytea, after bytea) RETURNS boolean IMMUTABLE PARALLEL SAFE
  RETURN coalesce(before <> after AND octet_length(before) > 63 AND octet_length(after) > 63
                  AND substr(before, 63 + get_byte(before, 1)) <> ''
                  AND substr(before, 63 + get_byte(before, 1)) = substr(after, 63 + get_byte(after, 1)), false);

-- One restrictive policy that narrows a reseller's or a customer's transaction. The test for NULL stands inside the sub-select: the
-- planner takes such a yes or no for a matter of evens, but `(SELECT …) IS NULL` for one row in two hundred. It would then think every
-- table nearly empty, and read and sort all of it for each page.
--   closed  it sees nothing (the default: a table that nobody thought of shows nothing)
--   own     rows whose <who>_id is its own
--   id      the row that is itself (tables `resellers` and `customers`)
--   open    no narrowing
CREATE FUNCTION narrow_table(t regclass, who text, how text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  reader CONSTANT text := format('(SELECT %I())', 'current_' || who);
  everybody CONSTANT text := format('(SELECT %I() IS NULL)', 'current_' || who);
  condition text;
BEGIN
  condition := CASE how
    WHEN 'closed' THEN everybody
    WHEN 'own'    THEN format('%s OR %I = %s', everybody, who || '_id', reader)
    WHEN 'id'     THEN format('%s OR id = %s', everybody, reader)
    WHEN 'open'   THEN NULL
  END;
  IF how NOT IN ('closed', 'own', 'id', 'open') OR how IS NULL THEN
    RAISE EXCEPTION '% => % is none of closed, own, id, open', who, how;
  END IF;
  IF condition IS NOT NULL THEN
    EXECUTE format('CREATE POLICY %I ON %s AS RESTRICTIVE FOR ALL TO app_tenant USING (%s) WITH CHECK (%s)',
                   who, t, condition, condition);
  END IF;
END $$;

-- Puts a table of class tenant under row-level security: enabled and forced, one permissive policy, the restrictive ones, and the
-- verbs for `app_tenant` that `without` does not take away. Columns reseller_id and customer_id get their context as default.
CREATE FUNCTION make_tenant_table(t regclass, reseller text DEFAULT 'closed', customer text DEFAULT 'closed',
                                  without text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  verbs CONSTANT text[] := ARRAY(SELECT verb FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) verb WHERE verb <> ALL (without));
BEGIN
  EXECUTE format('ALTER TABLE %s ALTER workspace_id SET NOT NULL, ALTER workspace_id SET DEFAULT current_workspace()', t);
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
  EXECUTE format('CREATE POLICY tenant ON %s AS PERMISSIVE FOR ALL TO app_tenant'
                 ' USING (workspace_id = (SELECT current_workspace())) WITH CHECK (workspace_id = (SELECT current_workspace()))', t);
  IF reseller = 'own' THEN
    EXECUTE format('ALTER TABLE %s ALTER reseller_id SET DEFAULT current_reseller()', t);
  END IF;
  IF customer = 'own' THEN
    EXECUTE format('ALTER TABLE %s ALTER customer_id SET DEFAULT current_customer()', t);
  END IF;
  PERFORM narrow_table(t, 'reseller', reseller);
  PERFORM narrow_table(t, 'customer', customer);
  EXECUTE format('GRANT %s ON %s TO app_tenant', array_to_string(verbs, ', '), t);
END $$;

-- The same for a table of class shared. `tenant` and `kernel` are what GRANT takes, with columns where a role may not have them all:
-- 'SELECT (id, name), INSERT'. The kernel's policy is open and its grants are the wall; what it inserts names every workspace itself.
-- `key` is the column that holds the workspace.
CREATE FUNCTION make_shared_table(t regclass, tenant text, kernel text, reseller text DEFAULT 'closed', customer text DEFAULT 'closed',
                                  key name DEFAULT 'workspace_id') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ALTER %I SET NOT NULL', t, key);
  IF key = 'workspace_id' THEN
    EXECUTE format('ALTER TABLE %s ALTER workspace_id SET DEFAULT current_workspace()', t);
  END IF;
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
  EXECUTE format('CREATE POLICY tenant ON %s AS PERMISSIVE FOR ALL TO app_tenant'
                 ' USING (%I = (SELECT current_workspace())) WITH CHECK (%I = (SELECT current_workspace()))', t, key, key);
  PERFORM narrow_table(t, 'reseller', reseller);
  PERFORM narrow_table(t, 'customer', customer);
  EXECUTE format('GRANT %s ON %s TO app_tenant', tenant, t);
  IF kernel IS NOT NULL THEN
    EXECUTE format('CREATE POLICY kernel ON %s AS PERMISSIVE FOR ALL TO app_kernel USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT %s ON %s TO app_kernel', kernel, t);
  END IF;
END $$;

-- Lets the definer functions of `guildhall_keeper` use these verbs on a table, under the canonical policy: such a function sets
-- `app.workspace` from its argument first.
CREATE FUNCTION let_keeper(t regclass, verbs text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE POLICY keeper ON %s AS PERMISSIVE FOR ALL TO guildhall_keeper'
                 ' USING (workspace_id = (SELECT current_workspace())) WITH CHECK (workspace_id = (SELECT current_workspace()))', t);
  EXECUTE format('GRANT %s ON %s TO guildhall_keeper', verbs, t);
END $$;

-- Hands a definer function that touches tables under row-level security to `guildhall_keeper`: as its owner, who is bound by the force
-- and has no policy, it would change nothing and succeed. Grant EXECUTE first. The session's own role (the migrator) is a member of both.
CREATE FUNCTION hand_to_keeper(f regprocedure) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  GRANT CREATE ON SCHEMA guildhall TO guildhall_keeper;
  SET LOCAL ROLE NONE;
  EXECUTE format('ALTER FUNCTION %s OWNER TO guildhall_keeper', f);
  SET LOCAL ROLE guildhall_owner;
  REVOKE CREATE ON SCHEMA guildhall FROM guildhall_keeper;
END $$;

-- Metadata as lists are filtered by it: whether one jsonb contains another is not leakproof, so that under row-level security no index would
-- serve it. Each pair is therefore a row of its own, in a table that reaches as far as the things that carry it. `own`: resellers and
-- customers see those of their things. `kind` is the table of the thing, and the statistics know which tags which kind carries: else a tag
-- that all machines have would be expected of licences too, and a list of those that carry it be walked to its end.
CREATE FUNCTION make_metadata_table(t name, reach text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE %1$I (workspace_id uuid NOT NULL, kind text COLLATE "C" NOT NULL, thing_id uuid NOT NULL, %2$s'
                 ' key text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL,'
                 ' CONSTRAINT %1$s_pkey PRIMARY KEY (workspace_id, kind, thing_id, key))',
                 t, CASE reach WHEN 'own' THEN 'reseller_id uuid, customer_id uuid,' ELSE '' END);
  EXECUTE format('CREATE INDEX %1$s_value_idx ON %1$I (workspace_id, kind, key, value, thing_id)', t);
  EXECUTE format('CREATE STATISTICS %1$s_tags (mcv) ON kind, key, value FROM %1$I', t);
  EXECUTE format('ALTER STATISTICS %1$s_tags SET STATISTICS 500', t);
  PERFORM make_tenant_table(t::text::regclass, reseller => reach, customer => reach, without => '{UPDATE}');
END $$;

-- Writes the metadata of a thing there.
CREATE FUNCTION keep_metadata() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    EXECUTE format('DELETE FROM %I.%I WHERE workspace_id = $1 AND kind = $2 AND thing_id = $3', TG_TABLE_SCHEMA, TG_ARGV[0])
      USING OLD.workspace_id, TG_TABLE_NAME::text, OLD.id;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    EXECUTE format('INSERT INTO %1$I.%2$I SELECT (jsonb_populate_record(NULL::%1$I.%2$I, $1 || jsonb_build_object(''key'', key, ''value'', value))).*'
                   ' FROM jsonb_each_text($2)', TG_TABLE_SCHEMA, TG_ARGV[0])
      USING jsonb_build_object('workspace_id', NEW.workspace_id, 'kind', TG_TABLE_NAME, 'thing_id', NEW.id,
                               'reseller_id', to_jsonb(NEW) -> 'reseller_id',
                               'customer_id', CASE TG_TABLE_NAME WHEN 'customers' THEN to_jsonb(NEW.id) ELSE to_jsonb(NEW) -> 'customer_id' END),
            NEW.metadata;
  END IF;
  RETURN NULL;
END $$;

-- Lets a table of things keep its metadata in such a table, too.
CREATE FUNCTION keep_metadata_of(things regclass, t name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  holders text;
BEGIN
  SELECT string_agg(format('OR OLD.%1$s IS DISTINCT FROM NEW.%1$s', attname), ' ' ORDER BY attname) INTO holders FROM pg_attribute
   WHERE attrelid = things AND attname IN ('reseller_id', 'customer_id') AND NOT attisdropped;
  EXECUTE format('CREATE TRIGGER metadata_inserted AFTER INSERT ON %s FOR EACH ROW WHEN (NEW.metadata <> ''{}'')'
                 ' EXECUTE FUNCTION keep_metadata(%L)', things, t);
  EXECUTE format('CREATE TRIGGER metadata_updated AFTER UPDATE ON %s FOR EACH ROW WHEN (OLD.metadata <> NEW.metadata %s)'
                 ' EXECUTE FUNCTION keep_metadata(%L)', things, holders, t);
  EXECUTE format('CREATE TRIGGER metadata_deleted AFTER DELETE ON %s FOR EACH ROW WHEN (OLD.metadata <> ''{}'')'
                 ' EXECUTE FUNCTION keep_metadata(%L)', things, t);
END $$;

-- A table of class kernel: no row-level security, and the whole of it is `app_kernel`'s alone.
CREATE FUNCTION make_kernel_table(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_kernel', t);
END $$;

-- A table of class reference: tenants read it, kernel functions write it.
CREATE FUNCTION make_reference_table(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT ON %s TO app_tenant', t);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_kernel', t);
END $$;

-- The newest migration that ran here: tells a binary whether the schema is older or newer than itself.
CREATE FUNCTION schema_version() RETURNS text STABLE SECURITY DEFINER SET search_path = guildhall, pg_temp
  RETURN (SELECT max(version) FROM __diesel_schema_migrations);

GRANT EXECUTE ON FUNCTION schema_version() TO app_tenant, app_kernel;
GRANT EXECUTE ON FUNCTION current_workspace(), current_reseller(), current_customer(), current_actor_type(), current_actor_id(),
                          app_now(), uuid_at(timestamptz), bump_version()
  TO app_tenant, app_kernel, guildhall_keeper;
GRANT EXECUTE ON FUNCTION kek_of(bytea), is_rewrapped(bytea, bytea) TO app_tenant, app_kernel;
