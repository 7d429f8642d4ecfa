//! Key-encryption keys (KEKs) in use, and how sealed records are moved to another one. Table `keks` names those under which something may be
//! sealed: a process enters its own before it seals anything, none starts that lacks one, and an id leaves only when nothing is left under it.

mod column;
mod queries;
mod rewrap;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

pub use column::{Column, Part, Record, kek_of};
pub(in crate::kernel) use queries::glance;
pub use rewrap::{Fault, Progress, Retired, Rewrapped, rewrap};

use chrono::{DateTime, Utc};

use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    crypto::Keyring,
    db::{Db, Kernel},
    entitlements::Plan,
    error::{Error, Result},
    id::WorkspaceId,
    idempotency, identity, inbox, mail, peppers,
};

/// Every sealed column that the kernel knows; features have others.
pub const OF_KERNEL: [Part; 8] = [
    identity::SEALED[0],
    identity::SEALED[1],
    idempotency::SEALED[0],
    idempotency::SEALED[1],
    peppers::SEALED,
    mail::SEALED,
    inbox::SEALED[0],
    inbox::SEALED[1],
];

/// KEKs are in use that this process was not given.
#[derive(Debug)]
pub struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "records may be sealed under the key-encryption key {}, which is not among secrets.keks: add it behind the current one, and take it \
             away only when `guildhall admin keks rewrap` has said that it may go. If it is gone for good, so is what is sealed under it: \
             restore it from wherever you keep your secrets",
            self.0.join(", ")
        )
    }
}

impl std::error::Error for Missing {}

/// Lets a process with this keyring in, and enters the key that it seals with.
///
/// # Errors
/// [`Missing`]; the database is away.
pub async fn admit(db: &Db, keyring: &Arc<Keyring>) -> Result<()> {
    let keyring = keyring.clone();
    db.unscoped(&call("keks.admit"), move |tx| enter(tx, &keyring)).await
}

/// As [`admit`], in a transaction that is there anyway.
///
/// # Errors
/// As [`admit`].
pub(in crate::kernel) fn enter(tx: &mut Kernel<'_>, keyring: &Keyring) -> Result<()> {
    let entered = queries::lock(tx)?;
    let ids = entered.iter().map(|kek| &kek.id);
    let missing: Vec<String> = ids.filter(|kek| !keyring.has(kek)).cloned().collect();
    match missing.is_empty() {
        true => queries::note(tx, keyring, &entered),
        false => Err(Error::Broken(Missing(missing).into())),
    }
}

/// A KEK, and what is sealed under it.
#[derive(Debug)]
pub struct Use {
    /// Its id.
    pub kek: String,
    /// Since when something may be sealed under it; `None`: nobody entered it, and yet something is.
    pub since: Option<DateTime<Utc>>,
    /// Records by column, `sessions.refresh_key_sealed`; those without any are left out.
    pub records: BTreeMap<String, i64>,
}

/// The KEKs that are in use, and how much is sealed under each. Looks at every sealed record.
///
/// # Errors
/// The database's.
pub async fn list(db: &Db, parts: &[Part]) -> Result<Vec<Use>> {
    let entered = db.unscoped(&call("keks.list"), queries::all).await?;
    let mut counted = census(db, parts).await?;
    let mut uses: Vec<Use> = entered
        .into_iter()
        .map(|entered| Use {
            records: counted.remove(&entered.id).unwrap_or_default(),
            kek: entered.id,
            since: Some(entered.since),
        })
        .collect();
    uses.extend(counted.into_iter().map(|(kek, records)| Use {
        kek,
        since: None,
        records,
    }));
    Ok(uses)
}

/// The ids of those that are entered, oldest first.
///
/// # Errors
/// The database's.
pub async fn entered(db: &Db) -> Result<Vec<String>> {
    let all = db.unscoped(&call("keks.list"), queries::all).await?;
    Ok(all.into_iter().map(|kek| kek.id).collect())
}

/// Records by KEK and column.
type Census = BTreeMap<String, BTreeMap<String, i64>>;

/// Counts every sealed record, one transaction a workspace.
async fn census(db: &Db, parts: &[Part]) -> Result<Census> {
    let (tenants, kernels): (Vec<Part>, Vec<Part>) = parts.iter().partition(|part| part.of_workspaces);
    let mut census = Census::new();
    let counted = db
        .unscoped(&call("keks.census"), move |tx| column::count(tx.conn(), &kernels))
        .await?;
    let mut add = |counted: Vec<(String, String, i64)>| {
        for (kek, column, rows) in counted {
            *census.entry(kek).or_default().entry(column).or_default() += rows;
        }
    };
    add(counted);
    for workspace in workspaces(db).await? {
        let tenants = tenants.clone();
        let counting = db.tenant(scope(workspace, "keks.census"), move |tx| {
            column::count(tx.conn(), &tenants)
        });
        add(counting.await?);
    }
    Ok(census)
}

async fn workspaces(db: &Db) -> Result<BTreeSet<WorkspaceId>> {
    let all = db.unscoped(&call("keks.workspaces"), queries::workspaces).await?;
    Ok(all.into_iter().collect())
}

/// Nobody asked for it.
fn call(operation: &'static str) -> Call {
    Call::internal(operation, operation.into())
}

fn scope(workspace: WorkspaceId, operation: &'static str) -> Scope {
    let (plan, call) = (Arc::new(Plan::free()), Arc::new(call(operation)));
    Scope::grant(workspace, Actor::System, Reach::default(), plan, call)
}
