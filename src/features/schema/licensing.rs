//! What a workspace sells, and who may run it (class tenant), as the migrations lay them out. A table of `(workspace_id, id)` is found by
//! `id` here: row-level security adds the workspace.

diesel::table! {
    use diesel::sql_types::*;
    /// What is sold.
    products (id) {
        id -> Uuid,
        code -> Text,
        name -> Text,
        url -> Nullable<Text>,
        version_scheme -> Text,
        environments -> Array<Text>,
        portal -> Jsonb,
        metadata -> Jsonb,
        archived_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Releases of products.
    product_versions (id) {
        id -> Uuid,
        product_id -> Uuid,
        label -> Text,
        released_at -> Timestamptz,
        checksums -> Array<Text>,
        yanked_at -> Nullable<Timestamptz>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The template of licences. The columns of rules that no service offers yet are left out: they have their defaults.
    policies (id) {
        id -> Uuid,
        product_id -> Uuid,
        code -> Text,
        name -> Text,
        rank -> Integer,
        metadata -> Jsonb,
        term_count -> Nullable<Integer>,
        term_unit -> Nullable<Text>,
        expiration_basis -> Text,
        expiration_strategy -> Text,
        grace_seconds -> Integer,
        renewal_basis -> Text,
        suspended_time -> Text,
        trial -> Bool,
        strict -> Bool,
        floating -> Bool,
        protected -> Bool,
        max_machines -> Nullable<Integer>,
        max_cores -> Nullable<Integer>,
        max_memory_mb -> Nullable<Integer>,
        max_disk_mb -> Nullable<Integer>,
        overage_strategy -> Text,
        machine_uniqueness -> Text,
        heartbeat -> Text,
        heartbeat_ttl_seconds -> Integer,
        heartbeat_basis -> Text,
        heartbeat_cull -> Text,
        heartbeat_resurrection -> Text,
        require_scopes -> Array<Text>,
        authentication_strategy -> Text,
        client_may -> Array<Text>,
        validation_ttl_seconds -> Integer,
        offline_grace_seconds -> Integer,
        expiring_days -> Integer,
        entitlements_changed_at -> Nullable<Timestamptz>,
        archived_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a licence can entitle to.
    entitlement_defs (id) {
        id -> Uuid,
        code -> Text,
        name -> Text,
        kind -> Text,
        value_type -> Text,
        options -> Array<Text>,
        unit -> Nullable<Text>,
        aggregation -> Nullable<Text>,
        metadata -> Jsonb,
        archived_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What a policy entitles to.
    policy_entitlements (policy_id, code) {
        policy_id -> Uuid,
        code -> Text,
        value -> Nullable<Jsonb>,
        ceiling -> Nullable<BigInt>,
        period -> Text,
        soft -> Bool,
        rollover_min -> Nullable<BigInt>,
        rollover_max -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Who else sells.
    resellers (id) {
        id -> Uuid,
        code -> Text,
        name -> Text,
        state -> Text,
        suspension_mode -> Text,
        parent_id -> Nullable<Uuid>,
        contact -> Jsonb,
        branding -> Jsonb,
        settlement -> Text,
        max_members -> Integer,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What resellers may issue.
    allocations (id) {
        id -> Uuid,
        reseller_id -> Uuid,
        policy_id -> Uuid,
        granted -> BigInt,
        issued -> BigInt,
        delegated -> BigInt,
        unit_price -> Nullable<Jsonb>,
        valid_until -> Nullable<Timestamptz>,
        narrowing -> Jsonb,
        refund_window_days -> Integer,
        state -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Who buys.
    customers (id) {
        id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        email -> Nullable<Text>,
        email_key -> Nullable<Text>,
        name -> Nullable<Text>,
        company -> Nullable<Text>,
        external_id -> Nullable<Text>,
        locale -> Text,
        metadata -> Jsonb,
        banned_at -> Nullable<Timestamptz>,
        erased_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Licences.
    licenses (id) {
        id -> Uuid,
        product_id -> Uuid,
        policy_id -> Uuid,
        customer_id -> Nullable<Uuid>,
        reseller_id -> Nullable<Uuid>,
        allocation_id -> Nullable<Uuid>,
        name -> Nullable<Text>,
        state -> Text,
        terms -> Jsonb,
        terms_version -> BigInt,
        overrides -> Jsonb,
        starts_at -> Nullable<Timestamptz>,
        started_at -> Nullable<Timestamptz>,
        term_anchor -> Nullable<Timestamptz>,
        term_ends_at -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
        maintenance_ends_at -> Nullable<Timestamptz>,
        check_in_due_at -> Nullable<Timestamptz>,
        last_validated_at -> Nullable<Timestamptz>,
        last_check_in_at -> Nullable<Timestamptz>,
        activated_at -> Nullable<Timestamptz>,
        suspended_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        touched_at -> Nullable<Timestamptz>,
        issued_via -> Text,
        source_ref -> Nullable<Text>,
        public_metadata -> Jsonb,
        metadata -> Jsonb,
        external_id -> Nullable<Text>,
        version -> BigInt,
        created_by_type -> Text,
        created_by_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Keys, by their hash.
    license_keys (id) {
        id -> Uuid,
        license_id -> Uuid,
        product_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        key_hash -> Binary,
        start -> Text,
        format -> Text,
        kid -> Nullable<Text>,
        vault_sealed -> Nullable<Binary>,
        state -> Text,
        ends_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Why licences are suspended.
    license_holds (license_id, reason, ref_) {
        license_id -> Uuid,
        reason -> Text,
        #[sql_name = "ref"]
        ref_ -> Text,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        note -> Nullable<Text>,
        placed_at -> Timestamptz,
        placed_by_type -> Text,
        placed_by_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What is used of limits.
    license_counters (license_id, holder) {
        license_id -> Uuid,
        holder -> Uuid,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        machines -> Integer,
        machines_max -> Nullable<Integer>,
        cores -> BigInt,
        cores_max -> Nullable<BigInt>,
        memory_mb -> BigInt,
        memory_mb_max -> Nullable<BigInt>,
        disk_mb -> BigInt,
        disk_mb_max -> Nullable<BigInt>,
        processes -> Integer,
        processes_max -> Nullable<Integer>,
        users -> Integer,
        users_max -> Nullable<Integer>,
        leases -> Integer,
        leases_max -> Nullable<Integer>,
        over_limit -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Renewals, each once.
    license_renewals (license_id, ref_) {
        license_id -> Uuid,
        #[sql_name = "ref"]
        ref_ -> Text,
        kind -> Text,
        until -> Nullable<Timestamptz>,
        periods -> Nullable<Integer>,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        reversed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Where licences run.
    machines (id) {
        id -> Uuid,
        license_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        fingerprint_hash -> Binary,
        fingerprint_start -> Text,
        uniqueness_scope -> Uuid,
        external_id -> Nullable<Text>,
        name -> Nullable<Text>,
        hostname -> Nullable<Text>,
        platform -> Nullable<Text>,
        cores -> Nullable<Integer>,
        memory_mb -> Nullable<Integer>,
        disk_mb -> Nullable<Integer>,
        ip_truncated -> Nullable<Text>,
        public_key -> Nullable<Binary>,
        state -> Text,
        generation -> Integer,
        heartbeat_due_at -> Nullable<Timestamptz>,
        died_at -> Nullable<Timestamptz>,
        deactivated_at -> Nullable<Timestamptz>,
        metadata -> Jsonb,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What machines are made of.
    machine_components (id) {
        id -> Uuid,
        machine_id -> Uuid,
        license_id -> Uuid,
        reseller_id -> Nullable<Uuid>,
        customer_id -> Nullable<Uuid>,
        name -> Text,
        fingerprint_hash -> Binary,
        uniqueness_scope -> Uuid,
        adopted_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The metadata of what is sold, each pair by itself. Triggers write it.
    catalog_metadata (kind, thing_id, key) {
        kind -> Text,
        thing_id -> Uuid,
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// The metadata of customers and of what they hold.
    customer_metadata (kind, thing_id, key) {
        kind -> Text,
        thing_id -> Uuid,
        key -> Text,
        value -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    catalog_metadata,
    customer_metadata,
    entitlement_defs,
    licenses,
    license_keys,
    license_holds,
    license_counters,
    machines,
    policies,
    products,
    customers
);
