//! Faults on demand: what Stripe, the network and the hour of the day do to a caller.

use serde::{Deserialize, Serialize};

/// One kind of trouble, for the next `times` requests that match.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Requests whose path begins so, without `/v1/`; empty means all.
    #[serde(default)]
    pub path: String,
    /// `GET`, `POST` or `DELETE`; empty means all.
    #[serde(default)]
    pub method: String,
    /// How many requests it strikes.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub kind: Kind,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Answered with this status, and nothing was done.
    RefusedBefore(u16),
    /// Done, and then answered with this status.
    RefusedAfter(u16),
    /// Done at once, answered after so many milliseconds.
    Slow(u64),
    /// Done, and answered with a body that is not JSON.
    Garbled,
    /// Done, and the connection cut before the answer.
    Cut,
    /// Reads answer the object as it was before its last change.
    Stale,
}

fn once() -> u32 {
    1
}

impl Fault {
    pub(super) fn strikes(&self, method: &str, path: &str) -> bool {
        self.times > 0 && path.starts_with(&self.path) && (self.method.is_empty() || self.method == method)
    }
}
