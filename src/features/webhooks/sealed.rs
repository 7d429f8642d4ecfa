//! The sealed columns of webhooks.

use uuid::Uuid;

use super::{
    model::EndpointId,
    service::endpoints::{headers_place, secret_place},
};
use crate::{
    features::schema::webhooks::{webhook_endpoints, webhook_secrets},
    kernel::{id::WorkspaceId, keks::Part},
    sealed_column,
};

/// What the KEKs of webhooks wrap.
pub const SEALED: [Part; 2] = [Part::of::<Headers>(), Part::of::<SigningSecrets>()];

sealed_column!(
    Headers, tenant, webhook_endpoints.headers_sealed, (id: EndpointId), (workspace_id: WorkspaceId),
    |(id,), (workspace,)| headers_place(*workspace, *id)
);
sealed_column!(
    SigningSecrets, tenant, webhook_secrets.secret_sealed, (endpoint_id: EndpointId, kid: Uuid), (workspace_id: WorkspaceId),
    |(_, kid), (workspace,)| secret_place(*workspace, *kid)
);
