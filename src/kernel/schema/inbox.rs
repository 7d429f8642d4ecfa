//! Events of payment providers and their connections (class shared), and the published plans (class reference).

diesel::table! {
    use diesel::sql_types::*;
    /// Stripe accounts of workspaces.
    stripe_connections (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        mode -> Text,
        account_id -> Nullable<Text>,
        key_sealed -> Nullable<Binary>,
        key_kind -> Nullable<Text>,
        key_last4 -> Nullable<Text>,
        webhook_secrets_sealed -> Array<Binary>,
        webhook_endpoint_id -> Nullable<Text>,
        api_version -> Nullable<Text>,
        state -> Text,
        automatic_tax -> Bool,
        receipts -> Text,
        last_event_at -> Nullable<Timestamptz>,
        last_reconciled_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Events as they came.
    inbox_events (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        connection_id -> Uuid,
        event_id -> Text,
        #[sql_name = "type"]
        kind -> Text,
        object_kind -> Nullable<Text>,
        object_id -> Nullable<Text>,
        lane -> Text,
        provider_created_at -> Nullable<Timestamptz>,
        api_version -> Nullable<Text>,
        payload -> Nullable<Binary>,
        payload_hash -> Binary,
        state -> Text,
        attempts -> Integer,
        put_off -> Integer,
        looking -> Bool,
        available_at -> Timestamptz,
        last_error -> Nullable<Text>,
        parked_on -> Nullable<Text>,
        received_at -> Timestamptz,
        done_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What one worker at a time looks at.
    inbox_lanes (workspace_id, connection_id, lane) {
        workspace_id -> Uuid,
        connection_id -> Uuid,
        lane -> Text,
        available_at -> Nullable<Timestamptz>,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        epoch -> BigInt,
        trouble -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The plans of workspaces, as they are published.
    billing_plans (code) {
        code -> Text,
        name -> Text,
        rank -> Integer,
        public -> Bool,
        trial_days -> Integer,
        seats -> Text,
        features -> Jsonb,
        entitlements -> Jsonb,
        prices -> Jsonb,
        archived -> Bool,
        published_at -> Timestamptz,
    }
}
