//! Looking at a workspace's whole chain.

use std::{collections::HashMap, sync::Arc};

use super::chain::{self, Head, Signature, Walk};
use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    audit::{model::Verdict, queries},
    crypto,
    db::{Db, Tenant},
    entitlements::Plan,
    error::{NOT_FOUND, Result},
    id::{RequestId, WorkspaceId},
    identity::{Auditor, Keys},
};

/// Places that one transaction looks at.
const BATCH: i64 = 1_000;

/// Looks at every place of a workspace's chain, and says where it does not hold.
///
/// # Errors
/// 404 if there is no such workspace, 503 if the database fails.
pub async fn verify(db: &Db, keys: &Keys, workspace: WorkspaceId) -> Result<Verdict> {
    let keys = Arc::new(keys.auditors().await?);
    loop {
        let (first, verdict) = walk(db, keys.clone(), workspace).await?;
        if verdict.broken.is_none() {
            return Ok(verdict);
        }
        // Retention may have moved the beginning on under way.
        let begins = db
            .tenant(scope(db, workspace), |tx| Ok(queries::first_place(tx.conn())?))
            .await?;
        if begins.is_none_or(|begins| begins <= first) {
            return Ok(verdict);
        }
    }
}

/// Walks once, and says which place it began with.
async fn walk(db: &Db, keys: Arc<HashMap<String, Auditor>>, workspace: WorkspaceId) -> Result<(i64, Verdict)> {
    // Read first: what is signed meanwhile is no head that the walk should have reached.
    let signed = db
        .tenant(scope(db, workspace), move |tx| {
            let head = queries::last_checkpoint(tx.conn())?;
            // Of a workspace that never was, a chain without places would hold.
            if head.is_none() && !queries::is_known(tx.conn(), workspace)? {
                return Err(NOT_FOUND.into());
            }
            Ok(head.map(|head| head.seq))
        })
        .await?;
    let mut walk = Walk::default();
    loop {
        let keys = keys.clone();
        let (next, over) = db
            .tenant(scope(db, workspace), move |tx| batch(tx, walk, &keys))
            .await?;
        if over {
            return db
                .tenant(scope(db, workspace), move |tx| {
                    Ok((next.first(), next.end(signed, queries::unsealed(tx.conn())?)))
                })
                .await;
        }
        walk = next;
    }
}

fn scope(db: &Db, workspace: WorkspaceId) -> Scope {
    let request = RequestId::new(db.clock().now()).to_string();
    let call = Arc::new(Call::internal("audit.verify", request.into()));
    Scope::grant(workspace, Actor::System, Reach::default(), Arc::new(Plan::free()), call)
}

/// The next places, and whether it was the last batch.
fn batch(tx: &mut Tenant<'_>, mut walk: Walk, keys: &HashMap<String, Auditor>) -> Result<(Walk, bool)> {
    let workspace = tx.workspace();
    let places = queries::places(tx.conn(), walk.at(), BATCH)?;
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Ok((walk, true));
    };
    let heads = queries::checkpoints_between(tx.conn(), first.0.seq, last.0.seq)?;
    let mut heads = heads.iter().peekable();
    for place in &places {
        if !walk.step(place)? {
            return Ok((walk, true));
        }
        while let Some(head) = heads.next_if(|head| head.seq <= place.0.seq) {
            let statement = chain::statement(workspace, head.seq, &head.hash);
            let signer = keys
                .get(&head.kid)
                .filter(|key| crypto::verify(&key.half, &statement, &head.signature));
            let head = Head {
                seq: head.seq,
                hash: &head.hash,
                signature: match signer {
                    Some(key) if key.withdrawn => Signature::Withdrawn,
                    Some(_) => Signature::Good,
                    None => Signature::Wrong,
                },
            };
            if !walk.vouch(&head) {
                return Ok((walk, true));
            }
        }
    }
    Ok((walk, (places.len() as i64) < BATCH))
}
