//! The signing keys as a process knows them: read every minute, so that a request never waits for one.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use chrono::Duration as Span;
use jsonwebtoken::DecodingKey;
use moka::sync::Cache;
use uuid::Uuid;

use crate::kernel::{
    access::{Call, Class},
    crypto::Keyring,
    db::{Db, Kernel},
    error::Result,
    id::WorkspaceId,
    identity::{
        model::{Algorithm, Jwk, Jwks, KeyRow, KeyState, Use},
        queries,
        service::{
            lifecycle::{due, moved},
            signer::Signer,
        },
    },
};

/// How often the keys are read again. A withdrawn key is believed for no longer.
const FRESH: Duration = Duration::from_secs(60);
/// An unknown key is looked for at most this often: made-up ones must not cost a query each.
const PAUSE: Duration = Duration::from_secs(10);
/// How long verifiers may keep the list, beside a token's life and the leeway for clocks.
const SHOWN: i64 = 600 + 30;

/// The signing keys of this process. Copies share what is known.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    keyring: Arc<Keyring>,
    /// How long a retired key is still shown.
    keep: Span,
    shelf: RwLock<Arc<Shelf>>,
    read: tokio::sync::Mutex<Option<Instant>>,
    workspaces: Cache<(Uuid, Use), Arc<Signer>>,
}

/// What is known at one moment.
#[derive(Default)]
struct Shelf {
    verifiers: HashMap<String, Arc<Verifier>>,
    signers: HashMap<Use, Arc<Signer>>,
    jwks: Jwks,
}

/// A key that tells whether an access token is ours.
pub(in crate::kernel) struct Verifier {
    pub(in crate::kernel) algorithm: Algorithm,
    pub(in crate::kernel) key: DecodingKey,
}

impl Keys {
    /// The keys of this database. `token_seconds` is the life of an access token.
    pub fn new(db: Db, keyring: Arc<Keyring>, token_seconds: u32) -> Keys {
        let workspaces = Cache::builder().max_capacity(10_000).time_to_live(FRESH).build();
        Keys {
            inner: Arc::new(Inner {
                db,
                keyring,
                keep: Span::seconds(i64::from(token_seconds) + SHOWN),
                shelf: RwLock::default(),
                read: tokio::sync::Mutex::default(),
                workspaces,
            }),
        }
    }

    /// Makes the first key of each use where there is none, and reads all of them. Until this has worked, no token can be signed.
    ///
    /// # Errors
    /// The database is away, or a key is sealed under a KEK that this process was not given.
    pub async fn boot(&self) -> Result<()> {
        let keyring = self.inner.keyring.clone();
        self.inner
            .db
            .unscoped(&call("keys.boot"), move |tx| {
                for kek in queries::keys::keks(tx)? {
                    let known = || {
                        ensure!(
                            keyring.has(&kek),
                            "signing keys are sealed under the key-encryption key {kek:?}: add it to secrets.keks"
                        );
                        Ok(())
                    };
                    known()?;
                }
                for purpose in Use::OWN {
                    first(tx, purpose, &keyring)?;
                }
                Ok(())
            })
            .await?;
        self.reload().await
    }

    /// Reads the keys again and again, and moves on those whose time has come. Never returns.
    pub async fn keep(self) {
        loop {
            if let Err(error) = self.advance(None).await {
                tracing::warn!(%error, "the signing keys could not be looked after; another try in a minute");
            }
            tokio::time::sleep(FRESH).await;
            if let Err(error) = self.reload().await {
                tracing::warn!(%error, "the signing keys could not be read; the known ones stay in use");
            }
        }
    }

    /// Lets the spare of a use take over now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn rotate(&self, purpose: Use) -> Result<()> {
        self.advance(Some(purpose)).await
    }

    /// Withdraws a key at once, with everything that it signed. An active one's spare takes over.
    ///
    /// # Errors
    /// 404 if there is no such key; the database is away.
    pub async fn revoke(&self, kid: String) -> Result<()> {
        let keep = self.inner.keep;
        self.inner
            .db
            .unscoped(&call("keys.revoke"), move |tx| {
                queries::keys::lock(tx)?;
                let now = tx.now()?;
                let keys = queries::keys::own(tx)?;
                let key = keys
                    .iter()
                    .find(|key| key.kid == kid)
                    .ok_or(crate::kernel::error::NOT_FOUND)?;
                queries::keys::update(tx, &moved(key, KeyState::Compromised, now, keep))
            })
            .await?;
        self.advance(None).await?;
        self.reload().await
    }

    /// The key that signs for this use now.
    ///
    /// # Errors
    /// None is known: the process has not booted.
    pub(in crate::kernel) fn active(&self, purpose: Use) -> Result<Arc<Signer>> {
        let signer = self.shelf().signers.get(&purpose).cloned();
        Ok(signer.with_context(|| format!("no active {} key is known", purpose.name()))?)
    }

    /// Whether tokens can be signed: for readiness.
    pub fn is_ready(&self) -> bool {
        self.shelf().signers.contains_key(&Use::Access)
    }

    /// The key of that name, if it may verify access tokens. An unknown one is looked for in the database, at most every ten seconds.
    ///
    /// # Errors
    /// The database is away.
    pub(in crate::kernel) async fn verifier(&self, kid: &str) -> Result<Option<Arc<Verifier>>> {
        if let Some(known) = self.shelf().verifiers.get(kid) {
            return Ok(Some(known.clone()));
        }
        let mut read = self.inner.read.lock().await;
        if read.is_none_or(|instant| instant.elapsed() >= PAUSE) {
            *read = Some(Instant::now());
            self.read().await?;
        }
        Ok(self.shelf().verifiers.get(kid).cloned())
    }

    /// What verifiers of access tokens are told.
    pub fn jwks(&self) -> Jwks {
        self.shelf().jwks.clone()
    }

    /// A workspace's own key of this use, made when it is first wanted. Fetch it before a transaction begins.
    ///
    /// # Errors
    /// The database is away.
    pub async fn signer(&self, call: &Call, workspace: WorkspaceId, purpose: Use) -> Result<Arc<Signer>> {
        let name = (workspace.uuid(), purpose);
        if let Some(known) = self.inner.workspaces.get(&name) {
            return Ok(known);
        }
        let keyring = self.inner.keyring.clone();
        let call = Call {
            class: Class::Credential,
            read_only: false,
            ..call.clone()
        };
        let signer = self
            .inner
            .db
            .unscoped(&call, move |tx| {
                if let Some(active) = active_of(tx, name, &keyring)? {
                    return Ok(active);
                }
                let now = tx.now()?;
                let (_, row) = Signer::generate(Some(name.0), purpose, &keyring, now)?;
                queries::keys::insert(tx, &moved(&row, KeyState::Active, now, Span::zero()))?;
                // Another process may have been first: what is stored counts.
                Ok(active_of(tx, name, &keyring)?.context("a workspace's key was just stored")?)
            })
            .await?;
        let signer = Arc::new(signer);
        self.inner.workspaces.insert(name, signer.clone());
        Ok(signer)
    }

    /// The public halves of a workspace's keys of this use; those that were withdrawn are left out.
    ///
    /// # Errors
    /// The database is away.
    pub async fn jwks_of(&self, call: &Call, workspace: WorkspaceId, purpose: Use) -> Result<Jwks> {
        let call = Call {
            class: Class::Credential,
            ..call.clone()
        };
        let rows = self
            .inner
            .db
            .unscoped(&call, move |tx| {
                queries::keys::of_workspace(tx, workspace.uuid(), purpose)
            })
            .await?;
        Ok(public(&rows)?)
    }

    fn shelf(&self) -> Arc<Shelf> {
        self.inner.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn reload(&self) -> Result<()> {
        let mut read = self.inner.read.lock().await;
        *read = Some(Instant::now());
        self.read().await
    }

    async fn read(&self) -> Result<()> {
        let rows = self.inner.db.unscoped(&call("keys.read"), queries::keys::own).await?;
        let shelf = Arc::new(Shelf::of(&rows, &self.inner.keyring)?);
        *self.inner.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
        Ok(())
    }

    /// Moves on the keys whose time has come; those of `hasty` at once. One process at a time.
    async fn advance(&self, hasty: Option<Use>) -> Result<()> {
        let (keyring, keep) = (self.inner.keyring.clone(), self.inner.keep);
        let changed = self
            .inner
            .db
            .unscoped(&call("keys.advance"), move |tx| {
                let before = queries::keys::own(tx)?;
                let now = tx.now()?;
                let steps = |keys: &[KeyRow], purpose| due(keys, purpose, now, hasty == Some(purpose));
                if Use::OWN.iter().all(|purpose| steps(&before, *purpose).is_empty()) {
                    return Ok(false);
                }
                queries::keys::lock(tx)?;
                let keys = queries::keys::own(tx)?;
                for purpose in Use::OWN {
                    let steps = steps(&keys, purpose);
                    for (kid, state) in steps.changed {
                        let key = keys
                            .iter()
                            .find(|key| key.kid == kid)
                            .context("a step is about a known key")?;
                        queries::keys::update(tx, &moved(key, state, now, keep))?;
                    }
                    if steps.wants_spare {
                        let (_, spare) = Signer::generate(None, purpose, &keyring, now)?;
                        queries::keys::insert(tx, &spare)?;
                    }
                }
                Ok(true)
            })
            .await?;
        if changed { self.reload().await } else { Ok(()) }
    }
}

impl Shelf {
    fn of(rows: &[KeyRow], keyring: &Keyring) -> Result<Shelf> {
        let mut shelf = Shelf::default();
        let access: Vec<KeyRow> = rows
            .iter()
            .filter(|row| row.purpose == Use::Access.name())
            .cloned()
            .collect();
        shelf.jwks = public(&access)?;
        for jwk in &shelf.jwks.keys {
            shelf.verifiers.insert(jwk.kid.clone(), Arc::new(Verifier::of(jwk)?));
        }
        for purpose in Use::OWN {
            let active = rows
                .iter()
                .find(|row| row.purpose == purpose.name() && row.state == KeyState::Active.name());
            if let Some(row) = active {
                shelf.signers.insert(purpose, Arc::new(Signer::open(row, keyring)?));
            }
        }
        Ok(shelf)
    }
}

impl Verifier {
    /// The verifier of a public key.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub(in crate::kernel) fn of(jwk: &Jwk) -> anyhow::Result<Verifier> {
        let algorithm = Algorithm::named(&jwk.alg).context("a key of an unknown algorithm")?;
        let part = |part: &Option<String>| part.clone().context("a part of a public key is missing");
        let key = match algorithm {
            Algorithm::Rs256 => DecodingKey::from_rsa_components(&part(&jwk.n)?, &part(&jwk.e)?)?,
            Algorithm::EdDsa => DecodingKey::from_ed_components(&part(&jwk.x)?)?,
        };
        Ok(Verifier { algorithm, key })
    }
}

/// What verifiers are told of these keys.
fn public(rows: &[KeyRow]) -> anyhow::Result<Jwks> {
    let shown = rows
        .iter()
        .filter(|row| KeyState::named(&row.state).is_some_and(KeyState::is_public));
    let keys = shown.map(|row| serde_json::from_value(row.public_jwk.clone()).context("a stored public key"));
    Ok(Jwks {
        keys: keys.collect::<anyhow::Result<_>>()?,
    })
}

/// The first key of a use is born active: nobody could know an earlier one.
fn first(tx: &mut Kernel<'_>, purpose: Use, keyring: &Keyring) -> Result<()> {
    if queries::keys::has_active(tx, purpose)? {
        return Ok(());
    }
    queries::keys::lock(tx)?;
    if queries::keys::has_active(tx, purpose)? {
        return Ok(());
    }
    let now = tx.now()?;
    let (signer, row) = Signer::generate(None, purpose, keyring, now)?;
    tracing::info!(
        kid = signer.kid(),
        purpose = purpose.name(),
        "made the first signing key"
    );
    queries::keys::insert(tx, &moved(&row, KeyState::Active, now, Span::zero()))
}

fn active_of(tx: &mut Kernel<'_>, (workspace, purpose): (Uuid, Use), keyring: &Keyring) -> Result<Option<Signer>> {
    let rows = queries::keys::of_workspace(tx, workspace, purpose)?;
    let active = rows.iter().find(|row| row.state == KeyState::Active.name());
    active.map(|row| Signer::open(row, keyring)).transpose()
}

/// Nobody asked for it.
fn call(operation: &'static str) -> Call {
    Call {
        class: Class::Credential,
        ..Call::internal(operation, operation.into())
    }
}
