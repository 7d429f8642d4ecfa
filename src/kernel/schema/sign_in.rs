//! How people and programs prove who they are (class kernel).

diesel::table! {
    use diesel::sql_types::*;
    /// Keys that sign tokens, checkpoints, webhooks and licences. Private halves are sealed.
    signing_keys (kid) {
        kid -> Text,
        workspace_id -> Nullable<Uuid>,
        #[sql_name = "use"]
        purpose -> Text,
        alg -> Text,
        public_jwk -> Jsonb,
        private_sealed -> Binary,
        kek_id -> Text,
        state -> Text,
        created_at -> Timestamptz,
        publish_at -> Nullable<Timestamptz>,
        activate_at -> Nullable<Timestamptz>,
        retire_at -> Nullable<Timestamptz>,
        remove_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The key-encryption keys under which something may be sealed.
    keks (id) {
        id -> Text,
        since -> Timestamptz,
        trial -> Nullable<Uuid>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Where people may sign in from.
    login_providers (id) {
        id -> Uuid,
        slug -> Text,
        kind -> Text,
        display_name -> Text,
        issuer -> Text,
        client_id -> Text,
        client_secret_sealed -> Nullable<Binary>,
        scopes -> Array<Text>,
        trusted_for_linking -> Bool,
        trust_amr -> Bool,
        workspace_id -> Nullable<Uuid>,
        state -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Sign-ins elsewhere that are under way.
    oauth_flows (id) {
        id -> Uuid,
        state_hash -> Binary,
        provider_id -> Uuid,
        intent -> Text,
        user_id -> Nullable<Uuid>,
        pkce_sealed -> Binary,
        nonce_hash -> Binary,
        browser_hash -> Binary,
        return_to -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use diesel::pg::sql_types::Citext;
    /// Accounts elsewhere, linked to people.
    user_identities (id) {
        id -> Uuid,
        user_id -> Uuid,
        provider_id -> Uuid,
        issuer -> Text,
        subject -> Text,
        email -> Nullable<Citext>,
        email_verified -> Bool,
        profile -> Jsonb,
        tokens_sealed -> Nullable<Binary>,
        scopes -> Array<Text>,
        created_at -> Timestamptz,
        last_login_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Issuers whose tokens are accepted.
    external_issuers (id) {
        id -> Uuid,
        slug -> Text,
        issuer -> Text,
        jwks_url -> Text,
        audiences -> Array<Text>,
        azp_allowed -> Array<Text>,
        claims -> Jsonb,
        provisioning -> Text,
        events_secret_sealed -> Nullable<Binary>,
        trusted_for_linking -> Bool,
        state -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Their subjects as people.
    external_subjects (issuer_id, subject) {
        issuer_id -> Uuid,
        subject -> Text,
        user_id -> Uuid,
        source_updated_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Their sessions that ended early.
    external_denied_sids (issuer_id, sid) {
        issuer_id -> Uuid,
        sid -> Text,
        until -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Second factors.
    mfa_factors (id) {
        id -> Uuid,
        user_id -> Uuid,
        kind -> Text,
        name -> Text,
        state -> Text,
        secret_sealed -> Nullable<Binary>,
        last_step -> BigInt,
        created_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Passkeys.
    webauthn_credentials (factor_id) {
        factor_id -> Uuid,
        credential_id -> Binary,
        public_key -> Binary,
        sign_count -> BigInt,
        backup_eligible -> Bool,
        backed_up -> Bool,
        transports -> Array<Text>,
        aaguid -> Nullable<Uuid>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Codes for when every factor is lost.
    recovery_codes (user_id, selector) {
        user_id -> Uuid,
        selector -> Text,
        hash -> Text,
        used_at -> Nullable<Timestamptz>,
    }
}
