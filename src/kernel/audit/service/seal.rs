//! Sealing: entries that wait get their place in the chain, and the head is signed from time to time.

use chrono::{DateTime, Duration, Utc};

use super::chain::{self, Hash};
use crate::kernel::{
    audit::{
        model::Seal,
        queries::{self, Checkpoint},
    },
    db::Tenant,
    error::Result,
    identity::Signer,
};

/// Entries that one transaction seals at most.
const BATCH: i64 = 500;
/// The head is signed after so many entries,
const SIGNED_ENTRIES: i64 = 1_000;
/// and at the latest so long after the last time.
const SIGNED_HOURS: i64 = 1;

/// When to look again.
pub enum Rest {
    /// At once: there was more than a batch.
    No,
    /// When the head is due to be signed.
    Until(DateTime<Utc>),
    /// When somebody writes.
    Idle,
}

/// Seals what waits, oldest first. Two sealers at once cannot both commit: a place in the chain is unique.
pub fn seal(tx: &mut Tenant<'_>, signer: &Signer) -> Result<Rest> {
    let waiting = queries::pending(tx.conn(), BATCH)?;
    let entries = queries::entries(tx.conn(), &waiting)?;
    if entries.len() < waiting.len() {
        tracing::error!(
            workspace = %tx.workspace(), lost = waiting.len() - entries.len(),
            "audit entries were gone before they could be sealed"
        );
    }
    let mut head = queries::head(tx.conn())?;
    let mut seals = Vec::with_capacity(entries.len());
    for entry in &entries {
        let (seq, before) = match &head {
            Some(seal) => (seal.seq + 1, chain::hash_of(seal)?),
            None => (1, chain::START),
        };
        let seal = Seal {
            workspace_id: entry.workspace_id,
            seq,
            entry_id: entry.id,
            hash: chain::link(&before, entry)?.to_vec(),
        };
        head = Some(seal.clone());
        seals.push(seal);
    }
    if !waiting.is_empty() {
        queries::append(tx.conn(), &seals)?;
        queries::forget(tx.conn(), &waiting)?;
    }
    let next = match &head {
        Some(head) => sign(tx, signer, head.seq, chain::hash_of(head)?)?,
        None => None,
    };
    Ok(match next {
        _ if waiting.len() as i64 == BATCH => Rest::No,
        Some(due) => Rest::Until(due),
        None => Rest::Idle,
    })
}

/// Signs the head if it is time, and says when it will be if it is not.
fn sign(tx: &mut Tenant<'_>, signer: &Signer, seq: i64, hash: Hash) -> Result<Option<DateTime<Utc>>> {
    let now = tx.now()?;
    if let Some(last) = queries::last_checkpoint(tx.conn())? {
        let due = last.created_at + Duration::hours(SIGNED_HOURS);
        if last.seq >= seq {
            return Ok(None);
        }
        // The other key may have been withdrawn, and then its heads vouch for nothing.
        if last.kid == signer.kid() && seq - last.seq < SIGNED_ENTRIES && now < due {
            return Ok(Some(due));
        }
    }
    let workspace = tx.workspace();
    let signature = signer.sign(&chain::statement(workspace, seq, &hash))?;
    queries::sign_off(
        tx.conn(),
        &Checkpoint {
            workspace_id: workspace,
            seq,
            hash: hash.to_vec(),
            kid: signer.kid().to_owned(),
            signature,
            created_at: now,
        },
    )?;
    Ok(None)
}
