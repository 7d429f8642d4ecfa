-- The roles of the cluster. Those that exist are changed only where they differ: on a managed server the administrator may be allowed to
-- make roles, and not to touch every attribute of one.
DO $$
DECLARE
  wanted record;
  present pg_roles;
BEGIN
  FOR wanted IN
    SELECT * FROM (VALUES
      ('guildhall_owner',    false, false, false),   -- owns every object, nothing else
      ('guildhall_keeper',   false, false, false),   -- owns the definer functions that touch tables under row-level security
      ('guildhall_migrator', true,  true,  false),   -- becomes the owner; sees all rows when it backfills
      ('app_tenant',         true,  false, false),   -- inside a workspace
      ('app_kernel',         true,  false, false),   -- before one
      ('guildhall_auditor',  true,  true,  false),   -- reads everything, for hashes and counts of orphans
      ('guildhall_backup',   true,  true,  true),
      ('guildhall_monitor',  true,  false, false)
    ) AS r (name, login, bypass, replicate)
  LOOP
    SELECT * INTO present FROM pg_roles WHERE rolname = wanted.name;
    IF NOT FOUND THEN
      EXECUTE format('CREATE ROLE %I %s %s %s', wanted.name,
                     CASE WHEN wanted.login THEN 'LOGIN' ELSE 'NOLOGIN' END,
                     CASE WHEN wanted.bypass THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
                     CASE WHEN wanted.replicate THEN 'REPLICATION' ELSE 'NOREPLICATION' END);
    ELSE
      IF present.rolsuper THEN EXECUTE format('ALTER ROLE %I NOSUPERUSER', wanted.name); END IF;
      IF present.rolcreaterole THEN EXECUTE format('ALTER ROLE %I NOCREATEROLE', wanted.name); END IF;
      IF present.rolcreatedb THEN EXECUTE format('ALTER ROLE %I NOCREATEDB', wanted.name); END IF;
      IF present.rolcanlogin <> wanted.login THEN
        EXECUTE format('ALTER ROLE %I %s', wanted.name, CASE WHEN wanted.login THEN 'LOGIN' ELSE 'NOLOGIN' END);
      END IF;
      IF present.rolbypassrls <> wanted.bypass THEN
        EXECUTE format('ALTER ROLE %I %s', wanted.name, CASE WHEN wanted.bypass THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END);
      END IF;
      IF present.rolreplication <> wanted.replicate THEN
        EXECUTE format('ALTER ROLE %I %s', wanted.name, CASE WHEN wanted.replicate THEN 'REPLICATION' ELSE 'NOREPLICATION' END);
      END IF;
    END IF;
  END LOOP;
  -- An administrator who is no superuser makes things for the owner only as its member.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT guildhall_owner TO %I', current_user);
  END IF;
END $$;

GRANT guildhall_owner, guildhall_keeper TO guildhall_migrator;
GRANT pg_read_all_data TO guildhall_auditor, guildhall_backup;
GRANT pg_monitor TO guildhall_monitor;

-- A transaction narrows or widens the timeouts by its class. A statement that reads one row by itself cannot, and has those of app_tenant: the
-- narrowest there are. lc_messages is pinned because diesel shows an error's text, not its SQLSTATE.
ALTER ROLE app_tenant SET search_path = guildhall, public;
ALTER ROLE app_tenant SET statement_timeout = '1500ms';
ALTER ROLE app_tenant SET lock_timeout = '1s';
ALTER ROLE app_tenant SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE app_tenant SET lc_messages = 'C';
ALTER ROLE app_tenant SET timezone = 'UTC';

ALTER ROLE app_kernel SET search_path = guildhall, public;
ALTER ROLE app_kernel SET statement_timeout = '5s';
ALTER ROLE app_kernel SET lock_timeout = '2s';
ALTER ROLE app_kernel SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE app_kernel SET lc_messages = 'C';
ALTER ROLE app_kernel SET timezone = 'UTC';

ALTER ROLE guildhall_migrator SET search_path = guildhall, public;
ALTER ROLE guildhall_migrator SET lock_timeout = '2s';
ALTER ROLE guildhall_migrator SET row_security = off;
ALTER ROLE guildhall_migrator SET lc_messages = 'C';

ALTER ROLE guildhall_auditor SET search_path = guildhall, public;
ALTER ROLE guildhall_auditor SET default_transaction_read_only = on;
ALTER ROLE guildhall_backup SET row_security = off;
