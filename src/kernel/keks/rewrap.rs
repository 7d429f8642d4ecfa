//! Moves every sealed record to the current KEK while everything goes on, and takes the older ones out of use.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::PgConnection;
use serde_json::json;
use uuid::Uuid;

use super::{Census, Column, Part, Record, call, census, queries, scope, workspaces};
use crate::kernel::{
    audit::{self, Entry},
    crypto::{Keyring, Unreadable},
    db::{Db, Kernel},
    error::Result,
    id::WorkspaceId,
};

/// Records that one transaction moves: whoever wants to write one of them waits for it, some tens of milliseconds.
const BATCH: i64 = 200;
/// For so long those records are tried again that others held.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// Every process looks once a second whether its own KEK is entered: after so long one that still seals under an older one has said so.
const SILENCE: Duration = Duration::from_secs(4);

/// How many records were moved so far.
#[derive(Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Records.
    pub fn moved(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A record that does not open where it stands, and was left as it is.
#[derive(Debug)]
pub struct Fault {
    /// Its column.
    pub column: String,
    /// Its workspace, where it has one.
    pub workspace: Option<WorkspaceId>,
    /// Its row.
    pub row: String,
    /// Why.
    pub why: Unreadable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.column, self.row)?;
        if let Some(workspace) = self.workspace {
            write!(f, " in {workspace}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// What became of an older KEK.
#[derive(Debug, PartialEq, Eq)]
pub enum Retired {
    /// Nothing is sealed under it any more, and nobody seals with it.
    Gone,
    /// A process still seals with it.
    StillSealing,
    /// So many records are still under it.
    InUse(i64),
}

/// How it went.
#[derive(Debug)]
pub struct Rewrapped {
    /// Records that were moved.
    pub moved: u64,
    /// Those that could not be.
    pub faults: Vec<Fault>,
    /// Every KEK but the current one that was in use.
    pub older: Vec<(String, Retired)>,
}

impl Rewrapped {
    /// Whether everything is under the current KEK.
    pub fn is_complete(&self) -> bool {
        self.faults.is_empty() && self.older.iter().all(|(_, became)| *became == Retired::Gone)
    }
}

/// What a pass through a column works with.
#[derive(Clone)]
pub struct Work {
    db: Db,
    keyring: Arc<Keyring>,
    progress: Arc<Progress>,
    faults: Arc<Mutex<Vec<Fault>>>,
}

/// Moves every record of these columns to the current KEK, then takes those out of use under which nothing is left. It may be ended at any
/// time, and goes on where it was when it is called again.
///
/// # Errors
/// The database's; a KEK that is in use and was not given.
pub async fn rewrap(db: &Db, keyring: &Arc<Keyring>, parts: &[Part], progress: &Arc<Progress>) -> Result<Rewrapped> {
    super::admit(db, keyring).await?;
    let work = Work {
        db: db.clone(),
        keyring: keyring.clone(),
        progress: progress.clone(),
        faults: Arc::default(),
    };
    let mut through: Option<Instant> = None;
    let left = loop {
        // Those of the round before are met again.
        work.faults().clear();
        round(&work, parts).await?;
        let left = left(census(db, parts).await?, keyring);
        let unreadable = work.faults().len() as i64;
        let done = left.values().flat_map(|records| records.values()).sum::<i64>() <= unreadable;
        // What is left after a whole round, others held, or seal anew.
        if done || through.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            break left;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let older = retire(&work, parts, left).await?;
    let faults = std::mem::take(&mut *work.faults());
    Ok(Rewrapped {
        moved: progress.moved(),
        faults,
        older,
    })
}

impl Work {
    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Once through everything.
async fn round(work: &Work, parts: &[Part]) -> Result<()> {
    let (tenants, kernels): (Vec<Part>, Vec<Part>) = parts.iter().partition(|part| part.of_workspaces);
    for part in kernels {
        (part.pass)(work.clone(), None).await?;
    }
    for workspace in workspaces(&work.db).await? {
        for part in &tenants {
            (part.pass)(work.clone(), Some(workspace)).await?;
        }
    }
    Ok(())
}

/// What is not under the current KEK.
fn left(mut census: Census, keyring: &Keyring) -> Census {
    census.remove(keyring.current());
    census
}

/// Takes the KEKs out under which nothing is left. That is announced first: a process that still has one of them in front seals under it, and
/// says so. What is there without being entered is entered, for no process may start without it.
async fn retire(work: &Work, parts: &[Part], left: Census) -> Result<Vec<(String, Retired)>> {
    let (db, current) = (&work.db, work.keyring.current().to_owned());
    let (trial, found) = (Uuid::new_v4(), left.clone());
    let older: Vec<(String, Option<Uuid>)> = db
        .unscoped(&call("keks.retire"), move |tx| {
            // Two of it with different findings change these rows in different orders.
            queries::lock(tx)?;
            for kek in found.keys().filter(|kek| !kek.is_empty()) {
                queries::add(tx, kek)?;
            }
            let all = queries::all(tx)?.into_iter().map(|kek| kek.id);
            all.filter(|kek| *kek != current)
                .map(|kek| match found.contains_key(&kek) {
                    true => Ok((kek, None)),
                    // Another rewrap may look at it already: both say what comes of it.
                    false => queries::announce(tx, &kek, trial).map(|trial| (kek, trial)),
                })
                .collect()
        })
        .await?;
    let mut sealed_meanwhile = Census::new();
    if older.iter().any(|(kek, _)| !left.contains_key(kek)) {
        tokio::time::sleep(SILENCE).await;
        sealed_meanwhile = census(db, parts).await?;
    }
    let mut became = Vec::new();
    for (kek, trial) in older {
        let it = match left.get(&kek) {
            Some(records) => Retired::InUse(records.values().sum()),
            None => take_out(work, &kek, trial, sealed_meanwhile.contains_key(&kek)).await?,
        };
        became.push((kek, it));
    }
    Ok(became)
}

/// Takes out a KEK of which that was announced long enough ago. The audit log of `platform` tells of it, as it does of signing keys.
async fn take_out(work: &Work, kek: &str, trial: Option<Uuid>, sealed_meanwhile: bool) -> Result<Retired> {
    let entry = Entry {
        action: "kek.retired",
        changes: json!({ "kek": [kek, work.keyring.current()] }),
        ..Entry::default()
    };
    let kek = kek.to_owned();
    let out = move |tx: &mut Kernel<'_>| {
        if sealed_meanwhile {
            // Its process may be gone by now, and what it sealed is still there.
            queries::add(tx, &kek)?;
            return Ok(Retired::StillSealing);
        }
        if !queries::remove(tx, &kek, trial)? {
            // A process has said since that it seals with it; or another rewrap took it out, and said so.
            return Ok(match queries::is_entered(tx, &kek)? {
                true => Retired::StillSealing,
                false => Retired::Gone,
            });
        }
        audit::note_in(tx, WorkspaceId::PLATFORM, &call("keks.retire"), entry)?;
        Ok(Retired::Gone)
    };
    work.db.unscoped(&call("keks.retire"), out).await
}

/// Goes through a column once, a batch a transaction.
pub(super) async fn pass<C: Column>(work: Work, workspace: Option<WorkspaceId>) -> Result<()> {
    let mut after = None;
    loop {
        let (own, from) = (work.clone(), after.take());
        let batch = match workspace {
            None => {
                work.db
                    .unscoped(&call("keks.rewrap"), move |tx| batch::<C>(tx.conn(), &own, None, from))
                    .await?
            }
            Some(id) => {
                work.db
                    .tenant(scope(id, "keks.rewrap"), move |tx| {
                        batch::<C>(tx.conn(), &own, Some(id), from)
                    })
                    .await?
            }
        };
        work.progress.0.fetch_add(batch.moved, Ordering::Relaxed);
        work.faults().extend(batch.faults);
        match batch.last {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

/// What one transaction did.
struct Batch<Key> {
    moved: u64,
    faults: Vec<Fault>,
    /// Where the next one begins; `None`: there is no more.
    last: Option<Key>,
}

fn batch<C: Column>(
    conn: &mut PgConnection,
    work: &Work,
    workspace: Option<WorkspaceId>,
    after: Option<C::Key>,
) -> Result<Batch<C::Key>> {
    let current = work.keyring.current();
    let rows = C::others(conn, current, after.as_ref(), BATCH)?;
    let full = rows.len() as i64 >= BATCH;
    let mut batch = Batch {
        moved: 0,
        faults: Vec::new(),
        last: rows.last().filter(|_| full).map(|(key, _)| key.clone()),
    };
    for (key, record) in &rows {
        match record.rewrapped(&work.keyring, &C::place(key)) {
            Ok(None) => {}
            Ok(Some(fresh)) => batch.moved += C::put(conn, key, record, &fresh)? as u64,
            Err(why) => batch.faults.push(Fault {
                column: format!("{}.{}", C::TABLE, C::COLUMN),
                workspace,
                row: format!("{:?}", key),
                why,
            }),
        }
    }
    Ok(batch)
}
