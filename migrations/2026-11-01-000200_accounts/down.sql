DROP TABLE api_keys, service_accounts, invitations, workspace_domains, memberships, roles, workspace_slugs, workspaces;
DROP TABLE user_idempotency_keys, notifications, user_preferences, security_events, recovery_codes, webauthn_credentials, mfa_factors,
           external_denied_sids, external_subjects, external_issuers, user_identities, oauth_flows, login_providers, keks, signing_keys,
           user_devices, credential_throttles, one_time_tokens, sessions, pending_registrations, users;
