//! Kernel and shared tables, as the migrations lay them out. Visible in the kernel alone: a feature reaches a shared table through a
//! kernel function that takes `&mut Tenant`, so no join crosses the floors. Tables of `(workspace_id, id)` are found by `id` here: row-level
//! security adds the workspace in a tenant transaction, and the kernel door names it.

mod inbox;
mod licensing;
mod people;
mod sign_in;
mod tenancy;
mod traces;

pub(in crate::kernel) use inbox::*;
pub(in crate::kernel) use licensing::*;
pub(in crate::kernel) use people::*;
pub(in crate::kernel) use sign_in::*;
pub(in crate::kernel) use tenancy::*;
pub(in crate::kernel) use traces::*;

diesel::joinable!(memberships -> workspaces (workspace_id));
diesel::joinable!(invitations -> workspaces (workspace_id));
diesel::joinable!(api_keys -> workspaces (workspace_id));
diesel::joinable!(workspace_plans -> workspaces (workspace_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(mfa_factors -> users (user_id));
diesel::joinable!(user_identities -> users (user_id));
diesel::joinable!(user_identities -> login_providers (provider_id));
diesel::joinable!(oauth_flows -> login_providers (provider_id));
diesel::joinable!(external_subjects -> external_issuers (issuer_id));
diesel::joinable!(webauthn_credentials -> mfa_factors (factor_id));

diesel::allow_tables_to_appear_in_same_query!(
    users,
    sessions,
    memberships,
    workspaces,
    workspace_plans,
    roles,
    service_accounts,
    api_keys,
    invitations,
    workspace_slugs,
    workspace_domains,
    user_preferences,
);
diesel::allow_tables_to_appear_in_same_query!(users, mfa_factors, recovery_codes, webauthn_credentials);
diesel::allow_tables_to_appear_in_same_query!(user_identities, login_providers, oauth_flows);
diesel::allow_tables_to_appear_in_same_query!(external_subjects, external_issuers, external_denied_sids);
diesel::allow_tables_to_appear_in_same_query!(audit_log, audit_personal, audit_pending, audit_seals, audit_checkpoints,);
diesel::allow_tables_to_appear_in_same_query!(outbox, outbox_queue, outbox_dead);
diesel::allow_tables_to_appear_in_same_query!(inbox_events, inbox_lanes, stripe_connections);
