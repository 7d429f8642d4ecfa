//! Licences: issued by a policy, validated by key or id, suspended by holds, renewed, revoked.

mod jobs;
mod model;
mod queries;
mod routes;
mod service;

pub use jobs::register;
pub use model::{
    EVENTS, Facts, HoldReason, Issue, IssuedLicense, LICENSE_NOT_USABLE, License, MACHINE_ACTIVATED,
    MACHINE_DEACTIVATED, MACHINE_DEAD, MACHINE_EVENTS, MACHINE_RESURRECTED, MACHINE_UPDATED, Machine, MachineFacts,
    MachineId, MachineMark, MachineState, NewHold, PROBLEMS, Question, Renewal, RenewalTerm, State, Status, Via,
    judge_fingerprint,
};
pub use routes::{roots, routes};
pub use service::{
    DRIFT, admitted, begin, facts, get, hold, issue, lift, place, renew, renewals, reverse_renewal, revoke, row_of,
    usable,
};
