//! What an access token says.

use serde::{Deserialize, Serialize};

use crate::kernel::id::{SessionId, UserId};

/// The claims of an access token (RFC 9068). No role and no permission: those are read for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: the base of this deployment.
    pub iss: String,
    /// For whom: the API of this deployment, and nobody else.
    pub aud: String,
    /// Whose it is.
    pub sub: UserId,
    /// When it ends; Unix seconds, like every instant here.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Before this it does not count.
    pub nbf: i64,
    /// Its own name.
    pub jti: String,
    /// The session that it belongs to.
    pub sid: SessionId,
    /// The generation of the refresh token that came with it.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// How the person proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// How surely: 1, with a second factor 2.
    pub aal: u8,
    /// When they last proved it.
    pub auth_time: i64,
    /// The OAuth client; the product's own frontends are `guildhall`.
    pub client_id: String,
    /// What the client may do; empty: everything that the person may.
    pub scope: String,
    /// Who really acts, if a member of the operator's staff does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
}

/// Who really acts (RFC 8693).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Their account.
    pub sub: UserId,
}
