//! Stored answers that hold a secret.

use uuid::Uuid;

use crate::{
    kernel::{
        crypto::Aad,
        id::UserId,
        keks::Part,
        schema::{idempotency_keys, user_idempotency_keys},
    },
    sealed_column,
};

/// What the KEKs of stored answers wrap.
pub(in crate::kernel) const SEALED: [Part; 2] = [Part::of::<Answers>(), Part::of::<PersonalAnswers>()];

/// Where an answer of a workspace stands.
pub(super) fn place_in(workspace: Uuid, principal: &str, route: &str, key_hash: &[u8]) -> Aad {
    let row = [principal.as_bytes(), b"\0", route.as_bytes(), b"\0", key_hash].concat();
    Aad::new(Some(workspace), "idempotency_keys", "body_sealed", row)
}

/// Where an answer of a person stands.
pub(super) fn place_of(user: UserId, route: &str, key_hash: &[u8]) -> Aad {
    let row = [user.uuid().as_bytes(), route.as_bytes(), b"\0", key_hash].concat();
    Aad::new(None, "user_idempotency_keys", "body_sealed", row)
}

sealed_column!(
    Answers, tenant, idempotency_keys.body_sealed, (principal: String, route: String, key_hash: Vec<u8>), (workspace_id: Uuid),
    |(principal, route, key_hash), (workspace,)| place_in(*workspace, principal, route, key_hash)
);
sealed_column!(
    PersonalAnswers, kernel, user_idempotency_keys.body_sealed, (user_id: UserId, route: String, key_hash: Vec<u8>), (),
    |(user, route, key_hash), ()| place_of(*user, route, key_hash)
);
