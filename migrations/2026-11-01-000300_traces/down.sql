DROP FUNCTION audit_prune(uuid, timestamptz, integer);
DROP TABLE entitlement_counters, workspace_plans, idempotency_keys, mails, outbox_dead, outbox_queue, outbox,
           audit_checkpoints, audit_seals, audit_pending, audit_personal, audit_log;
DROP FUNCTION stray_rows(text);
DROP FUNCTION partitions_keep(text);
DROP FUNCTION guard_partition(regclass, regclass);
DROP TABLE partitioned_tables;
