//! Workspaces and who is in them (class shared).

diesel::table! {
    use diesel::sql_types::*;
    /// The tenants.
    workspaces (id) {
        id -> Uuid,
        slug -> Text,
        name -> Text,
        kind -> Text,
        state -> Text,
        suspend_reason -> Nullable<Text>,
        region -> Text,
        external_ref -> Nullable<Text>,
        settings -> Jsonb,
        security -> Jsonb,
        seats_used -> Integer,
        seats_reserved -> Integer,
        billing_customer_id -> Nullable<Uuid>,
        delete_at -> Nullable<Timestamptz>,
        legal_hold -> Bool,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Names of workspaces: their own, and those that they gave up and that still lead to them.
    workspace_slugs (workspace_id, slug) {
        workspace_id -> Uuid,
        slug -> Text,
        until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Custom roles.
    roles (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        key -> Text,
        name -> Text,
        description -> Text,
        permissions -> Array<Text>,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use diesel::pg::sql_types::Citext;
    /// People as their workspaces know them.
    memberships (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        display_name -> Text,
        email -> Nullable<Citext>,
        avatar_url -> Nullable<Text>,
        role -> Text,
        custom_role_id -> Nullable<Uuid>,
        reseller_id -> Nullable<Uuid>,
        state -> Text,
        joined_at -> Timestamptz,
        last_active_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Domains that workspaces own.
    workspace_domains (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        domain -> Text,
        txt_token -> Text,
        state -> Text,
        auto_join_role -> Nullable<Text>,
        verified_at -> Nullable<Timestamptz>,
        checked_at -> Nullable<Timestamptz>,
        failing_since -> Nullable<Timestamptz>,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use diesel::pg::sql_types::Citext;
    /// Open doors for people.
    invitations (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        email -> Nullable<Citext>,
        role -> Text,
        custom_role_id -> Nullable<Uuid>,
        reseller_id -> Nullable<Uuid>,
        token_hash -> Binary,
        max_uses -> Integer,
        uses -> Integer,
        allowed_domains -> Array<Text>,
        message -> Nullable<Text>,
        state -> Text,
        sent_count -> Integer,
        last_sent_at -> Nullable<Timestamptz>,
        expires_at -> Timestamptz,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Machine identities.
    service_accounts (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        name -> Text,
        description -> Text,
        role -> Text,
        custom_role_id -> Nullable<Uuid>,
        state -> Text,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// API keys, by hash.
    api_keys (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        owner_type -> Text,
        owner_id -> Uuid,
        service_account_id -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        reseller_id -> Nullable<Uuid>,
        name -> Text,
        hash -> Binary,
        start -> Text,
        permissions -> Nullable<Array<Text>>,
        ip_allowlist -> Array<Text>,
        rate_per_minute -> Nullable<Integer>,
        api_version -> Text,
        expires_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
        last_used_ip -> Nullable<Text>,
        rotated_from -> Nullable<Uuid>,
        grace_until -> Nullable<Timestamptz>,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoke_reason -> Nullable<Text>,
    }
}
