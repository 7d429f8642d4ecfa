-- Inside the database: our schema, and what PUBLIC must not have. What a template gives away stays given in its copies, so all of this is
-- part of the copy too.
CREATE SCHEMA IF NOT EXISTS guildhall AUTHORIZATION guildhall_owner;
REVOKE ALL ON SCHEMA public, guildhall FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
-- Global on purpose: the same per schema has no effect.
ALTER DEFAULT PRIVILEGES FOR ROLE guildhall_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Large objects know no row-level security: one workspace would read another's.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN
    SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$'
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$;
