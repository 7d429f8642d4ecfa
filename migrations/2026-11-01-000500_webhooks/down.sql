DELETE FROM partitioned_tables WHERE name IN ('webhook_deliveries', 'webhook_attempts');
DROP TABLE webhook_pumps, webhook_attempts, webhook_deliveries, webhook_secrets, webhook_endpoints;
