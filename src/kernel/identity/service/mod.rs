//! The rules of identity.

mod founding;
mod keys;
mod letters;
mod lifecycle;
pub(in crate::kernel::identity) mod people;
pub(in crate::kernel::identity) mod recovery;
pub(in crate::kernel::identity) mod refresh;
pub(in crate::kernel::identity) mod registration;
pub(in crate::kernel::identity) mod sessions;
mod shelf;
pub(in crate::kernel::identity) mod sign_in;
mod signer;
pub(in crate::kernel::identity) mod throttles;
mod tokens;
mod verifier;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(in crate::kernel) use keys::Auditor;
pub use keys::Keys;
pub(in crate::kernel::identity) use sessions::place as place_of_refresh_key;
pub use signer::Signer;
pub(in crate::kernel::identity) use signer::place as place_of_signing_key;
pub use tokens::Issuer;
pub(in crate::kernel) use tokens::read as read_token;

use crate::kernel::{
    config::{Auth, Config},
    crypto::Keyring,
    db::Db,
    error::Result,
    http::cors::Origins,
    identity::model::{Claims, SessionRow},
    passwords::{Passwords, Policy},
    secret::Secret,
};

/// What identity works with. One per process.
pub struct Identity {
    pub(in crate::kernel::identity) db: Db,
    pub(in crate::kernel::identity) keys: Keys,
    pub(in crate::kernel::identity) desk: Arc<Desk>,
    pub(in crate::kernel::identity) passwords: Passwords,
    pub(in crate::kernel::identity) policy: Policy,
}

/// What the rules need beside the database: settings and the keys that seal.
pub struct Desk {
    pub(in crate::kernel::identity) auth: Auth,
    pub(in crate::kernel::identity) keyring: Arc<Keyring>,
    pub(in crate::kernel::identity) issuer: Issuer,
    /// The base of links in mails.
    pub(in crate::kernel::identity) public_url: String,
    /// Origins whose pages may send cookies.
    pub(in crate::kernel::identity) origins: Origins,
}

impl Identity {
    /// The identity of this deployment.
    pub fn new(config: &Config, db: Db, keys: Keys, keyring: Arc<Keyring>, origins: Origins) -> Identity {
        let public_url = config.server.public_url.trim_end_matches('/').to_owned();
        Identity {
            passwords: Passwords::new(db.gate().turns()),
            db,
            keys,
            policy: Policy {
                shortest: config.auth.password_min_length,
            },
            desk: Arc::new(Desk {
                auth: config.auth.clone(),
                keyring,
                issuer: Issuer::at(&public_url),
                origins,
                public_url,
            }),
        }
    }

    /// An access token of this generation of a session.
    ///
    /// # Errors
    /// No key is known.
    pub(in crate::kernel::identity) async fn access_token(
        &self,
        session: &SessionRow,
        generation: u32,
        now: DateTime<Utc>,
    ) -> Result<Secret<String>> {
        let signer = self.keys.active(super::model::Use::Access).await?;
        let now = now.timestamp();
        let claims = Claims {
            iss: self.desk.issuer.issuer.clone(),
            aud: self.desk.issuer.audience.clone(),
            sub: session.user_id,
            exp: now + i64::from(self.desk.auth.access_token_seconds),
            iat: now,
            nbf: now,
            jti: Uuid::new_v4().simple().to_string(),
            sid: session.id,
            generation,
            amr: session.amr.clone(),
            aal: session.aal.try_into().unwrap_or(1),
            auth_time: session.auth_time.timestamp(),
            client_id: "guildhall".into(),
            scope: String::new(),
            act: session.impersonator_id.map(|sub| super::model::Act { sub }),
        };
        tokens::write(&claims, &signer).map(Secret::new)
    }
}
