//! People and what is theirs (class kernel).

diesel::table! {
    use diesel::sql_types::*;
    use diesel::pg::sql_types::Citext;
    /// People, by proven address.
    users (id) {
        id -> Uuid,
        email -> Nullable<Citext>,
        email_verified_at -> Nullable<Timestamptz>,
        username -> Nullable<Text>,
        display_name -> Text,
        avatar_url -> Nullable<Text>,
        locale -> Text,
        time_zone -> Text,
        password_hash -> Nullable<Text>,
        password_changed_at -> Nullable<Timestamptz>,
        state -> Text,
        suspend_reason -> Nullable<Text>,
        epoch -> BigInt,
        terms_version -> Nullable<Text>,
        last_login_at -> Nullable<Timestamptz>,
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
    use diesel::pg::sql_types::Citext;
    /// Sign-ups that wait for proof of the address.
    pending_registrations (id) {
        id -> Uuid,
        email -> Citext,
        password_hash -> Text,
        profile -> Jsonb,
        mail_token_hash -> Binary,
        client_token_hash -> Binary,
        invitation_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Signed-in devices.
    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        client_id -> Nullable<Uuid>,
        aal -> SmallInt,
        amr -> Array<Text>,
        auth_time -> Timestamptz,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        device_label -> Nullable<Text>,
        remember -> Bool,
        not_after -> Timestamptz,
        idle_after -> Timestamptz,
        refresh_counter -> BigInt,
        refresh_rotated_at -> Timestamptz,
        recovered_from -> Nullable<BigInt>,
        refresh_key_sealed -> Nullable<Binary>,
        last_seen_gen -> BigInt,
        impersonator_id -> Nullable<Uuid>,
        revoked_at -> Nullable<Timestamptz>,
        revoke_reason -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Links and codes that work once.
    one_time_tokens (id) {
        id -> Uuid,
        kind -> Text,
        user_id -> Nullable<Uuid>,
        subject_hash -> Binary,
        token_hash -> Binary,
        code_mac -> Nullable<Binary>,
        attempts -> Integer,
        meta -> Jsonb,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        consumed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Guesses at credentials, counted.
    credential_throttles (bucket, key_hash) {
        bucket -> Text,
        key_hash -> Binary,
        failures -> Integer,
        since -> Timestamptz,
        last_at -> Timestamptz,
        blocked_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Devices that a person signed in from.
    user_devices (id) {
        id -> Uuid,
        user_id -> Uuid,
        token_hash -> Binary,
        label -> Nullable<Text>,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        trusted_until -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What happened to an account: its owner reads it.
    security_events (id) {
        id -> Uuid,
        user_id -> Uuid,
        kind -> Text,
        session_id -> Nullable<Uuid>,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        detail -> Jsonb,
        request_id -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a person likes.
    user_preferences (user_id) {
        user_id -> Uuid,
        theme -> Text,
        date_format -> Text,
        default_workspace_id -> Nullable<Uuid>,
        notifications -> Jsonb,
        app -> Jsonb,
        version -> BigInt,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a person should know.
    notifications (id) {
        id -> Uuid,
        user_id -> Uuid,
        workspace_id -> Nullable<Uuid>,
        topic -> Text,
        kind -> Text,
        data -> Jsonb,
        dedupe_key -> Text,
        created_at -> Timestamptz,
        read_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Answers kept for retries, outside of workspaces.
    user_idempotency_keys (user_id, route, key_hash) {
        user_id -> Uuid,
        route -> Text,
        key_hash -> Binary,
        fingerprint -> Binary,
        state -> Text,
        status -> Nullable<Integer>,
        headers -> Nullable<Jsonb>,
        body -> Nullable<Jsonb>,
        body_sealed -> Nullable<Binary>,
        resource_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}
