//! Where the keys of licences lead (class shared), and the peppers of fingerprints (class kernel).

diesel::table! {
    use diesel::sql_types::*;
    /// Which workspace a key belongs to.
    license_directory (workspace_id, ref_id) {
        workspace_id -> Uuid,
        key_hash -> Binary,
        kind -> Text,
        license_id -> Nullable<Uuid>,
        ref_id -> Uuid,
        product_id -> Uuid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What makes fingerprints a workspace's own.
    workspace_peppers (workspace_id) {
        workspace_id -> Uuid,
        pepper_sealed -> Binary,
        kek_id -> Text,
        created_at -> Timestamptz,
    }
}
