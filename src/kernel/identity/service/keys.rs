//! The signing keys as a process knows them: read when they change and every minute, so that a request never waits for one.

mod by_hand;
mod keeping;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration as Span;
use moka::sync::Cache;
use uuid::Uuid;

use crate::kernel::{
    access::{Call, Class},
    crypto::Keyring,
    db::{Db, Kernel},
    error::{DATABASE_UNAVAILABLE, Error, Result},
    id::WorkspaceId,
    identity::{
        model::{Jwks, KeyRow, KeyState, KnownKey, Use},
        queries,
        service::{
            lifecycle::{due, moved},
            shelf::{Shelf, public},
            signer::Signer,
            verifier::Verifier,
        },
    },
    keks,
};

/// How often the keys are read again, whatever happened to them.
const FRESH: Duration = Duration::from_secs(60);
/// An unknown key is looked for at most this often: made-up ones must not cost a query each.
const PAUSE: Duration = Duration::from_secs(10);
/// … and so soon after a look that failed. Until then nobody knows whether it is there.
const RETRY: Duration = Duration::from_secs(1);
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
    read: tokio::sync::Mutex<Option<Look>>,
    booting: tokio::sync::Mutex<()>,
    workspaces: Cache<(Uuid, Use), Arc<Signer>>,
}

/// A key that signed heads of audit chains.
pub(in crate::kernel) struct Auditor {
    /// Its public half.
    pub(in crate::kernel) half: [u8; 32],
    /// Nothing that it signed counts any more.
    pub(in crate::kernel) withdrawn: bool,
}

/// The last look at the keys in the database.
struct Look {
    at: Instant,
    worked: bool,
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
                booting: tokio::sync::Mutex::default(),
                workspaces,
            }),
        }
    }

    /// Enters the KEK that this process seals with, makes the first key of each use where there is none, and reads all of them. Until this has
    /// worked, no token can be signed.
    ///
    /// # Errors
    /// The database is away; something is sealed under a KEK that this process was not given ([`keks::Missing`]).
    pub async fn boot(&self) -> Result<()> {
        let (db, keyring) = (&self.inner.db, self.inner.keyring.clone());
        let lacking = db
            .unscoped(&call("keys.boot"), move |tx| {
                keks::enter(tx, &keyring)?;
                let uses = Use::OWN.into_iter();
                let lacking = uses.map(|purpose| Ok((!queries::keys::has_active(tx, purpose)?).then_some(purpose)));
                Ok(lacking
                    .collect::<Result<Vec<_>>>()?
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>())
            })
            .await?;
        if !lacking.is_empty() {
            let made = self.make(None, lacking).await?;
            db.unscoped(&call("keys.boot"), move |tx| {
                queries::keys::lock(tx)?;
                let now = tx.now()?;
                for (purpose, row) in made {
                    if !queries::keys::has_active(tx, purpose)? {
                        tracing::info!(kid = row.kid, purpose = purpose.name(), "the first signing key");
                        // Nobody could know an earlier one.
                        queries::keys::insert(tx, &moved(&row, KeyState::Active, now, Span::zero()))?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        self.reload().await
    }

    /// Makes keys, which takes a while: on a thread of its own, and in no transaction.
    async fn make(&self, workspace: Option<Uuid>, purposes: Vec<Use>) -> Result<Vec<(Use, KeyRow)>> {
        let (keyring, now) = (self.inner.keyring.clone(), self.inner.db.clock().now());
        let made = tokio::task::spawn_blocking(move || {
            let one = |purpose| Ok((purpose, Signer::generate(workspace, purpose, &keyring, now)?.1));
            purposes.into_iter().map(one).collect()
        });
        made.await.context("making keys stopped")?
    }

    /// The key that signs for this use now.
    ///
    /// # Errors
    /// As [`Keys::ready`].
    pub(in crate::kernel) async fn active(&self, purpose: Use) -> Result<Arc<Signer>> {
        self.ready().await?;
        let signer = self.shelf().signers.get(&purpose).cloned();
        Ok(signer.with_context(|| format!("no active {} key is known", purpose.name()))?)
    }

    /// Boots, if that has not worked yet: a database that was away at first is asked again.
    ///
    /// # Errors
    /// As [`Keys::boot`].
    pub async fn ready(&self) -> Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        let _alone = self.inner.booting.lock().await;
        if self.is_ready() { Ok(()) } else { self.boot().await }
    }

    /// Waits until tokens can be signed, however long the database is away.
    ///
    /// # Errors
    /// What waiting does not mend: a key that cannot be opened.
    pub async fn wait(&self) -> Result<()> {
        loop {
            match self.ready().await {
                Err(Error::Refused(problem)) => {
                    tracing::warn!(code = problem.kind().code, "the signing keys cannot be read yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                settled => return settled,
            }
        }
    }

    /// Whether tokens can be signed.
    pub fn is_ready(&self) -> bool {
        self.shelf().signers.contains_key(&Use::Access)
    }

    /// The key of that name, if it may verify access tokens. An unknown one is looked for in the database, at most every ten seconds.
    ///
    /// # Errors
    /// The database is away, or was when it was asked a moment ago.
    pub(in crate::kernel) async fn verifier(&self, kid: &str) -> Result<Option<Arc<Verifier>>> {
        if let Some(known) = self.shelf().verifiers.get(kid) {
            return Ok(Some(known.clone()));
        }
        let mut read = self.inner.read.lock().await;
        match &*read {
            Some(look) if look.worked && look.at.elapsed() < PAUSE => {}
            Some(look) if !look.worked && look.at.elapsed() < RETRY => return Err(DATABASE_UNAVAILABLE.into()),
            _ => self.look(&mut read).await?,
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
        let call = Call {
            class: Class::Credential,
            read_only: false,
            ..call.clone()
        };
        let keyring = self.inner.keyring.clone();
        let find = move |tx: &mut Kernel<'_>| active_of(tx, name, &keyring);
        let signer = match self.inner.db.unscoped(&call, find.clone()).await? {
            Some(known) => known,
            None => {
                let made = self.make(Some(name.0), vec![purpose]).await?;
                let insert = move |tx: &mut Kernel<'_>| {
                    let now = tx.now()?;
                    for (_, row) in &made {
                        queries::keys::insert(tx, &moved(row, KeyState::Active, now, Span::zero()))?;
                    }
                    // Another process may have been first: what is stored counts.
                    Ok(find(tx)?.context("a workspace's key was just stored")?)
                };
                self.inner.db.unscoped(&call, insert).await?
            }
        };
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

    /// The public halves of the keys that sign heads of audit chains, of those that ever did and of the next; withdrawn ones are left out.
    pub(in crate::kernel::identity) fn audit_jwks(&self) -> Jwks {
        self.shelf().audit_jwks.clone()
    }

    /// The same by name as they are now, and the withdrawn ones.
    ///
    /// # Errors
    /// The database is away.
    pub(in crate::kernel) async fn auditors(&self) -> Result<HashMap<String, Auditor>> {
        let ever = |tx: &mut Kernel<'_>| queries::keys::ever(tx, Use::Audit);
        let known = self.inner.db.unscoped(&call("keys.auditors"), ever).await?;
        let auditor = |key: KnownKey| {
            let half = URL_SAFE_NO_PAD
                .decode(key.jwk()?.x.unwrap_or_default())
                .unwrap_or_default();
            let half = half
                .try_into()
                .ok()
                .context("a key of the audit log is no Ed25519 key")?;
            let withdrawn = key.is_withdrawn();
            Ok((key.kid, Auditor { half, withdrawn }))
        };
        known.into_iter().map(auditor).collect()
    }

    fn shelf(&self) -> Arc<Shelf> {
        self.inner.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn reload(&self) -> Result<()> {
        let mut read = self.inner.read.lock().await;
        self.look(&mut read).await
    }

    async fn look(&self, last: &mut Option<Look>) -> Result<()> {
        let read = self.read().await;
        *last = Some(Look {
            at: Instant::now(),
            worked: read.is_ok(),
        });
        read
    }

    async fn read(&self) -> Result<()> {
        let all = |tx: &mut Kernel<'_>| {
            let (own, auditors) = (queries::keys::own(tx)?, queries::keys::ever(tx, Use::Audit)?);
            Ok((own, auditors, queries::keys::own_states(tx)?))
        };
        let (own, auditors, states) = self.inner.db.unscoped(&call("keys.read"), all).await?;
        let shelf = Arc::new(Shelf::of(&own, &auditors, states, &self.inner.keyring)?);
        *self.inner.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
        Ok(())
    }

    /// Moves on the keys whose time has come; those of `asked` before their time. One process at a time.
    async fn advance(&self, asked: Option<Use>) -> Result<()> {
        let (db, keep) = (&self.inner.db, self.inner.keep);
        let steps = move |keys: &[KeyRow], purpose, now| due(keys, purpose, now, asked == Some(purpose));
        let wanted = db
            .unscoped(&call("keys.look"), move |tx| {
                let (now, keys) = (tx.now()?, queries::keys::own(tx)?);
                let steps = Use::OWN
                    .into_iter()
                    .map(|purpose| (purpose, steps(&keys, purpose, now)));
                Ok(steps.filter(|(_, steps)| !steps.is_empty()).collect::<Vec<_>>())
            })
            .await?;
        if wanted.is_empty() {
            return Ok(());
        }
        let lacking = wanted.iter().filter(|(_, steps)| steps.wants_spare);
        let mut spares = self.make(None, lacking.map(|(purpose, _)| *purpose).collect()).await?;
        db.unscoped(&call("keys.advance"), move |tx| {
            queries::keys::lock(tx)?;
            let (now, keys) = (tx.now()?, queries::keys::own(tx)?);
            for purpose in Use::OWN {
                let steps = steps(&keys, purpose, now);
                if asked == Some(purpose) {
                    by_hand::note_rotation(tx, purpose, &keys, &steps)?;
                }
                for (kid, state) in steps.changed {
                    let key = keys.iter().find(|key| key.kid == kid);
                    let key = key.context("a step is about a known key")?;
                    queries::keys::update(tx, &moved(key, state, now, keep))?;
                }
                spares.retain(|(made, _)| *made != purpose || steps.wants_spare);
            }
            // One that is wanted only now is made the next time.
            spares
                .iter()
                .try_for_each(|(_, spare)| queries::keys::insert(tx, spare))
        })
        .await?;
        self.reload().await
    }
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
