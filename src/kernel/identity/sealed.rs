//! The sealed columns of identity.

use uuid::Uuid;

use super::service::{place_of_refresh_key, place_of_signing_key};
use crate::{
    kernel::{
        id::SessionId,
        keks::Part,
        schema::{sessions, signing_keys},
    },
    sealed_column,
};

/// What the KEKs of identity wrap.
pub(in crate::kernel) const SEALED: [Part; 2] = [Part::of::<RefreshKeys>(), Part::of::<SigningKeys>()];

sealed_column!(
    RefreshKeys, kernel, sessions.refresh_key_sealed, (id: SessionId), (),
    |(id,), ()| place_of_refresh_key(*id)
);
sealed_column!(
    SigningKeys, kernel, signing_keys.private_sealed and kek_id, (kid: String), (workspace_id: Option<Uuid>),
    |(kid,), (workspace,)| place_of_signing_key(*workspace, kid)
);
