//! Keys that sign, and what others are told of them.

use anyhow::Context;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kernel::{crypto::Sealed, schema::signing_keys};

/// What a key signs. Keys of one use never serve another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Access tokens.
    Access,
    /// Checkpoints of the audit log.
    Audit,
    /// Webhook deliveries.
    Webhook,
    /// A workspace's licence files.
    License,
}

impl Use {
    /// The uses of the deployment itself; licence keys are each workspace's own.
    pub const OWN: [Use; 3] = [Use::Access, Use::Audit, Use::Webhook];

    /// As the database spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Use::Access => "access",
            Use::Audit => "audit",
            Use::Webhook => "webhook",
            Use::License => "license",
        }
    }

    /// What its new keys are made for. Access tokens are verified far more often than signed, and every library knows RS256.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Use::Access => Algorithm::Rs256,
            Use::Audit | Use::Webhook | Use::License => Algorithm::EdDsa,
        }
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2,048 bits.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// As JOSE spells it (RFC 7518, RFC 8037).
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name; no other is ever accepted.
    pub fn named(name: &str) -> Option<Algorithm> {
        [Algorithm::Rs256, Algorithm::EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// Where a key stands in its life. It moves forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Made, and shown to nobody.
    Staged,
    /// Shown, so that verifiers know it before it signs: the spare.
    Published,
    /// Signs.
    Active,
    /// Signs no more; what it signed is still valid.
    Retiring,
    /// Forgotten.
    Removed,
    /// Withdrawn at once: nothing that it signed is valid.
    Compromised,
}

impl KeyState {
    const ALL: [KeyState; 6] = [
        KeyState::Staged,
        KeyState::Published,
        KeyState::Active,
        KeyState::Retiring,
        KeyState::Removed,
        KeyState::Compromised,
    ];

    /// As the database spells it.
    pub const fn name(self) -> &'static str {
        match self {
            KeyState::Staged => "staged",
            KeyState::Published => "published",
            KeyState::Active => "active",
            KeyState::Retiring => "retiring",
            KeyState::Removed => "removed",
            KeyState::Compromised => "compromised",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<KeyState> {
        KeyState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether its signatures count, and verifiers are told of it.
    pub const fn is_public(self) -> bool {
        matches!(self, KeyState::Published | KeyState::Active | KeyState::Retiring)
    }
}

/// A signing key as it is stored.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
pub struct KeyRow {
    pub kid: String,
    pub workspace_id: Option<Uuid>,
    pub purpose: String,
    pub alg: String,
    pub public_jwk: Value,
    pub private_sealed: Sealed,
    pub kek_id: String,
    pub state: String,
    pub publish_at: Option<DateTime<Utc>>,
    pub activate_at: Option<DateTime<Utc>>,
    pub retire_at: Option<DateTime<Utc>>,
    pub remove_at: Option<DateTime<Utc>>,
}

/// What others were told of a key.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
pub struct KnownKey {
    pub kid: String,
    pub public_jwk: Value,
    pub state: String,
}

impl KnownKey {
    /// Whether nothing that it signed counts any more.
    pub fn is_withdrawn(&self) -> bool {
        self.state == KeyState::Compromised.name()
    }

    /// Its public half.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn jwk(&self) -> anyhow::Result<Jwk> {
        serde_json::from_value(self.public_jwk.clone()).context("a stored public key")
    }
}

/// A public key as verifiers read it (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "alg": "EdDSA", "use": "sig"}))]
pub struct Jwk {
    /// `RSA` or `OKP`.
    pub kty: String,
    /// What names the key in the head of a token: its thumbprint (RFC 7638).
    pub kid: String,
    /// The one algorithm that it is used with.
    pub alg: String,
    /// `sig`: it signs.
    #[serde(rename = "use")]
    pub purpose: String,
    /// The modulus of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub n: Option<String>,
    /// The exponent of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub e: Option<String>,
    /// The curve of an OKP key: `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub crv: Option<String>,
    /// An OKP key itself, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub x: Option<String>,
}

/// Public keys (RFC 7517): each verifies what names its `kid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "alg": "EdDSA", "use": "sig"}]}))]
pub struct Jwks {
    /// Whatever is signed now is signed by one of these.
    pub keys: Vec<Jwk>,
}

/// Where those find everything who verify access tokens themselves (RFC 8414, OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"issuer": "https://api.example.com", "jwks_uri": "https://api.example.com/.well-known/jwks.json",
                          "response_types_supported": [], "grant_types_supported": [], "subject_types_supported": ["public"],
                          "id_token_signing_alg_values_supported": ["RS256"]}))]
pub struct Discovery {
    /// What `iss` of every access token says.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// How an OAuth client may ask for a grant: none may yet.
    pub response_types_supported: Vec<String>,
    /// What an OAuth client may get tokens for: nothing yet.
    pub grant_types_supported: Vec<String>,
    /// A person has the same `sub` for everybody.
    pub subject_types_supported: Vec<String>,
    /// What signs.
    pub id_token_signing_alg_values_supported: Vec<String>,
}

impl Discovery {
    /// Of the issuer at this address, who signs with these keys.
    pub fn of(issuer: &str, keys: &Jwks) -> Discovery {
        let mut algorithms: Vec<String> = keys.keys.iter().map(|key| key.alg.clone()).collect();
        algorithms.sort();
        algorithms.dedup();
        Discovery {
            issuer: issuer.to_owned(),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            response_types_supported: Vec::new(),
            grant_types_supported: Vec::new(),
            subject_types_supported: vec!["public".into()],
            id_token_signing_alg_values_supported: algorithms,
        }
    }
}
