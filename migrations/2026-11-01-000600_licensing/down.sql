DROP FUNCTION policy_follow(uuid, bigint, jsonb);
DROP FUNCTION license_glance(text[], bytea, uuid, uuid, bytea);
DROP FUNCTION enter(text[]);
DROP FUNCTION license_facts(bytea, uuid, uuid, bytea);
DROP TYPE license_facts;
DROP TABLE workspace_peppers, license_directory, machine_components, machines, license_renewals, license_counters, license_holds, license_keys,
  licenses, customers, allocations, resellers, policy_entitlements, entitlement_defs, policies, product_versions, products, customer_metadata,
  catalog_metadata;
DROP FUNCTION all_among(text[], text[]);
