//! The chain: `hash = SHA-256(hash before ‖ JCS(entry) ‖ personal hash)`, and what finds out where it does not hold.

use anyhow::{Context, anyhow};
use serde_json::json;

use crate::kernel::{
    audit::{
        model::{Broken, Fault, Logged, Personal, Seal, Verdict},
        queries::Place,
    },
    crypto,
    error::Result,
    id::WorkspaceId,
};

/// SHA-256.
pub type Hash = [u8; 32];

/// What the first place has for the hash before it.
pub const START: Hash = [0; 32];

/// The hash of what an entry says of a person. The salt keeps an erased address from being guessed.
pub fn personal(personal: &Personal) -> Result<Hash> {
    let said = json!({
        "ip": personal.ip, "user_agent": personal.user_agent, "actor_email": personal.actor_email, "salt": hex::encode(&personal.salt)
    });
    let canonical = serde_json_canonicalizer::to_vec(&said).map_err(anyhow::Error::from)?;
    Ok(crypto::sha256(&canonical))
}

/// The hash of a place.
pub fn link(before: &Hash, entry: &Logged) -> Result<Hash> {
    let mut bytes = before.to_vec();
    bytes.extend(serde_json_canonicalizer::to_vec(entry).map_err(anyhow::Error::from)?);
    bytes.extend(entry.personal_hash.iter().flatten());
    Ok(crypto::sha256(&bytes))
}

/// The hash that a place holds.
pub fn hash_of(seal: &Seal) -> Result<Hash> {
    let hash = Hash::try_from(seal.hash.as_slice()).map_err(|_| anyhow!("a seal is not 32 bytes long"));
    Ok(hash.with_context(|| format!("place {}", seal.seq))?)
}

/// What is signed of a head.
pub fn statement(workspace: WorkspaceId, seq: i64, hash: &[u8]) -> Vec<u8> {
    format!(
        "guildhall-audit-checkpoint-v1\n{workspace}\n{seq}\n{}",
        hex::encode(hash)
    )
    .into_bytes()
}

/// A signed head, as far as the chain is concerned.
pub struct Head<'a> {
    pub seq: i64,
    pub hash: &'a [u8],
    pub signature: Signature,
}

/// What a head's signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It vouches for its place, and for all before it.
    Good,
    /// A key of ours made it that was withdrawn since: it vouches for nothing.
    Withdrawn,
    /// No key of ours made it.
    Wrong,
}

/// Walks a chain from its beginning to its end.
#[derive(Default)]
pub struct Walk {
    verdict: Verdict,
    /// The place that it began with.
    first: Option<i64>,
    /// The last place, and its hash.
    last: Option<(i64, Hash)>,
    claim: Option<Claim>,
}

/// Retention removed the entry of the first place and what was before it: until a signed head vouches for just that place, its hash is only
/// claimed.
#[derive(PartialEq)]
enum Claim {
    /// No head was seen there.
    Bare,
    /// A head stands there whose key was withdrawn: whoever vouches for what follows vouches for the hash, too.
    Signed,
}

impl Walk {
    /// The last place that was looked at; 0 before the first.
    pub fn at(&self) -> i64 {
        self.last.map_or(0, |(seq, _)| seq)
    }

    /// The place that it began with; 0 before that.
    pub fn first(&self) -> i64 {
        self.first.unwrap_or_default()
    }

    /// Looks at the next place. False once something is wrong: there is nothing to be learned after that.
    pub fn step(&mut self, place: &Place) -> Result<bool> {
        let (seal, entry, personal) = place;
        self.first.get_or_insert(seal.seq);
        let fault = match self.last {
            None if seal.seq > 1 || entry.is_none() => {
                self.claim = Some(Claim::Bare);
                None
            }
            None => judge(&START, seal, entry.as_ref(), personal.as_ref())?,
            Some((before, _)) if seal.seq != before + 1 => {
                return Ok(self.stop(before + 1, Fault::Gap, None));
            }
            Some((_, hash)) => judge(&hash, seal, entry.as_ref(), personal.as_ref())?,
        };
        if let Some(fault) = fault {
            return Ok(self.stop(seal.seq, fault, Some(seal)));
        }
        self.verdict.places += 1;
        self.last = Some((seal.seq, hash_of(seal)?));
        Ok(true)
    }

    /// Compares a signed head with the place that was looked at last.
    pub fn vouch(&mut self, head: &Head<'_>) -> bool {
        let fits = self
            .last
            .is_some_and(|(seq, hash)| seq == head.seq && hash == head.hash);
        let is_first = self.first == Some(head.seq);
        match head.signature {
            Signature::Good if fits => {
                self.verdict.checkpoints += 1;
                self.claim.take_if(|claim| is_first || *claim == Claim::Signed);
            }
            Signature::Withdrawn if fits => {
                self.verdict.withdrawn += 1;
                if let Some(claim) = self.claim.as_mut().filter(|_| is_first) {
                    *claim = Claim::Signed;
                }
            }
            _ => return self.stop(head.seq, Fault::CheckpointWrong, None),
        }
        true
    }

    /// There are no more places. `signed`: the furthest head that was signed; `unsealed`: an entry that the chain passed over.
    pub fn end(mut self, signed: Option<i64>, unsealed: Option<crate::kernel::id::AuditId>) -> Verdict {
        let end = self.at();
        if self.verdict.broken.is_none() {
            if signed.is_some_and(|signed| signed > end) {
                self.stop(end + 1, Fault::Truncated, None);
            } else if self.claim == Some(Claim::Bare) {
                match self.first() {
                    1 => self.stop(1, Fault::Missing, None),
                    first => self.stop(first - 1, Fault::Gap, None),
                };
            } else if let Some(entry) = unsealed {
                self.stop(end + 1, Fault::Unsealed, None);
                self.verdict
                    .broken
                    .iter_mut()
                    .for_each(|broken| broken.entry = Some(entry));
            } else if self.claim == Some(Claim::Signed) {
                // Last, for it passes by itself.
                self.stop(self.first(), Fault::Unvouched, None);
            }
        }
        self.verdict
    }

    fn stop(&mut self, seq: i64, fault: Fault, seal: Option<&Seal>) -> bool {
        let entry = seal.map(|seal| seal.entry_id);
        self.verdict.broken = Some(Broken { seq, fault, entry });
        false
    }
}

fn judge(before: &Hash, seal: &Seal, entry: Option<&Logged>, said: Option<&Personal>) -> Result<Option<Fault>> {
    let Some(entry) = entry else {
        return Ok(Some(Fault::Missing));
    };
    if link(before, entry)?.as_slice() != seal.hash {
        return Ok(Some(Fault::Altered));
    }
    // Erased, it is gone; it may not be anything else than it was.
    let same = match said {
        Some(said) => Some(personal(said)?.as_slice()) == entry.personal_hash.as_deref(),
        None => true,
    };
    Ok((!same).then_some(Fault::PersonalAltered))
}

#[cfg(test)]
mod tests;
