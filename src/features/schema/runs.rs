//! Agents, runs and their ledger (class tenant), as the migrations lay them out. A table of `(workspace_id, id)` is found by `id` here:
//! row-level security adds the workspace.

diesel::table! {
    use diesel::sql_types::*;
    /// What is executed, by the SHA-256 of its canonical text.
    run_plans (sha256) {
        sha256 -> Binary,
        ir -> Integer,
        body -> Jsonb,
        size -> Integer,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Agents: a draft, and what is known of its versions.
    agents (id) {
        id -> Uuid,
        name -> Text,
        slug -> Text,
        description -> Nullable<Text>,
        framework -> Text,
        config -> Jsonb,
        draft_sha256 -> Binary,
        draft_problems -> Jsonb,
        latest -> Nullable<Integer>,
        latest_sha256 -> Nullable<Binary>,
        state -> Text,
        metadata -> Jsonb,
        version -> BigInt,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Frozen agents.
    agent_versions (agent_id, number) {
        id -> Uuid,
        agent_id -> Uuid,
        number -> Integer,
        plan_sha256 -> Binary,
        framework -> Text,
        config -> Jsonb,
        config_sha256 -> Binary,
        input_schema -> Nullable<Jsonb>,
        output_schema -> Nullable<Jsonb>,
        note -> Nullable<Text>,
        retired_at -> Nullable<Timestamptz>,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Names for versions.
    agent_labels (agent_id, label) {
        agent_id -> Uuid,
        label -> Text,
        number -> Integer,
        previous -> Nullable<Integer>,
        protected -> Bool,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Runs of every kind.
    runs (id) {
        id -> Uuid,
        kind -> Text,
        plan_sha256 -> Nullable<Binary>,
        agent_id -> Nullable<Uuid>,
        agent_version -> Nullable<Integer>,
        framework -> Nullable<Text>,
        label -> Nullable<Text>,
        input -> Jsonb,
        output -> Nullable<Jsonb>,
        error -> Nullable<Jsonb>,
        tags -> Array<Text>,
        metadata -> Jsonb,
        trigger -> Text,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        subject -> Nullable<Text>,
        request_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        thread_id -> Nullable<Uuid>,
        parent_run_id -> Nullable<Uuid>,
        root_run_id -> Uuid,
        depth -> Integer,
        forked_from_run_id -> Nullable<Uuid>,
        forked_from_seq -> Nullable<Integer>,
        experiment_id -> Nullable<Uuid>,
        arm_id -> Nullable<Uuid>,
        project_id -> Nullable<Uuid>,
        schedule_id -> Nullable<Uuid>,
        trigger_id -> Nullable<Uuid>,
        status -> Text,
        wait_reason -> Nullable<Text>,
        tick -> Integer,
        open_steps -> Integer,
        progress -> Integer,
        priority -> Integer,
        concurrency_key -> Nullable<Text>,
        event_seq -> Integer,
        step_seq -> Integer,
        checkpoint_seq -> Integer,
        recoveries -> Integer,
        max_cost_micros -> Nullable<BigInt>,
        cost_micros -> BigInt,
        saved_cost_micros -> BigInt,
        usage -> Jsonb,
        timeout_seconds -> Integer,
        queue_timeout_seconds -> Integer,
        started_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
        active_ms -> BigInt,
        active_since -> Nullable<Timestamptz>,
        expires_at -> Timestamptz,
        cancel_requested_at -> Nullable<Timestamptz>,
        cancel_mode -> Nullable<Text>,
        payload_until -> Nullable<Timestamptz>,
        purged_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a run consists of.
    run_steps (id) {
        id -> Uuid,
        run_id -> Uuid,
        number -> Integer,
        node_id -> Text,
        path -> Text,
        parent_step_id -> Nullable<Uuid>,
        tick -> Integer,
        iteration -> Integer,
        item -> Integer,
        kind -> Text,
        effect -> Text,
        status -> Text,
        epoch -> BigInt,
        attempt -> Integer,
        max_attempts -> Integer,
        prior_attempts -> Jsonb,
        commit_token -> Nullable<Uuid>,
        behaviour -> Integer,
        progress -> Integer,
        input -> Nullable<Jsonb>,
        output -> Nullable<Jsonb>,
        error -> Nullable<Jsonb>,
        intent -> Nullable<Jsonb>,
        idem_key -> Nullable<Binary>,
        model -> Nullable<Text>,
        usage -> Jsonb,
        cost_micros -> BigInt,
        held_micros -> BigInt,
        held_usage -> Nullable<Jsonb>,
        reused_from -> Nullable<Uuid>,
        started_at -> Nullable<Timestamptz>,
        heartbeat_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What was said in a run.
    run_messages (run_id, scope, seq) {
        run_id -> Uuid,
        scope -> Text,
        seq -> Integer,
        role -> Text,
        content -> Jsonb,
        tool_calls -> Nullable<Jsonb>,
        step_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What happened in a run, in order.
    run_events (run_id, seq) {
        run_id -> Uuid,
        seq -> Integer,
        #[sql_name = "type"]
        kind -> Text,
        step_number -> Nullable<Integer>,
        data -> Jsonb,
        hash -> Nullable<Binary>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The state of a run after each tick.
    run_checkpoints (run_id, seq) {
        run_id -> Uuid,
        seq -> Integer,
        tick -> Integer,
        parent_seq -> Nullable<Integer>,
        kind -> Text,
        body -> Jsonb,
        next -> Array<Text>,
        reason -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a run noted.
    run_logs (run_id, seq) {
        run_id -> Uuid,
        seq -> Integer,
        step_id -> Nullable<Uuid>,
        level -> Text,
        message -> Text,
        details -> Nullable<Jsonb>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a run asks people.
    interrupts (id) {
        id -> Uuid,
        run_id -> Uuid,
        step_id -> Nullable<Uuid>,
        kind -> Text,
        prompt -> Text,
        schema -> Nullable<Jsonb>,
        choices -> Nullable<Jsonb>,
        assignees -> Jsonb,
        quorum -> Integer,
        forbid_self -> Bool,
        expires_at -> Nullable<Timestamptz>,
        on_expire -> Text,
        default_value -> Nullable<Jsonb>,
        status -> Text,
        decision -> Nullable<Text>,
        value -> Nullable<Jsonb>,
        decided_by -> Nullable<Uuid>,
        comment -> Nullable<Text>,
        link_epoch -> Integer,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The ledger of models and tools.
    usage_events (id) {
        id -> Uuid,
        run_id -> Nullable<Uuid>,
        step_id -> Nullable<Uuid>,
        epoch -> BigInt,
        call_no -> Integer,
        kind -> Text,
        provider -> Text,
        model -> Text,
        credential_id -> Nullable<Uuid>,
        agent_id -> Nullable<Uuid>,
        agent_version -> Nullable<Integer>,
        framework -> Nullable<Text>,
        experiment_id -> Nullable<Uuid>,
        arm_id -> Nullable<Uuid>,
        api_key_id -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        project_id -> Nullable<Uuid>,
        usage_details -> Jsonb,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        cost_micros -> BigInt,
        price_ids -> Array<Uuid>,
        unpriced -> Bool,
        estimated -> Bool,
        created_at -> Timestamptz,
    }
}

diesel::joinable!(agent_versions -> run_plans (plan_sha256));
diesel::joinable!(runs -> run_plans (plan_sha256));
diesel::joinable!(run_steps -> runs (run_id));
diesel::table! {
    /// A run's tags, each by itself.
    run_tags (run_id, tag) {
        run_id -> Uuid,
        tag -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The metadata of agents and runs, each pair by itself. Triggers write it.
    agent_metadata (kind, thing_id, key) {
        kind -> Text,
        thing_id -> Uuid,
        key -> Text,
        value -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    agents,
    agent_metadata,
    agent_versions,
    agent_labels,
    run_plans,
    runs,
    run_tags,
    run_steps
);
