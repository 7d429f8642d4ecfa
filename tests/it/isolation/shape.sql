-- The shape of every table, as the generator of probes needs it.
SELECT jsonb_agg(jsonb_build_object(
    'name', c.relname,
    'columns', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'required', a.attnotnull,
        'has_default', a.atthasdef AND a.attgenerated = '', 'generated', a.attgenerated <> '',
        'may_select', has_column_privilege('app_tenant', c.oid, a.attnum, 'SELECT'),
        'may_insert', has_column_privilege('app_tenant', c.oid, a.attnum, 'INSERT'),
        'may_update', has_column_privilege('app_tenant', c.oid, a.attnum, 'UPDATE')) ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'may_delete', has_table_privilege('app_tenant', c.oid, 'DELETE'),
    'primary_key', (SELECT coalesce(jsonb_agg(a.attname ORDER BY k.o), '[]') FROM pg_constraint x CROSS JOIN unnest(x.conkey) WITH ORDINALITY k(n, o)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.n WHERE x.conrelid = c.oid AND x.contype = 'p'),
    -- Of plain columns, and of every row: the others cannot be met on purpose without knowing what they are about.
    'unique_keys', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', i.relname, 'columns', (SELECT jsonb_agg(a.attname)
        FROM unnest(x.indkey::int2[]) n JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = n))), '[]')
      FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
      WHERE x.indrelid = c.oid AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL),
    'foreign_keys', (SELECT coalesce(jsonb_agg(jsonb_build_object('target', t.relname,
        'columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY x(n, o)
                     JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.n),
        'target_columns', (SELECT jsonb_agg(a.attname ORDER BY o) FROM unnest(k.confkey) WITH ORDINALITY x(n, o)
                     JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n))), '[]')
      FROM pg_constraint k JOIN pg_class t ON t.oid = k.confrelid WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0),
    'checks', (SELECT coalesce(jsonb_agg(jsonb_build_object('column', a.attname, 'definition', pg_get_constraintdef(k.oid))), '[]')
      FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
      WHERE k.conrelid = c.oid AND k.contype = 'c' AND cardinality(k.conkey) = 1))
  ORDER BY c.oid)
FROM pg_class c WHERE c.relnamespace = 'guildhall'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
