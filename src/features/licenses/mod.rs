//! Licences: issued by a policy, validated by key or id, suspended by holds, renewed, revoked.

mod model;
mod queries;
mod routes;
mod service;

pub use model::{
    EVENTS, Facts, HoldReason, Issue, IssuedLicense, License, MachineFacts, MachineId, MachineMark, NewHold, PROBLEMS,
    Question, Renewal, RenewalTerm, State, Status, Via, judge_fingerprint,
};
pub use routes::{roots, routes};
pub use service::{
    DRIFT, admitted, begin, facts, get, issue, lift, place, renew, renewals, reverse_renewal, revoke, row_of, usable,
};
