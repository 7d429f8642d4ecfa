-- Runs statements as whoever calls, each for itself and taken back at once, and says what came of each: rows, or an SQLSTATE.
CREATE SCHEMA probe;
GRANT USAGE ON SCHEMA probe TO app_tenant, app_kernel;
CREATE FUNCTION probe.run(statements text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  statement text;
  outcomes text[] := '{}';
  touched bigint;
BEGIN
  FOREACH statement IN ARRAY statements LOOP
    BEGIN
      EXECUTE statement;
      GET DIAGNOSTICS touched = ROW_COUNT;
      RAISE EXCEPTION USING ERRCODE = 'PROBE', MESSAGE = touched::text;
    EXCEPTION WHEN OTHERS THEN
      outcomes := outcomes || CASE SQLSTATE WHEN 'PROBE' THEN SQLERRM ELSE SQLSTATE END;
    END;
  END LOOP;
  RETURN outcomes;
END $$;
GRANT EXECUTE ON FUNCTION probe.run(text[]) TO app_tenant, app_kernel;
