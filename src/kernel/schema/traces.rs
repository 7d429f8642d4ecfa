//! What changes leave behind (class shared; `workspace_plans` is kernel).

diesel::table! {
    use diesel::sql_types::*;
    /// Who did what.
    audit_log (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        action -> Text,
        actor_type -> Text,
        actor_id -> Nullable<Uuid>,
        impersonator_id -> Nullable<Uuid>,
        subject_type -> Nullable<Text>,
        subject_prefix -> Nullable<Text>,
        subject_id -> Nullable<Uuid>,
        changes -> Jsonb,
        outcome -> Text,
        code -> Nullable<Text>,
        occurrences -> Integer,
        request_id -> Nullable<Text>,
        session_id -> Nullable<Uuid>,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        personal_hash -> Nullable<Binary>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What of an audit entry is about a person.
    audit_personal (workspace_id, entry_id) {
        workspace_id -> Uuid,
        entry_id -> Uuid,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        actor_email -> Nullable<Text>,
        salt -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Entries that the chain does not hold yet.
    audit_pending (workspace_id, entry_id) {
        workspace_id -> Uuid,
        entry_id -> Uuid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The chain.
    audit_seals (workspace_id, seq) {
        workspace_id -> Uuid,
        seq -> BigInt,
        entry_id -> Uuid,
        hash -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Its signed heads.
    audit_checkpoints (workspace_id, seq) {
        workspace_id -> Uuid,
        seq -> BigInt,
        hash -> Binary,
        kid -> Text,
        signature -> Binary,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Events.
    outbox (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        #[sql_name = "type"]
        kind -> Text,
        api_version -> Text,
        actor_type -> Text,
        actor_id -> Nullable<Uuid>,
        subject_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        traceparent -> Nullable<Text>,
        data -> Jsonb,
        previous -> Nullable<Jsonb>,
        thin -> Bool,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Events on their way.
    outbox_queue (workspace_id, event_id) {
        workspace_id -> Uuid,
        event_id -> Uuid,
        tries -> Integer,
        busy -> Integer,
        due_at -> Timestamptz,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Events that no consumer could take.
    outbox_dead (workspace_id, event_id, consumer) {
        workspace_id -> Uuid,
        event_id -> Uuid,
        consumer -> Text,
        error -> Text,
        tries -> Integer,
        died_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Mails on their way and sent.
    mails (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        template -> Text,
        locale -> Text,
        recipient -> Text,
        data_sealed -> Nullable<Binary>,
        state -> Text,
        dedupe_key -> Text,
        tries -> Integer,
        created_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Answers kept for retries.
    idempotency_keys (workspace_id, principal, route, key_hash) {
        workspace_id -> Uuid,
        principal -> Text,
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

diesel::table! {
    use diesel::sql_types::*;
    /// What each workspace may do and how much.
    workspace_plans (workspace_id) {
        workspace_id -> Uuid,
        plan -> Text,
        rank -> Integer,
        access -> Text,
        unpaid_since -> Nullable<Timestamptz>,
        entitlements -> Jsonb,
        sources -> Jsonb,
        seats -> Nullable<Integer>,
        source_version -> BigInt,
        valid_until -> Nullable<Timestamptz>,
        changed_version -> BigInt,
        told_version -> BigInt,
        told -> Nullable<Jsonb>,
        audit_days -> Nullable<BigInt>,
        audit_days_next -> Nullable<BigInt>,
        audit_days_turn_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// How much of it is used.
    entitlement_counters (workspace_id, code, period_key) {
        workspace_id -> Uuid,
        code -> Text,
        period_key -> Text,
        used -> BigInt,
    }
}
