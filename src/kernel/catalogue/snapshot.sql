-- Everything that the rules look at, as one document. `ours` are the schemas that PostgreSQL did not bring.
(WITH ours AS (
  SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace n
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), of_extensions AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), roots AS (
  -- A partition's own keys and indexes are judged as its table's.
  SELECT c.oid, coalesce(p.relname, c.relname) AS name
    FROM pg_class c LEFT JOIN (pg_inherits h JOIN pg_class p ON p.oid = h.inhparent) ON h.inhrelid = c.oid
   WHERE c.relkind IN ('r', 'p', 'm')
), acls AS MATERIALIZED (
  SELECT c.oid AS relation, a.grantee, a.privilege_type AS verb, NULL::text AS col
    FROM pg_class c JOIN ours ON ours.oid = c.relnamespace, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
  UNION ALL
  SELECT c.oid, a.grantee, a.privilege_type, att.attname
    FROM pg_class c JOIN ours ON ours.oid = c.relnamespace JOIN pg_attribute att ON att.attrelid = c.oid AND att.attacl IS NOT NULL,
         aclexplode(att.attacl) a WHERE a.grantee <> c.relowner
)
SELECT jsonb_build_object(
  'version', current_setting('server_version_num')::int,
  'database', (SELECT jsonb_build_object('name', d.datname, 'owner', pg_get_userbyid(d.datdba), 'public_rights', (
      SELECT coalesce(jsonb_agg(a.privilege_type), '[]') FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0),
      'rights', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', pg_get_userbyid(a.grantee), 'right', a.privilege_type)), '[]')
        FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee NOT IN (0, d.datdba)))
    FROM pg_database d WHERE d.datname = current_database()),
  'roles', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', r.rolname, 'login', r.rolcanlogin, 'superuser', r.rolsuper,
      'bypasses', r.rolbypassrls, 'makes_roles', r.rolcreaterole, 'makes_databases', r.rolcreatedb, 'replicates', r.rolreplication,
      'member_of', (SELECT coalesce(jsonb_agg(g.rolname), '[]') FROM pg_roles g
                     WHERE g.oid <> r.oid AND NOT r.rolsuper AND pg_has_role(r.oid, g.oid, 'MEMBER')),
      'owns', (SELECT coalesce(jsonb_agg(pg_describe_object(s.classid, s.objid, s.objsubid)), '[]') FROM pg_shdepend s
                WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'
                  AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                  AND NOT (s.classid = 'pg_database'::regclass)))), '[]')
    FROM pg_roles r WHERE r.rolname IN ('guildhall_owner', 'guildhall_keeper', 'guildhall_migrator', 'app_tenant', 'app_kernel',
                                        'guildhall_auditor', 'guildhall_backup', 'guildhall_monitor')),
  'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', r.rolname, 'here', s.setdatabase <> 0, 'setting', setting)), '[]')
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) setting
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
  'parameters', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('name', p.parname, 'right', a.privilege_type,
      'role', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END)), '[]')
    FROM pg_parameter_acl p LEFT JOIN pg_settings s ON s.name = p.parname, aclexplode(p.paracl) a
    WHERE a.grantee <> 10 AND (a.privilege_type <> 'SET' OR s.context IS DISTINCT FROM 'user')),
  'schemas', (SELECT jsonb_agg(jsonb_build_object('name', nspname, 'owner', pg_get_userbyid(nspowner), 'rights', (
      SELECT coalesce(jsonb_agg(jsonb_build_object('role', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
                                                   'right', a.privilege_type)), '[]')
        FROM aclexplode(nspacl) a WHERE a.grantee <> nspowner))) FROM ours),
  'relations', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'name', c.relname, 'schema', ours.nspname, 'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner),
      'secured', c.relrowsecurity, 'forced', c.relforcerowsecurity, 'options', coalesce(c.reloptions, '{}'),
      'parent', (SELECT p.relname FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent WHERE h.inhrelid = c.oid),
      'columns', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'required', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum), '[]')
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
      'grants', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END,
          'verb', g.verb, 'column', g.col)), '[]') FROM acls g WHERE g.relation = c.oid),
      'policies', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
          'roles', (SELECT jsonb_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END) FROM unnest(p.polroles) r),
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))), '[]')
        FROM pg_policy p WHERE p.polrelid = c.oid))), '[]')
    FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM of_extensions e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)),
  'foreign_keys', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', k.conname, 'table', f.name, 'target', t.name,
      'columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY x(n, o)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.n),
      'target_columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.confkey) WITH ORDINALITY x(n, o)
                   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n),
      'on_delete', k.confdeltype, 'on_update', k.confupdtype, 'validated', k.convalidated,
      'set_columns', (SELECT coalesce(jsonb_agg(a.attname), '[]') FROM unnest(k.confdelsetcols) n
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n))), '[]')
    FROM pg_constraint k JOIN ours ON ours.oid = k.connamespace JOIN roots f ON f.oid = k.conrelid JOIN roots t ON t.oid = k.confrelid
    WHERE k.contype = 'f' AND k.conparentid = 0),
  'indexes', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', i.relname, 'table', roots.name,
      'unique', x.indisunique OR x.indisexclusion, 'valid', x.indisvalid,
      'columns', (SELECT jsonb_agg(pg_get_indexdef(x.indexrelid, n, false) ORDER BY n) FROM generate_series(1, x.indnkeyatts) n))), '[]')
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN ours ON ours.oid = i.relnamespace JOIN roots ON roots.oid = x.indrelid
    WHERE NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = x.indexrelid)),
  -- An index of a constraint is told with it, a partition's part of its table's with the table. NOT NULL is a column's.
  'definitions', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'table', c.relname,
      'definition', regexp_replace(d.definition, '\s+', ' ', 'g'))), '[]')
    FROM (SELECT k.conrelid, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
           WHERE k.contype IN ('p', 'u', 'x', 'f', 'c') AND k.conparentid = 0 AND k.conislocal
          UNION ALL
          SELECT x.indrelid, i.relname, u.word || regexp_replace(
                   substr(pg_get_indexdef(x.indexrelid), length('CREATE ' || u.word || quote_ident(i.relname) || ' ON ') + 1), '^(ONLY )?\S+ ', '')
            FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid, LATERAL (SELECT CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ') u (word)
           WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
             AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.oid)) d (relation, name, definition)
    JOIN pg_class c ON c.oid = d.relation JOIN ours ON ours.oid = c.relnamespace),
  'silenced', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('name', k.conname, 'table', c.relname)), '[]')
    FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint JOIN pg_class c ON c.oid = t.tgrelid
    JOIN ours ON ours.oid = c.relnamespace WHERE t.tgisinternal AND t.tgenabled NOT IN ('O', 'A')),
  'functions', (SELECT coalesce(jsonb_agg(jsonb_build_object('signature', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
      'name', p.proname, 'schema', ours.nspname, 'owner', pg_get_userbyid(p.proowner), 'definer', p.prosecdef, 'language', l.lanname,
      'settings', coalesce(p.proconfig, '{}'), 'body', CASE WHEN p.proname ~ '^current_(workspace|reseller|customer)$' THEN pg_get_function_sqlbody(p.oid) END,
      'is_trigger', p.prorettype = 'trigger'::regtype,
      'of_extension', EXISTS (SELECT FROM of_extensions e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid),
      'execute', (SELECT coalesce(jsonb_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END), '[]')
        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner))), '[]')
    FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    -- An extension's function is looked at only where everybody may run it.
    WHERE NOT EXISTS (SELECT FROM of_extensions e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
       OR EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)),
  'triggers', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', t.tgname, 'table', c.relname, 'definition', pg_get_triggerdef(t.oid),
      'enabled', t.tgenabled)), '[]')
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN ours ON ours.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0),
  'rules', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', w.rulename, 'table', c.relname)), '[]')
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN ours ON ours.oid = c.relnamespace
    WHERE NOT (w.rulename = '_RETURN' AND c.relkind IN ('v', 'm'))),
  'event_triggers', (SELECT coalesce(jsonb_agg(evtname), '[]') FROM pg_event_trigger),
  'extensions', (SELECT coalesce(jsonb_agg(extname), '[]') FROM pg_extension),
  'untrusted_languages', (SELECT coalesce(jsonb_agg(lanname), '[]') FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c')),
  'large_objects', (SELECT count(*) FROM pg_largeobject_metadata),
  'large_object_functions', (SELECT coalesce(jsonb_agg(p.oid::regprocedure::text), '[]')
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$'
      AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) IN ('app_tenant', 'app_kernel'))),
  'functions_closed_by_default', EXISTS (SELECT FROM pg_default_acl d
    WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = 'guildhall_owner') AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
      AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)),
  'default_grants', (SELECT coalesce(jsonb_agg(pg_get_userbyid(d.defaclrole) || ' gives ' || a.privilege_type || ' to ' ||
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END), '[]')
    FROM pg_default_acl d, aclexplode(d.defaclacl) a
    WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) IN ('app_tenant', 'app_kernel', 'guildhall_keeper'))
))
