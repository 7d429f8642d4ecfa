//! Tables of outgoing webhooks.

diesel::table! {
    use diesel::sql_types::*;
    /// Who wants which events.
    webhook_endpoints (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        external_id -> Nullable<Text>,
        url -> Text,
        description -> Text,
        events -> Array<Text>,
        filter -> Jsonb,
        payload -> Text,
        enabled -> Bool,
        disabled_reason -> Nullable<Text>,
        disabled_at -> Nullable<Timestamptz>,
        ordering -> Text,
        max_hold_seconds -> Integer,
        rate_per_s -> Integer,
        max_in_flight -> Integer,
        headers_sealed -> Nullable<Binary>,
        header_names -> Array<Text>,
        source -> Text,
        source_ref -> Nullable<Text>,
        events_hash -> Binary,
        filter_hash -> Binary,
        once -> Bool,
        expires_at -> Nullable<Timestamptz>,
        api_version -> Text,
        first_failure_at -> Nullable<Timestamptz>,
        last_failure_at -> Nullable<Timestamptz>,
        last_success_at -> Nullable<Timestamptz>,
        exhausted_in_row -> Integer,
        refused_in_row -> Integer,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What their deliveries are signed with.
    webhook_secrets (endpoint_id, kid) {
        workspace_id -> Uuid,
        endpoint_id -> Uuid,
        kid -> Uuid,
        reseller_id -> Nullable<Uuid>,
        secret_sealed -> Binary,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// One event for one endpoint.
    webhook_deliveries (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        endpoint_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        event_id -> Uuid,
        event_type -> Text,
        subject_id -> Nullable<Uuid>,
        state -> Text,
        test -> Bool,
        epoch -> BigInt,
        attempts -> Integer,
        attempts_total -> Integer,
        priority -> SmallInt,
        next_attempt_at -> Nullable<Timestamptz>,
        first_attempt_at -> Nullable<Timestamptz>,
        last_status -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// One request of a delivery and what came back.
    webhook_attempts (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        delivery_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        n -> Integer,
        started_at -> Timestamptz,
        duration_ms -> Integer,
        http_status -> Nullable<Integer>,
        error -> Nullable<Text>,
        request_headers -> Jsonb,
        response_headers -> Jsonb,
        response_body -> Nullable<Text>,
        ip -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What an endpoint's only sender knows.
    webhook_pumps (endpoint_id) {
        workspace_id -> Uuid,
        endpoint_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        epoch -> BigInt,
        tat -> Timestamptz,
        slow_until -> Nullable<Timestamptz>,
        breaker_until -> Nullable<Timestamptz>,
        breaker_step -> Integer,
        window_at -> Timestamptz,
        window_ok -> Integer,
        window_bad -> Integer,
        failed_in_row -> Integer,
        skip_until -> Nullable<Timestamptz>,
        recover_since -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    webhook_endpoints,
    webhook_secrets,
    webhook_deliveries,
    webhook_attempts,
    webhook_pumps,
);
